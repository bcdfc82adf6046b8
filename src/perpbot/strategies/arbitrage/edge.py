"""The edge of a pair, by its definition (DESIGN.md section 4). Pure, in bps of the mean mid."""

from __future__ import annotations

from perpbot.domain.quotes import EdgeBreakdown
from perpbot.strategies.arbitrage.costs import RoundTrip

BPS = 10_000


def gross_bps(long_ask: float, short_bid: float, mean_mid: float) -> float:
    """Return the gap that an entry takes: sell venue's bid minus buy venue's ask."""
    return (short_bid - long_ask) / mean_mid * BPS


def edge_of(
    *,
    long_ask: float,
    short_bid: float,
    mean_mid: float,
    expected_exit_bps: float,
    costs: RoundTrip,
    funding_bps: float,
) -> EdgeBreakdown:
    """Return every term of an edge, and the edge."""
    gross = gross_bps(long_ask, short_bid, mean_mid)
    return EdgeBreakdown(
        gross_bps=gross,
        expected_exit_bps=expected_exit_bps,
        entry_fees_bps=costs.entry_fees_bps,
        exit_fees_bps=costs.exit_fees_bps,
        slippage_bps=costs.slippage_bps,
        funding_bps=funding_bps,
        edge_bps=gross - expected_exit_bps - costs.total_bps + funding_bps,
    )
