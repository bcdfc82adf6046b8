"""Which journal records wait for the disk, by the setting: what a power loss may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from perpbot.domain.events import Event, Lane, OrderIntent, RunStarted
from perpbot.guardian.heartbeat import machine_went_down
from perpbot.operations.settings import SyncPolicy


def is_synced_intent(event: Event) -> bool:
    """Whether a record sends orders, or stops or allows them: it must survive a power loss."""
    return isinstance(event, OrderIntent) or event.lane is Lane.URGENT


def is_start(event: Event) -> bool:
    """Whether a run begins: one that is forgotten would give its ids away a second time."""
    return isinstance(event, RunStarted)


SYNCED: Mapping[SyncPolicy, Callable[[Event], bool]] = {
    SyncPolicy.WRITE: is_start,
    SyncPolicy.INTENTS: lambda event: is_start(event) or is_synced_intent(event),
    SyncPolicy.EVERY: lambda _event: True,
}


def may_lack(directory: Path, policy: SyncPolicy) -> bool:
    """Return whether orders may have gone out that the journal of a state directory lacks."""
    return policy is SyncPolicy.WRITE and machine_went_down(directory)
