"""How good an opportunity is next to others: three terms, each between 0 and 1 (E-08)."""

from __future__ import annotations

from perpbot.strategies.arbitrage.settings import ArbitrageSettings


def score(
    settings: ArbitrageSettings,
    *,
    edge_bps: float,
    size: float,
    least_size: float,
    reliability: float,
) -> float:
    """Return a score between 0 and 1.

    `size` and `least_size` (the larger minimum of both venues) in base coins; `reliability` is the
    venues' record of filling, between 0 and 1.
    """
    weights = settings.score_weights
    enough = settings.size_for_full_score * least_size
    liquidity = _unit(size / enough) if enough > 0 else 1.0
    return (
        weights.profit * _unit(edge_bps / settings.edge_for_full_score_bps)
        + weights.liquidity * liquidity
        + weights.reliability * _unit(reliability)
    )


def _unit(value: float) -> float:
    if value <= 0.0:
        return 0.0
    return min(1.0, value)
