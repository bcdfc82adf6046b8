from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.kernel.clock import MS, SECOND, TimerHandle, VirtualTime
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.limits import Window


class Watched(VirtualTime):
    """Virtual time that remembers how long every timer was to run."""

    def __init__(self) -> None:
        super().__init__(SECOND)
        self.delays_ns: list[int] = []

    def call_later(self, delay_ns: int, callback: Callable[[], None]) -> TimerHandle:  # type: ignore[override]
        self.delays_ns.append(delay_ns)
        return super().call_later(delay_ns, callback)


class Line:
    """Sockets that dial at one `Dials`; each handshake lasts until it is answered."""

    def __init__(self, limit: int = 3, period_s: float = 1.0) -> None:
        self.time = Watched()
        window = Window("dials", limit, period_s)
        self.dials = Dials(window, clock=self.time, timers=self.time)
        self.left: list[str] = []
        self.spans: list[tuple[int, int]] = []
        """When each dial began and ended."""
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[str, asyncio.Event] = {}

    async def dial(self, *names: str) -> None:
        """Let sockets ask for their turn, in order; private ones are called p..."""
        for name in names:
            self._answers[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._dial(name))
            await self.settle()

    async def _dial(self, name: str) -> None:
        async with self.dials.turn(private=name.startswith("p")):
            self.left.append(name)
            began_ns = self.time.monotonic_ns()
            try:
                await self._answers[name].wait()
            finally:
                self.spans.append((began_ns, self.time.monotonic_ns()))

    async def answer(self, *names: str) -> None:
        """End handshakes, whatever their outcome."""
        for name in names:
            self._answers[name].set()
        await self.settle()

    async def wait_ms(self, delay_ms: int) -> None:
        """Let time pass."""
        self.time.run_until(self.time.monotonic_ns() + delay_ms * MS)
        await self.settle()

    @staticmethod
    async def settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_a_storm_is_spread_over_the_venues_periods() -> None:
    """Three at once, three more when their period is over, and so on."""
    line = Line()
    names = [f"p{number}" for number in range(7)]
    await line.dial(*names)
    await line.answer(*names)
    assert line.left == names[:3]
    await line.wait_ms(1_000)
    assert line.left == names[:3]
    await line.wait_ms(1)
    assert line.left == names[:6]
    await line.wait_ms(1_001)
    assert line.left == names
    assert line.dials.waiting == 0


async def test_the_period_begins_when_the_handshake_ends() -> None:
    """What is under way may reach the venue at any moment: its turn is not over."""
    line = Line(limit=1)
    await line.dial("p1", "p2")
    await line.wait_ms(5_000)
    assert line.left == ["p1"]
    assert line.time.next_due_ns is None
    await line.answer("p1")
    await line.wait_ms(1_000)
    assert line.left == ["p1"]
    await line.wait_ms(1)
    assert line.left == ["p1", "p2"]


async def test_first_connects_and_a_lone_reconnect_do_not_wait() -> None:
    """Nor do they start a timer; a private socket may even be lost right after the start."""
    line = Line()
    await line.dial("m1", "p1")
    await line.answer("m1", "p1")
    await line.dial("p2")
    await line.answer("p2")
    for name in ("m2", "p3", "m3"):
        await line.wait_ms(1_000)
        await line.dial(name)
        await line.answer(name)
    assert line.left == ["m1", "p1", "p2", "m2", "p3", "m3"]
    assert line.time.delays_ns == []


@pytest.mark.parametrize("before", [("m1", "m2"), ("m1", "p1")], ids=["public", "both"])
async def test_the_last_third_is_for_private_sockets(before: tuple[str, str]) -> None:
    """However often public ones come and go, whoever asks first, a private one finds a turn."""
    line = Line()
    await line.dial(*before)
    await line.answer(*before)
    await line.dial("m3", "p3")
    assert line.left == [*before, "p3"]
    await line.answer("p3")
    await line.wait_ms(1_001)
    assert line.left == [*before, "p3", "m3"]


async def test_private_sockets_go_first_when_all_wait() -> None:
    """Whoever asked first; public ones follow in their order."""
    line = Line()
    first = ("p1", "p2", "p3")
    await line.dial(*first)
    await line.answer(*first)
    await line.dial("m1", "m2", "p4", "m3", "p5")
    assert line.dials.waiting == 5
    await line.wait_ms(1_001)
    assert line.left[3:] == ["p4", "p5"]
    await line.answer("p4", "p5")
    await line.wait_ms(1_001)
    assert line.left[5:] == ["m1", "m2"]
    await line.answer("m1", "m2")
    await line.wait_ms(1_001)
    assert line.left[7:] == ["m3"]


