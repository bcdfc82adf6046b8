"""Positions that were not what the venue held, because something was booked twice or not at all.

Each test is named after the public incident that it keeps from happening here.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from perpbot.domain.events import (
    AlertFired,
    ConnectionState,
    FillReported,
    OrderFilled,
    OrderProvenAbsent,
    PositionAdjusted,
    TradeCompleted,
    VenueConnectionChanged,
    VenueReconciled,
    VenueSnapshot,
)
from perpbot.domain.sides import Purpose, Side
from perpbot.kernel.clock import SECOND
from perpbot.simulation.fates import Fate, Message
from perpbot.simulation.venue import SimulatedVenue
from tests.unit.execution.stand import ASSET, LONG, SHORT, Stand, d


def _hedged(stand: Stand) -> None:
    stand.run(2_500)
    stand.open()
    stand.run(700)
    (pair,) = stand.pairs
    assert (pair.long.quantity, pair.short.quantity) == (d(2), d(-2))


def _flat(stand: Stand) -> None:
    stand.settle()
    stand.close()
    stand.settle(90)
    stand.check_settled()
    assert not stand.pairs


def _reconnect(stand: Stand, venue: str) -> None:
    for state in (ConnectionState.DOWN, ConnectionState.LIVE):
        stand.core.bus.publish(
            VenueConnectionChanged(
                ts_ns=stand.time.now_ns(),
                venue=venue,
                channel="private",
                state=state,
                reason="test",
            )
        )


def test_nautilus_3046_fills_told_again_after_a_restart() -> None:
    """The venue repeats all its fills to the next process: nothing is booked a second time."""
    stand = Stand()
    _hedged(stand)
    told = stand.told(FillReported)
    stand.crash()
    stand.boot()
    for event in told:
        stand.core.bus.publish(event)
    stand.run(3_000)
    assert not stand.told(OrderFilled)
    assert stand.core.folds.positions.quantity(LONG, "main", ASSET) == 2
    _flat(stand)


def test_nautilus_3104_books_and_venue_with_different_signs() -> None:
    """A person turned the position around: both sights agree, then it is adjusted and told."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add("stream", venue=SHORT)
    stand.by_hand(SHORT, Side.SELL, "0.65")
    stand.run(40_000)
    assert stand.core.folds.positions.quantity(SHORT, "main", ASSET) == d("-0.65")
    caused = [*stand.told(PositionAdjusted), *stand.told(OrderFilled)]
    assert caused, "the books moved without a cause in the journal"
    assert stand.told(AlertFired)


def test_nautilus_3878_recovery_twice_books_nothing_new() -> None:
    """What was found by asking keeps its id: the second recovery knows it."""
    stand = Stand()
    stand.faults.add("stream")
    stand.faults.add("response", Message.SUBMIT)
    _hedged_by_asking(stand)
    booked = [(event.venue, event.trade_id) for event in stand.told(OrderFilled)]
    assert len(set(booked)) == len(booked)
    for _ in range(3):
        stand.crash()
        stand.boot()
        stand.run(6_000)
        assert not stand.told(OrderFilled)
        assert not stand.told(PositionAdjusted)
    stand.faults.heal()
    _flat(stand)


def _hedged_by_asking(stand: Stand) -> None:
    stand.run(2_500)
    stand.open()
    stand.run(12_000)
    assert stand.held(LONG) == -stand.held(SHORT) != 0


