"""Rehearsals: they reach the venues' formatting and leave no trace."""

from __future__ import annotations

import msgspec

from perpbot.domain.errors import Unavailable
from perpbot.domain.orders import OrderRequest
from perpbot.execution.warmer import Warmer
from perpbot.kernel.clock import MS, VirtualTime
from tests.benchmarks import stage
from tests.unit.portfolio.office import DECISION

VENUES = ("okx", "binance")
INTERVAL_MS = 10


class Rehearsing:
    """Trading that keeps what it was asked to format."""

    def __init__(self, *, fails: bool = False) -> None:
        self.orders: list[OrderRequest] = []
        self.fails = fails

    def rehearse(self, order: OrderRequest) -> bytes:
        if self.fails:
            raise Unavailable("okx", "not connected")
        self.orders.append(order)
        return b"bytes"


class Floor:
    """A core in virtual time whose okx can rehearse and whose binance cannot."""

    def __init__(self, trading: Rehearsing) -> None:
        self.time = VirtualTime(1_700_000_000_000_000_000)
        names = stage.assets(1)
        self.core = stage.build_core(
            stage.settings(names),
            [stage.instrument(venue, asset) for venue in VENUES for asset in names],
            clock=self.time,
            timers=self.time,
        )
        tradings = {"okx": trading, "binance": object()}
        core = self.core
        self.warmer = Warmer(
            core.bus,
            self.time,
            self.time,
            core.engine,
            core.around,
            tradings,
            core.scanner.imagine,
            interval_ms=INTERVAL_MS,
        )
        self.warmer.start()

    def wait(self, intervals: int) -> None:
        """Let some rehearsals fall due."""
        self.time.run_until(self.time.now_ns() + intervals * INTERVAL_MS * MS)


def test_without_quotes_nothing_is_rehearsed() -> None:
    """No price is invented."""
    trading = Rehearsing()
    floor = Floor(trading)
    floor.wait(5)
    assert floor.warmer.rehearsals == 0
    assert trading.orders == []


def test_rehearsals_take_turns_and_leave_no_trace() -> None:
    """Both directions are formatted; journal, reservations, pairs, orders and ids stay."""
    trading = Rehearsing()
    floor = Floor(trading)
    stage.quote_everywhere(floor.core, floor.time)
    before = floor.core.bus.sequence, floor.core.ids.next_sequence()
    floor.wait(4)
    assert floor.warmer.rehearsals == 4
    assert {order.leg for order in trading.orders} == {0, 1}
    assert (floor.core.bus.sequence, floor.core.ids.next_sequence() - 1) == before
    assert floor.core.capital.reserved_total() == 0
    assert floor.core.flat
    assert floor.core.engine.refused == {}


def test_venue_that_is_not_ready_is_no_fault() -> None:
    """The next rehearsal comes all the same."""
    floor = Floor(Rehearsing(fails=True))
    stage.quote_everywhere(floor.core, floor.time)
    floor.wait(3)
    assert floor.warmer.rehearsals == 0
    assert floor.core.bus.halted is None


def test_size_that_does_not_fit_is_no_fault() -> None:
    """A thin touch has no pair to rehearse."""
    floor = Floor(Rehearsing())
    now_ns = floor.time.monotonic_ns()
    for one in floor.core.markets.instruments.values():
        floor.core.quotes.slot(one).update(60_000.0, 0.002, 60_000.1, 0.0001, 0, now_ns)
        floor.core.quotes.slot(one).update(60_000.0, 0.002, 60_000.1, 0.002, 0, now_ns)
    planner = floor.core.engine._planner
    planner._overrides = {
        asset: msgspec.structs.replace(terms, notional_min_usd=stage.ONE * 1_000_000)
        for asset, terms in planner._overrides.items()
    }
    floor.wait(2)
    assert floor.warmer.rehearsals == 0


def test_halted_bus_ends_the_rehearsals() -> None:
    """Nothing is due any more."""
    floor = Floor(Rehearsing())
    stage.quote_everywhere(floor.core, floor.time)
    floor.core.bus._halt = RuntimeError("halted")
    floor.wait(3)
    assert floor.warmer.rehearsals == 0


def test_a_rehearsal_makes_the_record_where_the_gates_let_it_pass() -> None:
    """What the gates measured for it is what a pair would have been opened on."""
    floor = Floor(Rehearsing())
    core = floor.core
    stage.quote_everywhere(core, floor.time)
    opportunity = core.scanner.imagine()
    assert opportunity is not None
    refused = core.engine.rehearse(opportunity, floor.warmer._maker)
    assert refused.record is None
    assert len(refused.orders) == 2

    core.risk.check_open = lambda *_: DECISION  # type: ignore[method-assign]
    floor.wait(2)
    passed = core.engine.rehearse(opportunity, floor.warmer._maker)
    assert passed.record is not None
    assert passed.record.orders == passed.orders
    assert floor.warmer.rehearsals == 2
    assert core.flat


def test_stale_quotes_are_not_imagined() -> None:
    """A direction without usable quotes has its turn all the same."""
    floor = Floor(Rehearsing())
    assert floor.core.scanner.imagine() is None
    stage.quote_everywhere(floor.core, floor.time)
    both = {floor.core.scanner.imagine().long_venue for _ in range(2)}  # type: ignore[union-attr]
    assert both == set(VENUES)
    assert floor.core.scanner.statistics().episodes == 0
