"""What stays switched off: halts, cooldowns, pauses, the kill switch. Folds from the journal.

A restart forgets none of it. Halts and the kill switch are cleared by a person only; cooldowns and
pauses end by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from perpbot.domain.events import (
    CooldownStarted,
    Event,
    HaltCleared,
    HaltLatched,
    KillSwitchCleared,
    KillSwitchEngaged,
    OverrideGranted,
    PairPlanned,
    TradeCompleted,
)

ALL = "all"
FAST = "fast:"
"""Prefix of the scope of a fast-market freeze."""
FAILURE_EXITS = frozenset({"unwound", "not_completed"})
"""Ends of a pair that count as a failure, not as a success."""


class Override(msgspec.Struct):
    """A person lifted the failure pause, until a time or for a number of trades."""

    until_ns: int
    trades_left: int
    actor: str


class VenueKill(msgspec.Struct, frozen=True):
    """The kill switch of one venue."""

    level: int
    reason: str


class RiskLatches:
    """See the module."""

    name = "risk"

    def __init__(self) -> None:
        self.halts: dict[str, str] = {}
        """rule -> "measured value, limit"."""
        self._cooldowns: dict[str, int] = {}
        self.failures = 0
        """In a row, over all assets."""
        self.pauses = 0
        """Global pauses in a row."""
        self.kill_level = 0
        """Of the whole node; 0 is off."""
        self.kill_reason = ""
        self.venue_kills: dict[str, VenueKill] = {}
        """venue -> what is latched for it alone; without those where nothing is."""
        self.override: Override | None = None

    def cooling_until_ns(self, scope: str) -> int:
        """Return when a cooldown of an asset (or of "all") ends, UTC ns; 0 without one."""
        return self._cooldowns.get(scope, 0)

    def cooling(self, now_ns: int) -> dict[str, int]:
        """Return the cooldowns that have not ended: scope -> when they do, UTC ns."""
        return {scope: end for scope, end in self._cooldowns.items() if end > now_ns}

    def overridden(self, now_ns: int) -> bool:
        """Whether a person has lifted the failure pause."""
        override = self.override
        return override is not None and override.trades_left > 0 and now_ns < override.until_ns

    # --- folding ---

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {
            HaltLatched: self._latched,
            HaltCleared: self._cleared,
            CooldownStarted: self._cooled,
            OverrideGranted: self._granted,
            KillSwitchEngaged: self._killed,
            KillSwitchCleared: self._revived,
            PairPlanned: self._planned,
            TradeCompleted: self._completed,
        }

    def _latched(self, event: HaltLatched) -> None:
        self.halts[event.rule] = f"measured {event.value}, limit {event.limit}"

    def _cleared(self, event: HaltCleared) -> None:
        self.halts.pop(event.rule, None)
        if event.rule == "failures":
            self.failures = self.pauses = 0

    def _cooled(self, event: CooldownStarted) -> None:
        self._cooldowns[event.scope] = max(self._cooldowns.get(event.scope, 0), event.until_ns)
        if event.scope == ALL:
            self.pauses += 1
            self.failures = 0
        elif event.failures:
            self.failures += 1

    def _granted(self, event: OverrideGranted) -> None:
        self.override = Override(event.until_ns, event.trades, event.actor)

    def _killed(self, event: KillSwitchEngaged) -> None:
        if event.venue:
            latched = self.venue_kills.get(event.venue)
            if latched is None or event.level >= latched.level:
                self.venue_kills[event.venue] = VenueKill(event.level, event.reason)
        elif event.level >= self.kill_level:
            self.kill_level, self.kill_reason = event.level, event.reason

    def _revived(self, event: KillSwitchCleared) -> None:
        if event.venue:
            self.venue_kills.pop(event.venue, None)
            return
        self.kill_level, self.kill_reason = 0, ""
        self.venue_kills.clear()

    def _planned(self, event: PairPlanned) -> None:
        if self.overridden(event.ts_ns) and self.override is not None:
            self.override.trades_left -= 1

    def _completed(self, event: TradeCompleted) -> None:
        if event.opened and event.exit_reason not in FAILURE_EXITS:
            self.failures = self.pauses = 0

    # --- surviving ---

    def snapshot(self) -> object:
        """The latches as plain values."""
        return {
            "halts": self.halts,
            "cooldowns": self._cooldowns,
            "failures": self.failures,
            "pauses": self.pauses,
            "kill_level": self.kill_level,
            "kill_reason": self.kill_reason,
            "venue_kills": self.venue_kills,
            "override": self.override,
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self.halts = dict(state["halts"])
        self._cooldowns = dict(state["cooldowns"])
        self.failures = state["failures"]
        self.pauses = state["pauses"]
        self.kill_level = state["kill_level"]
        self.kill_reason = state["kill_reason"]
        self.venue_kills = msgspec.convert(
            state["venue_kills"], dict[str, VenueKill], strict=False
        )
        self.override = msgspec.convert(state["override"], Override | None, strict=False)
