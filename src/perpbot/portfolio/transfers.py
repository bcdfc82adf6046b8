"""Which transfers are booked, and what they add up to. Folds from the journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.events import Event, Transfer
from perpbot.domain.money import ZERO

TRANSFER_IDS_KEPT = 10_000
"""Apart from executions: transfers are asked for further back, and no number of fills may push
one out that will be told again."""


class BookedTransfers:
    """The keys of transfers, and by venue the USD that came in less what went out."""

    name = "booked_transfers"

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._oldest_first: deque[str] = deque()
        self._totals: dict[str, Decimal] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def total(self, venue: str) -> Decimal:
        """Return what came in less what went out since the books of a venue began, USD."""
        return self._totals.get(venue, ZERO)

    def folds(self) -> Mapping[type[Event], Any]:
        """What it lives on."""
        return {Transfer: self._transfer}

    def _transfer(self, event: Transfer) -> None:
        key = transfer_key(event.venue, event.account, event.reference)
        if key in self._keys:
            return
        self._keys.add(key)
        self._oldest_first.append(key)
        if len(self._keys) > TRANSFER_IDS_KEPT:
            self._keys.remove(self._oldest_first.popleft())
        self._totals[event.venue] = self.total(event.venue) + event.amount_usd

    def snapshot(self) -> object:
        """The keys, oldest first, and the totals."""
        return {"keys": list(self._oldest_first), "totals": self._totals}

    def restore(self, state: Any) -> None:
        """Take over a snapshot."""
        self._oldest_first = deque(state["keys"])
        self._keys = set(state["keys"])
        self._totals = msgspec.convert(state["totals"], dict[str, Decimal], strict=False)


def transfer_key(venue: str, account: str, transfer_id: str) -> str:
    """Return the key that makes a transfer unique."""
    return f"{venue}|{account}|{transfer_id}"
