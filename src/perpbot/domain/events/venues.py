"""Our standing with a venue: connections, comparisons, nonces, and what it trades."""

from __future__ import annotations

from enum import StrEnum

from perpbot.domain.events.declaration import Event, event
from perpbot.domain.events.table import EventKind
from perpbot.domain.instruments import Instrument


@event(EventKind.VENUE_RECONCILED)
class VenueReconciled(Event, frozen=True, kw_only=True):
    """A comparison with the venue ended; opens need `agreed`."""

    venue: str
    agreed: bool
    differences: tuple[str, ...] = ()


class ConnectionState(StrEnum):
    """A venue's ladder: websocket, REST polling, stale, none."""

    LIVE = "live"
    POLLING = "polling"
    STALE = "stale"
    DOWN = "down"


@event(EventKind.VENUE_CONNECTION_CHANGED)
class VenueConnectionChanged(Event, frozen=True, kw_only=True, gc=False):
    """A channel (public, private, trading) of a venue moved on its ladder."""

    venue: str
    channel: str
    state: ConnectionState
    reason: str = ""


@event(EventKind.NONCES_RESERVED)
class NoncesReserved(Event, frozen=True, kw_only=True):
    """Requests of an account carry no nonce beyond `until` before a later one is reserved."""

    venue: str
    account: str
    until: int


@event(EventKind.INSTRUMENT_CHANGED)
class InstrumentChanged(Event, frozen=True, kw_only=True):
    """A venue trades an instrument by other rules from now on, or not at all."""

    before: Instrument
    after: Instrument
    changes: tuple[str, ...]
    """In plain words, such as `quantity_step 0.001 -> 0.01`."""
