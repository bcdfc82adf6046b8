"""Instruments change while the node runs: it notices, and goes on with what holds now."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec
import pytest

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.events import (
    AlertFired,
    Event,
    InstrumentChanged,
    InstrumentsListed,
    ListInstruments,
    OrderReported,
    TradeCompleted,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.sides import OrderState, Purpose
from perpbot.execution.instrument_watch import InstrumentWatch
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import MS, VirtualTime
from perpbot.simulation.fates import Message
from perpbot.simulation.model import Contract, ExchangeRefusal, OrderView, Refusal, Ticket
from perpbot.simulation.translation import instrument_of
from tests.unit.execution.stand import ASSET, CONTRACT, LONG, SHORT, START_NS, SYMBOL, Stand, d
from tests.unit.execution.test_gateway import report

KEY = (LONG, ASSET)
SAYS_SO = {"instrument_refusals": frozenset({"bad_price", "bad_quantity", "min_notional"})}
HOURLY = {"market.instruments_interval_s": 3_600.0}


class Registry:
    """A watch on one instrument, and what it said."""

    def __init__(self, instrument: Instrument) -> None:
        self.time = VirtualTime(START_NS)
        self.bus = EventBus(self.time)
        self.instruments = {KEY: instrument}
        self.watch = InstrumentWatch(
            self.bus,
            self.time,
            self.time,
            self.instruments,
            [
                Capabilities(
                    venue=LONG,
                    operator=LONG,
                    maker_fee_bps=d(2),
                    taker_fee_bps=d(5),
                    fees_as_of="2026-01-01",
                    instrument_refusals=frozenset({"grid"}),
                )
            ],
            interval_s=60.0,
        )
        self.said: list[Event] = []
        self.heard = 0
        for kind in (ListInstruments, InstrumentChanged, AlertFired):
            self.bus.subscribe(kind, self.said.append)

    def listed(self, instruments: Iterable[Instrument], venue: str = LONG) -> None:
        """Let a venue say what it trades."""
        self.bus.publish(InstrumentsListed(ts_ns=0, venue=venue, instruments=tuple(instruments)))

    def refused(self, code: str, state: OrderState = OrderState.REJECTED) -> None:
        """Let an order be refused."""
        said = msgspec.structs.replace(report(state), venue=LONG, code=code)
        self.bus.publish(OrderReported(ts_ns=0, report=said))

    def run(self, ms: int) -> list[str]:
        """Let time pass; return the kinds of what was said since the last time."""
        self.time.run_until(self.time.now_ns() + ms * MS)
        said, self.heard = self.said[self.heard :], len(self.said)
        return [str(event.kind) for event in said]


KNOWN = instrument_of(LONG, CONTRACT)


def changed(**fields: object) -> Instrument:
    """Return the known instrument with other fields."""
    return msgspec.structs.replace(KNOWN, **fields)


def test_every_venue_is_asked_on_a_timer() -> None:
    """From the start on, and not after the end."""
    registry = Registry(KNOWN)
    registry.watch.start()
    assert registry.run(59_000) == []
    assert registry.run(2_000) == ["LIST_INSTRUMENTS"]
    assert registry.run(60_000) == ["LIST_INSTRUMENTS"]
    registry.watch.stop()
    assert registry.run(300_000) == []


def test_a_refusal_that_says_so_asks_at_once_but_not_again_and_again() -> None:
    """Any other refusal, and any other report, says nothing of the instrument."""
    registry = Registry(KNOWN)
    registry.refused("margin")
    registry.refused("grid", OrderState.UNKNOWN)
    assert registry.run(1) == []
    registry.refused("grid")
    registry.refused("grid")
    assert registry.run(1_000) == ["LIST_INSTRUMENTS"]
    registry.refused("grid")
    assert registry.run(1_000) == []
    registry.refused("grid")
    assert registry.run(1) == ["LIST_INSTRUMENTS"]


def test_what_changed_is_told_and_holds() -> None:
    """Once: the same list again says nothing new."""
    registry = Registry(KNOWN)
    coarser = changed(quantity_step=d("0.01"), tick_size=d("0.5"))
    registry.listed([coarser])
    assert registry.run(1) == ["INSTRUMENT_CHANGED", "ALERT_FIRED"]
    assert registry.instruments[KEY] == coarser
    first = registry.said[0]
    assert isinstance(first, InstrumentChanged)
    assert first.changes == ("tick_size 0.1 -> 0.5", "quantity_step 0.001 -> 0.01")
    registry.listed([coarser])
    assert registry.run(1) == []


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param([changed(symbol="OTHER")], id="not listed"),
        pytest.param([changed(tradable=False)], id="suspended"),
        pytest.param([changed(contract_size=d(10), tick_size=d(1))], id="other units"),
        pytest.param([changed(settle="USDC")], id="other currency"),
    ],
)
def test_nothing_opens_in_what_is_gone_or_means_something_else(listed: list[Instrument]) -> None:
    """Its steps stay as they were known, for reductions."""
    registry = Registry(KNOWN)
    registry.listed(listed)
    assert registry.run(1) == ["INSTRUMENT_CHANGED", "ALERT_FIRED"]
    assert registry.instruments[KEY] == changed(tradable=False)
    registry.listed(listed)
    assert registry.run(1) == []


def test_trading_comes_back_with_the_listing() -> None:
    """A halt is over when the venue says so."""
    registry = Registry(KNOWN)
    registry.listed([changed(tradable=False)])
    registry.run(1)
    registry.listed([KNOWN])
    registry.run(1)
    assert registry.instruments[KEY] == KNOWN


def test_what_is_kept_for_reductions_only_is_never_opened_again() -> None:
    """A node that trades other assets still holds something in this one."""
    kept = changed(tradable=False)
    registry = Registry(kept)
    registry.listed([changed(tick_size=d("0.5"))])
    registry.run(1)
    assert registry.instruments[KEY] == changed(tick_size=d("0.5"), tradable=False)


def test_an_empty_list_and_that_of_another_venue_say_nothing() -> None:
    """No answer is never a delisting."""
    registry = Registry(KNOWN)
    registry.listed([])
    registry.listed([changed(tradable=False)], SHORT)
    assert registry.run(1) == []


# --- a whole node ---


def relist(stand: Stand, venue: str, **fields: object) -> Contract:
    """Let a venue trade by other steps from now on."""
    now = msgspec.structs.replace(stand.exchanges[venue].contract(SYMBOL), **fields)
    stand.exchanges[venue].relist(now)
    return now


def test_a_pair_whose_leg_is_refused_for_its_grid_is_completed_on_the_new_one() -> None:
    """The refusal asks, the answer holds for the hedge; later pairs are planned on it."""
    stand = Stand(HOURLY, capabilities=SAYS_SO)
    stand.run(2_500)
    stand.open(size=2.003)
    stand.run(2_000)
    stand.close()
    stand.settle()
    relist(stand, SHORT, quantity_step=d("0.05"), min_quantity=d("0.05"), tick_size=d("0.02"))
    stand.run(1_000)
    stand.open(size=2.003)
    stand.settle()
    (told,) = stand.told(InstrumentChanged)
    assert told.after.quantity_step == d("0.05")
    stand.close()
    stand.settle()
    stand.open(size=2.003)
    stand.run(2_000)
    (pair,) = stand.pairs
    assert pair.plan.quantity == d("2")
    assert pair.plan.short_price % d("0.02") == 0
    assert stand.held(SHORT) == -stand.held(LONG) == d("-2")


@pytest.mark.parametrize("enforced", [True, False], ids=["reduce-only", "no reduce-only"])
def test_what_is_held_between_new_steps_is_closed_dust_included(enforced: bool) -> None:
    """The venue cuts a reduction to the position; where it does not, dust is told and left."""
    stand = Stand(HOURLY, capabilities={**SAYS_SO, "reduce_only": enforced})
    stand.run(2_500)
    stand.open(size=2.003)
    stand.run(1_000)
    assert stand.held(SHORT) == d("-2.003")
    relist(stand, SHORT, quantity_step=d("0.05"), min_quantity=d("0.05"))
    stand.close()
    stand.settle()
    left = Decimal(0) if enforced else d("-0.003")
    assert (stand.held(LONG), stand.held(SHORT)) == (d(0), left)
    (done,) = stand.told(TradeCompleted)
    assert abs(done.dust_short) == abs(left)
    assert not stand.pairs
    sent = [o.quantity for o in stand.orders(Purpose.REDUCE) if o.venue == SHORT]
    assert (sent[0], sent[-1] % d("0.05")) == (d("2.003"), d(0))


def test_what_fell_below_the_minimum_is_closed_where_the_venue_cuts_it() -> None:
    """A minimum that rose above what is held keeps nobody from leaving."""
    stand = Stand(HOURLY, capabilities=SAYS_SO)
    stand.run(2_500)
    stand.open(size=0.5)
    stand.run(1_000)
    assert stand.held(LONG) == d("0.5")
    relist(stand, LONG, min_quantity=d(1))
    stand.close()
    stand.settle()
    assert (stand.held(LONG), stand.held(SHORT)) == (d(0), d(0))
    assert not stand.pairs


def test_a_venue_that_refuses_what_is_rounded_up_gets_what_is_rounded_down() -> None:
    """Three times are enough: then the dust is left."""
    stand = Stand(HOURLY, capabilities={**SAYS_SO, "reduce_only": True})
    stand.run(2_500)
    stand.open(size=2.003)
    stand.run(1_000)
    relist(stand, SHORT, quantity_step=d("0.05"), min_quantity=d("0.05"))
    exchange, submit = stand.exchanges[SHORT], stand.exchanges[SHORT].submit
    refused: list[Decimal] = []

    def picky(account: str, ticket: Ticket) -> OrderView:
        if ticket.quantity > abs(stand.held(SHORT)):
            refused.append(ticket.quantity)
            raise ExchangeRefusal(Refusal.REDUCE_ONLY, "more than the position")
        return submit(account, ticket)

    exchange.submit = picky  # type: ignore[method-assign]
    stand.close()
    stand.settle(120)
    assert set(refused) == {d("2.05"), d("0.05")}
    assert len(refused) <= 6
    assert stand.held(SHORT) == d("-0.003")
    assert not stand.pairs


def test_a_change_that_nobody_answers_for_is_asked_again() -> None:
    """The answer is lost once; the next refusal asks again."""
    stand = Stand(HOURLY, capabilities=SAYS_SO)
    stand.run(2_500)
    stand.open(size=2.003)
    stand.run(1_000)
    relist(stand, LONG, quantity_step=d("0.05"), min_quantity=d("0.05"))
    stand.faults.add("response", Message.QUERY, venue=LONG, times=1)
    stand.close()
    stand.settle(60)
    assert len(stand.told(ListInstruments)) >= 2
    assert stand.held(LONG) == 0
