"""The limits of the open gate for one pair of venues, with their words, worked out once.

A pair spans two venues, which may have limits of their own: the stricter one holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.money import plain
from perpbot.risk.settings import RiskSettings


class Limit(msgspec.Struct, frozen=True):
    """One upper limit, as a number and as what a decision says of it."""

    number: Decimal
    words: str


class PairLimits(msgspec.Struct, frozen=True):
    """Every limit that does not move, of one asset on two venues."""

    trade: Limit
    exposure: Limit
    position: Limit
    slippage: Limit
    band: Limit
    drawdown: Limit
    venue_share: Limit
    sanity: Limit
    margin: tuple[Limit, Limit]
    """Of the long and of the short venue."""


def pair_limits(
    settings: RiskSettings,
    of_venues: Sequence[RiskSettings],
    margin: Sequence[tuple[str, Decimal]],
) -> PairLimits:
    """Return the limits of a pair; `margin` is the name and the margin limit of each venue."""
    return PairLimits(
        trade=_below(min(one.max_trade_ratio for one in of_venues), " of equity"),
        exposure=_below(min(one.max_symbol_exposure_ratio for one in of_venues), " of equity"),
        position=_at_most(min(one.max_position_notional_usd for one in of_venues), " USD"),
        slippage=_at_most(_decimal(min(one.max_slippage_bps for one in of_venues)), " bps"),
        band=_at_most(_decimal(min(one.price_band_bps for one in of_venues)), " bps"),
        drawdown=_below(settings.max_drawdown_ratio, " of the peak"),
        venue_share=_below(settings.max_venue_share_ratio, " of gross exposure"),
        sanity=_below(_decimal(settings.price_sanity_factor), " times"),
        margin=(
            _below(margin[0][1], f" of equity on {margin[0][0]}"),
            _below(margin[1][1], f" of equity on {margin[1][0]}"),
        ),
    )


def _below(number: Decimal, unit: str) -> Limit:
    return Limit(number, f"< {plain(number)}{unit}")


def _at_most(number: Decimal, unit: str) -> Limit:
    return Limit(number, f"<= {plain(number)}{unit}")


def _decimal(number: float) -> Decimal:
    return Decimal(str(number))
