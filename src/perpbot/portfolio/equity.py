"""Equity, its peaks and its days. Folds from the journal, so a restart forgets no drawdown.

Equity of a venue is the smaller of what it tells and what our books say (RELIABILITY M5): opening
wallet plus profit since, transfers added. Drawdown is positive, from the peak; a transfer moves
the peak with it, and so does a venue that is told for the first time. Days are UTC.

Safe mode looks at realised and unhedged loss only: a hedged pair loses on one venue what it wins
on the other, so what its legs moved between venues is taken out first ("protected" equity).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.events import (
    CapitalSnapshotUpdated,
    DayStarted,
    EquitySampled,
    Event,
    HaltCleared,
    SafeModeChanged,
    Transfer,
)
from perpbot.domain.money import ZERO
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.portfolio.settings import CapitalSettings
from perpbot.portfolio.snapshot import CapitalSnapshotProvider


class EquityBook:
    """Peaks, day start and safe modes. Folds from the journal."""

    name = "equity"

    def __init__(self) -> None:
        self.current: dict[str, Decimal] = {}
        self.total: Decimal | None = None
        self.sampled_ns = 0
        self._protected: dict[str, Decimal] = {}
        self._peaks: dict[str, Decimal] = {}
        self._peak: Decimal = ZERO
        self.day = ""
        self.day_start: Decimal | None = None
        self._safe: dict[str, int] = {}
        self._opening: dict[str, Decimal] = {}

    # --- reading ---

    def drawdown(self) -> Decimal:
        """Return (peak - equity) / peak of the account; 0 before the first sample."""
        return _drawdown(self.total, self._peak)

    def venue_drawdown(self, venue: str) -> Decimal:
        """Return the drawdown of one venue by realised and unhedged loss."""
        return _drawdown(self._protected.get(venue), self._peaks.get(venue, ZERO))

    def protected(self, venue: str) -> Decimal | None:
        """Return the venue's equity without what hedged legs moved, or None before a sample."""
        return self._protected.get(venue)

    def daily_loss(self) -> Decimal | None:
        """Return max(0, day start - equity) in USD; None before both are known."""
        if self.day_start is None or self.total is None:
            return None
        return max(self.day_start - self.total, ZERO)

    def safe_since_ns(self, venue: str) -> int | None:
        """Return when a venue entered safe mode, or None."""
        return self._safe.get(venue)

    def opening(self, venue: str) -> Decimal | None:
        """Return the venue's equity when it was first told, transfers since included."""
        return self._opening.get(venue)

    # --- folding ---

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            CapitalSnapshotUpdated: self._snapshot,
            EquitySampled: self._sampled,
            DayStarted: self._day_started,
            SafeModeChanged: self._safe_mode,
            HaltCleared: self._halt_cleared,
            Transfer: self._transfer,
        }

    def _snapshot(self, event: CapitalSnapshotUpdated) -> None:
        self._opening.setdefault(event.venue, event.equity_usd)

    def _sampled(self, event: EquitySampled) -> None:
        new = [equity for venue, equity in event.per_venue.items() if venue not in self.current]
        if self.total is not None:
            self._shift(sum(new, ZERO))
        self.current = dict(event.per_venue)
        self.total = event.total_usd
        self.sampled_ns = event.ts_ns
        self._peak = max(self._peak, event.total_usd)
        self._protected = dict(event.protected or event.per_venue)
        for venue, equity in self._protected.items():
            self._peaks[venue] = max(self._peaks.get(venue, equity), equity)

    def _shift(self, amount: Decimal) -> None:
        """Money came or went that is neither profit nor loss."""
        self._peak = max(self._peak + amount, ZERO)
        if self.day_start is not None:
            self.day_start += amount

    def _halt_cleared(self, event: HaltCleared) -> None:
        """From here on a cleared limit measures from the equity at which it was cleared."""
        if self.total is None:
            return
        if event.rule == "drawdown":
            self._peak = self.total
        elif event.rule == "daily_loss":
            self.day_start = self.total

    def _day_started(self, event: DayStarted) -> None:
        self.day = event.day
        self.day_start = event.equity_usd

    def _safe_mode(self, event: SafeModeChanged) -> None:
        if event.active:
            self._safe[event.venue] = event.ts_ns
        else:
            self._safe.pop(event.venue, None)

    def _transfer(self, event: Transfer) -> None:
        venue, amount = event.venue, event.amount_usd
        self._shift(amount)
        if venue in self._peaks:
            self._peaks[venue] = max(self._peaks[venue] + amount, ZERO)
        if venue in self._opening:
            self._opening[venue] += amount

    # --- surviving ---

    def snapshot(self) -> object:
        """The book as plain values."""
        return {
            "current": self.current,
            "total": self.total,
            "sampled_ns": self.sampled_ns,
            "protected": self._protected,
            "peaks": self._peaks,
            "peak": self._peak,
            "day": self.day,
            "day_start": self.day_start,
            "safe": self._safe,
            "opening": self._opening,
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        amounts = dict[str, Decimal]
        self.current = msgspec.convert(state["current"], amounts, strict=False)
        self.total = msgspec.convert(state["total"], Decimal | None, strict=False)
        self.sampled_ns = state["sampled_ns"]
        self._protected = msgspec.convert(state["protected"], amounts, strict=False)
        self._peaks = msgspec.convert(state["peaks"], amounts, strict=False)
        self._peak = msgspec.convert(state["peak"], Decimal, strict=False)
        self.day = state["day"]
        self.day_start = msgspec.convert(state["day_start"], Decimal | None, strict=False)
        self._safe = dict(state["safe"])
        self._opening = msgspec.convert(state["opening"], amounts, strict=False)


def _drawdown(equity: Decimal | None, peak: Decimal) -> Decimal:
    if equity is None or peak <= 0:
        return ZERO
    return max((peak - equity) / peak, ZERO)


class EquitySampler:
    """Samples equity on a timer; starts days; moves venues in and out of safe mode."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        settings: CapitalSettings,
        book: EquityBook,
        snapshots: CapitalSnapshotProvider,
        profit: Callable[[str], Decimal | None],
        moved: Callable[[], Mapping[str, Decimal] | None] = dict,
        *,
        settings_of: Callable[[str], CapitalSettings] | None = None,
        day_start_hour_utc: int = 0,
    ) -> None:
        """Set what is measured: USD throughout, None where a mark is missing.

        `profit(venue)`: ours since the first snapshot; `moved()`: what the legs of hedged pairs
        lost on a venue (positive) or won there (negative) against each other;
        `settings_of(venue)`: the settings with the venue's overrides.
        """
        self._bus = bus
        self._clock = clock
        self._book = book
        self._snapshots = snapshots
        self._profit = profit
        self._moved = moved
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
            )
        )
        day = self._day(now_ns)
        if day > self._book.day:
            self._bus.publish(DayStarted(ts_ns=now_ns, day=day, equity_usd=total))
        for venue in per_venue:
            self._safe_mode(venue, now_ns)

    def _equity(self, venue: str) -> Decimal:
        """Return the smaller of what the venue told and what our books say."""
        balance = self._snapshots.balance(venue)
        opening, profit = self._book.opening(venue), self._profit(venue)
        ours = None if opening is None or profit is None else opening + profit
        if balance is None:
            return self._book.current[venue] if ours is None else ours
        return balance.equity if ours is None else min(balance.equity, ours)

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
