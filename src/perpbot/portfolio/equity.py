"""Equity, its peaks and its days. Folds from the journal, so a restart forgets no drawdown.

Equity of a venue is what our books say (what it held at first, plus transfers and profit since),
less what is missing there (`perpbot.portfolio.unexplained`; RELIABILITY M5). Drawdown is positive,
from the peak. A transfer changes neither: the peak is carried in proportion, so that the ratio
stays what it was, and the start of the day moves by the amount, so that the loss in USD does. The
same holds for a venue that is told for the first time. Days are UTC.

Safe mode looks at realised and unhedged loss only: a hedged pair loses on one venue what it wins
on the other, so what its legs moved between venues is taken out first ("protected" equity).
"""

from __future__ import annotations

from collections.abc import Mapping
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
        """What the day's loss is measured from, transfers since included."""
        self.day_base: Decimal = ZERO
        """What the day began with: limits that are a share of it are not moved by transfers."""
        self._safe: dict[str, int] = {}
        self._opening: dict[str, Decimal] = {}
        self._opened_ns: dict[str, int] = {}
        self._unexplained: dict[str, Decimal] = {}

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

    def unexplained(self, venue: str) -> Decimal:
        """Return what was missing on a venue at the last sample (negative: there beyond ours)."""
        return self._unexplained.get(venue, ZERO)

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
        if event.venue not in self._opening:
            self._opening[event.venue] = event.equity_usd
            self._opened_ns[event.venue] = event.ts_ns

    def _sampled(self, event: EquitySampled) -> None:
        event = self._as_of_now(event)
        new = [equity for venue, equity in event.per_venue.items() if venue not in self.current]
        if self.total is not None:
            self._carry(sum(new, ZERO))
            self.day_base += sum(new, ZERO)
        self.current = dict(event.per_venue)
        self.total = event.total_usd
        self.sampled_ns = event.ts_ns
        self._peak = max(self._peak, event.total_usd)
        self._unexplained = dict(event.unexplained)
        self._protected = dict(event.protected or event.per_venue)
        for venue, equity in self._protected.items():
            self._peaks[venue] = max(self._peaks.get(venue, equity), equity)

    def _as_of_now(self, event: EquitySampled) -> EquitySampled:
        """Return a sample with the transfers that were folded after it was taken."""
        since = {
            venue: self._opening[venue] - opening
            for venue, opening in event.opening.items()
            if venue in self._opening and self._opening[venue] != opening
        }
        if not since:
            return event
        return msgspec.structs.replace(
            event,
            per_venue={v: usd + since.get(v, ZERO) for v, usd in event.per_venue.items()},
            total_usd=event.total_usd + sum(since.values(), ZERO),
            protected={v: usd + since.get(v, ZERO) for v, usd in event.protected.items()},
        )

    def _carry(self, amount: Decimal) -> None:
        """Money came or went that is neither profit nor loss."""
        self._peak = _carried(self._peak, self.total, amount)
        if self.day_start is not None:
            self.day_start += amount

    def _halt_cleared(self, event: HaltCleared) -> None:
        """From here on a cleared limit measures from the equity at which it was cleared."""
        if self.total is None:
            return
        if event.rule == "drawdown":
            self._peak = self.total
        elif event.rule == "daily_loss":
            self.day_start = self.day_base = self.total

    def _day_started(self, event: DayStarted) -> None:
        self.day = event.day
        # Its sample was folded just before it, with what was transferred meanwhile.
        self.day_start = event.equity_usd if self.total is None else self.total
        self.day_base = self.day_start

    def _safe_mode(self, event: SafeModeChanged) -> None:
        if event.active:
            self._safe[event.venue] = event.ts_ns
        else:
            self._safe.pop(event.venue, None)

    def _transfer(self, event: Transfer) -> None:
        """Move everything that it moves at once; what a venue held at first had it already."""
        venue, amount = event.venue, event.amount_usd
        if venue not in self._opening or 0 < event.venue_ns <= self._opened_ns[venue]:
            return
        self._opening[venue] += amount
        if venue not in self.current or self.total is None:
            return
        self._carry(amount)
        self.total += amount
        self.current[venue] += amount
        protected = self._protected[venue]
        self._peaks[venue] = _carried(self._peaks[venue], protected, amount)
        self._protected[venue] = protected + amount

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
            "opened_ns": self._opened_ns,
            "day_base": self.day_base,
            "unexplained": self._unexplained,
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
        self._opened_ns = dict(state["opened_ns"])
        self.day_base = msgspec.convert(state["day_base"], Decimal, strict=False)
        self._unexplained = msgspec.convert(state["unexplained"], amounts, strict=False)


def _drawdown(equity: Decimal | None, peak: Decimal) -> Decimal:
    if equity is None or peak <= 0:
        return ZERO
    return max((peak - equity) / peak, ZERO)


def _carried(peak: Decimal, equity: Decimal | None, amount: Decimal) -> Decimal:
    """Return a peak after a transfer: the drawdown from it is the same share as before."""
    before = ZERO if equity is None else equity
    after = before + amount
    if after <= 0:
        return ZERO  # nothing is left that could have lost anything
    return peak * after / before if before > 0 else peak + amount
