"""The node itself: runs, its journal, its components, alerts, health."""

from __future__ import annotations

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind


@event(EventKind.RUN_STARTED)
class RunStarted(Event, frozen=True, kw_only=True):
    """A process took over the journal; `epoch` grows with each."""

    epoch: int
    mode: str
    version: str
    config_hash: str
    may_lack: bool = False
    """Whether the machine went down under the run before: its last records may not be there."""


@event(EventKind.RUN_ENDED)
class RunEnded(Event, frozen=True, kw_only=True):
    """An orderly end."""

    epoch: int
    reason: str


@event(EventKind.RECORD_PASSED_OVER)
class RecordPassedOver(Event, frozen=True, kw_only=True):
    """A person decided that a record which cannot be folded is left out of every replay."""

    sequence: int
    record_kind: str
    component: str
    error: str
    actor: str
    reason: str


@event(EventKind.JOURNAL_REPAIRED)
class JournalRepaired(Event, frozen=True, kw_only=True):
    """A person had damaged parts of the journal moved aside; the venues say what is true now."""

    damage: str
    kept_until: int
    """Last record before the damage that is still part of the journal; 0 where none is."""
    lost: int
    """Records that the state no longer contains, as far as they can be counted."""
    epoch: int
    """Runs up to this number may have sent orders that the journal no longer knows."""
    files: tuple[str, ...]
    actor: str


@event(EventKind.CONFIG_CHANGED)
class ConfigChanged(Event, frozen=True, kw_only=True):
    """Settings changed while running; values are masked where secret."""

    changes: dict[str, str]
    actor: str


@event(EventKind.COMPONENT_ERROR)
class ComponentFailed(Event, frozen=True, kw_only=True):
    """A handler or task raised; `traceback` is text."""

    component: str
    error: str
    traceback: str
    quarantined: bool = False


@event(EventKind.BUS_OVERFLOW)
class BusOverflow(Event, frozen=True, kw_only=True):
    """A lane passed its high-water mark (`active`) or fell below it again."""

    queue: str
    """urgent, durable, stream or latest; "all" when it is over."""
    depth: int
    active: bool


@event(EventKind.ALERT_FIRED)
class AlertFired(Event, frozen=True, kw_only=True):
    """Something a person should know; fired once an edge."""

    name: str
    severity: str
    text: str


@event(EventKind.HEARTBEAT)
class Heartbeat(Event, frozen=True, kw_only=True, gc=False):
    """A component is alive."""

    component: str
    status: str = "ok"

    @property
    def key(self) -> object:
        """The component."""
        return self.component


@event(EventKind.HEALTH_SNAPSHOT_UPDATE)
class HealthSnapshotUpdated(Event, frozen=True, kw_only=True):
    """0 to 100; a component that cannot be judged is absent, never invented."""

    score: float | None
    components: dict[str, float]
