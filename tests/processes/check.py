"""Judges what a node's lives have left behind: from its journal and from the exchanges' own books.

Shares nothing with the node but the reading of records.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpbot.domain.events import OrderFilled, OrderProvenAbsent, PositionAdjusted
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Side
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.record import Record
from tests.processes.points import Acks

ZERO = Decimal(0)
CANONICAL_LENGTH = 32


class Books:
    """What a journal says, read once."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.checksums: dict[int, int] = {}
        self.intents: dict[str, Decimal] = {}
        self.repeated: list[str] = []
        self.filled: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.trades: Counter[tuple[str, str, str]] = Counter()
        self.positions: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.absent: set[str] = set()
        self.adjusted: list[PositionAdjusted] = []
        self.kinds: Counter[str] = Counter()
        for record in records:
            self.checksums[record.sequence] = zlib.crc32(record.payload)
            self.kinds[record.kind] += 1
            self._take(record)

    def _take(self, record: Record) -> None:
        event = record.event()
        orders: tuple[OrderRequest, ...] = getattr(event, "orders", ())
        for order in orders:
            if order.client_id in self.intents:
                self.repeated.append(order.client_id)
            self.intents[order.client_id] = order.quantity
        if isinstance(event, OrderFilled):
            sign = 1 if event.side is Side.BUY else -1
            self.filled[event.client_id] += event.quantity
            self.trades[event.venue, event.asset, event.trade_id] += 1
            self.positions[event.venue, event.asset] += sign * event.quantity
        elif isinstance(event, OrderProvenAbsent):
            self.absent.add(event.client_id)
        elif isinstance(event, PositionAdjusted):
            self.adjusted.append(event)
            self.positions[event.venue, event.asset] += event.delta


def lost(journal: Path, acks: Path) -> list[str]:
    """Return every record that was acknowledged and is not in the journal as it was.

    A record may be there without: the process died between its write and the acknowledgement.
    """
    books = {r.sequence: zlib.crc32(r.payload) for r in read_records(journal)}
    acknowledged = Acks(acks)
    try:
        return [
            f"record {sequence} was acknowledged and is lost or different"
            for sequence in range(1, acknowledged.last + 1)
            if (checksum := acknowledged.checksum(sequence)) and books.get(sequence) != checksum
        ]
    finally:
        acknowledged.close()


def violations(
    journal: Path, taken: Iterable[Mapping[str, Any]], accountant: Mapping[str, Any]
) -> list[str]:
    """Return what does not hold between a journal and the exchanges; empty is good.

    `taken` are the orders that the exchanges took, `accountant` is what their accountant says.
    """
    books = Books(read_records(journal))
    found = [f"{client_id}: its intent was journalled twice" for client_id in books.repeated]
    executed: dict[str, Decimal] = {}
    for row in taken:
        client_id = row["client_id"][-CANONICAL_LENGTH:]
        filled = Decimal(row["filled"])
        executed[client_id] = filled
        if client_id not in books.intents:
            found.append(f"{row['venue']} took {client_id}, which has no intent")
            continue
        if row["taken"] > 1:
            found.append(f"{row['venue']} took {client_id} {row['taken']} times")
        if filled > books.intents[client_id]:
            found.append(f"{client_id} executed {filled} of {books.intents[client_id]}")
        if filled and client_id in books.absent:
            found.append(f"{client_id} executed, its absence was thought proven")
    found += [
        f"{client_id}: we booked {books.filled.get(client_id, ZERO)}, executed {filled}"
        for client_id, filled in executed.items()
        if books.filled.get(client_id, ZERO) != filled
    ]
    found += [f"trade {key} was booked {n} times" for key, n in books.trades.items() if n > 1]
    found += [f"a position was adjusted: {event.reason}" for event in books.adjusted]
    true = {
        (row["venue"], row["asset"]): Decimal(row["quantity"]) for row in accountant["positions"]
    }
    for key in sorted({*true, *books.positions}):
        ours, theirs = books.positions.get(key, ZERO), true.get(key, ZERO)
        if ours != theirs:
            found.append(f"{'/'.join(key)}: our position {ours}, the exchange's {theirs}")
    if accountant["open_orders"]:
        found.append(f"{accountant['open_orders']} orders rest at the exchanges")
    return found