async def test_nobody_overtakes_who_waits_for_a_late_timer() -> None:
    """A turn is over, but no timer has said so yet: who asks now stands behind."""
    line = Line(limit=1)
    await line.dial("p1")
    await line.answer("p1")
    await line.dial("m1")
    line.time.advance(line.time.monotonic_ns() + 2 * SECOND)
    await line.dial("m2")
    assert line.left == ["p1", "m1"]
    assert line.dials.waiting == 1


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "before another"])
async def test_who_stops_waiting_leaves_nothing(*, alone: bool) -> None:
    """No waiter, no timer, and its turn is the next one's."""
    line = Line(limit=1)
    await line.dial("p1")
    await line.answer("p1")
    await line.dial("p2", *([] if alone else ["p3"]))
    line.tasks["p2"].cancel()
    await line.settle()
    assert line.dials.waiting == (not alone)
    assert (line.time.next_due_ns is None) is alone
    await line.wait_ms(1_001)
    assert line.left == (["p1"] if alone else ["p1", "p3"])


async def test_a_turn_that_comes_to_one_just_cancelled_goes_on() -> None:
    """It was given in the instant of the cancel; nobody dialled, so it costs no period."""
    line = Line(limit=1)
    await line.dial("p1")
    await line.answer("p1")
    await line.dial("p2", "p3")
    line.time.run_until(line.time.monotonic_ns() + 1_001 * MS)
    line.tasks["p2"].cancel()
    await line.settle()
    assert line.left == ["p1", "p3"]


async def test_a_cancelled_waiter_that_has_not_heard_of_it_gets_no_turn() -> None:
    """The turn comes after the cancel and before its task went on."""
    line = Line(limit=1)
    await line.dial("p1")
    await line.answer("p1")
    await line.dial("p2", "p3")
    line.tasks["p2"].cancel()
    line.time.run_until(line.time.monotonic_ns() + 1_001 * MS)
    await line.settle()
    assert line.left == ["p1", "p3"]
    assert line.tasks["p2"].cancelled()


async def test_a_failed_dial_counts_as_any_other() -> None:
    """The venue may have counted it before it failed."""
    line = Line(limit=1)
    with contextlib.suppress(OSError):
        async with line.dials.turn(private=True):
            raise OSError
    await line.dial("p1")
    assert line.left == []
    await line.wait_ms(1_001)
    assert line.left == ["p1"]


@pytest.mark.parametrize("seed", range(20))
async def test_the_venue_never_counts_more_than_its_limit(seed: int) -> None:
    """Random dials, answers and cancels: wherever between a dial arrived, it was in time.

    No timer runs for less than a millisecond, and nothing is left at the end.
    """
    rng = random.Random(seed)
    limit = rng.randint(1, 4)
    line = Line(limit)
    for number in range(200):
        act = rng.random()
        if act < 0.4:
            await line.dial(f"{rng.choice('mp')}{number}")
        elif act < 0.5 and line.tasks:
            line.tasks[rng.choice(list(line.tasks))].cancel()
            await line.settle()
        elif act < 0.8 and line.left:
            await line.answer(*rng.sample(line.left, min(len(line.left), 3)))
        else:
            await line.wait_ms(rng.choice([0, 1, 7, 300, 999, 1_000]))
    for task in line.tasks.values():
        task.cancel()
    await asyncio.gather(*line.tasks.values(), return_exceptions=True)

    assert len(line.spans) > 2 * limit
    for _ in range(20):
        arrived = sorted(rng.choice([began, ended]) for began, ended in line.spans)
        for earlier, later in zip(arrived, arrived[limit:], strict=False):
            assert later - earlier >= SECOND
    assert min(line.time.delays_ns) >= MS
    assert line.dials.waiting == 0
    assert line.time.next_due_ns is None


async def test_the_loops_own_timers_wake_too() -> None:
    """Without timers of its own it uses the running loop's."""
    time = VirtualTime()
    dials = Dials(Window("dials", 1, 0.001), clock=time)
    async with dials.turn(private=True):
        pass
    waiting = asyncio.create_task(dials.turn(private=False).__aenter__())
    await Line.settle()
    time.run_until(SECOND)
    async with asyncio.timeout(20):
        await waiting


def test_a_limit_of_nothing_is_refused() -> None:
    """Nobody could ever dial."""
    with pytest.raises(InvalidValue, match="limit of dials was 0"):
        Dials(Window("dials", 0, 1.0), clock=VirtualTime())
