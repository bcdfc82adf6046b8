"""Which venues may open anything: only those whose books have agreed with ours.

True per process: a restart or a reconnect of the private stream takes it away until the next
successful comparison. A channel that nobody has told of is down: a venue that could not be
prepared, or whose private stream never stood, opens nothing, whatever its REST side answers.
While money has moved somewhere that nothing explains yet, no venue opens anything: what the
account has lost is not known then.
"""

from __future__ import annotations

from collections.abc import Callable

from perpbot.domain.events import ConnectionState, VenueConnectionChanged, VenueReconciled
from perpbot.kernel.bus import EventBus

_NEEDED = ("trading", "public", "private")


class Readiness:
    """See the module."""

    def __init__(self, bus: EventBus, doubt: Callable[[], str] = lambda: "") -> None:
        """`doubt()` says what moved that nothing explains yet, or ""."""
        self._doubt = doubt
        self._agreed: dict[str, bool] = {}
        self._channels: dict[tuple[str, str], ConnectionState] = {}
        self._why: dict[str, str] = {}
        bus.subscribe(VenueReconciled, self._reconciled)
        bus.subscribe(VenueConnectionChanged, self._connection)

    def refusal(self, venue: str) -> str:
        """Return why nothing may open on a venue, or ""."""
        if not self._agreed.get(venue, False):
            return self._why.get(venue, "not compared with the venue yet")
        for channel in _NEEDED:
            state = self.state(venue, channel)
            if state is not ConnectionState.LIVE:
                return f"{channel} channel is {state}"
        return self._doubt()

    def state(self, venue: str, channel: str) -> ConnectionState:
        """Return where a channel is on its ladder."""
        return self._channels.get((venue, channel), ConnectionState.DOWN)

    def _reconciled(self, event: VenueReconciled) -> None:
        self._agreed[event.venue] = event.agreed
        self._why[event.venue] = "; ".join(event.differences) or "the venue did not answer"

    def _connection(self, event: VenueConnectionChanged) -> None:
        before = self._channels.get((event.venue, event.channel))
        self._channels[(event.venue, event.channel)] = event.state
        if event.channel == "private" and event.state is not before:
            # A comparison that succeeded while the stream was away says nothing of what it missed.
            self._agreed[event.venue] = False
            live = event.state is ConnectionState.LIVE
            self._why[event.venue] = (
                "not compared since the private channel came back"
                if live
                else f"private channel is {event.state}: {event.reason}"
            )
