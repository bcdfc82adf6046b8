"""Refusals, halts, cooldowns, the kill switch."""

from __future__ import annotations

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind


@event(EventKind.RISK_REJECTED)
class RiskRejected(Event, frozen=True, kw_only=True):
    """A gate refused: first refusal decides, with its number and its limit."""

    gate: str
    layer: str
    rule: str
    value: str
    limit: str
    subject: str
    """What was refused: an opportunity, pair or order id."""
    asset: str = ""


@event(EventKind.HALT_LATCHED)
class HaltLatched(Event, frozen=True, kw_only=True):
    """New risk is refused until a person clears it. `rule` is drawdown, daily_loss or failures."""

    rule: str
    value: str
    limit: str


@event(EventKind.HALT_CLEARED)
class HaltCleared(Event, frozen=True, kw_only=True):
    """A person cleared a halt, or a new day the one of the day before (actor `calendar`)."""

    rule: str
    actor: str
    reason: str


@event(EventKind.COOLDOWN_STARTED)
class CooldownStarted(Event, frozen=True, kw_only=True):
    """No new risk in `scope` (an asset, or "all") until `until_ns` (UTC)."""

    scope: str
    until_ns: int
    reason: str
    failures: int = 0


@event(EventKind.OVERRIDE_GRANTED)
class OverrideGranted(Event, frozen=True, kw_only=True):
    """A person lifted the failure pause for a while; never drawdown, daily loss or kill switch."""

    actor: str
    until_ns: int
    trades: int
    reason: str


@event(EventKind.KILL_SWITCH)
class KillSwitchEngaged(Event, frozen=True, kw_only=True):
    """K1 no opens; K2 and cancel resting; K3 and flatten unhedged; K4 flatten all; K5 exit."""

    level: int
    actor: str
    reason: str
    venue: str = ""
    """It holds for what is there only; empty: for the whole node. K5 has none."""


@event(EventKind.KILL_SWITCH_CLEARED)
class KillSwitchCleared(Event, frozen=True, kw_only=True):
    """A person cleared the latch."""

    actor: str
    reason: str
    venue: str = ""
    """The latch of this venue only; empty: every one."""
