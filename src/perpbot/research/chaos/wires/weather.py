"""What the plan of a seed does to connections: the network's `Weather`.

A link belongs to a venue by its host name, and is public, private or rest by its first line; where
a venue serves both on one path, `label` is told once the server has heard what is subscribed to.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from perpbot.kernel.clock import MS
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import Fault, Plan
from perpbot.simulation.virtual.pipes import Carriage, Link, Meeting

DOMAIN = ".test"
PUBLIC, PRIVATE, REST = "public", "private", "rest"
_PRIVATE_PATHS = (b"/private", b"/ws-fapi", b"/ws/v5/private", b"/ws/v5/business")
_PUBLIC_PATHS = (b"/public", b"/market", b"/ws")
_PATH_VARIANTS = {"dns": (0, 1), "certificate": (2,), "refused": (3, 4), "hang": (5,)}


def venue_of(link: Link) -> str:
    """Return the venue that a link leads to."""
    return link.name.removesuffix(DOMAIN)


def kind_of(link: Link) -> str:
    """Return what a link carries."""
    if link.label:
        return link.label
    parts = link.first_line.split(b" ")
    path = parts[1] if len(parts) > 1 else b""
    for prefix in _PRIVATE_PATHS:
        if path.startswith(prefix):
            return PRIVATE
    for prefix in _PUBLIC_PATHS:
        if path.startswith(prefix):
            return PUBLIC
    return REST


class PlannedWeather:
    """See the module."""

    def __init__(self, plan: Plan, now_ns: Callable[[], int], counters: Counters) -> None:
        self._plan = plan
        self._now_ns = now_ns
        self._counters = counters
        self._rng = random.Random(f"wires weather {plan.seed}")
        self.on_bytes: Callable[[Link, bool], None] = lambda _link, _up: None
        """Hears every write before its fate is known."""

    def resolves(self, name: str) -> bool:
        """Whether the name can be looked up now."""
        fault = self._unreachable(name)
        return fault is None or fault.variant not in _PATH_VARIANTS["dns"]

    def meets(self, name: str, port: int) -> Meeting:
        """How an attempt to connect ends."""
        fault = self._unreachable(name)
        if fault is None:
            return Meeting.ACCEPT
        if fault.variant in _PATH_VARIANTS["certificate"]:
            return Meeting.BAD_CERTIFICATE
        return Meeting.HANG if fault.variant in _PATH_VARIANTS["hang"] else Meeting.REFUSE

    def carry(self, link: Link, size: int, *, up: bool) -> Carriage:
        """What becomes of some bytes."""
        venue, kind = venue_of(link), kind_of(link)
        rng = self._rng
        self.on_bytes(link, up)
        delay_ns = self._plan.venues[venue].latency_ns + rng.randrange(5 * MS)
        for fault in self._open(venue, ("1", "2", "6", "drip")):
            if (fault.row, kind) in {("1", PUBLIC), ("2", PRIVATE)} and size:
                self._counters.hit(fault.row)
                return Carriage(delay_ns=delay_ns, reset_after=rng.randrange(size))
            if fault.row == "6" and kind == REST and size and rng.random() < fault.intensity / 3:
                lost_up = fault.variant % 2 == 0
                if lost_up is up:
                    self._counters.hit("6")
                    return Carriage(lost=True)
            if fault.row == "drip":
                self._counters.hit("drip")
                if rng.random() < 0.2 * fault.intensity:
                    delay_ns += rng.randrange(50, 3_000) * MS
                return Carriage(
                    delay_ns=delay_ns,
                    pieces=rng.randrange(1, 9),
                    spread_ns=rng.randrange(400) * MS,
                )
        if rng.random() < 0.03:
            return Carriage(delay_ns=delay_ns, pieces=rng.randrange(2, 5), spread_ns=2 * MS)
        return Carriage(delay_ns=delay_ns)

    def _unreachable(self, name: str) -> Fault | None:
        for fault in self._open(name.removesuffix(DOMAIN), ("42",)):
            self._counters.hit("42")
            return fault
        return None

    def _open(self, venue: str, rows: Iterable[str]) -> list[Fault]:
        now_ns = self._now_ns()
        return [
            fault
            for fault in self._plan.faults
            if fault.venue == venue and fault.row in rows and fault.active(now_ns)
        ]
