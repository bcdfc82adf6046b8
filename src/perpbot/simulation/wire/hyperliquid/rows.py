"""The rows of Hyperliquid's messages: what the exchange knows, in its fields.

Sizes are base coins, numbers are strings with at least one decimal, times are ms. A fee above
zero was paid. `A` is the ask side (a sell), `B` the bid side (a buy).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO, plain
from perpbot.domain.sides import Liquidity, OrderType, Side, TimeInForce
from perpbot.simulation.model import (
    BalanceView,
    BookView,
    Contract,
    Execution,
    FundingPayment,
    Mark,
    MoneyTransfer,
    OrderStatus,
    OrderView,
    PositionView,
    Profile,
    PublicTrade,
)
from perpbot.simulation.wire.hyperliquid.contracts import UNIVERSE

Row = dict[str, Any]

_TIF = {
    TimeInForce.GTC: "Gtc",
    TimeInForce.IOC: "Ioc",
    TimeInForce.POST_ONLY: "Alo",
    TimeInForce.FOK: "Ioc",
}
_CANCELLED = {
    "user": "canceled",
    "self_trade": "selfTradeCanceled",
    "reduce_only": "reduceOnlyCanceled",
    "dead_man": "scheduledCancel",
    "liquidation": "liquidatedCanceled",
}
_EXPIRED = {
    "ioc": "iocCancelRejected",
    "market": "marketOrderNoLiquidityRejected",
    "post_only": "badAloPxRejected",
    "insufficient_margin": "perpMarginRejected",
    "reduce_only": "reduceOnlyRejected",
    "price_band": "oracleRejected",
    "min_notional": "minTradeNtlRejected",
}


def ms(time_ns: int) -> int:
    """Return a time in ms."""
    return time_ns // 1_000_000


def number(value: Decimal) -> str:
    """Return a number as the venue writes it: `65000.0`."""
    text = plain(value)
    return text if "." in text else text + ".0"


def side_of(side: Side) -> str:
    """Return `B` or `A`."""
    return "B" if side is Side.BUY else "A"


def meta() -> Row:
    """Return the universe; delisted entries keep their slot."""
    universe = []
    for slot in UNIVERSE:
        row: Row = {
            "szDecimals": slot.size_decimals,
            "name": slot.name,
            "maxLeverage": slot.max_leverage,
            "marginTableId": slot.max_leverage,
        }
        universe.append(row | {"isDelisted": True} if slot.is_delisted else row)
    tables = [
        [
            leverage,
            {
                "description": "",
                "marginTiers": [{"lowerBound": "0.0", "maxLeverage": leverage}],
            },
        ]
        for leverage in sorted({slot.max_leverage for slot in UNIVERSE})
    ]
    return {"universe": universe, "marginTables": tables, "collateralToken": 0}


def spot_meta() -> Row:
    """Return the least that clients need to start: the collateral, and no spot market."""
    usdc = {
        "name": "USDC",
        "szDecimals": 8,
        "weiDecimals": 8,
        "index": 0,
        "tokenId": "0x6d1e7cde53ba9467b783cb7c530ce054",
        "isCanonical": True,
        "evmContract": None,
        "fullName": None,
    }
    return {"universe": [], "tokens": [usdc]}


def level_rows(levels: Sequence[tuple[Decimal, Decimal, int]]) -> list[Row]:
    """Return one side of a book."""
    return [
        {"px": number(price), "sz": number(quantity), "n": orders}
        for price, quantity, orders in levels
    ]


def book_row(book: BookView) -> Row:
    """Return a whole book."""
    levels = [level_rows(book.bids), level_rows(book.asks)]
    return {"coin": book.symbol, "time": ms(book.ts_ns), "levels": levels}


def bbo_row(book: BookView) -> Row:
    """Return the best of both sides; a missing one is null."""
    bids, asks = level_rows(book.bids[:1]), level_rows(book.asks[:1])
    best = [bids[0] if bids else None, asks[0] if asks else None]
    return {"coin": book.symbol, "time": ms(book.ts_ns), "bbo": best}


def mid_of(book: BookView) -> Decimal | None:
    """Return the middle of the best prices."""
    if not book.bids or not book.asks:
        return None
    return (book.bids[0][0] + book.asks[0][0]) / 2


def trade_row(trade: PublicTrade, nobody: str, names: dict[str, str]) -> Row:
    """Return a public trade; `names` gives addresses of accounts, `nobody` that of the others."""
    return {
        "coin": trade.symbol,
        "side": side_of(trade.side),
        "px": number(trade.price),
        "sz": number(trade.quantity),
        "time": ms(trade.ts_ns),
        "hash": hash_of(trade.trade_id),
        "tid": trade.trade_id,
        "users": [names.get(trade.buyer, nobody), names.get(trade.seller, nobody)],
    }


def hash_of(trade_id: int) -> str:
    """Return a transaction hash; ours says the trade's number."""
    return f"0x{trade_id:064x}"


