"""One order book of channel `books`: levels in contracts, and the rule of its sequence.

A book starts from the snapshot on the socket where the venue sends one, else from the first update
plus a REST snapshot (OKX change log of 2026-02-12): updates wait, the very first is ignored, the
snapshot must not be older than where the second starts, updates it covers are dropped, the first
one kept must overlap it, and from there each `prevSeqId` is the last `seqId`. A gap spoils the
book for good: the feed makes a new object.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from perpbot.domain.errors import InvalidValue
from perpbot.venues.okx.codec import BookRow
from perpbot.venues.wire.ladder import Ladder

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
    """Rows are missing or impossible: throw this object away and subscribe anew."""


class SequencedBook:
    """The book of one instrument from one subscription."""

    def __init__(self) -> None:
        self.bids = Ladder(bids=True)
        self.asks = Ladder(bids=False)
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
            return self._replace(row, from_rest=False)
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
        if self._replace(snapshot, from_rest=True) is Step.GAP:
            return Step.GAP
        waiting, self._waiting = self._waiting, deque()
        for row in waiting:
            if self._chain(row) is Step.GAP:
                return Step.GAP
        return Step.APPLIED

    def _replace(self, row: BookRow, *, from_rest: bool) -> Step:
        self.bids, self.asks = Ladder(bids=True), Ladder(bids=False)
        self.sequence = row.seq_id
        self._from_rest = from_rest
        self._ready = True
        return self._put(row)

    def _put(self, row: BookRow) -> Step:
        try:
            self.bids.put([(level.price, level.contracts) for level in row.bids])
            self.asks.put([(level.price, level.contracts) for level in row.asks])
        except InvalidValue:
            self._ready = False
            return Step.GAP
        return Step.APPLIED

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
        return self._put(row)

    def _follows(self, row: BookRow) -> bool:
        last, sequence, previous = self.sequence, row.seq_id, row.prev_seq_id
        if last is None:
            return sequence is None  # frames of before 2022 carry no sequence at all
        if sequence is None or previous is None:
            return False
        if self._from_rest:
            return sequence <= last or previous <= last
        return previous == last
