"""Wrong tokens are counted by address; too many, and that address is not listened to for a while.

Only wrong tokens count: requests without one are no guesses, and any page in a browser could send
those in its visitor's name and lock the visitor out.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from perpbot.kernel.clock import SECOND, Clock

FAILURES_MAX = 5
WINDOW_NS = 60 * SECOND
LOCK_NS = 60 * SECOND
LOCK_MAX_NS = 900 * SECOND
ADDRESSES_MAX = 4_096


class _Record:
    __slots__ = ("failures_ns", "locked_until_ns", "locks")

    def __init__(self) -> None:
        self.failures_ns: list[int] = []
        self.locked_until_ns = 0
        self.locks = 0


class Lockout:
    """What each address got wrong lately. Bounded: the address longest silent is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def remaining_s(self, client: str) -> int:
        """Return for how long an address is still locked out; 0 where it is not."""
        record = self._records.get(_group(client))
        if record is None:
            return 0
        left_ns = record.locked_until_ns - self._clock.monotonic_ns()
        return -(-left_ns // SECOND) if left_ns > 0 else 0

    def failed(self, client: str) -> None:
        """Count a wrong token; each lock in a row lasts twice as long, up to a quarter hour."""
        now_ns = self._clock.monotonic_ns()
        group = _group(client)
        record = self._records.setdefault(group, _Record())
        self._records.move_to_end(group)
        record.failures_ns = [ns for ns in record.failures_ns if now_ns - ns < WINDOW_NS]
        record.failures_ns.append(now_ns)
        if len(record.failures_ns) >= FAILURES_MAX:
            record.locked_until_ns = now_ns + min(LOCK_NS << record.locks, LOCK_MAX_NS)
            record.locks = min(record.locks + 1, 8)
            record.failures_ns.clear()
        while len(self._records) > ADDRESSES_MAX:
            self._records.popitem(last=False)

    def succeeded(self, client: str) -> None:
        """Forget what an address got wrong."""
        self._records.pop(_group(client), None)


def _group(client: str) -> str:
    """Return what stands for a client: an IPv6 customer has a whole /64 of addresses."""
    try:
        address: IPv4Address | IPv6Address = ip_address(client)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return str(address)
