"""One score of 0 to 100 from six components, none of them invented.

A component that cannot be judged (no venue has told balances yet, too few orders) is absent, and
the weights of the others carry the score. The scanner is judged by evaluations, not by finds: a
quiet market is healthy. Weights: spec/perpbot.md d.9.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from enum import StrEnum
from statistics import fmean

import msgspec

from perpbot.domain.events import (
    AlertFired,
    HealthSnapshotUpdated,
    OrderFact,
    OrderFailed,
    OrderFilled,
    OrderPlaced,
    OrderProvenAbsent,
    OrderUnknown,
)
from perpbot.kernel.clock import SECOND
from perpbot.operations.settings import HealthSettings
from perpbot.operations.sources import Sources


class Grade(StrEnum):
    """What a score means."""

    UNKNOWN = "unknown"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


class Health(msgspec.Struct, frozen=True):
    """One judgement."""

    score: float | None = None
    grade: Grade = Grade.UNKNOWN
    components: dict[str, float] = {}
    """Of those that can be judged, 0 to 100."""
    loop_lag_ms: float = 0.0


class HealthMonitor:
    """Judges on a timer, publishes HEALTH_SNAPSHOT_UPDATE, alerts when the grade gets worse."""

    def __init__(
        self, sources: Sources, settings: HealthSettings, *, snapshot_max_age_s: float
    ) -> None:
        self._sources = sources
        self._settings = settings
        self._snapshot_max_age_s = snapshot_max_age_s
        self._since_ns = sources.clock.monotonic_ns()
        self._outcomes: deque[tuple[int, str, bool]] = deque()
        self._evaluated: deque[tuple[int, int]] = deque()
        self._alerted: set[str] = set()
        self.loop_lag_ms = 0.0
        """The worst lag since the last judgement; written by whoever measures it."""
        self.health = Health()
        for good in (OrderPlaced, OrderFilled):
            sources.bus.subscribe(good, self._succeeded, core=False, name="health")
        for bad in (OrderFailed, OrderUnknown, OrderProvenAbsent):
            sources.bus.subscribe(bad, self._failed, core=False, name="health")

    # --- judging ---

    def judge(self) -> Health:
        """Look at every component; publish and keep the result."""
        now_ns = self._sources.clock.monotonic_ns()
        found = {
            "capital": self._capital(),
            "exposure": self._exposure(),
            "execution": self._execution(now_ns),
            "quote": self._quote(),
            "scanner": self._scanner(now_ns),
            "latency": self._latency(),
        }
        components = {name: score for name, score in found.items() if score is not None}
        score = self._overall(components)
        lag_ms, self.loop_lag_ms = self.loop_lag_ms, 0.0
        self.health = Health(score, self._grade(score), components, lag_ms)
        wall_ns = self._sources.clock.now_ns()
        self._sources.bus.publish(
            HealthSnapshotUpdated(
                ts_ns=wall_ns, source="health", score=score, components=components
            )
        )
        self._alert_on(components, lag_ms)
        return self.health

    def _overall(self, components: dict[str, float]) -> float | None:
        weights: dict[str, float] = {
            name: getattr(self._settings.weights, name) for name in components
        }
        total = sum(weights.values())
        if total <= 0:
            return None
        return sum(components[name] * weight for name, weight in weights.items()) / total

    def _grade(self, score: float | None) -> Grade:
        if score is None:
            return Grade.UNKNOWN
        if score < self._settings.critical_score:
            return Grade.CRITICAL
        return Grade.WARNING if score < self._settings.warning_score else Grade.OK

    # --- components ---

    def _capital(self) -> float | None:
        """Share of venues whose balances are young; unknown before any has told."""
        ages = [self._sources.snapshots.age_s(venue) for venue in self._sources.venues]
        if all(age is None for age in ages):
            return None
        return _share(age is not None and age <= self._snapshot_max_age_s for age in ages)

    def _exposure(self) -> float | None:
        """Share of venues with which our positions agree."""
        if not self._sources.venues:
            return None
        agreed = (not self._sources.readiness.refusal(venue) for venue in self._sources.venues)
        return self._once_settled(_share(agreed))

    def _execution(self, now_ns: int) -> float | None:
        """Share of orders that succeeded in the window; unknown below the minimum sample."""
        since_ns = now_ns - int(self._settings.window_s * SECOND)
        while self._outcomes and self._outcomes[0][0] < since_ns:
            self._outcomes.popleft()
        by_order: dict[str, bool] = {}
        for _, client_id, good in self._outcomes:
            by_order[client_id] = by_order.get(client_id, True) and good
        if len(by_order) < self._settings.min_sample:
            return None
        return _share(by_order.values())

    def _quote(self) -> float | None:
        """Share of markets whose quote arrived within the window."""
        sources, window_ns = self._sources, int(self._settings.window_s * SECOND)
        if not sources.instruments:
            return None
        since_ns = sources.clock.monotonic_ns() - window_ns
        quotes = (sources.quotes.latest(venue, asset) for venue, asset in sources.instruments)
        arrived = (quote is not None and quote.recv_ns >= since_ns for quote in quotes)
        return self._once_settled(_share(arrived))

    def _once_settled(self, share: float) -> float | None:
        """A node that is still connecting, in its first window, cannot be judged by that."""
        window_ns = int(self._settings.window_s * SECOND)
        settling = self._sources.clock.monotonic_ns() - self._since_ns < window_ns
        return None if settling and share < 100.0 else share

    def _scanner(self, now_ns: int) -> float | None:
        """All or nothing: whether anything was evaluated within the window."""
        evaluated = self._sources.scanner.statistics().evaluated
        since_ns = now_ns - int(self._settings.window_s * SECOND)
        while len(self._evaluated) > 1 and self._evaluated[1][0] <= since_ns:
            self._evaluated.popleft()
        self._evaluated.append((now_ns, evaluated))
        oldest_ns, before = self._evaluated[0]
        if evaluated > before:
            return 100.0
        return 0.0 if oldest_ns <= since_ns else None

    def _latency(self) -> float | None:
        """How young the newest quotes are: 100 at once, 0 at the critical age, mean of venues."""
        ages = [self._sources.quote_age_s(venue) for venue in self._sources.venues]
        known = [age for age in ages if age is not None]
        if not known:
            return None
        critical_s = self._settings.quote_age_critical_s
        return fmean(100.0 * max(1.0 - age / critical_s, 0.0) for age in known)

    # --- alerting, once an edge ---

    def _alert_on(self, components: dict[str, float], lag_ms: float) -> None:
        health = self.health
        parts = ", ".join(f"{name} {score:.0f}" for name, score in components.items())
        score = 0.0 if health.score is None else health.score
        self._edge(
            "health_critical",
            "critical",
            f"health is {score:.0f} of 100, {self._settings.critical_score:g} "
            f"is critical ({parts})",
            on=health.grade is Grade.CRITICAL,
        )
        for venue in self._sources.venues:
            age_s = self._sources.quote_age_s(venue)
            old = age_s is not None and age_s > self._settings.quote_age_critical_s
            self._edge(
                f"quotes_old_{venue}",
                "critical",
                f"the newest quote of {venue} is {age_s or 0:.0f} s old, "
                f"{self._settings.quote_age_critical_s:g} s is critical",
                on=old,
            )
        self._edge(
            "loop_lag",
            "warning",
            f"the event loop lagged {lag_ms:.0f} ms, "
            f"{self._settings.loop_lag_warning_ms:g} ms is a warning",
            on=lag_ms > self._settings.loop_lag_warning_ms,
        )

    def _edge(self, name: str, severity: str, text: str, *, on: bool) -> None:
        if not on:
            self._alerted.discard(name)
        elif name not in self._alerted:
            self._alerted.add(name)
            self._sources.bus.publish(
                AlertFired(
                    ts_ns=self._sources.clock.now_ns(),
                    source="health",
                    name=name,
                    severity=severity,
                    text=text,
                )
            )

    # --- hearing ---

    def _succeeded(self, event: OrderFact) -> None:
        self._note(event, good=True)

    def _failed(self, event: OrderFact) -> None:
        self._note(event, good=False)

    def _note(self, event: OrderFact, *, good: bool) -> None:
        if event.client_id:
            now_ns = self._sources.clock.monotonic_ns()
            self._outcomes.append((now_ns, event.client_id, good))

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            self.judge()
            await asyncio.sleep(self._settings.interval_s)


def _share(values: Iterable[bool]) -> float:
    judged = list(values)
    return 100.0 * sum(judged) / len(judged)
