"""Which journal records wait for the disk, by the setting: what a power loss may take."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perpbot.domain.events import Event, Lane, OrderIntent
from perpbot.operations.settings import SyncPolicy


def is_synced_intent(event: Event) -> bool:
    """Whether a record sends orders, or stops or allows them: it must survive a power loss."""
    return isinstance(event, OrderIntent) or event.lane is Lane.URGENT


SYNCED: Mapping[SyncPolicy, Callable[[Event], bool] | None] = {
    SyncPolicy.WRITE: None,
    SyncPolicy.INTENTS: is_synced_intent,
    SyncPolicy.EVERY: lambda _event: True,
}
"""None: no record waits."""
