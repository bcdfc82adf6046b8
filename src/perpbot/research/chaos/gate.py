"""What a campaign has to hit: rows, edges of the state tables, kill points.

Chaos that does not happen proves nothing. `missing` names what some thousand seeds should have
taken and did not; edges that tier A cannot take stand here with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from perpbot.domain.sides import OrderState
from perpbot.execution import pair
from perpbot.portfolio import orders
from perpbot.portfolio.orders import OrderInput
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import KILL_POINTS, ROWS, TRANSFER_POINT
from perpbot.research.chaos.unhedged import percentile

LEAST_ROW_HITS = 20
HEALTHY_P99_MS = 2_000
"""Of the time from the first fill of a leg to its cover, where nothing is broken."""
RESERVATION_EDGES = ("none sent", "sent in_use", "sent released", "in_use released")
"""A reservation is made by the record that sends, so none is ever only reserved."""

S, I = OrderState, OrderInput  # noqa: E741 - the table below reads as a table
_ENDS = frozenset(state for state in S if state.is_end)
_ANSWERED = frozenset(S) - {S.INTENT, S.SENT, S.UNKNOWN}


def never(state: OrderState, happened: OrderInput) -> str:
    """Return why tier A cannot take an edge of the order table, or ""."""
    if state is S.INTENT and happened not in {I.SENT, I.UNKNOWN}:
        return "an intent is sent in the step that journals it, or made unknown by a recovery"
    if happened is I.SENT and state is not S.INTENT:
        return "the intake tells it of an intent only"
    if happened is I.UNKNOWN and state not in {S.INTENT, S.SENT}:
        return "the intake and the watch tell it only of orders without an answer"
    if happened is I.PLACED and state in _ANSWERED:
        return "no exchange of tier A gives an order a second id"
    if happened in {I.CANCELLED, I.EXPIRED} and state in {S.SENT, S.UNKNOWN}:
        return "the intake places an order before it ends it"
    if state is S.FILLED and happened in {I.PART_FILL, I.FULL_FILL}:
        return "the intake books nothing beyond the quantity of an order"
    if state in {S.REJECTED, S.PROVEN_ABSENT}:
        return "no exchange of tier A executes what it refused, or what is proven absent"
    if happened is I.CANCEL_ASKED and state in _ENDS:
        return "a cancel is asked for of orders at work only"
    if happened is I.EXPIRED and state in _ENDS:
        return "what the venue tells after an end is booked as a cancellation with more fills"
    if (state, happened) in {(S.FILLED, I.CANCELLED), (S.EXPIRED, I.FULL_FILL)}:
        return "a full order owes no fills, and one that expired was not full"
    return SELDOM.get((state, happened), "")


SELDOM: Mapping[tuple[OrderState, OrderInput], str] = {
    (S.SENT, I.PART_FILL): "a part fills before the acknowledgement comes",
    (S.SENT, I.CANCEL_FAILED): "a cancel overtakes the acknowledgement and is refused",
    (S.UNKNOWN, I.CANCEL_FAILED): "the same of an order of unknown outcome",
    (S.PARTIALLY_FILLED, I.CANCEL_FAILED): "a refused cancel is told twice",
    (S.CANCELLED, I.FULL_FILL): "the last fill is told after a cancellation that missed it",
    (S.CANCELLED, I.CANCELLED): "more fills are told after the end",
    (S.EXPIRED, I.CANCELLED): "the same",
}
"""Edges that take more luck than some thousand seeds have; unit tests take every edge."""
NO_RECORD: Mapping[str, str] = {
    "planned reserved": "one record plans, reserves and sends",
    "reserved opening": "the same",
}
"""Edges of the pair table that no record takes."""


def missing(counters: Counters) -> list[str]:
    """Return what was not hit often enough, by name."""
    return [
        *_slow(counters),
        *_rows(counters),
        *(f"order edge {edge}" for edge in order_edges() if not counters.order_edges[edge]),
        *(f"pair edge {edge}" for edge in pair_edges() if not counters.pair_edges[edge]),
        *(
            f"reservation edge {edge}"
            for edge in RESERVATION_EDGES
            if not counters.reservation_edges[edge]
        ),
        *(f"kill point {point}" for point in kill_points() if not counters.kill_points[point]),
    ]


def _slow(counters: Counters) -> Iterator[str]:
    p99_ms = percentile(counters.healthy_ms, 0.99)
    if p99_ms > HEALTHY_P99_MS:
        yield f"cover in time: p99 of healthy spells is {p99_ms} ms, at most {HEALTHY_P99_MS}"


def _rows(counters: Counters) -> Iterator[str]:
    for row in ROWS:
        if counters.rows[row] < LEAST_ROW_HITS:
            yield f"row {row}: hit {counters.rows[row]} times, {LEAST_ROW_HITS} were expected"


def order_edges() -> list[str]:
    """Return every edge of the order table that tier A can take, as counters name it."""
    return [
        f"{state} {happened}"
        for state, row in orders.TRANSITIONS.items()
        for happened in row
        if not never(state, happened)
    ]


def pair_edges() -> list[str]:
    """Return every edge of the pair table that a record of its own takes."""
    return [
        f"{before} {after}"
        for before, row in pair.TRANSITIONS.items()
        for after in sorted(row)
        if f"{before} {after}" not in NO_RECORD
    ]


def kill_points() -> list[str]:
    """Return every place where the node has to have died, before and after, and once nested."""
    places = [
        f"{point} {place} {kind}"
        for place, kind in (*KILL_POINTS, TRANSFER_POINT)
        for point in ("before", "after")
    ]
    return [*places, "nested"]
