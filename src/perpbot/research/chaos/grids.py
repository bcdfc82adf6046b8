"""What becomes of a contract when its venue trades it in other steps (row 35)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.simulation.model import Contract

REGRIDS = (
    (Decimal(5), Decimal(5)),
    (Decimal(10), Decimal(10)),
    (Decimal(2), Decimal("0.1")),
)
"""What becomes of tick and step: these many times as large."""


def regridded(contract: Contract, ticks: Decimal, steps: Decimal) -> Contract:
    """Return a contract whose tick and step are these many times as large."""
    step = contract.quantity_step * steps
    return msgspec.structs.replace(
        contract,
        tick_size=contract.tick_size * ticks,
        quantity_step=step,
        min_quantity=max(contract.min_quantity, step) if steps > 1 else contract.min_quantity,
    )
