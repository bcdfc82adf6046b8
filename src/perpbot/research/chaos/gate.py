"""What a campaign has to hit: rows, edges of the state tables, kill points.

Chaos that does not happen proves nothing. `missing` names what some thousand seeds should have
taken and did not; edges that tier A cannot take stand here with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from perpbot.domain.sides import OrderState
from perpbot.execution import pair
from perpbot.portfolio import orders
from perpbot.portfolio.orders import OrderInput
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import KILL_POINTS, ROWS

LEAST_ROW_HITS = 20
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
    return RARE.get((state, happened), "")


RARE: dict[tuple[OrderState, OrderInput], str] = {}


def missing(counters: Counters) -> list[str]:
    """Return what was not hit often enough, by name."""
    return [
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
        if f"{before} {after}" not in {"planned reserved", "reserved opening"}
    ]


def kill_points() -> list[str]:
    """Return every place where the node has to have died, before and after, and once nested."""
    places = [
        f"{point} {place} {kind}" for place, kind in KILL_POINTS for point in ("before", "after")
    ]
    return [*places, "nested"]
