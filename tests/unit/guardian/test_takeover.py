"""Taking over at fake venues: cancels, reductions, unknown outcomes, dead venues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from perpbot.domain.sides import Purpose, TimeInForce
from perpbot.guardian.hand import ABSENT_AFTER_NS, EXPIRY_NS, Hand
from perpbot.guardian.record import Fact, GuardianRecord
from perpbot.guardian.settings import Flatten
from perpbot.guardian.takeover import Takeover
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.kernel.ids import decode_order_id
from perpbot.venues.port import Venue
from tests.unit.guardian.door import FakeVenue

TURNS = 2_000


class Stand:
    """Hands at fake venues; each wait is one turn of the loop, and moves the time."""

    def __init__(
        self, directory: Path, venues: tuple[FakeVenue, ...], flatten: Flatten, *, closes: bool
    ) -> None:
        self.time = VirtualTime(1_000 * SECOND)
        self.facts: list[Fact] = []
        self.record = GuardianRecord(directory, self.time.now_ns, self.facts.append)
        self.hands = [
            Hand(
                cast("Venue", venue),
                self.record,
                self.time,
                slippage_bps=100.0,
                flattens=closes,
            )
            for venue in venues
        ]
        for hand in self.hands:
            hand.begin(7)
        self.takeover = Takeover(self.hands, self.record, flatten, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.time.advance(self.time.now_ns() + int(seconds * SECOND / 2))
        await asyncio.sleep(0)

    async def until(self, look: Callable[[], Any]) -> None:
        """Let it work until something holds."""
        for _ in range(TURNS):
            if look():
                return
            await asyncio.sleep(0)
        pytest.fail(f"did not happen; {self.facts}")

    async def turns(self, count: int = 200) -> None:
        """Let it work for a while."""
        for _ in range(count):
            await asyncio.sleep(0)

    def kinds(self, *kinds: str) -> list[Fact]:
        """What was recorded of these kinds."""
        return [fact for fact in self.facts if fact["kind"] in kinds]


@asynccontextmanager
async def working(
    directory: Path,
    *venues: FakeVenue,
    flatten: Flatten = Flatten.UNHEDGED,
    due: bool = True,
    closes: bool = True,
) -> AsyncIterator[Stand]:
    """Have a takeover at work."""
    stand = Stand(directory, venues, flatten, closes=closes)
    if due:
        stand.takeover.flatten()
    task = asyncio.create_task(stand.takeover.run())
    try:
        yield stand
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        stand.record.close()


async def test_own_orders_come_back_and_nothing_else(tmp_path: Path) -> None:
    """Orders of others and protective stops stay; positions stay until it is time."""
    venue = FakeVenue("okx", "1")
    ours = {venue.rest(), venue.rest(Purpose.HEDGE), venue.rest(Purpose.REDUCE)}
    stop = venue.rest(Purpose.PROTECT)
    other = venue.rest(account="another")
    async with working(tmp_path, venue, due=False) as stand:
        await stand.until(lambda: set(venue.resting) == {stop, other})
        await stand.turns()

    assert set(venue.cancelled) == ours
    assert venue.sent == []
    assert {fact["order"] for fact in stand.kinds("cancel")} == ours


async def test_what_is_unhedged_is_reduced_by_the_venues_own_word(tmp_path: Path) -> None:
    """Reduce-only, immediate, with an expiry and an id of the guardian's epoch."""
    okx, binance = FakeVenue("okx", "1"), FakeVenue("binance", "-0.7")
    async with working(tmp_path, okx, binance) as stand:
        await stand.until(lambda: stand.kinds("level"))
        await stand.turns()

    assert okx.quantity == Decimal("0.7")
    assert binance.sent == []
    (order,) = okx.sent
    identity = decode_order_id(order.client_id)
    assert identity is not None
    assert (identity.epoch, identity.purpose) == (7, Purpose.REDUCE)
    assert order.reduce_only
    assert order.time_in_force is TimeInForce.IOC
    assert order.price == Decimal("99.0")
    assert 0 < order.expires_ns - stand.time.now_ns() + 10**15 < 10**15 + EXPIRY_NS
    assert [fact["kind"] for fact in stand.facts if "order" in fact] == ["submit", "settled"]