def test_nautilus_4958_no_refusal_is_made_up_for_a_slow_venue() -> None:
    """The order reaches the exchange seconds late: it was not called failed before."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add(
        "request", Message.SUBMIT, venue=SHORT, fate=Fate(delay_ns=4 * SECOND), times=1
    )
    stand.open()
    stand.run(3_000)
    assert not stand.told(OrderProvenAbsent)
    stand.run(12_000)
    assert abs(stand.held(LONG) + stand.held(SHORT)) < stand.tolerance
    _flat(stand)


def test_bytex_16_a_flip_told_in_two_ways_is_booked_once() -> None:
    """One execution that closes and reopens is split by one channel and whole on another."""
    stand = Stand()
    stand.run(2_500)
    split = _FlipSplit(stand.venues[SHORT])
    split.install()
    stand.open()
    stand.run(15_000)
    stand.run(15_000)
    assert stand.core.folds.positions.quantity(SHORT, "main", ASSET) == stand.held(SHORT)
    assert stand.core.folds.orders.overfills == 0
    _flat(stand)


class _FlipSplit:
    """The private stream tells each execution in two halves, `-C` and `-O`; a question whole."""

    def __init__(self, venue: SimulatedVenue) -> None:
        self._venue = venue
        self._tell = venue._back

    def install(self) -> None:
        self._venue._back = self._back  # type: ignore[method-assign]

    def _back(self, delay_ns: int, event: Any) -> None:
        if not isinstance(event, FillReported):
            self._tell(delay_ns, event)
            return
        report = event.report
        for suffix in ("C", "O"):
            half = msgspec.structs.replace(
                report, trade_id=f"{report.trade_id}-{suffix}", quantity=report.quantity / 2
            )
            self._tell(delay_ns, msgspec.structs.replace(event, report=half))


def test_bytex_30_a_difference_is_not_logged_and_forgotten() -> None:
    """As long as books and venue differ, nothing opens there."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add("stream", venue=SHORT)
    stand.by_hand(SHORT, Side.BUY, "0.5")
    _reconnect(stand, SHORT)
    stand.run(500)
    differing = [event for event in stand.told(VenueReconciled) if event.venue == SHORT]
    if differing and not differing[-1].agreed:
        stand.open()
        assert not stand.orders(Purpose.OPEN)
    stand.faults.heal()
    stand.run(40_000)
    assert stand.core.folds.positions.quantity(SHORT, "main", ASSET) == stand.held(SHORT)


def test_quantdinger_232_a_stale_cumulative_after_a_restart() -> None:
    """An old report of the order arrives after the restart: the filled quantity only grows."""
    stand = Stand()
    _hedged(stand)
    old = [event for event in stand.events if event.kind == "ORDER_REPORTED"]
    filled = [order.filled for order in map(partial(_order, stand), stand.orders(Purpose.OPEN))]
    ids = [order.client_id for order in stand.orders(Purpose.OPEN)]
    stand.crash()
    stand.boot()
    for event in old:
        stand.core.bus.publish(event)
    stand.run(4_000)
    assert not stand.told(OrderFilled)
    found = [stand.core.folds.orders.get(client_id) for client_id in ids]
    assert [order.filled for order in found if order is not None] == filled
    _flat(stand)


def _order(stand: Stand, request: Any) -> Any:
    return stand.core.folds.orders.get(request.client_id)


def test_nautilus_5041_the_answer_holds_the_fill_that_the_stream_tells_too() -> None:
    """A fill arrives by the comparison first and by the stream afterwards: booked once."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add("stream", venue=LONG, fate=Fate(delay_ns=6 * SECOND))
    stand.faults.add("response", Message.SUBMIT, venue=LONG, fate=Fate(delay_ns=6 * SECOND))
    stand.open()
    stand.run(100)
    _reconnect(stand, LONG)
    stand.run(9_000)
    bought = [event for event in stand.told(OrderFilled) if event.venue == LONG]
    assert len({event.trade_id for event in bought}) == len(bought)
    stand.faults.heal()
    _flat(stand)


def test_nautilus_4991_reconnects_overlap_with_the_stream() -> None:
    """Five reconnects while a pair opens and closes: recovery and stream tell the same fills."""
    stand = Stand()
    stand.run(2_500)
    stand.open()
    for _ in range(5):
        stand.run(60)
        _reconnect(stand, LONG)
        _reconnect(stand, SHORT)
    stand.run(3_000)
    stand.close()
    stand.run(50)
    _reconnect(stand, LONG)
    _flat(stand)
    fills = [(event.venue, event.trade_id) for event in stand.told(OrderFilled)]
    assert len(set(fills)) == len(fills) == 4
    (end,) = stand.told(TradeCompleted)
    assert end.dust_long == end.dust_short == 0


def test_an_unanswered_position_is_unknown_and_not_flat() -> None:
    """The venue answers everything but positions: nothing is adjusted, nothing given up."""
    stand = Stand()
    _hedged(stand)
    for _ in range(4):
        stand.core.bus.publish(
            VenueSnapshot(
                ts_ns=stand.time.now_ns(),
                venue=LONG,
                reason="timer",
                asked_ns=stand.time.monotonic_ns(),
                orders=(),
                fills=(),
                positions=None,
                balances=(),
                error="positions: 503",
            )
        )
        stand.run(200)
    assert not stand.told(PositionAdjusted)
    assert stand.core.folds.positions.quantity(LONG, "main", ASSET) == 2
    _flat(stand)
