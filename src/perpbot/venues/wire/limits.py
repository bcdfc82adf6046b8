"""A venue's rate limits as one budget that several lanes of traffic share.

Windows are rolling logs of what was spent, which is never looser than a venue's fixed windows. A
share of each window is kept for reductions and hedges; within what is free, lower lanes go first
and a request never overtakes an earlier one of its lane. Time comes from the clock, wake-ups from
the timers, so a virtual clock drives the whole thing in tests.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import IntEnum

import msgspec

from perpbot.domain.errors import InvalidValue, Rejected
from perpbot.domain.sides import Purpose
from perpbot.kernel.clock import SECOND, Clock, LoopTimers, TimerHandle, Timers

_PROBATION_MIN_S = 1.0
_PROBATION_MAX_S = 10.0
LONGEST_PAUSE_S = 3 * 86_400.0
"""The longest ban that a venue gives (Binance, HTTP return codes); more is a mistake."""
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


class Lane(IntEnum):
    """What a request is for. Lower goes first."""

    REDUCE = 0
    HEDGE = 1
    OPEN = 2
    READ = 3


LANE_OF: Mapping[Purpose, Lane] = {
    Purpose.OPEN: Lane.OPEN,
    Purpose.HEDGE: Lane.HEDGE,
    Purpose.REDUCE: Lane.REDUCE,
    Purpose.PROTECT: Lane.REDUCE,
}
"""The lane of an order, by what it is for."""


class Window(msgspec.Struct, frozen=True):
    """At most `limit` cost units in any `period_s` seconds."""

    name: str
    limit: int
    period_s: float


class BudgetStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the budget did so far; `used` and `limits` by window."""

    granted: int
    delayed: int
    """Requests that had to wait."""
    waiting: int
    penalties: int
    used: dict[str, int]
    limits: dict[str, int]


class _Ledger:
    """What was spent in one rolling window."""

    __slots__ = ("entries", "limit", "name", "open_limit", "period_ns", "used")

    def __init__(self, window: Window, reserve_share: float) -> None:
        self.name = window.name
        self.resize(window.limit, reserve_share)
        self.period_ns = int(window.period_s * SECOND)
        self.entries: deque[tuple[int, int]] = deque()
        self.used = 0

    def resize(self, limit: int, reserve_share: float) -> None:
        self.limit = limit
        self.open_limit = limit - int(limit * reserve_share)

    def forget_old(self, now_ns: int) -> None:
        entries = self.entries
        while entries and entries[0][0] + self.period_ns <= now_ns:
            self.used -= entries.popleft()[1]

    def spend(self, now_ns: int, cost: int) -> None:
        self.entries.append((now_ns, cost))
        self.used += cost

    def free_at(self, cost: int, limit: int) -> int:
        """Return when `cost` fits under `limit`, from the log; `cost` fits an empty window."""
        excess = self.used + cost - limit
        for spent_ns, spent in self.entries:
            excess -= spent
            if excess <= 0:
                return spent_ns + self.period_ns
        return 0


class Fare:
    """What one kind of request costs in one lane of one budget, looked up once (`RateBudget`)."""

    __slots__ = ("costs", "lane", "parts", "urgent")

    def __init__(
        self, lane: Lane, costs: Mapping[str, int], ledgers: Mapping[str, _Ledger]
    ) -> None:
        self.lane = lane
        self.urgent = lane <= Lane.HEDGE
        self.costs = costs
        self.parts = tuple((ledgers[name], cost) for name, cost in costs.items() if cost)


class _Waiter:
    __slots__ = ("costs", "future", "lane")

    def __init__(self, lane: Lane, costs: Mapping[str, int], future: asyncio.Future[None]) -> None:
        self.lane = lane
        self.costs = costs
        self.future = future


