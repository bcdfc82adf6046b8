"""What each journal record changes in the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import insert

from perpbot.domain.events import (
    EquitySampled,
    Event,
    OrderCancelled,
    OrderExpired,
    OrderFact,
    OrderFailed,
    OrderFilled,
    OrderIntent,
    OrderPlaced,
    OrderProvenAbsent,
    OrderSent,
    OrderUnknown,
    PairPlanned,
    SubmitOrders,
    TradeCompleted,
    Transfer,
)
from perpbot.domain.money import plain
from perpbot.domain.sides import OrderState
from perpbot.kernel.clock import MS
from perpbot.kernel.journal.record import Record
from perpbot.operations.records.tables import EQUITY, FILLS, ORDERS, TRADES, TRANSFERS

_STATE: Mapping[type[Event], OrderState] = {
    OrderSent: OrderState.SENT,
    OrderPlaced: OrderState.ACCEPTED,
    OrderUnknown: OrderState.UNKNOWN,
    OrderCancelled: OrderState.CANCELLED,
    OrderExpired: OrderState.EXPIRED,
    OrderFailed: OrderState.REJECTED,
    OrderProvenAbsent: OrderState.PROVEN_ABSENT,
}
_ENDS = [state.value for state in OrderState if state.is_end]
_MOVED_ON = [*_ENDS, OrderState.PARTIALLY_FILLED.value]


def project(connection: Connection, record: Record) -> None:
    """Write what one record says; records that no table shows are passed over."""
    event_class = _KINDS.get(record.kind)
    if event_class is None:
        return
    event = record.event()
    writer = _WRITERS.get(event_class, _state)
    writer(connection, record.sequence, event)


def _keep(connection: Connection, table: Table, **row: object) -> None:
    """Add a row, unless one of its key is there: the first telling stands."""
    connection.execute(insert(table).values(row).on_conflict_do_nothing())


def _submitted(connection: Connection, _sequence: int, event: OrderIntent) -> None:
    for order in event.orders:
        _keep(
            connection,
            ORDERS,
            client_id=order.client_id,
            ts_ns=event.ts_ns,
            pair_id=order.owner,
            venue=order.venue,
            account=order.account,
            asset=order.asset,
            side=order.side.value,
            purpose=order.purpose.value,
            order_type=order.order_type.value,
            time_in_force=order.time_in_force.value,
            quantity=plain(order.quantity),
            price=None if order.price is None else plain(order.price),
            state=OrderState.INTENT.value,
            filled="0",
            venue_order_id="",
            reason="",
            updated_ns=event.ts_ns,
        )


def _state(connection: Connection, _sequence: int, event: OrderFact) -> None:
    """Move an order on; an end stays an end, and an acknowledgement does not undo a fill."""
    state = _STATE[type(event)]
    values: dict[str, Any] = {"state": state.value, "updated_ns": event.ts_ns}
    for name in ("venue_order_id", "reason"):
        if text := getattr(event, name, ""):
            values[name] = text
    stays = _ENDS if state.is_end else _MOVED_ON
    connection.execute(
        ORDERS.update()
        .where(ORDERS.c.client_id == event.client_id, ORDERS.c.state.not_in(stays))
        .values(values)
    )


def _filled(connection: Connection, sequence: int, event: OrderFilled) -> None:
    _keep(
        connection,
        FILLS,
        sequence=sequence,
        ts_ns=event.ts_ns,
        client_id=event.client_id,
        pair_id=event.owner,
        venue=event.venue,
        account=event.account,
        asset=event.asset,
        trade_id=event.trade_id,
        side=event.side.value,
        price=plain(event.price),
        quantity=plain(event.quantity),
        fee_usd=plain(event.fee_usd),
        liquidity=event.liquidity.value,
        reconciled=int(event.reconciled),
    )
    values = {"filled": plain(event.cumulative), "updated_ns": event.ts_ns}
    order = ORDERS.update().where(ORDERS.c.client_id == event.client_id)
    connection.execute(order.values(values))
    if event.is_partial:
        state, stays = OrderState.PARTIALLY_FILLED, _ENDS
    else:
        state, stays = OrderState.FILLED, []
    connection.execute(order.where(ORDERS.c.state.not_in(stays)).values(state=state.value))


def _completed(connection: Connection, _sequence: int, event: TradeCompleted) -> None:
    _keep(
        connection,
        TRADES,
        pair_id=event.pair_id,
        ts_ns=event.ts_ns,
        strategy=event.strategy,
        asset=event.asset,
        long_venue=event.long_venue,
        short_venue=event.short_venue,
        quantity=plain(event.quantity),
        price_usd=plain(event.pnl.price),
        fees_usd=plain(event.pnl.fees),
        funding_usd=plain(event.pnl.funding),
        net_usd=plain(event.pnl.net),
        opened=int(event.opened),
        hold_ms=event.hold_ns // MS,
        worst_unhedged_ms=event.worst_unhedged_ns // MS,
        exit_reason=event.exit_reason,
    )


def _transferred(connection: Connection, sequence: int, event: Transfer) -> None:
    _keep(
        connection,
        TRANSFERS,
        sequence=sequence,
        ts_ns=event.ts_ns,
        venue=event.venue,
        account=event.account,
        transfer_id=event.reference,
        reason=event.reason,
        currency=event.currency,
        amount=plain(event.amount),
        amount_usd=plain(event.amount_usd),
        venue_ns=event.venue_ns,
    )


def _sampled(connection: Connection, sequence: int, event: EquitySampled) -> None:
    for venue, amount in event.per_venue.items():
        _keep(
            connection,
            EQUITY,
            sequence=sequence,
            venue=venue,
            ts_ns=event.ts_ns,
            equity_usd=plain(amount),
        )


_WRITERS: Mapping[type[Event], Callable[[Connection, int, Any], None]] = {
    PairPlanned: _submitted,
    SubmitOrders: _submitted,
    OrderFilled: _filled,
    TradeCompleted: _completed,
    EquitySampled: _sampled,
    Transfer: _transferred,
}
_KINDS = {event_class.kind: event_class for event_class in (*_WRITERS, *_STATE)}