async def test_a_dead_venue_holds_up_no_cancel_but_the_closing(tmp_path: Path) -> None:
    """What is not known may be the hedge; once it is known, the rest goes."""
    okx, binance = FakeVenue("okx", "1"), FakeVenue("binance", "-0.7")
    binance.down = True
    okx.rest()
    binance.rest()
    async with working(tmp_path, okx, binance) as stand:
        await stand.until(lambda: stand.kinds("waiting") and not okx.resting)
        await stand.turns()
        assert okx.sent == []
        assert [fact["venues"] for fact in stand.kinds("waiting")] == [["binance"]]
        binance.down = False
        await stand.until(lambda: stand.kinds("level"))

    assert binance.resting == {}
    assert okx.quantity == Decimal("0.7")


async def test_everything_goes_where_that_is_set(tmp_path: Path) -> None:
    """Venue by venue: a dead one holds up nobody, and follows when it is back."""
    okx, binance = FakeVenue("okx", "1"), FakeVenue("binance", "-0.7")
    binance.down = True
    async with working(tmp_path, okx, binance, flatten=Flatten.ALL) as stand:
        await stand.until(lambda: okx.quantity == 0)
        assert binance.quantity
        binance.down = False
        await stand.until(lambda: binance.quantity == 0)


@pytest.mark.parametrize("flatten", [Flatten.NONE, Flatten.ALL])
async def test_where_it_may_not_close_it_does_not(tmp_path: Path, flatten: Flatten) -> None:
    """By setting, or because the account is not dedicated."""
    venue = FakeVenue("okx", "1")
    venue.rest()
    async with working(tmp_path, venue, flatten=flatten, closes=False) as stand:
        await stand.until(lambda: not venue.resting)
        await stand.turns()

    assert venue.sent == []


@pytest.mark.parametrize("arrives", [True, False], ids=["it was executed", "it never arrived"])
@pytest.mark.parametrize("expiry", [True, False])
async def test_an_unknown_outcome_is_asked_for_before_anything_follows(
    tmp_path: Path, *, arrives: bool, expiry: bool
) -> None:
    """Never two orders for one position; absence counts once the order cannot arrive."""
    venue = FakeVenue("okx", "1", request_expiry=expiry)
    venue.lose_answers, venue.arrives = True, arrives
    async with working(tmp_path, venue) as stand:
        await stand.until(lambda: venue.sent)
        sent_ns = stand.time.now_ns()
        venue.lose_answers = False
        await stand.until(lambda: stand.kinds("level"))
        took_ns = stand.time.now_ns() - sent_ns

    assert venue.quantity == 0
    assert len(venue.sent) == (1 if arrives else 2)
    assert len({order.client_id for order in venue.sent}) == len(venue.sent)
    outcomes = [fact["outcome"] for fact in stand.kinds("settled")]
    assert outcomes == (["filled"] if arrives else ["absent", "filled"])
    if not arrives:
        assert took_ns >= (EXPIRY_NS if expiry else ABSENT_AFTER_NS)


async def test_a_position_that_lags_is_not_closed_twice(tmp_path: Path) -> None:
    """The same plan has to come out of two looks."""
    okx, binance = FakeVenue("okx", "1"), FakeVenue("binance", "-0.5")
    async with working(tmp_path, okx, binance) as stand:
        await stand.until(lambda: okx.sent)
        okx.lag = [Decimal(1)]  # the venue tells once more what was before
        await stand.until(lambda: stand.kinds("level"))

    assert len(okx.sent) == 1
    assert okx.quantity == Decimal("0.5")