class RateBudget:
    """Grants requests of four lanes under one set of windows.

    `reserve_share` of each window is for REDUCE and HEDGE only. Without `timers` the running
    asyncio loop wakes the waiters.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        *,
        clock: Clock,
        reserve_share: float = 0.2,
        timers: Timers | None = None,
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._reserve_share = reserve_share
        self._ledgers = {window.name: _Ledger(window, reserve_share) for window in windows}
        self._queues: tuple[deque[_Waiter], ...] = tuple(deque() for _ in Lane)
        self._crowded = False
        """Whether somebody may be waiting."""
        self._timer: TimerHandle | None = None
        self._closed_until_ns = 0
        self._probation_until_ns = 0
        self._granted = 0
        self._delayed = 0
        self._penalties = 0

    async def acquire(self, lane: Lane, costs: Mapping[str, int]) -> None:
        """Wait until `costs` (window name to units) fit, lower lanes first, then spend them.

        Raises `InvalidValue` for an unknown window or a cost that its window can never hold.
        """
        if self.try_acquire(lane, costs):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(lane, costs, future)
        self._queues[lane].append(waiter)
        self._crowded = True
        self._delayed += 1
        self._arm()
        try:
            await future
        except asyncio.CancelledError:
            if waiter in self._queues[lane]:
                self._queues[lane].remove(waiter)
                self._pump()
            raise

    def try_acquire(self, lane: Lane, costs: Mapping[str, int]) -> bool:
        """Spend `costs` now and return True, or change nothing and return False.

        False also when an earlier request of this or a lower lane waits for the same windows.
        """
        return self.try_spend(self.fare(lane, costs))

    def fare(self, lane: Lane, costs: Mapping[str, int]) -> Fare:
        """Return `costs` looked up, for `try_spend`; raises as `acquire`."""
        self._check(lane, costs)
        return Fare(lane, costs, self._ledgers)

    def try_spend(self, fare: Fare) -> bool:
        """Do as `try_acquire`, with a fare of this budget: the way of orders."""
        now_ns = self._clock.monotonic_ns()
        urgent = fare.urgent
        if now_ns < self._closed_until_ns or (now_ns < self._probation_until_ns and not urgent):
            return False
        if self._crowded and self._is_behind(fare):
            return False
        for ledger, cost in fare.parts:
            entries = ledger.entries
            if entries and entries[0][0] + ledger.period_ns <= now_ns:
                ledger.forget_old(now_ns)
            if ledger.used + cost > (ledger.limit if urgent else ledger.open_limit):
                return False
        for ledger, cost in fare.parts:
            ledger.entries.append((now_ns, cost))
            ledger.used += cost
        self._granted += 1
        return True

    def _is_behind(self, fare: Fare) -> bool:
        """Tell whether somebody of this or a lower lane waits for the same windows."""
        self._crowded = any(self._queues)
        return any(
            not waiter.costs.keys().isdisjoint(fare.costs)
            for queue in self._queues[: fare.lane + 1]
            for waiter in queue
        )

    def feedback(self, window: str, used: int) -> None:
        """Take the venue's own count of a window; only a higher one than ours changes anything."""
        ledger = self._ledgers.get(window)
        if ledger is None:
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns >= self._closed_until_ns:
            self._probation_until_ns = 0
        ledger.forget_old(now_ns)
        if used > ledger.used:
            ledger.spend(now_ns, used - ledger.used)
        self._pump()

    def resize(self, window: str, limit: int) -> None:
        """Take the limit that the venue itself tells; raise `InvalidValue` for nonsense."""
        if window not in self._ledgers or limit < 1:
            raise InvalidValue(f"limit of {window!r} was {limit}, at least 1 was expected")
        self._ledgers[window].resize(limit, self._reserve_share)
        self._pump()

    def penalise(self, retry_after_s: float) -> None:
        """The venue refused for rate: no call before that time.

        After it REDUCE and HEDGE go first; OPEN and READ follow when a probe's feedback came back
        or a probation of 1 to 10 s has passed.
        """
        now_ns = self._clock.monotonic_ns()
        until_ns = now_ns + int(max(retry_after_s, 0.0) * SECOND)
        probation_s = min(max(retry_after_s, _PROBATION_MIN_S), _PROBATION_MAX_S)
        self._closed_until_ns = max(self._closed_until_ns, until_ns)
        self._probation_until_ns = self._closed_until_ns + int(probation_s * SECOND)
        self._penalties += 1
        self._arm()

    def statistics(self) -> BudgetStatistics:
        """Return counts so far and the present use of each window."""
        now_ns = self._clock.monotonic_ns()
        for ledger in self._ledgers.values():
            ledger.forget_old(now_ns)
        return BudgetStatistics(
            granted=self._granted,
            delayed=self._delayed,
            waiting=sum(len(queue) for queue in self._queues),
            penalties=self._penalties,
            used={name: ledger.used for name, ledger in self._ledgers.items()},
            limits={name: ledger.limit for name, ledger in self._ledgers.items()},
        )

    def _check(self, lane: Lane, costs: Mapping[str, int]) -> None:
        for name, cost in costs.items():
            ledger = self._ledgers.get(name)
            if ledger is None:
                known = ", ".join(self._ledgers)
                raise InvalidValue(f"rate window was {name!r}, one of {known} was expected")
            limit = self._limit(ledger, lane)
            if not 0 <= cost <= limit:
                raise InvalidValue(f"cost in {name} was {cost}, 0 to {limit} was expected")

    @staticmethod
    def _limit(ledger: _Ledger, lane: Lane) -> int:
        return ledger.limit if lane <= Lane.HEDGE else ledger.open_limit

    def _blocked_until(self, lane: Lane, costs: Mapping[str, int], now_ns: int) -> int:
        until_ns = self._closed_until_ns if lane <= Lane.HEDGE else self._probation_until_ns
        until_ns = max(until_ns, self._closed_until_ns)
        for name, cost in costs.items():
            ledger = self._ledgers[name]
            ledger.forget_old(now_ns)
            limit = self._limit(ledger, lane)
            if cost and ledger.used + cost > limit:
                until_ns = max(until_ns, ledger.free_at(cost, limit))
        return until_ns

    def _spend(self, costs: Mapping[str, int], now_ns: int) -> None:
        for name, cost in costs.items():
            if cost:
                self._ledgers[name].spend(now_ns, cost)
        self._granted += 1

    def _pump(self) -> None:
        """Grant what fits: a waiter that does not fit holds its windows against later lanes."""
        now_ns = self._clock.monotonic_ns()
        held: set[str] = set()
        for queue in self._queues:
            kept: list[_Waiter] = []
            for waiter in queue:
                if waiter.future.done():
                    continue
                if held.isdisjoint(waiter.costs) and (
                    self._blocked_until(waiter.lane, waiter.costs, now_ns) <= now_ns
                ):
                    self._spend(waiter.costs, now_ns)
                    waiter.future.set_result(None)
                else:
                    held.update(waiter.costs)
                    kept.append(waiter)
            queue.clear()
            queue.extend(kept)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now_ns = self._clock.monotonic_ns()
        due: list[int] = []
        held: set[str] = set()
        for queue in self._queues:
            for waiter in queue:
                # Who waits behind another has no time of his own: he would be woken in vain,
                # again and again, for as long as the other waits.
                if held.isdisjoint(waiter.costs):
                    due.append(self._blocked_until(waiter.lane, waiter.costs, now_ns))
                held.update(waiter.costs)
        if not due:
            return
        if self._timers is None:
            self._timers = LoopTimers(asyncio.get_running_loop())
        # One ns more than asked: a timer that fires early would only have to be armed again.
        self._timer = self._timers.call_later(max(min(due) - now_ns, 0) + 1, self._pump)


