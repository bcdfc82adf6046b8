"""The ten perpetuals that the Hyperliquid server lists, and how Hyperliquid matches.

The asset number is the index in the universe, and delisted entries keep their slot, so the list
has one. Prices have at most 5 significant digits and at most 6 - szDecimals decimals (integers
always); sizes are base coins with szDecimals decimals; an order is worth at least $10. Fees
are the base tier: maker 1.5 bps, taker 4.5 bps. Funding is paid hourly.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from perpbot.domain.instruments import asset_key
from perpbot.simulation.model import ClientIdRule, Contract, Profile

PRICE_DIGITS = 5
PRICE_DECIMALS = 6
MIN_VALUE = Decimal(10)

PROFILE = Profile(
    name="hyperliquid",
    maker_fee=Decimal("0.00015"),
    taker_fee=Decimal("0.00045"),
    client_ids=ClientIdRule.OPEN_ORDERS,
    post_only_refuses=True,
    band_ratio=Decimal("0.8"),
    settle="USDC",
    hedge_mode=False,
    dead_man_removes_stops=True,
)


class Slot(msgspec.Struct, frozen=True):
    """One entry of the universe; its place in the list is the asset number."""

    name: str
    size_decimals: int
    max_leverage: int
    is_delisted: bool = False


UNIVERSE = (
    Slot("BTC", 5, 40),
    Slot("ETH", 4, 25),
    Slot("MATIC", 1, 20, is_delisted=True),
    Slot("SOL", 2, 20),
    Slot("AVAX", 2, 10),
    Slot("BNB", 3, 10),
    Slot("DOGE", 0, 10),
    Slot("SUI", 1, 10),
    Slot("LINK", 1, 10),
    Slot("XRP", 0, 20),
    Slot("ADA", 0, 10),
)


def _contract(code: int, slot: Slot) -> Contract:
    step = Decimal(1).scaleb(-slot.size_decimals)
    return Contract(
        symbol=slot.name,
        asset=asset_key(slot.name),
        base=slot.name,
        settle="USDC",
        tick_size=Decimal(1).scaleb(slot.size_decimals - PRICE_DECIMALS),
        quantity_step=step,
        min_quantity=step,
        min_notional=MIN_VALUE,
        price_digits=PRICE_DIGITS,
        wire_code=code,
        funding_interval_s=3_600,
        max_leverage=slot.max_leverage,
    )


CONTRACTS = tuple(
    _contract(code, slot) for code, slot in enumerate(UNIVERSE) if not slot.is_delisted
)
