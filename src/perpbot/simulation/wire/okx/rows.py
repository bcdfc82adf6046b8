"""The rows of OKX messages: what the exchange knows, in OKX's fields and units.

Sizes are contracts, all numbers and times (ms) are strings, an empty string means nothing. Fees
are negative when charged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO
from perpbot.domain.sides import Liquidity, OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.model import (
    BalanceView,
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
from perpbot.simulation.wire.server import text_of

Row = dict[str, Any]
Levels = Sequence[tuple[Decimal, Decimal, int]]

_STATES = {
    OrderStatus.NEW: "live",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.CANCELLED: "canceled",
    OrderStatus.EXPIRED: "canceled",
    OrderStatus.UNTRIGGERED: "live",
}
ORDER_TYPES = {
    TimeInForce.GTC: "limit",
    TimeInForce.POST_ONLY: "post_only",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
}
CANCEL_SOURCES = {
    "user": ("1", "Order canceled by user"),
    "fok": ("13", "FOK order was canceled because it could not be filled completely"),
    "ioc": ("14", "IOC order was canceled because it was not filled completely"),
    "reduce_only": ("17", "Close order was canceled because the position is closed"),
    "dead_man": ("20", "Cancel all after was triggered"),
    "post_only": ("31", "The post-only order would take liquidity"),
    "self_trade": ("32", "Self trade prevention"),
}
_CATEGORIES = {"liquidation": "full_liquidation", "adl": "adl"}


def ms(time_ns: int) -> str:
    """Return a time as OKX writes it: ms since the epoch, as a string."""
    return str(time_ns // 1_000_000)


def contracts_of(contract: Contract, quantity: Decimal) -> str:
    """Return base coins as a number of contracts."""
    return text_of(quantity / contract.contract_size)


def index_of(contract: Contract) -> str:
    """Return the underlying: `BTC-USDT` of `BTC-USDT-SWAP`."""
    return f"{contract.base}-{contract.settle}"


def instrument_row(contract: Contract) -> Row:
    """Return the row of `public/instruments`."""
    return {
        "alias": "",
        "baseCcy": "",
        "category": "1",
        "ctMult": "1",
        "ctType": "linear",
        "ctVal": text_of(contract.contract_size),
        "ctValCcy": contract.base,
        "expTime": "",
        "groupId": "1",
        "instFamily": index_of(contract),
        "instId": contract.symbol,
        "instIdCode": contract.wire_code,
        "instType": "SWAP",
        "lever": str(contract.max_leverage),
        "listTime": "1611916828000",
        "lotSz": contracts_of(contract, contract.quantity_step),
        "maxIcebergSz": "100000000",
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "",
        "maxMktSz": "100000",
        "maxStopSz": "100000",
        "maxTriggerSz": "100000000",
        "maxTwapSz": "100000000",
        "minSz": contracts_of(contract, contract.min_quantity),
        "optType": "",
        "quoteCcy": "",
        "ruleType": "normal",
        "settleCcy": contract.settle,
        "state": "live",
        "stk": "",
        "tickSz": text_of(contract.tick_size),
        "uly": index_of(contract),
    }


def level_rows(contract: Contract, levels: Levels) -> list[list[str]]:
    """Return book levels: price, contracts, a retired "0", number of orders."""
    return [
        [text_of(price), contracts_of(contract, quantity), "0", str(orders)]
        for price, quantity, orders in levels
    ]


def trade_row(contract: Contract, trade: PublicTrade) -> Row:
    """Return a public trade; side is the taker's."""
    return {
        "instId": contract.symbol,
        "tradeId": str(trade.trade_id),
        "px": text_of(trade.price),
        "sz": contracts_of(contract, trade.quantity),
        "side": trade.side.value,
        "ts": ms(trade.ts_ns),
        "count": "1",
    }


def mark_row(mark: Mark) -> Row:
    """Return the mark price."""
    return {
        "instType": "SWAP",
        "instId": mark.symbol,
        "markPx": text_of(mark.mark_price),
        "ts": ms(mark.ts_ns),
    }


STABLECOIN_INDICES = ("USDT-USD", "USDC-USD")
"""Indices that stand at par here."""


def stablecoin_row(index: str, ts_ns: int) -> Row:
    """Return the index of a stablecoin against the dollar."""
    return {"instId": index, "idxPx": "1", "ts": ms(ts_ns)}


def index_row(contract: Contract, mark: Mark) -> Row:
    """Return the index price of the underlying."""
    price = text_of(mark.index_price)
    return {
        "instId": index_of(contract),
        "idxPx": price,
        "open24h": price,
        "high24h": price,
        "low24h": price,
        "sodUtc0": price,
        "sodUtc8": price,
        "ts": ms(mark.ts_ns),
    }


