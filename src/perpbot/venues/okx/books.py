"""One order book of channel `books`: levels in contracts, and the rule of its sequence.

A book starts from the snapshot on the socket where the venue sends one, else from the first update
plus a REST snapshot (OKX change log of 2026-02-12): updates wait, the very first is ignored, the
snapshot must not be older than where the second starts, updates it covers are dropped, the first
one kept must overlap it, and from there each `prevSeqId` is the last `seqId`. A gap spoils the
book for good: the feed makes a new object.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from enum import Enum

from perpbot.venues.okx.codec import BookRow, Level

MAX_WAITING = 1_000
"""Updates that may wait for a REST snapshot: 100 s of the 100 ms channel."""


class Step(Enum):
    """What the feed has to do after a row."""

    APPLIED = "applied"
    """The book changed; it can be read."""
    QUIET = "quiet"
    """Nothing changed: a keep-alive, or an update that the snapshot covers."""
    WAITING = "waiting"
    """Kept until a REST snapshot comes."""
    SNAPSHOT_NEEDED = "snapshot_needed"
    """The first update came without a snapshot: ask REST for one."""
    GAP = "gap"
    """Rows are missing: throw this object away and subscribe anew."""


class Side:
    """Sorted prices with their sizes, the best at the end (`sign` 1 for bids, -1 for asks)."""

    __slots__ = ("_keys", "_sign", "_sizes")

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[float] = []
        self._sizes: dict[float, float] = {}

    def put(self, levels: Sequence[Level]) -> None:
        """Set or (size 0) remove levels."""
        keys, sizes, sign = self._keys, self._sizes, self._sign
        for level in levels:
            key = sign * level.price
            if level.contracts > 0.0:
                if key not in sizes:
                    keys.insert(bisect_left(keys, key), key)
                sizes[key] = level.contracts
            elif sizes.pop(key, None) is not None:
                del keys[bisect_left(keys, key)]

    def top(self, depth: int, scale: float) -> tuple[tuple[float, float], ...]:
        """Return the best levels first, sizes multiplied by `scale`."""
        sign, sizes = self._sign, self._sizes
        return tuple((sign * key, sizes[key] * scale) for key in self._keys[: -depth - 1 : -1])


class SequencedBook:
    """The book of one instrument from one subscription."""

    def __init__(self) -> None:
        self.bids = Side(1)
        self.asks = Side(-1)
        self.sequence: int | None = None
        self._ready = False
        self._from_rest = False
        self._first: BookRow | None = None
        self._waiting: deque[BookRow] = deque(maxlen=MAX_WAITING + 1)

    @property
    def is_ready(self) -> bool:
        """Whether the levels are the venue's."""
        return self._ready

    def take(self, action: str, row: BookRow) -> Step:
        """Take a row from the socket, in order of arrival."""
        if action == "snapshot":
            self._replace(row, from_rest=False)
            return Step.APPLIED
        if self._ready:
            return self._chain(row)
        if self._first is None:
            self._first = row  # the announced procedure takes only its place, not its levels
            return Step.SNAPSHOT_NEEDED
        self._waiting.append(row)
        return Step.GAP if len(self._waiting) > MAX_WAITING else Step.WAITING

    def align(self, snapshot: BookRow) -> Step:
        """Take the REST snapshot. SNAPSHOT_NEEDED when it is too old, GAP when nothing fits."""
        if self._ready:
            return Step.QUIET  # the socket sent a snapshot meanwhile
        sequence = snapshot.seq_id
        if sequence is None:
            return Step.GAP
        if self._first is not None and sequence < (self._first.seq_id or 0):
            return Step.SNAPSHOT_NEEDED
        self._replace(snapshot, from_rest=True)
        waiting, self._waiting = self._waiting, deque()
        for row in waiting:
            if self._chain(row) is Step.GAP:
                return Step.GAP
        return Step.APPLIED

    def _replace(self, row: BookRow, *, from_rest: bool) -> None:
        self.bids, self.asks = Side(1), Side(-1)
        self.bids.put(row.bids)
        self.asks.put(row.asks)
        self.sequence = row.seq_id
        self._from_rest = from_rest
        self._ready = True

    def _chain(self, row: BookRow) -> Step:
        if not self._follows(row):
            self._ready = False
            return Step.GAP
        last, sequence = self.sequence, row.seq_id
        if self._from_rest and last is not None and sequence is not None:
            if sequence <= last:
                return Step.QUIET
            self._from_rest = False
        # A reset after maintenance chains to the last id and starts lower; it is taken as it is.
        self.sequence = sequence
        if not row.bids and not row.asks:
            return Step.QUIET
        self.bids.put(row.bids)
        self.asks.put(row.asks)
        return Step.APPLIED

    def _follows(self, row: BookRow) -> bool:
        last, sequence, previous = self.sequence, row.seq_id, row.prev_seq_id
        if last is None:
            return sequence is None  # frames of before 2022 carry no sequence at all
        if sequence is None or previous is None:
            return False
        if self._from_rest:
            return sequence <= last or previous <= last
        return previous == last
