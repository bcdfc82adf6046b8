"""C1, C2: what a living node set aside for its pairs, against what it has."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO
from perpbot.research.chaos.plan import Plan
from perpbot.research.chaos.testimony.verdict import Verdict

SHARE = Decimal("0.3")
"""Of all money: the pool of pairs and its reserve."""


class Capital:
    """What came to the accounts, and the most that may be set aside of it."""

    def __init__(self, verdict: Verdict, plan: Plan) -> None:
        self._verdict = verdict
        self._began = plan.balance * len(plan.venues)
        self._brought = ZERO

    def transferred(self, amount: Decimal) -> None:
        """Money came to an account since it was opened; what went is not taken off."""
        self._brought += max(amount, ZERO)

    def inspect(self, core: Any) -> None:
        """Every reservation has a pair and is not overdrawn; their sum fits the pool."""
        held = ZERO
        for reservation in core.folds.reservations:
            for venue, amount in reservation.legs.items():
                used = reservation.used.get(venue, ZERO)
                held += amount
                if not ZERO <= used <= amount:
                    self._verdict.violate(
                        f"C2 {used} of a reservation of {amount} used on {venue}"
                    )
            if core.folds.pairs.get(reservation.owner) is None:
                self._verdict.violate("C2 a reservation without a pair")
        pool = (self._began + self._brought) * SHARE
        if held > pool:
            self._verdict.violate(f"C1 {held} USD set aside, the pool and its reserve have {pool}")