async def before_expiry(venue: str, wait: Awaitable[None], expires_ns: int, clock: Clock) -> None:
    """Wait for rate, but no longer than a request may be sent (UTC ns; 0: for ever).

    Raises `Rejected` then: nothing was sent, and whoever counts on it hears so in time. The other
    leg of a pair may stand already.
    """
    if not expires_ns:
        await wait
        return
    try:
        async with asyncio.timeout(max(expires_ns - clock.now_ns(), 0) / SECOND):
            await wait
    except TimeoutError:
        raise Rejected(venue, "not sent: it expired while it waited", code="expired") from None


def retry_after_s(headers: Mapping[str, str], now_ns: int) -> float:
    """Return the seconds of a Retry-After header, given as seconds or as an HTTP date; 0 without.

    RFC 9110 section 10.2.3. `headers` has lower-case keys; `now_ns` is UTC. A date is the
    answer's own clock: it is read against the answer's Date header where there is one, so that
    clocks may differ. Nothing lasts longer than `LONGEST_PAUSE_S`.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_PAUSE_S)
    until_s = _seconds_of_date(text)
    if until_s is None:
        return 0.0
    told_s = _seconds_of_date(headers.get("date", ""))
    since_s = now_ns / SECOND if told_s is None else told_s
    return min(max(until_s - since_s, 0.0), LONGEST_PAUSE_S)


def _seconds_of_date(text: str) -> float | None:
    """Return the UTC seconds of an HTTP date in any of its three forms, or None."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # An HTTP date is GMT, also where it does not say so.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
