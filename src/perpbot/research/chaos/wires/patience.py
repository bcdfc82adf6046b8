"""B9: no call before the time that a refusal for rate named, by a node that heard it.

A refusal binds from the instant at which the node was given its last byte: one that was lost, cut
off or came after the node had gone binds nobody. A call is early by when it left the node, not by
when it arrived.
"""

from __future__ import annotations

from collections.abc import Callable

from perpbot.kernel.clock import MS
from perpbot.simulation.virtual.pipes import Link


class Patience:
    """See the module; one for each venue."""

    def __init__(
        self, venue: str, now_ns: Callable[[], int], violate: Callable[[str], None]
    ) -> None:
        self._venue = venue
        self._now_ns = now_ns
        self._violate = violate
        self._closed: dict[str, tuple[int, int]] = {}
        """By what was refused: heard at, and no call before."""

    def refused(self, what: str, until_ns: int, link: Link) -> None:
        """The next thing that goes down a link is a refusal of `what`."""
        before = link.server.written

        def taken() -> None:
            if link.client.taken >= link.server.written > before:
                link.client.on_taken = None
                self._heard(what, until_ns)

        link.client.on_taken = taken

    def _heard(self, what: str, until_ns: int) -> None:
        if until_ns > self._closed.get(what, (0, 0))[1]:
            self._closed[what] = (self._now_ns(), until_ns)

    def called(self, what: str, link: Link) -> None:
        """A call for `what` has come up a link."""
        heard_ns, until_ns = self._closed.get(what, (0, 0))
        left_ns = self._now_ns() - link.client.idle_ns
        if heard_ns < left_ns < until_ns:
            early_ms = (until_ns - left_ns) // MS
            self._violate(f"B9 {self._venue} was called {early_ms} ms before Retry-After was over")

    def forget(self) -> None:
        """The node died: the next one was told nothing yet."""
        self._closed.clear()