def funding_row(contract: Contract, mark: Mark) -> Row:
    """Return the coming funding; `fundingTime` is the next settlement."""
    interval_ns = contract.funding_interval_s * 1_000_000_000
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "method": "current_period",
        "formulaType": "withRate",
        "fundingRate": text_of(mark.funding_rate),
        "nextFundingRate": "",
        "fundingTime": ms(mark.next_funding_ns),
        "nextFundingTime": ms(mark.next_funding_ns + interval_ns),
        "minFundingRate": "-0.015",
        "maxFundingRate": "0.015",
        "settState": "settled",
        "settFundingRate": text_of(mark.funding_rate),
        "premium": text_of(mark.mark_price / mark.index_price - 1) if mark.index_price else "0",
        "ts": ms(mark.ts_ns),
    }


def order_type(order: OrderView) -> str:
    """Return OKX's `ordType` of a plain order."""
    if order.ticket.order_type is OrderType.MARKET:
        return "market"
    return ORDER_TYPES[order.ticket.time_in_force]


def order_row(
    contract: Contract,
    order: OrderView,
    lever: int,
    execution: Execution | None = None,
    *,
    last: Execution | None = None,
    req_id: str = "",
    amended: bool = False,
) -> Row:
    """Return an order as `orders` pushes and order queries show it.

    `execution` is the fill that caused a push; `last` the latest fill for queries. Only a push
    that tells a fill has `fillSz` above 0.
    """
    ticket = order.ticket
    fill = execution or last
    is_ended = order.status in (OrderStatus.CANCELLED, OrderStatus.EXPIRED)
    source, reason = CANCEL_SOURCES.get(order.cause, ("0", "")) if is_ended else ("", "")
    algo_id = str(order.order_id) if ticket.trigger_price is not None else ""
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "tgtCcy": "",
        "ccy": "",
        "ordId": str(order.order_id),
        "clOrdId": "" if algo_id else ticket.client_id,
        "algoClOrdId": ticket.client_id if algo_id else "",
        "algoId": algo_id,
        "tag": "",
        "px": "" if ticket.price is None else text_of(ticket.price),
        "sz": contracts_of(contract, ticket.quantity),
        "notionalUsd": text_of(ticket.quantity * (ticket.price or order.average_price)),
        "ordType": order_type(order),
        "side": ticket.side.value,
        "posSide": ticket.position_side.value,
        "tdMode": "cross",
        "accFillSz": contracts_of(contract, order.filled),
        "avgPx": text_of(order.average_price) if order.filled else "",
        "fillPx": text_of(fill.price) if fill else "",
        "fillSz": contracts_of(contract, fill.quantity) if fill else "0",
        "fillTime": ms(fill.ts_ns) if fill else "",
        "fillFee": text_of(-fill.fee) if fill else "0",
        "fillFeeCcy": contract.settle if fill else "",
        "fillPnl": text_of(fill.realized_pnl) if fill else "0",
        "execType": _role(fill.liquidity) if fill else "",
        "tradeId": str(fill.trade_id) if fill else "",
        "pnl": text_of(fill.realized_pnl) if fill else "0",
        "fee": text_of(-order.fee),
        "feeCcy": contract.settle,
        "rebate": "0",
        "rebateCcy": contract.settle,
        "state": _STATES[order.status],
        "lever": str(lever),
        "reduceOnly": "true" if ticket.reduce_only else "false",
        "stpId": "",
        "stpMode": ticket.self_trade,
        "category": _CATEGORIES.get(fill.cause if fill else "", "normal"),
        "cancelSource": source,
        "cancelSourceReason": reason,
        "quickMgnType": "",
        "source": "",
        "slTriggerPx": "",
        "slOrdPx": "",
        "tpTriggerPx": "",
        "tpOrdPx": "",
        "attachAlgoOrds": [],
        "reqId": req_id,
        "amendResult": "0" if amended else "",
        "code": "0",
        "msg": "",
        "cTime": ms(order.created_ns),
        "uTime": ms(order.updated_ns),
    }


