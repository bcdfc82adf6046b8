"""Rows of orders and fills."""

from __future__ import annotations

from perpbot.domain.money import ZERO
from perpbot.domain.sides import OrderType, TimeInForce
from perpbot.simulation.model import Contract, Execution, OrderStatus, OrderView
from perpbot.simulation.wire.okx.rows.units import Row, bill_id, contracts_of, ms, role_of
from perpbot.simulation.wire.server import text_of

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
_ENDS = frozenset({OrderStatus.CANCELLED, OrderStatus.EXPIRED})
_BLANK: Row = {
    "instType": "SWAP",
    "tgtCcy": "",
    "ccy": "",
    "tag": "",
    "tdMode": "cross",
    "rebate": "0",
    "stpId": "",
    "quickMgnType": "",
    "source": "",
    "slTriggerPx": "",
    "slOrdPx": "",
    "tpTriggerPx": "",
    "tpOrdPx": "",
    "attachAlgoOrds": [],
    "code": "0",
    "msg": "",
}
"""Fields that are the same in every order of ours."""
_UNFILLED: Row = {
    "fillPx": "",
    "fillSz": "0",
    "fillTime": "",
    "fillFee": "0",
    "fillFeeCcy": "",
    "fillPnl": "0",
    "execType": "",
    "tradeId": "",
    "pnl": "0",
    "category": "normal",
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
    fill = execution or last
    return {
        **_BLANK,
        **_ordered(contract, order),
        **(_UNFILLED if fill is None else _filled(contract, fill)),
        **_standing(order),
        "accFillSz": contracts_of(contract, order.filled),
        "feeCcy": contract.settle,
        "rebateCcy": contract.settle,
        "lever": str(lever),
        "reqId": req_id,
        "amendResult": "0" if amended else "",
    }


def _ordered(contract: Contract, order: OrderView) -> Row:
    """What was asked for. An order that a trigger placed bears our id as the trigger's."""
    ticket = order.ticket
    is_triggered = ticket.trigger_price is not None
    return {
        "instId": contract.symbol,
        "ordId": str(order.order_id),
        "clOrdId": "" if is_triggered else ticket.client_id,
        "algoClOrdId": ticket.client_id if is_triggered else "",
        "algoId": str(order.order_id) if is_triggered else "",
        "px": "" if ticket.price is None else text_of(ticket.price),
        "sz": contracts_of(contract, ticket.quantity),
        "notionalUsd": text_of(ticket.quantity * (ticket.price or order.average_price)),
        "ordType": order_type(order),
        "side": ticket.side.value,
        "posSide": ticket.position_side.value,
        "reduceOnly": "true" if ticket.reduce_only else "false",
        "stpMode": ticket.self_trade,
    }


def _filled(contract: Contract, fill: Execution) -> Row:
    return {
        "fillPx": text_of(fill.price),
        "fillSz": contracts_of(contract, fill.quantity),
        "fillTime": ms(fill.ts_ns),
        "fillFee": text_of(-fill.fee),
        "fillFeeCcy": contract.settle,
        "fillPnl": text_of(fill.realized_pnl),
        "execType": role_of(fill.liquidity),
        "tradeId": str(fill.trade_id),
        "pnl": text_of(fill.realized_pnl),
        "category": _CATEGORIES.get(fill.cause, "normal"),
    }


def _standing(order: OrderView) -> Row:
    """What became of it."""
    is_ended = order.status in _ENDS
    source, reason = CANCEL_SOURCES.get(order.cause, ("0", "")) if is_ended else ("", "")
    return {
        "avgPx": text_of(order.average_price) if order.filled else "",
        "fee": text_of(-order.fee),
        "state": _STATES[order.status],
        "cancelSource": source,
        "cancelSourceReason": reason,
        "cTime": ms(order.created_ns),
        "uTime": ms(order.updated_ns),
    }


def algo_row(contract: Contract, order: OrderView, lever: int) -> Row:
    """Return an order with a trigger as `orders-algo` shows it."""
    ticket = order.ticket
    price = "-1" if ticket.price is None else text_of(ticket.price)
    is_fired = order.status is not OrderStatus.UNTRIGGERED
    state = "live" if not is_fired else ("canceled" if order.status in _ENDS else "effective")
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
        "billId": bill_id(fill),
        "tag": "",
        "fillPx": text_of(fill.price),
        "fillSz": contracts_of(contract, fill.quantity),
        "fillPnl": text_of(fill.realized_pnl),
        "side": fill.side.value,
        "posSide": fill.position_side.value,
        "execType": role_of(fill.liquidity),
        "feeCcy": contract.settle,
        "fee": text_of(-fill.fee),
        "fillTime": ms(fill.ts_ns),
        "ts": ms(fill.ts_ns),
    }