async def test_refusals_and_what_cannot_be_sent_are_told_once(tmp_path: Path) -> None:
    """It tries again as the market moves; dust and venues without reduce-only are left."""
    venue = FakeVenue("okx", "1")
    venue.refuse = "price out of band"
    async with working(tmp_path, venue) as stand:
        await stand.until(lambda: len(venue.sent) >= 2)
        venue.refuse = ""
        await stand.until(lambda: venue.quantity == 0)
        venue.quantity = Decimal("0.001")
        await stand.until(lambda: stand.kinds("left"))
        await stand.turns()

    assert "price out of band" in stand.kinds("settled")[0]["reason"]
    assert len(stand.kinds("left")) == 1


async def test_without_reduce_only_nothing_is_sent(tmp_path: Path) -> None:
    """A reduction that the venue does not hold to could open."""
    venue = FakeVenue("okx", "1", reduce_only=False)
    async with working(tmp_path, venue) as stand:
        await stand.until(lambda: stand.kinds("left"))

    assert venue.sent == []


async def test_a_fault_of_ours_at_one_venue_is_told_and_spares_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An emergency is no time to fall over."""
    odd, good = FakeVenue("okx"), FakeVenue("binance")
    good.rest()

    async def broken() -> list[object]:
        raise KeyError("unexpected")

    monkeypatch.setattr(odd, "open_orders", broken)
    async with working(tmp_path, odd, good) as stand:
        await stand.until(lambda: not good.resting and len(stand.kinds("fault")) > 2)

    assert {fact["where"] for fact in stand.kinds("fault")} == {"okx", "flatten"}


async def test_a_cancel_that_fails_is_tried_with_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The open orders tell whether it worked."""
    venue = FakeVenue("okx")
    client_id = venue.rest()
    kept = dict(venue.resting)
    venue.resting.clear()
    answers = iter([kept, kept, {}])

    async def told() -> list[object]:
        return list(next(answers, {}).values())

    monkeypatch.setattr(venue, "open_orders", told)
    async with working(tmp_path, venue) as stand:
        await stand.until(lambda: stand.kinds("level"))

    failed = stand.kinds("cancel_failed")
    assert failed
    assert {fact["order"] for fact in failed} == {client_id}


async def test_what_an_earlier_guardian_sent_is_asked_for(tmp_path: Path) -> None:
    """Its record tells what has no answer yet."""
    venue = FakeVenue("okx", "1")
    venue.lose_answers = True
    async with working(tmp_path, venue) as first:
        await first.until(lambda: venue.sent)
    assert venue.quantity == 0

    venue.lose_answers = False
    stand = Stand(tmp_path, (venue,), Flatten.UNHEDGED, closes=True)
    (hand,) = stand.hands
    assert hand.unresolved == {"BTC okx"}
    await hand.resolve()
    assert hand.unresolved == {"BTC okx"}  # not before it knows the venue
    assert await hand.prepare()
    await hand.resolve()
    assert hand.unresolved == frozenset()
    stand.record.close()
    third = Stand(tmp_path, (venue,), Flatten.UNHEDGED, closes=True)
    assert third.hands[0].unresolved == frozenset()
    third.record.close()


async def test_a_key_that_does_not_work_is_told_when_it_changes(tmp_path: Path) -> None:
    """Before it is needed."""
    venue = FakeVenue("okx")
    stand = Stand(tmp_path, (venue,), Flatten.UNHEDGED, closes=True)
    (hand,) = stand.hands
    assert [hand.status.ready] == [False]
    venue.down = True
    assert not await hand.prepare()
    assert not await hand.prepare()
    assert await hand.look() is None
    venue.down = False
    assert await hand.prepare()
    assert [hand.status.ready] == [True]
    assert [fact["ready"] for fact in stand.kinds("hand")] == [False, True]
    assert venue.opened == 1
    stand.record.close()