def context_row(mark: Mark, book: BookView, trades: Sequence[PublicTrade]) -> Row:
    """Return mark, oracle, middle and funding of one asset."""
    mid = mid_of(book)
    premium = mark.mark_price / mark.index_price - 1 if mark.index_price else ZERO
    volume = sum((trade.quantity for trade in trades), ZERO)
    value = sum((trade.quantity * trade.price for trade in trades), ZERO)
    impact = [number(book.bids[0][0]), number(book.asks[0][0])] if mid is not None else None
    return {
        "funding": number(mark.funding_rate),
        "openInterest": "0.0",
        "prevDayPx": number(trades[0].price if trades else mark.mark_price),
        "dayNtlVlm": number(value),
        "premium": number(round(premium, 10)),
        "oraclePx": number(mark.index_price),
        "markPx": number(mark.mark_price),
        "midPx": None if mid is None else number(mid),
        "impactPxs": impact,
        "dayBaseVlm": number(volume),
    }


def delisted_context() -> Row:
    """Return the context of a slot that does not trade any more."""
    zeros = dict.fromkeys(("funding", "openInterest", "dayNtlVlm", "dayBaseVlm"), "0.0")
    prices: Row = {"prevDayPx": "1.0", "oraclePx": "1.0", "markPx": "1.0"}
    return zeros | prices | {"premium": None, "midPx": None, "impactPxs": None}


# --- orders and fills --------------------------------------------------------------------------


def status_of(order: OrderView) -> str:
    """Return the status word of an order."""
    if order.status is OrderStatus.FILLED:
        return "filled"
    if order.status is OrderStatus.CANCELLED:
        return _CANCELLED.get(order.cause, "canceled")
    if order.status is OrderStatus.EXPIRED:
        return "canceled" if order.filled else _EXPIRED.get(order.cause, "rejected")
    fired = order.ticket.trigger_price is not None and order.status is OrderStatus.NEW
    return "triggered" if fired else "open"


def order_row(order: OrderView) -> Row:
    """Return an order as streams and `openOrders` show it; `sz` is what remains."""
    ticket = order.ticket
    row: Row = {
        "coin": ticket.symbol,
        "side": side_of(ticket.side),
        "limitPx": number(ticket.price or ZERO),
        "sz": number(ticket.quantity - order.filled),
        "oid": order.order_id,
        "timestamp": ms(order.created_ns),
        "origSz": number(ticket.quantity),
    }
    if ticket.reduce_only:
        row["reduceOnly"] = True
    if ticket.client_id:
        row["cloid"] = ticket.client_id
    return row


def frontend_row(order: OrderView) -> Row:
    """Return an order as `frontendOpenOrders` shows it."""
    ticket = order.ticket
    is_trigger = ticket.trigger_price is not None
    return order_row(order) | {
        "reduceOnly": ticket.reduce_only,
        "orderType": _type_name(order),
        "tif": None if is_trigger else _TIF[ticket.time_in_force],
        "isTrigger": is_trigger,
        "triggerPx": number(ticket.trigger_price or ZERO),
        "triggerCondition": _condition(order),
        "isPositionTpsl": ticket.close_position,
        "children": [],
        "cloid": ticket.client_id or None,
    }


def _type_name(order: OrderView) -> str:
    ticket = order.ticket
    if ticket.trigger_price is None:
        return "Market" if ticket.order_type is OrderType.MARKET else "Limit"
    is_stop = ticket.trigger_above is (ticket.side is Side.BUY)
    style = "Market" if ticket.time_in_force is TimeInForce.IOC else "Limit"
    return f"{'Stop' if is_stop else 'Take Profit'} {style}"


def _condition(order: OrderView) -> str:
    price = order.ticket.trigger_price
    if price is None:
        return "N/A"
    return f"Price {'above' if order.ticket.trigger_above else 'below'} {plain(price)}"


def update_row(order: OrderView) -> Row:
    """Return an element of `orderUpdates`."""
    return {
        "order": order_row(order),
        "status": status_of(order),
        "statusTimestamp": ms(order.updated_ns),
    }


def history_row(order: OrderView) -> Row:
    """Return an element of `historicalOrders` and the inside of `orderStatus`."""
    return update_row(order) | {"order": frontend_row(order)}


def fill_row(fill: Execution, start: Decimal, address: str) -> Row:
    """Return a fill; `start` is the signed position before it."""
    row: Row = {
        "coin": fill.symbol,
        "px": number(fill.price),
        "sz": number(fill.quantity),
        "side": side_of(fill.side),
        "time": ms(fill.ts_ns),
        "startPosition": number(start),
        "dir": direction(start, fill.quantity * fill.side.sign),
        "closedPnl": number(fill.realized_pnl),
        "hash": hash_of(fill.trade_id),
        "oid": fill.order_id,
        "crossed": fill.liquidity is Liquidity.TAKER,
        "fee": number(fill.fee),
        "tid": fill.trade_id,
        "feeToken": "USDC",
        "twapId": None,
    }
    if fill.client_id:
        row["cloid"] = fill.client_id
    if fill.cause == "liquidation":
        row["liquidation"] = {
            "liquidatedUser": address,
            "markPx": number(fill.price),
            "method": "market",
        }
    return row