def algo_row(contract: Contract, order: OrderView, lever: int) -> Row:
    """Return an order with a trigger as `orders-algo` shows it."""
    ticket = order.ticket
    price = "-1" if ticket.price is None else text_of(ticket.price)
    is_fired = order.status is not OrderStatus.UNTRIGGERED
    ended = {OrderStatus.CANCELLED, OrderStatus.EXPIRED}
    state = "live" if not is_fired else ("canceled" if order.status in ended else "effective")
    trigger = text_of(ticket.trigger_price or ZERO)
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "ordId": str(order.order_id) if is_fired else "",
        "clOrdId": "",
        "algoId": str(order.order_id),
        "algoClOrdId": ticket.client_id,
        "ordType": "conditional" if ticket.reduce_only or ticket.close_position else "trigger",
        "side": ticket.side.value,
        "posSide": ticket.position_side.value,
        "tdMode": "cross",
        "lever": str(lever),
        "sz": "" if ticket.close_position else contracts_of(contract, ticket.quantity),
        "closeFraction": "1" if ticket.close_position else "",
        "reduceOnly": "true" if ticket.reduce_only else "false",
        "triggerPx": trigger,
        "triggerPxType": "mark",
        "ordPx": price,
        "slTriggerPx": trigger,
        "slOrdPx": price,
        "slTriggerPxType": "mark",
        "tpTriggerPx": "",
        "tpOrdPx": "",
        "tpTriggerPxType": "",
        "state": state,
        "actualSz": contracts_of(contract, order.filled),
        "actualPx": text_of(order.average_price) if order.filled else "",
        "actualSide": "",
        "triggerTime": ms(order.updated_ns) if is_fired else "",
        "tag": "",
        "cTime": ms(order.created_ns),
        "uTime": ms(order.updated_ns),
    }


def fill_row(contract: Contract, fill: Execution) -> Row:
    """Return a fill as `trade/fills` shows it."""
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "tradeId": str(fill.trade_id),
        "ordId": str(fill.order_id),
        "clOrdId": fill.client_id,
        "billId": _bill_id(fill),
        "tag": "",
        "fillPx": text_of(fill.price),
        "fillSz": contracts_of(contract, fill.quantity),
        "fillPnl": text_of(fill.realized_pnl),
        "side": fill.side.value,
        "posSide": fill.position_side.value,
        "execType": _role(fill.liquidity),
        "feeCcy": contract.settle,
        "fee": text_of(-fill.fee),
        "fillTime": ms(fill.ts_ns),
        "ts": ms(fill.ts_ns),
    }


def trade_bill_row(contract: Contract, fill: Execution) -> Row:
    """Return the `account/bills` row of a fill (type 2)."""
    change = fill.realized_pnl - fill.fee
    return {
        "billId": _bill_id(fill),
        "type": "2",
        "subType": "1" if fill.side is Side.BUY else "2",
        "instType": "SWAP",
        "instId": contract.symbol,
        "ccy": contract.settle,
        "balChg": text_of(change),
        "bal": "",
        "pnl": text_of(fill.realized_pnl),
        "fee": text_of(-fill.fee),
        "sz": contracts_of(contract, fill.quantity),
        "px": text_of(fill.price),
        "ordId": str(fill.order_id),
        "clOrdId": fill.client_id,
        "tradeId": str(fill.trade_id),
        "execType": _role(fill.liquidity),
        "mgnMode": "cross",
        "ts": ms(fill.ts_ns),
    }


def funding_bill_row(contract: Contract, payment: FundingPayment) -> Row:
    """Return the `account/bills` row of a funding payment (type 8: 173 paid, 174 received)."""
    return {
        "billId": f"8{payment.payment_id:017d}",
        "type": "8",
        "subType": "174" if payment.amount >= 0 else "173",
        "instType": "SWAP",
        "instId": contract.symbol,
        "ccy": contract.settle,
        "balChg": text_of(payment.amount),
        "bal": "",
        "pnl": text_of(payment.amount),
        "fee": "0",
        "sz": contracts_of(contract, payment.quantity),
        "px": text_of(payment.rate),
        "ordId": "",
        "clOrdId": "",
        "tradeId": "",
        "execType": "",
        "mgnMode": "cross",
        "ts": ms(payment.ts_ns),
    }


def transfer_bill_row(moved: MoneyTransfer) -> Row:
    """Return the `account/bills` row of a transfer (type 1: 11 in, 12 out), of no instrument."""
    trading, funding = "18", "6"
    came = moved.amount > ZERO
    return {
        "billId": f"1{moved.transfer_id:017d}",
        "type": "1",
        "subType": "11" if came else "12",
        "instType": "",
        "instId": "",
        "ccy": moved.currency,
        "balChg": text_of(moved.amount),
        "bal": "",
        "pnl": "0",
        "fee": "0",
        "sz": text_of(abs(moved.amount)),
        "px": "",
        "ordId": "",
        "clOrdId": "",
        "tradeId": "",
        "execType": "",
        "mgnMode": "",
        "from": funding if came else trading,
        "to": trading if came else funding,
        "notes": "",
        "ts": ms(moved.ts_ns),
    }


