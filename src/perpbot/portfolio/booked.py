"""Which executions and funding payments are booked already. Folds from the journal.

Venues tell things again: by stream and by answer, after a reconnect, after a restart, hours later.
What is told twice is booked once. The newest keys of each account are kept; of what is older than
a key that was given up nobody can say whether it was booked, so it counts as booked. Should it
truly have been missed, the comparison of positions finds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple

from perpbot.domain.events import Event, FundingPaid, OrderFilled
from perpbot.domain.money import plain
from perpbot.domain.orders import FillReport, FundingReport

KEYS_KEPT = 10_000
"""Of each kind and account. Reconciling asks back by seconds, a stream repeats by hundreds."""


class BookedKey(NamedTuple):
    """What makes an execution or a payment unique, in 8 bytes.

    That two of 10,000 kept ones share a digest with a third one happens once in 10^15 times.
    """

    table: str
    """Kind, venue and account."""
    digest: int


class BookedTrades:
    """See the module.

    Beside the key of its trade id an execution has one of what it was, for venues that tell it
    again under another id.
    """

    name = "booked_trades"

    def __init__(self) -> None:
        self._tables: dict[str, _Newest] = {}

    def __contains__(self, key: BookedKey) -> bool:
        table = self._tables.get(key.table)
        return table is not None and key.digest in table.moments

    def is_past(self, key: BookedKey, venue_ns: int) -> bool:
        """Whether something of that moment is as old as what is not remembered any more."""
        table = self._tables.get(key.table)
        return table is not None and 0 < venue_ns <= table.forgotten_ns

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {OrderFilled: self._filled, FundingPaid: self._funding}

    def _filled(self, event: OrderFilled) -> None:
        self._add(fill_key(event), event)
        if event.venue_ns:
            self._add(twin_key(event, event.client_id), event)

    def _funding(self, event: FundingPaid) -> None:
        self._add(funding_key(event), event)

    def _add(self, key: BookedKey, event: OrderFilled | FundingPaid) -> None:
        table = self._tables.get(key.table)
        if table is None:
            table = self._tables[key.table] = _Newest()
        # A moment that a venue tells wrongly, far ahead, must not make all later ones old.
        table.add(key.digest, min(event.venue_ns, event.ts_ns))

    def snapshot(self) -> object:
        """The keys with their moments by table, oldest first, and what is forgotten."""
        return {
            name: {
                "keys": list(table.moments),
                "moments": list(table.moments.values()),
                "forgotten_ns": table.forgotten_ns,
            }
            for name, table in self._tables.items()
        }

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        if not isinstance(state, dict):
            raise TypeError(f"booked trades were {type(state).__name__}, a dict was expected")
        self._tables = {
            name: _Newest(
                dict(zip(table["keys"], table["moments"], strict=True)), table["forgotten_ns"]
            )
            for name, table in state.items()
        }


class _Newest:
    """The newest keys of one table, each with its moment."""

    __slots__ = ("_order", "forgotten_ns", "moments")

    def __init__(self, moments: dict[int, int] | None = None, forgotten_ns: int = 0) -> None:
        self.moments = moments or {}
        self._order = deque(self.moments)
        self.forgotten_ns = forgotten_ns
        """The latest moment of a key that was given up."""

    def add(self, digest: int, moment_ns: int) -> None:
        """Keep a key; give the oldest one up where there are too many."""
        if digest in self.moments:
            return
        self.moments[digest] = moment_ns
        self._order.append(digest)
        if len(self._order) > KEYS_KEPT:
            gone_ns = self.moments.pop(self._order.popleft())
            self.forgotten_ns = max(self.forgotten_ns, gone_ns)


def fill_key(fill: OrderFilled | FillReport) -> BookedKey:
    """Return the key that makes an execution unique: a trade id may serve both sides."""
    return _key("fill", fill, f"{fill.asset}|{fill.side}|{fill.trade_id}")


def twin_key(fill: OrderFilled | FillReport, client_id: str) -> BookedKey:
    """Return what two tellings of one execution have in common, whatever they call it."""
    what = f"{plain(fill.price)}|{plain(fill.quantity)}|{fill.venue_ns}"
    return _key("twin", fill, f"{fill.asset}|{fill.side}|{client_id}|{what}")


def funding_key(payment: FundingPaid | FundingReport) -> BookedKey:
    """Return the key that makes a funding payment unique."""
    return _key("funding", payment, f"{payment.asset}|{payment.payment_id}")


def _key(
    kind: str, told: OrderFilled | FillReport | FundingPaid | FundingReport, text: str
) -> BookedKey:
    digest = blake2b(text.encode(), digest_size=8).digest()
    return BookedKey(f"{kind}|{told.venue}|{told.account}", int.from_bytes(digest, "big"))
