"""Why an opportunity, pair, order or refusal was what it was, told from the journal.

An id leads to its neighbours (opportunity to pair, pair to orders and reservation, order to pair),
and every record of any of them is one line with its numbers, in the order in which it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from perpbot.domain.events import Event, OrderFact, OrderIntent, PairPlanned, RiskRejected
from perpbot.domain.money import plain
from perpbot.domain.pairs import PairPlan
from perpbot.kernel.clock import SECOND
from perpbot.kernel.ids import decode_order_id
from perpbot.kernel.journal.record import Record

_ID_FIELDS = ("correlation_id", "pair_id", "client_id", "owner", "subject", "reservation_id")

_ADVICE = {
    "legs_clear": "; flatten by hand at the venue what no pair holds there (`perpbot status` "
    "lists it): opening resumes once that is booked"
}
"""By rule: what a person has to do, where it does not pass by itself."""


class Told(msgspec.Struct, frozen=True):
    """One record, as data and as a line for people."""

    sequence: int
    ts_ns: int
    kind: str
    text: str
    data: dict[str, Any]


class Story(msgspec.Struct, frozen=True):
    """Everything that the journal says of an id."""

    asked: str
    subject: str
    """What the id names: opportunity, pair, order, refusal or reservation."""
    ids: tuple[str, ...]
    told: tuple[Told, ...]


def explain(records: Iterable[Record], asked: str) -> Story | None:
    """Return the story of `asked`, or None where the journal does not know it."""
    asked = asked.removeprefix("0x")
    events = [(record, record.event()) for record in records]
    neighbours: dict[str, set[str]] = {}
    for _, event in events:
        found = set(ids_of(event))
        # A cancel of everything names strangers in one breath: it connects nobody.
        connects = found if len(getattr(event, "client_ids", ())) < 2 else set()
        for name in sorted(found):
            neighbours.setdefault(name, set()).update(connects)
    if asked not in neighbours:
        return None
    related = _related(asked, neighbours)
    told = tuple(
        Told(
            sequence=record.sequence,
            ts_ns=record.ts_ns,
            kind=record.kind,
            text=line(event),
            data=msgspec.to_builtins(event),
        )
        for record, event in events
        if related.intersection(ids_of(event))
    )
    return Story(asked, _subject(asked, events), tuple(sorted(related)), told)


def ids_of(event: Event) -> Iterator[str]:
    """Yield every id that a record carries."""
    for name in _ID_FIELDS:
        value = getattr(event, name, "")
        if value:
            yield value
    for order in getattr(event, "orders", None) or ():
        yield from (order.client_id, order.owner)
    yield from getattr(event, "client_ids", ())
    if isinstance(event, PairPlanned):
        yield from (
            event.plan.pair_id,
            event.plan.reservation_id,
            event.plan.opportunity.opportunity_id,
        )


def _related(asked: str, neighbours: dict[str, set[str]]) -> set[str]:
    """Follow ids to each other. One opportunity may be refused, and taken by several pairs."""
    related, waiting = {asked}, [asked]
    while waiting:
        for name in neighbours[waiting.pop()] - related:
            related.add(name)
            waiting.append(name)
    return {name for name in related if name}


def _subject(asked: str, events: list[tuple[Record, Event]]) -> str:
    if decode_order_id(asked) is not None:
        return "order"
    for _, event in events:
        if isinstance(event, PairPlanned):
            plan = event.plan
            if asked == plan.pair_id:
                return "pair"
            if asked == plan.opportunity.opportunity_id:
                return "opportunity"
            if asked == plan.reservation_id:
                return "reservation"
        elif isinstance(event, RiskRejected) and asked == event.subject:
            return "refusal"
        elif isinstance(event, (OrderFact, OrderIntent)) and asked in set(ids_of(event)):
            return "pair"
    return "id"


def line(event: Event) -> str:
    """Say one record in plain words, with its numbers."""
    if isinstance(event, PairPlanned):
        return f"{_planned(event.plan)}; {_sent(event)}"
    if isinstance(event, RiskRejected):
        return (
            f"refused {event.asset} at the {event.gate} gate: {event.layer}: {event.rule}: "
            f"measured {event.value}, limit {event.limit}{_ADVICE.get(event.rule, '')}"
        )
    if isinstance(event, OrderIntent):
        return _sent(event)
    fields = msgspec.to_builtins(event)
    left_out = {"ts_ns", "source", "correlation_id"}
    words = (
        f"{name} {_plain(value)}"
        for name, value in fields.items()
        if name not in left_out and value not in ("", None, {}, [], 0)
    )
    return ", ".join(words)


def _sent(event: OrderIntent) -> str:
    orders = "; ".join(
        f"{o.purpose} {o.side} {plain(o.quantity)} {o.asset} on {o.venue} at "
        f"{'market' if o.price is None else plain(o.price)} {o.time_in_force} (id {o.client_id})"
        for o in event.orders
    )
    checks = "; ".join(f"{name} {measure}" for name, measure in event.decision.checks.items())
    return f"sends {orders}; {event.decision.gate} gate passed: {checks}"


def _planned(plan: PairPlan) -> str:
    edge = plan.opportunity.edge
    return (
        f"takes {plain(plan.quantity)} {plan.asset}: long {plan.long_venue} at up to "
        f"{plain(plan.long_price)}, short {plan.short_venue} at no less than "
        f"{plain(plan.short_price)}; edge {edge.edge_bps:.2f} "
        f"bps = gross {edge.gross_bps:.2f} - expected exit {edge.expected_exit_bps:.2f} - entry "
        f"fees {edge.entry_fees_bps:.2f} - exit fees {edge.exit_fees_bps:.2f} - slippage "
        f"{edge.slippage_bps:.2f} + funding {edge.funding_bps:.2f}; score "
        f"{plan.opportunity.score:.2f}; leaves at {plan.exit_level_bps} bps, take profit "
        f"{plan.take_profit_bps} bps, stop {plan.stop_bps} bps, after {plan.max_hold_s} s"
    )


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} {_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_plain(item) for item in value) + "]"
    return str(value)


def clock_text(ts_ns: int) -> str:
    """Return a UTC time to the millisecond."""
    moment = datetime.fromtimestamp(ts_ns / SECOND, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