def position_row(contract: Contract, position: PositionView, now_ns: int) -> Row:
    """Return a leg: signed contracts in net mode, positive ones for long and short legs."""
    is_net = position.position_side is PositionSide.NET
    quantity = position.quantity if is_net else abs(position.quantity)
    notional = abs(position.quantity) * position.mark_price
    initial = notional / position.leverage
    maintenance = notional * contract.maintenance_ratio
    ratio = position.unrealized_pnl / initial if initial else ZERO
    return {
        "instType": "SWAP",
        "instId": contract.symbol,
        "posId": f"{contract.wire_code}{list(PositionSide).index(position.position_side)}",
        "posSide": position.position_side.value,
        "pos": contracts_of(contract, quantity),
        "availPos": "" if is_net else contracts_of(contract, quantity),
        "avgPx": text_of(position.entry_price) if quantity else "",
        "markPx": text_of(position.mark_price),
        "liqPx": "" if position.liquidation_price is None else text_of(position.liquidation_price),
        "bePx": text_of(position.entry_price) if quantity else "",
        "upl": text_of(position.unrealized_pnl),
        "uplRatio": text_of(round(ratio, 8)),
        "realizedPnl": "0",
        "fee": "0",
        "fundingFee": "0",
        "lever": str(position.leverage),
        "mgnMode": "cross",
        "margin": "",
        "mgnRatio": text_of(round(initial / maintenance, 4)) if maintenance else "",
        "imr": text_of(initial),
        "mmr": text_of(maintenance),
        "notionalUsd": text_of(notional),
        "ccy": contract.settle,
        "posCcy": "",
        "adl": "1",
        "last": text_of(position.mark_price),
        "interest": "",
        "tradeId": "",
        "cTime": ms(now_ns),
        "uTime": ms(now_ns),
    }


def balance_row(
    balances: Iterable[BalanceView],
    positions: Iterable[tuple[Contract, PositionView]],
    now_ns: int,
) -> Row:
    """Return the account; stablecoins count as one dollar."""
    legs = list(positions)
    details = [_detail_row(balance, now_ns) for balance in balances]
    equity = sum((Decimal(detail["eq"]) for detail in details), ZERO)
    notional = sum((abs(leg.quantity) * leg.mark_price for _, leg in legs), ZERO)
    initial = sum((abs(leg.quantity) * leg.mark_price / leg.leverage for _, leg in legs), ZERO)
    maintenance = sum(
        (
            abs(leg.quantity) * leg.mark_price * contract.maintenance_ratio
            for contract, leg in legs
        ),
        ZERO,
    )
    return {
        "adjEq": text_of(equity),
        "availEq": text_of(sum((Decimal(detail["availEq"]) for detail in details), ZERO)),
        "totalEq": text_of(equity),
        "isoEq": "0",
        "imr": text_of(initial),
        "mmr": text_of(maintenance),
        "mgnRatio": text_of(round(equity / maintenance, 4)) if maintenance else "",
        "notionalUsd": text_of(notional),
        "ordFroz": "0",
        "upl": text_of(sum((leg.unrealized_pnl for _, leg in legs), ZERO)),
        "details": details,
        "uTime": ms(now_ns),
    }


def _detail_row(balance: BalanceView, now_ns: int) -> Row:
    return {
        "ccy": balance.currency,
        "eq": text_of(balance.equity),
        "eqUsd": text_of(balance.equity),
        "disEq": text_of(balance.equity),
        "cashBal": text_of(balance.wallet),
        "availEq": text_of(balance.free),
        "availBal": text_of(balance.free),
        "frozenBal": text_of(balance.used_margin),
        "ordFrozen": "0",
        "upl": text_of(balance.equity - balance.wallet),
        "isoEq": "0",
        "imr": text_of(balance.used_margin),
        "mmr": "0",
        "liab": "",
        "interest": "",
        "uTime": ms(now_ns),
    }


def fee_row(profile: Profile, now_ns: int) -> Row:
    """Return `account/trade-fee`: negative numbers are charged."""
    maker, taker = text_of(-profile.maker_fee), text_of(-profile.taker_fee)
    return {
        "instType": "SWAP",
        "category": "1",
        "level": "Lv1",
        "maker": maker,
        "taker": taker,
        "makerU": maker,
        "takerU": taker,
        "makerUSDC": maker,
        "takerUSDC": taker,
        "delivery": "",
        "exercise": "",
        "feeGroup": [{"groupId": "1", "maker": maker, "taker": taker}],
        "ruleType": "normal",
        "ts": ms(now_ns),
    }


def _role(liquidity: Liquidity) -> str:
    return "M" if liquidity is Liquidity.MAKER else "T"


def _bill_id(fill: Execution) -> str:
    return f"2{fill.trade_id:016d}{1 if fill.side is Side.BUY else 2}"
