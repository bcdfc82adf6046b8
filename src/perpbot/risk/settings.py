"""What the risk room lets people set: every limit of its layers, and what follows a failure."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from pydantic import model_validator

from perpbot.settings import SettingsModel, demand, setting


class RiskSettings(SettingsModel):
    """Limits of the account, of a position and of an order. Reductions are never held by them."""

    max_trade_ratio: Decimal = setting(
        Decimal("0.05"),
        "Notional of one trade over equity.",
        gt=0,
        le=Decimal("0.5"),
        override=True,
    )
    max_drawdown_ratio: Decimal = setting(
        Decimal("0.10"),
        "Drawdown of the account (positive, from the peak, transfers taken out) that halts it"
        " until a person clears it.",
        gt=0,
        le=Decimal("0.5"),
    )
    max_daily_loss_usd: Decimal = setting(
        Decimal(500),
        "Loss since the start of the day that stops opens; the smaller of the two limits counts.",
        gt=0,
        le=10_000_000,
    )
    max_daily_loss_ratio: Decimal = setting(
        Decimal("0.05"),
        "The same as a share of the equity at the start of the day.",
        gt=0,
        le=Decimal("0.5"),
    )
    day_start_hour_utc: int = setting(
        0, "Hour of the day, UTC, at which a new day starts.", unit="h", ge=0, le=23
    )
    max_consecutive_failures: int = setting(
        3, "Failures in a row that pause all opens.", unit="failures", ge=1, le=100
    )
    symbol_cooldown_s: float = setting(
        60.0,
        "Time without opens in a symbol after a failure in it.",
        ge=0,
        le=86_400,
        override=True,
    )
    global_pause_s: float = setting(
        60.0, "First pause after too many failures; each further one doubles.", ge=1, le=3_600
    )
    max_pauses: int = setting(
        4, "Pauses in a row after which a person must resume.", unit="pauses", ge=1, le=20
    )
    override_max_minutes: int = setting(
        60,
        "Longest manual override. It lifts pauses and cooldowns, never drawdown, daily loss or the"
        " kill switch.",
        unit="min",
        ge=0,
        le=1_440,
    )
    override_max_trades: int = setting(
        10, "Most trades under one manual override.", unit="trades", ge=0, le=1_000
    )
    fast_market_move_bps: float = setting(
        50.0,
        "Move within the window that freezes opens in a symbol.",
        gt=0,
        le=5_000,
        override=True,
    )
    fast_market_window_ms: int = setting(
        1_000, "Window of that move.", ge=50, le=60_000, override=True
    )
    fast_market_freeze_s: float = setting(
        5.0, "Length of the freeze.", gt=0, le=3_600, override=True
    )
    max_symbol_exposure_ratio: Decimal = setting(
        Decimal("0.30"),
        "Net position in one asset over equity, after the trade. A hedged pair counts as nothing.",
        gt=0,
        le=Decimal("0.5"),
        override=True,
    )
    max_position_notional_usd: Decimal = setting(
        Decimal(1_000),
        "Notional of one position on one venue, after the trade.",
        gt=0,
        le=100_000_000,
        override=True,
    )
    max_venue_share_ratio: Decimal = setting(
        Decimal("0.60"),
        "Share of the gross exposure that one venue may hold after the trade. A book of pairs"
        " never has more than half on one venue.",
        gt=Decimal("0.5"),
        le=1,
    )
    max_slippage_bps: float = setting(
        10.0,
        "Distance from the touch to the price that the depth gives for the size.",
        ge=0,
        le=1_000,
        override=True,
    )
    price_sanity_factor: float = setting(
        10.0,
        "An order price this many times above or below the mark is an error.",
        unit="times",
        gt=1,
        le=100,
    )
    price_band_bps: float = setting(
        500.0,
        "Distance of an order price from the mark beyond which it is refused.",
        gt=0,
        le=5_000,
        override=True,
    )

    @model_validator(mode="after")
    def _trade_fits_exposure(self) -> Self:
        return demand(self, "max_trade_ratio", "at most", "max_symbol_exposure_ratio")

    @model_validator(mode="after")
    def _day_stops_before_the_account(self) -> Self:
        return demand(self, "max_daily_loss_ratio", "at most", "max_drawdown_ratio")
