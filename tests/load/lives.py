"""Lives of pairs, recorded from the core itself and told again under other names.

Four scenes (both legs fill; one fills by half; one is refused and unwound; answers are lost) are
played once in virtual time against exchanges of our own. A copy of a life differs in what has to:
ids, asset and time. So a million records are what a node writes in weeks, made in a minute.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

from perpbot.domain.events import PairPlanned, TradeCompleted
from perpbot.kernel.clock import SECOND
from perpbot.kernel.journal.record import Record
from tests.unit.execution.stand import ASSET, SYMBOL
from tests.unit.execution.test_recovery import SCENES, live

COPY = "########"
"""Stands for the number of the copy in every id."""
PLACE = "&&&&"
"""Stands for the number of the asset."""
_ID_KEYS = frozenset(
    {
        "client_id",
        "client_ids",
        "correlation_id",
        "opportunity_id",
        "owner",
        "pair_id",
        "replaces",
        "reservation_id",
        "subject",
        "trade_id",
        "venue_order_id",
    }
)
_RECENT = 1_000_000_000 * SECOND
_UINT64 = 0xCF


class _Line:
    """One record of a life with the places where copies differ."""

    def __init__(self, record: Record) -> None:
        self.kind = record.kind
        self.ts_ns = record.ts_ns
        content = _renamed(msgspec.msgpack.decode(record.payload), "")
        self.payload = msgspec.msgpack.encode(content)
        self.copies = _places(self.payload, COPY.encode())
        self.assets = _places(self.payload, PLACE.encode())
        self.times = [
            (at, value)
            for at in range(len(self.payload) - 8)
            if self.payload[at] == _UINT64
            and (value := struct.unpack_from(">Q", self.payload, at + 1)[0]) > _RECENT
            and value < 4 * _RECENT
        ]

    def told(self, sequence: int, copy: int, asset: int, shift_ns: int) -> Record:
        """Return this record in a copy of the life."""
        payload = bytearray(self.payload)
        number = b"%08d" % copy
        for at in self.copies:
            payload[at : at + 8] = number
        place = b"%04d" % asset
        for at in self.assets:
            payload[at : at + 4] = place
        for at, value in self.times:
            struct.pack_into(">Q", payload, at + 1, value + shift_ns)
        return Record(sequence, self.ts_ns + shift_ns, self.kind, bytes(payload))


def _places(payload: bytes, token: bytes) -> list[int]:
    found, at = [], payload.find(token)
    while at >= 0:
        found.append(at)
        at = payload.find(token, at + len(token))
    return found


def _renamed(value: Any, key: str) -> Any:
    """Put tokens into the ids and assets of a record's content."""
    if isinstance(value, dict):
        return {
            (_asset(name) if isinstance(name, str) else name): _renamed(part, name)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_renamed(part, key) for part in value]
    if not isinstance(value, str) or not value:
        return value
    if key in _ID_KEYS:
        if len(value) == 32:  # a client order id: it stays as long
            return value[:8] + COPY + value[16:]
        return f"{value}.{COPY}"
    return _asset(value)


def _asset(text: str) -> str:
    return text.replace(ASSET, f"A{PLACE}-PERP").replace(SYMBOL, f"A{PLACE}USDT")


@lru_cache
def lives() -> tuple[tuple[_Line, ...], ...]:
    """Return the recorded lives, from plan to end with what a node writes beside them."""
    found = []
    for scene in SCENES.values():
        stand = scene()
        live(stand)
        records = list(stand.journal.records())
        kinds = [record.kind for record in records]
        begin = kinds.index(PairPlanned.kind)
        end = kinds.index(TradeCompleted.kind)
        ids = {record.sequence for record in records[begin : end + 1]}
        found.append(tuple(_Line(record) for record in records if record.sequence in ids))
    return tuple(found)


def tell(count: int, *, together: int = 20, left_open: int = 500) -> Iterator[Record]:
    """Yield about `count` records: lives that overlap; the last ones keep both orders at work.

    `together` lives go on at any time, each in an asset of its own; at the end `left_open` pairs
    have two orders each that have no end yet.
    """
    scenes = lives()
    opening = scenes[0][:3]  # planned, and both orders sent
    sequence = copy = 0
    free = deque(range(together))
    going: deque[tuple[int, int, Iterator[_Line]]] = deque()
    while sequence < count - left_open * len(opening) or going:
        if free and sequence < count - left_open * len(opening):
            going.append((copy, free.popleft(), iter(scenes[copy % len(scenes)])))
            copy += 1
        number, asset, lines = going.popleft()
        line = next(lines, None)
        if line is None:
            free.append(asset)
            continue
        sequence += 1
        yield line.told(sequence, number, asset, number * SECOND)
        going.append((number, asset, lines))
    for index in range(left_open):
        for line in opening:
            sequence += 1
            yield line.told(sequence, copy + index, together + index, (copy + index) * SECOND)
