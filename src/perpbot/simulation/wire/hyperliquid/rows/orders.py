"""Rows of orders and fills."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO, plain
from perpbot.domain.sides import Liquidity, OrderType, Side, TimeInForce
from perpbot.simulation.model import Execution, OrderStatus, OrderView
from perpbot.simulation.wire.hyperliquid.rows.market import hash_of
from perpbot.simulation.wire.hyperliquid.rows.units import Row, ms, number, side_of

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
