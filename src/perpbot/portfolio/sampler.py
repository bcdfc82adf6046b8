"""EquitySampler: what all venues hold for us, on a timer; the days, and the safe modes.

Safe modes follow "protected" equity, which `perpbot.portfolio.equity` defines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from perpbot.domain.events import DayStarted, EquitySampled, SafeModeChanged
from perpbot.domain.money import ZERO
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.equity import EquityBook
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.snapshot import CapitalSnapshotProvider
from perpbot.portfolio.unexplained import UnexplainedMoney


class EquitySampler:
    """Samples equity on a timer; starts days; moves venues in and out of safe mode."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        settings: CapitalSettings,
        book: EquityBook,
        snapshots: CapitalSnapshotProvider,
        money: UnexplainedMoney,
        moved: Callable[[], Mapping[str, Decimal] | None] = dict,
        *,
        settings_of: Callable[[str], CapitalSettings] | None = None,
        day_start_hour_utc: int = 0,
    ) -> None:
        """Set what is measured: USD throughout, None where a mark is missing.

        `money` says what a venue holds by our books, less what is missing; `moved()`: what the
        legs of hedged pairs lost on a venue (positive) or won there (negative) against each
        other; `settings_of(venue)`: the settings with the venue's overrides.
        """
        self._bus = bus
        self._clock = clock
        self._book = book
        self._snapshots = snapshots
        self._money = money
        self._moved = moved
        self._wait_ns = int(settings.unexplained_wait_s * SECOND)
        self._blind_ns: dict[str, int] = {}
        """Since when marks are missing, by venue (monotonic)."""
        self._settings_of = settings_of or (lambda _venue: settings)
        self._day_start_hour = day_start_hour_utc

    def sample(self) -> None:
        """Publish one sample, once a venue has told its balances; start a day when one is due.

        A venue that has not told any in this process counts with what our books say, else with
        its last sample: that it is silent is no loss.
        """
        told = self._snapshots.venues()
        if not told:
            return
        known = list(dict.fromkeys([*self._book.current, *told]))
        per_venue = {venue: self._equity(venue) for venue in known}
        now_ns = self._clock.now_ns()
        total = sum(per_venue.values(), ZERO)
        self._bus.publish(
            EquitySampled(
                ts_ns=now_ns,
                per_venue=per_venue,
                total_usd=total,
                protected=self._protected(per_venue),
                unexplained=self._money.counted(),
                opening=self._openings(known),
            )
        )
        day = self._day(now_ns)
        if day > self._book.day:
            self._bus.publish(DayStarted(ts_ns=now_ns, day=day, equity_usd=total))
        for venue in per_venue:
            self._safe_mode(venue, now_ns)

    def _equity(self, venue: str) -> Decimal:
        """Return our word of a venue; without marks the last one for a while, then the venue's."""
        ours = self._money.equity(venue)
        if ours is not None:
            self._blind_ns.pop(venue, None)
            return ours
        now_ns = self._clock.monotonic_ns()
        since_ns = self._blind_ns.setdefault(venue, now_ns)
        balance, last = self._snapshots.balance(venue), self._book.current.get(venue)
        if last is not None and (balance is None or now_ns - since_ns < self._wait_ns):
            return last
        assert balance is not None, "it was sampled before, or it has told"
        return balance.equity

    def _openings(self, venues: Iterable[str]) -> dict[str, Decimal]:
        known = {venue: self._book.opening(venue) for venue in venues}
        return {venue: opening for venue, opening in known.items() if opening is not None}

    def _protected(self, per_venue: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Return equity without what hedged legs moved; the last known one without marks."""
        moved = self._moved()
        if moved is not None:
            return {venue: usd + moved.get(venue, ZERO) for venue, usd in per_venue.items()}
        return {
            venue: usd if (last := self._book.protected(venue)) is None else last
            for venue, usd in per_venue.items()
        }

    def _day(self, now_ns: int) -> str:
        shifted = now_ns // SECOND - self._day_start_hour * 3_600
        return datetime.fromtimestamp(shifted, UTC).date().isoformat()

    def _safe_mode(self, venue: str, now_ns: int) -> None:
        settings = self._settings_of(venue)
        drawdown = self._book.venue_drawdown(venue)
        since_ns = self._book.safe_since_ns(venue)
        stayed = since_ns is not None and now_ns - since_ns >= int(
            settings.safe_mode_min_s * SECOND
        )
        if since_ns is None and drawdown >= settings.safe_mode_enter_ratio:
            active = True
        elif stayed and drawdown <= settings.safe_mode_exit_ratio:
            active = False
        else:
            return
        self._bus.publish(
            SafeModeChanged(ts_ns=now_ns, venue=venue, active=active, drawdown=drawdown)
        )
