"""Where a node process can die: between any two steps of an order's way, and in recovery.

`install` wraps the journal, the gateways and the bus of the process that calls it; product code
knows nothing of it. A point is `<step>:before` or `<step>:after`. Everything that a journal
append has acknowledged is written down in a shared file that survives the process, so that the
parent can tell whether a record was lost.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from perpbot.domain.events import Event, EventKind, FillReported, OrderReported
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderState, Purpose
from perpbot.execution.gateway import VenueGateway
from perpbot.kernel.bus import EventBus
from perpbot.kernel.journal import files, settling
from perpbot.kernel.journal.writer import Journal
from tests.processes.plan import Death

RECORDS: dict[str, str] = {
    EventKind.RUN_STARTED: "run started",
    EventKind.VENUE_RECONCILED: "venue reconciled",
    EventKind.ORDER_SENT: "order sent",
    EventKind.ORDER_PLACED: "order placed",
    EventKind.ORDER_FILLED: "order filled",
    EventKind.PAIR_STATE_CHANGED: "pair state",
    EventKind.LEASE_RELEASED: "lease released",
    EventKind.CAPITAL_RELEASED: "capital released",
    EventKind.TRADE_COMPLETED: "trade completed",
}
"""Records whose append is a step, besides the intents, which are named by their purpose."""

STEPS: tuple[str, ...] = (
    *(f"append {name}" for name in RECORDS.values()),
    *(f"append {purpose} intent" for purpose in ("open", "hedge", "reduce")),
    *(f"send {purpose}" for purpose in ("open", "hedge", "reduce")),
    "take acknowledgement",
    "take fill",
    "begin segment",
    "settle segment",
    "name segment",
)
POINTS: tuple[str, ...] = tuple(f"{step}:{when}" for step in STEPS for when in ("before", "after"))
"""Every enumerated kill point."""

_COUNTS = struct.Struct("<QQ")
_CHECKSUM = struct.Struct("<I")
MOST_RECORDS = 1_000_000


class Acks:
    """The checksum of every acknowledged record, by sequence, in a file that is mapped."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, _COUNTS.size + MOST_RECORDS * _CHECKSUM.size)
            self._map = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)

    def note(self, sequence: int, payload: bytes, *, is_intent: bool) -> None:
        """The record `sequence` was acknowledged to whoever appended it."""
        place = _COUNTS.size + sequence * _CHECKSUM.size
        _CHECKSUM.pack_into(self._map, place, zlib.crc32(payload))
        _COUNTS.pack_into(self._map, 0, sequence, self.intents + is_intent)

    @property
    def last(self) -> int:
        """The newest acknowledged sequence."""
        return int(_COUNTS.unpack_from(self._map)[0])

    @property
    def intents(self) -> int:
        """How many of the acknowledged records sent orders."""
        return int(_COUNTS.unpack_from(self._map)[1])

    def checksum(self, sequence: int) -> int:
        """Of the payload; 0 where nothing was acknowledged under that number."""
        return int(_CHECKSUM.unpack_from(self._map, _COUNTS.size + sequence * _CHECKSUM.size)[0])

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()


class Points:
    """Counts what is reached; kills the process when the planned point is."""

    def __init__(self, death: Death | None, tally: Path) -> None:
        self._point = "" if death is None else death.point
        self._left = 0 if death is None else death.nth
        self._tally = tally
        self.reached: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self.reached[point] += 1
        if point != self._point:
            return
        self._left -= 1
        if not self._left:
            # Written before the end, so that a point counts only where it really was the end.
            descriptor = os.open(self._tally, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(descriptor, f"{point}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def install(points: Points, acks: Acks, segment_bytes: int | None = None) -> None:
    """Wrap the steps of this process; `segment_bytes` in place of what the settings say."""
    _wrap_journal(points, acks)
    _wrap_segments(points, segment_bytes)
    _wrap_gateway(points)
    _wrap_bus(points)


def _step_of(event: Event) -> str | None:
    orders: tuple[OrderRequest, ...] = getattr(event, "orders", ())
    if orders:
        return f"append {_purpose(orders[0])} intent"
    name = RECORDS.get(event.kind)
    return None if name is None else f"append {name}"


def _purpose(request: OrderRequest) -> str:
    return {Purpose.OPEN: "open", Purpose.HEDGE: "hedge"}.get(request.purpose, "reduce")


def _wrap_journal(points: Points, acks: Acks) -> None:
    original = Journal.append
    encoder = msgspec.msgpack.Encoder()

    def append(self: Journal, event: Event) -> int:
        step = _step_of(event)
        if step is not None:
            points(f"{step}:before")
        sequence = original(self, event)
        is_intent = bool(getattr(event, "orders", ()))
        acks.note(sequence, encoder.encode(event), is_intent=is_intent)
        if step is not None:
            points(f"{step}:after")
        return sequence

    Journal.append = append  # type: ignore[method-assign]


def _wrap_segments(points: Points, segment_bytes: int | None) -> None:
    """A full segment: the next one begins, the full one reaches the disk, the next has its name.

    The last two happen in a thread, beside what is appended meanwhile.
    """
    original, begin, settle, name = (
        Journal.__init__,
        Journal._begin_segment,
        settling.settle,
        files.settle_name,
    )

    def init(self: Journal, *given: Any, **named: Any) -> None:
        if segment_bytes is not None:
            named["segment_bytes"] = segment_bytes
        original(self, *given, **named)

    def begun(self: Journal, first: int) -> None:
        points("begin segment:before")
        begin(self, first)
        points("begin segment:after")

    def settled(full: int, following: Path) -> None:
        points("settle segment:before")
        settle(full, following)
        points("settle segment:after")

    def named(segment: Path) -> Path:
        points("name segment:before")
        path = name(segment)
        points("name segment:after")
        return path

    Journal.__init__ = init  # type: ignore[method-assign]
    Journal._begin_segment = begun  # type: ignore[method-assign]
    settling.settle = settled
    files.settle_name = named


def _wrap_gateway(points: Points) -> None:
    original = VenueGateway._begin

    def begin(self: VenueGateway, request: OrderRequest, *more: Any, **named: Any) -> None:
        step = f"send {_purpose(request)}"
        points(f"{step}:before")
        original(self, request, *more, **named)
        points(f"{step}:after")

    VenueGateway._begin = begin  # type: ignore[method-assign]


def _wrap_bus(points: Points) -> None:
    original = EventBus.publish

    def publish(self: EventBus, event: Event) -> None:
        step = ""
        if isinstance(event, FillReported):
            step = "take fill"
        elif isinstance(event, OrderReported) and event.report.state is OrderState.ACCEPTED:
            step = "take acknowledgement"
        if step:
            points(f"{step}:before")
        original(self, event)
        if step:
            points(f"{step}:after")

    EventBus.publish = publish  # type: ignore[method-assign]