def direction(start: Decimal, change: Decimal) -> str:
    """Return what a fill did to the position, in the venue's words."""
    end = start + change
    if start * end < 0:
        return "Long > Short" if start > 0 else "Short > Long"
    opens = abs(end) > abs(start)
    is_long = (end if opens else start) > 0
    return f"{'Open' if opens else 'Close'} {'Long' if is_long else 'Short'}"


# --- accounts ----------------------------------------------------------------------------------


def position_row(contract: Contract, leg: PositionView, funding: Decimal) -> Row:
    """Return an element of `assetPositions`; `funding` is what the position has paid."""
    value = abs(leg.quantity) * leg.mark_price
    margin = value / leg.leverage
    entry = abs(leg.quantity) * leg.entry_price / leg.leverage
    earned = leg.unrealized_pnl / entry if entry else ZERO
    price = leg.liquidation_price
    paid = number(funding)
    return {
        "type": "oneWay",
        "position": {
            "coin": leg.symbol,
            "szi": number(leg.quantity),
            "leverage": {"type": "cross", "value": leg.leverage},
            "entryPx": number(leg.entry_price),
            "positionValue": number(value),
            "unrealizedPnl": number(leg.unrealized_pnl),
            "returnOnEquity": number(round(earned, 10)),
            "liquidationPx": None if price is None else number(price),
            "marginUsed": number(round(margin, 6)),
            "maxLeverage": contract.max_leverage,
            "cumFunding": {"allTime": paid, "sinceOpen": paid, "sinceChange": paid},
        },
    }


def clearinghouse_row(
    balance: BalanceView | None,
    legs: Sequence[tuple[Contract, PositionView, Decimal]],
    now_ns: int,
) -> Row:
    """Return the perpetual account; an address without one has zeros."""
    equity = balance.equity if balance else ZERO
    notional = sum((abs(leg.quantity) * leg.mark_price for _, leg, _ in legs), ZERO)
    signed = sum((leg.quantity * leg.mark_price for _, leg, _ in legs), ZERO)
    maintenance = sum(
        (abs(leg.quantity) * leg.mark_price * c.maintenance_ratio for c, leg, _ in legs), ZERO
    )
    summary = {
        "accountValue": number(equity),
        "totalNtlPos": number(notional),
        "totalRawUsd": number(equity - signed),
        "totalMarginUsed": number(round(balance.used_margin, 6) if balance else ZERO),
    }
    return {
        "marginSummary": summary,
        "crossMarginSummary": summary,
        "crossMaintenanceMarginUsed": number(maintenance),
        "withdrawable": number(round(balance.free, 6) if balance else ZERO),
        "assetPositions": [position_row(*leg) for leg in legs],
        "time": ms(now_ns),
    }


def funding_row(payment: FundingPayment) -> Row:
    """Return a funding payment as streams show it; negative `usdc` was paid."""
    return {
        "time": ms(payment.ts_ns),
        "coin": payment.symbol,
        "usdc": number(payment.amount),
        "szi": number(payment.quantity),
        "fundingRate": number(payment.rate),
        "nSamples": None,
    }


WITHDRAWAL_FEE = Decimal(1)
"""USDC that the bridge keeps of a withdrawal."""


def ledger_row(moved: MoneyTransfer) -> Row:
    """Return a deposit or a withdrawal; amounts carry no sign, the fee stands beside."""
    amount = abs(moved.amount)
    delta: Row = {"type": "deposit", "usdc": number(amount)}
    if moved.amount < ZERO:
        fee = min(WITHDRAWAL_FEE, amount)
        delta = {
            "type": "withdraw",
            "usdc": number(amount - fee),
            "nonce": ms(moved.ts_ns),
            "fee": number(fee),
        }
    return {"time": ms(moved.ts_ns), "hash": hash_of(moved.transfer_id), "delta": delta}


def fees_row(profile: Profile) -> Row:
    """Return `userFees`: base tier, no discounts."""
    cross, add = plain(profile.taker_fee), plain(profile.maker_fee)
    return {
        "dailyUserVlm": [],
        "feeSchedule": {
            "cross": cross,
            "add": add,
            "spotCross": "0.0007",
            "spotAdd": "0.0004",
            "tiers": {"vip": [], "mm": []},
            "referralDiscount": "0.0",
            "stakingDiscountTiers": [],
        },
        "userCrossRate": cross,
        "userAddRate": add,
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": "0.0",
        "trial": None,
        "feeTrialReward": "0.0",
        "nextTrialAvailableTimestamp": None,
        "stakingLink": None,
        "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
    }
