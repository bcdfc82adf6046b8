"""The ten swaps that the OKX server lists, and how OKX matches.

Steps and minima are in base coins, as everywhere in the simulation; the rows of
`public/instruments` turn them into contracts (`/api/v5/public/instruments`: size = contracts,
base quantity = sz x ctVal x ctMult). Fees are the base tier of swaps: maker 2 bps, taker 5 bps.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.instruments import asset_key
from perpbot.simulation.model import ClientIdRule, Contract, Profile

PROFILE = Profile(
    name="okx",
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
    client_ids=ClientIdRule.OPEN_ORDERS,
    post_only_refuses=False,
    settle="USDT",
    hedge_mode=True,
)


def _swap(base: str, code: int, *, size: str, lot: str, tick: str, lever: int) -> Contract:
    contract_size = Decimal(size)
    step = Decimal(lot) * contract_size
    return Contract(
        symbol=f"{base}-USDT-SWAP",
        asset=asset_key(base),
        base=base,
        settle="USDT",
        tick_size=Decimal(tick),
        quantity_step=step,
        min_quantity=step,
        contract_size=contract_size,
        wire_code=code,
        funding_interval_s=28_800,
        max_leverage=lever,
    )


CONTRACTS = (
    _swap("BTC", 10459, size="0.01", lot="0.01", tick="0.1", lever=100),
    _swap("ETH", 10461, size="0.1", lot="0.01", tick="0.01", lever=100),
    _swap("SOL", 10470, size="1", lot="0.01", tick="0.01", lever=50),
    _swap("XRP", 10465, size="100", lot="0.01", tick="0.0001", lever=50),
    _swap("DOGE", 10467, size="1000", lot="0.01", tick="0.00001", lever=50),
    _swap("AVAX", 10471, size="1", lot="0.1", tick="0.001", lever=50),
    _swap("LINK", 10468, size="1", lot="0.1", tick="0.001", lever=50),
    _swap("BNB", 10473, size="0.01", lot="1", tick="0.1", lever=50),
    _swap("ADA", 10466, size="100", lot="0.1", tick="0.0001", lever=50),
    _swap("SUI", 10990, size="1", lot="1", tick="0.0001", lever=50),
)
