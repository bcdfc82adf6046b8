"""What arbitrage lets people set: which gaps are worth it, how large pairs are, when they end."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, model_validator

from perpbot.settings import SettingsModel, contradiction, demand, demand_whole, setting


class Role(StrEnum):
    """How a leg enters or leaves: it decides which fee counts."""

    MAKER = "maker"
    TAKER = "taker"


def _two_venues_each(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    for first, second in pairs:
        if first == second:
            raise contradiction(f"pairs {first} with itself; two different venues were expected")
    return pairs


VenuePairs = Annotated[tuple[tuple[str, str], ...], AfterValidator(_two_venues_each)]


class ScoreWeights(SettingsModel):
    """Weights of the score; each term lies between 0 and 1, and the weights sum to 1."""

    profit: float = setting(0.4, "Weight of the edge.", unit="ratio", ge=0, le=1)
    liquidity: float = setting(0.3, "Weight of the size at the touch.", unit="ratio", ge=0, le=1)
    reliability: float = setting(
        0.3, "Weight of the venues' record of filling.", unit="ratio", ge=0, le=1
    )

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        return demand_whole(self, "profit", "liquidity", "reliability")


class ArbitrageSettings(SettingsModel):
    """When a pair opens, how large it is, and when it closes."""

    enabled: bool = setting(
        default=True, description="Whether this strategy opens pairs.", override=True
    )
    min_edge_bps: float = setting(
        20.0,
        "Least edge after expected exit cost, all fees, slippage and funding.",
        ge=0,
        le=5_000,
        override=True,
    )
    edge_for_full_score_bps: float = setting(
        100.0, "Edge whose profit term of the score is 1.", gt=0, le=5_000, override=True
    )
    size_for_full_score: float = setting(
        10.0,
        "Size at the touch, in least tradable sizes, whose liquidity term of the score is 1.",
        unit="times",
        gt=0,
        le=1_000_000,
    )
    score_weights: ScoreWeights = setting(ScoreWeights(), "Weights of the score.")
    min_score: float = setting(
        0.0, "Least score of a pair that opens.", unit="ratio", ge=0, le=1, override=True
    )
    priority_pairs: VenuePairs = setting(
        (), "Pairs of venues that come first, such as [[okx, binance]]."
    )
    slippage_bps: float = setting(
        1.0,
        "Slippage beyond the visible depth, for each leg and way.",
        ge=0,
        le=500,
        override=True,
    )
    entry_role: Role = setting(Role.TAKER, "How legs enter.", override=True)
    exit_role: Role = setting(Role.TAKER, "How legs leave.", override=True)
    expected_hold_s: float = setting(
        600.0, "Time for which funding is counted into the edge.", ge=0, le=604_800, override=True
    )
    max_pairs_per_venue: int = setting(
        2, "Pairs open at once that use one venue.", unit="pairs", ge=1, le=100
    )
    max_concurrent_pairs: int = setting(3, "Pairs open at once.", unit="pairs", ge=1, le=100)
    pair_notional_min_usd: Decimal = setting(
        Decimal(50), "Smallest notional of one leg.", gt=0, le=10_000_000, override=True
    )
    pair_notional_max_usd: Decimal = setting(
        Decimal(200), "Largest notional of one leg.", gt=0, le=10_000_000, override=True
    )
    exit_convergence_bps: float = setting(
        0.0,
        "A pair leaves when closing costs at most this over its usual exit cost.",
        ge=-500,
        le=500,
        override=True,
    )
    take_profit_bps: float = setting(
        10.0, "Profit after costs at which a pair leaves.", gt=0, le=5_000, override=True
    )
    stop_loss_bps: float = setting(
        50.0, "Loss after costs at which a pair leaves.", gt=0, le=5_000, override=True
    )
    max_hold_s: float = setting(
        3_600.0, "Longest life of a pair.", gt=0, le=604_800, override=True
    )
    exit_on_funding_turn: bool = setting(
        default=True,
        description="Leave when the funding of a pair turns against it beyond what closing costs.",
        override=True,
    )

    @model_validator(mode="after")
    def _sizes_are_ordered(self) -> Self:
        return demand(self, "pair_notional_min_usd", "at most", "pair_notional_max_usd")

    @model_validator(mode="after")
    def _venue_share_fits(self) -> Self:
        return demand(self, "max_pairs_per_venue", "at most", "max_concurrent_pairs")
