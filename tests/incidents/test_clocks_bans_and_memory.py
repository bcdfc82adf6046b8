"""Clocks, nonces, bans and memory: what made bots die, get banned, or eat the machine.

Each test is named after the public incident that it keeps from happening here.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from perpbot.domain.errors import PerpbotError
from perpbot.domain.events import GateDecision, QuoteUpdated, SubmitOrders
from perpbot.domain.sides import Purpose
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, RealClock, VirtualTime
from perpbot.kernel.journal.writer import Journal
from perpbot.simulation.fates import Fate, Message
from perpbot.venues.binance.rest import WINDOWS
from perpbot.venues.wire.backoff import Backoff
from perpbot.venues.wire.limits import Lane, RateBudget, Window
from perpbot.venues.wire.nonces import NonceSource
from tests.unit.execution.stand import LONG, SHORT, Stand

_DECISION = GateDecision(gate="reduce", checks={}, ts_ns=1)


def test_gekko_1855_a_refused_timestamp_does_not_end_the_node() -> None:
    """The venue refuses for its clock: a definite answer, the pair goes on or is taken back."""
    stand = Stand()
    stand.run(2_500)
    stand.faults.add(
        "request",
        Message.SUBMIT,
        venue=SHORT,
        fate=Fate(reject="-1021 timestamp outside of the recvWindow"),
        times=1,
    )
    stand.open()
    stand.run(6_000)
    assert stand.core.bus.halted is None
    assert abs(stand.held(LONG) + stand.held(SHORT)) < stand.tolerance
    stand.close()
    stand.settle()
    stand.check_settled()


def test_ccxt_2281_a_step_of_the_machines_clock_ages_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Expiries, cooldowns and proofs go by a wall time that goes on evenly."""
    real, before_ns = time.time_ns, RealClock.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: real() + 7_200 * SECOND)
    assert RealClock.now_ns() - before_ns < 60 * SECOND


def test_pybit_191_an_order_that_waited_too_long_is_not_sent() -> None:
    """Requests carry their expiry: what queued beyond it is refused by the exchange or by us."""
    stand = Stand()
    stand.run(2_500)
    sent_ns = stand.time.now_ns()
    stand.open()
    for order in stand.orders(Purpose.OPEN):
        assert sent_ns < order.expires_ns <= sent_ns + 30 * SECOND


def test_krakenex_21_a_second_process_on_the_same_account_does_not_start(tmp_path: Path) -> None:
    """The journal has one writer; the second one is told what to do."""
    first = Journal(tmp_path)
    try:
        with pytest.raises(PerpbotError, match="in use by another perpbot"):
            Journal(tmp_path)
    finally:
        first.close()
    Journal(tmp_path).close()


def test_bitfinex_120_a_clock_that_stepped_back_reuses_no_nonce() -> None:
    """The last nonce is handed on: the next process goes on after it."""
    time = VirtualTime(100 * SECOND)
    last = NonceSource(time).next_ms()
    earlier = VirtualTime(10 * SECOND)
    assert NonceSource(earlier, last=last).next_ms() > last


def test_xchange_3629_events_of_other_threads_are_dispatched_by_one() -> None:
    """Threads may publish; handlers run in one thread only, and nothing is lost."""
    time = VirtualTime(1)
    bus = EventBus(time)
    seen: list[int] = []
    bus.subscribe(SubmitOrders, lambda _event: seen.append(threading.get_ident()))

    def publish() -> None:
        for _ in range(50):
            bus.publish(SubmitOrders(ts_ns=1, orders=(), decision=_DECISION))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bus.drain()
    assert len(seen) == 200


def test_btct_427_a_429_closes_the_door_for_the_time_told() -> None:
    """Everything that is not a reduction waits as long as the venue asked for."""
    time = VirtualTime(0)
    budget = RateBudget([Window("weight", 100, 60.0)], clock=time, timers=time)
    budget.penalise(30.0)
    assert not budget.try_acquire(Lane.OPEN, {"weight": 1})
    time.run_until(29 * SECOND)
    assert not budget.try_acquire(Lane.READ, {"weight": 1})
    time.run_until(61 * SECOND)
    assert budget.try_acquire(Lane.READ, {"weight": 1})


def test_ccxt_14639_a_burst_stays_within_the_window() -> None:
    """A hundred requests at once do not use what the venue does not give."""
    time = VirtualTime(0)
    budget = RateBudget([Window("weight", 50, 10.0)], clock=time, timers=time)
    taken = sum(budget.try_acquire(Lane.REDUCE, {"weight": 1}) for _ in range(100))
    assert taken == 50


def test_octobot_2108_the_default_budget_is_the_venues_own() -> None:
    """What is set when nobody set anything is what the venue documents, no more."""
    documented = {"weight": 2_400 / 60, "orders_10s": 300 / 10, "orders_1m": 1_200 / 60}
    for window in WINDOWS:
        assert window.limit / window.period_s <= documented[window.name]


def test_reconnects_of_many_clients_do_not_come_at_once() -> None:
    """Full jitter: twenty nodes that lost the same venue do not return in the same instant."""
    delays = {round(Backoff(rng=random.Random(seed)).next_s(), 3) for seed in range(20)}
    assert len(delays) > 10


def test_hummingbot_4756_what_has_ended_leaves_nothing_at_work() -> None:
    """Pairs that have ended leave neither orders to watch nor pairs nor reservations behind."""
    stand = Stand()
    for _ in range(6):
        stand.run(2_500)
        stand.open()
        stand.run(1_500)
        stand.close()
        stand.settle()
        assert not stand.pairs
        assert not list(stand.core.folds.orders.unsettled())
        assert not list(stand.core.folds.reservations)


def test_ccxt_9799_a_slow_reader_holds_newest_values_only() -> None:
    """A thousand quotes that nobody took are one quote, and the rest is counted."""
    time = VirtualTime(1)
    bus = EventBus(time)
    taken: list[float] = []

    def flood(_event: SubmitOrders) -> None:
        for number in range(1_000):
            bus.publish(
                QuoteUpdated(
                    venue="okx",
                    asset="BTC-PERP",
                    bid=float(number),
                    bid_size=1.0,
                    ask=number + 1.0,
                    ask_size=1.0,
                    venue_ns=1,
                    recv_ns=1,
                )
            )

    bus.subscribe(SubmitOrders, flood)
    bus.subscribe(QuoteUpdated, lambda quote: taken.append(quote.bid))
    bus.publish(SubmitOrders(ts_ns=1, orders=(), decision=_DECISION))
    bus.drain()
    assert taken == [999.0]
    assert bus.statistics().replaced == 999
