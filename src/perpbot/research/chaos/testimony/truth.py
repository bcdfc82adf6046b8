"""The positions that the exchanges themselves executed."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.kernel.clock import Clock
from perpbot.simulation.model import Execution

Place = tuple[str, str]
"""Venue and asset."""


class Truth:
    """The account's position in each place, whoever moved it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.positions: dict[Place, Decimal] = {}
        self.moved_by_others: dict[Place, int] = {}
        """Places that somebody else traded on our account, and when last, UTC ns."""
        self.trace: list[str] = []
        """Every execution, one line each."""

    def executed(self, execution: Execution, place: Place) -> tuple[Decimal, Decimal]:
        """Move a position; return what it was and what it is."""
        now_ns = self._clock.now_ns()
        signed = execution.quantity * execution.side.sign
        before = self.positions.get(place, ZERO)
        after = self.positions[place] = before + signed
        venue, asset = place
        self.trace.append(
            f"{now_ns} {venue} {asset} {execution.client_id} {signed} {execution.price}"
        )
        if not execution.client_id:
            self.moved_by_others[place] = now_ns
        return before, after

    def net(self, asset: str) -> Decimal:
        """Return the net of an asset over all venues."""
        return sum((held for (_, name), held in self.positions.items() if name == asset), ZERO)
