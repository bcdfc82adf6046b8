"""When each pair is looked at next, and how long it rests after a try that brought nothing.

Kept in memory only: after a restart every pair is looked at once, and its tries begin anew.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from perpbot.execution.pair import Pair
from perpbot.execution.policies import RetryPolicy
from perpbot.kernel.clock import MS, Clock, TimerHandle, Timers

SHORTEST_REST_NS = 10 * MS
"""Between two tries without progress, whatever the jitter draws."""


class Agenda:
    """See the module. `look(pair_id)` is called when an appointment is due."""

    def __init__(
        self, clock: Clock, timers: Timers, retry: RetryPolicy, look: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._retry = retry
        self._look = look
        self._appointments: dict[str, tuple[int, TimerHandle]] = {}
        """By pair: when it is looked at next (monotonic), and the timer."""
        self._tries: dict[str, int] = {}
        self._progress: dict[str, tuple[Decimal, Decimal]] = {}
        self._resting_until_ns: dict[str, int] = {}
        """By pair: until when it waits between two tries (monotonic)."""

    # --- appointments ---

    def wake_at(self, pair_id: str, delay_ns: int) -> None:
        """Look at the pair again in `delay_ns`, or earlier where that is arranged already."""
        due_ns = self._clock.monotonic_ns() + delay_ns
        previous = self._appointments.get(pair_id)
        if previous is not None:
            if previous[0] <= due_ns:
                return
            previous[1].cancel()
        timer = self._timers.call_later(delay_ns, lambda: self._due(pair_id))
        self._appointments[pair_id] = (due_ns, timer)

    def next_look_ns(self, pair_id: str) -> int | None:
        """Return when a pair is looked at next (monotonic), or None when only news moves it."""
        appointment = self._appointments.get(pair_id)
        return None if appointment is None else appointment[0]

    def _due(self, pair_id: str) -> None:
        self._appointments.pop(pair_id, None)
        self._look(pair_id)

    def forget(self, pair_id: str) -> None:
        """The pair has ended."""
        self.start_anew(pair_id)
        self._progress.pop(pair_id, None)
        appointment = self._appointments.pop(pair_id, None)
        if appointment is not None:
            appointment[1].cancel()

    # --- tries ---

    def tries(self, pair_id: str) -> int:
        """Return how often something was tried since the last progress."""
        return self._tries.get(pair_id, 0)

    def exhausted(self, pair_id: str) -> bool:
        """Whether a hedge has had all its tries."""
        return self._retry.exhausted(self.tries(pair_id))

    def count_progress(self, pair: Pair) -> None:
        """A fill since the last look starts the tries anew."""
        pair_id = pair.plan.pair_id
        held = (pair.long.quantity, pair.short.quantity)
        if self._progress.get(pair_id) != held:
            self._progress[pair_id] = held
            self.start_anew(pair_id)

    def start_anew(self, pair_id: str) -> None:
        """Forget the tries, and the rest after them."""
        self._tries.pop(pair_id, None)
        self._resting_until_ns.pop(pair_id, None)

    def try_later(self, pair_id: str) -> None:
        """Count a try; without progress the next one comes after a rest that grows."""
        attempt = self.tries(pair_id) + 1
        self._tries[pair_id] = attempt
        delay_ns = max(self._retry.delay_ns(attempt), SHORTEST_REST_NS)
        self._resting_until_ns[pair_id] = self._clock.monotonic_ns() + delay_ns
        self.wake_at(pair_id, delay_ns)

    def rests(self, pair_id: str) -> bool:
        """Whether the pair waits between two tries; then it is looked at when that is over."""
        left_ns = self._resting_until_ns.get(pair_id, 0) - self._clock.monotonic_ns()
        if left_ns > 0:
            self.wake_at(pair_id, left_ns)
        return left_ns > 0
