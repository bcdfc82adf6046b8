"""Opportunities and the numbers that led to them; quotes themselves are events.

Quotes and statistics carry floats; from the order on, money is Decimal.
"""

from __future__ import annotations

import msgspec


class EdgeBreakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Every term of an edge, in bps of the mean mid of both venues (DESIGN.md section 4).

    edge = gross - expected_exit - entry_fees - exit_fees - slippage + funding
    """

    gross_bps: float
    expected_exit_bps: float
    entry_fees_bps: float
    exit_fees_bps: float
    slippage_bps: float
    funding_bps: float
    edge_bps: float


class Opportunity(msgspec.Struct, frozen=True, kw_only=True):
    """Buy `asset` on `long_venue`, sell it on `short_venue`; prices hold for the size."""

    opportunity_id: str
    asset: str
    long_venue: str
    short_venue: str
    long_ask: float
    short_bid: float
    size: float
    """Base coins that both touches carry, capped by the pair's notional limit."""
    mid: float
    edge: EdgeBreakdown
    score: float
    """0 to 1, for ranking only."""
    long_quote_ns: int
    short_quote_ns: int
    """Monotonic receive times of the two quotes."""
    read_ns: int = 0
    """Monotonic time at which the frame that completed it was read from the socket."""
