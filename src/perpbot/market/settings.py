"""What the market room lets people set: which markets, and when a quote is not to be believed."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from perpbot.domain.instruments import parse_asset
from perpbot.settings import SettingsModel, contradiction, demand, setting


def _distinct_assets(symbols: tuple[str, ...]) -> tuple[str, ...]:
    assets = tuple(parse_asset(symbol) for symbol in symbols)
    twice = sorted({asset for asset in assets if assets.count(asset) > 1})
    if twice:
        raise contradiction(f"names {', '.join(twice)} more than once")
    return assets


Assets = Annotated[tuple[str, ...], AfterValidator(_distinct_assets)]
"""Asset keys; any known spelling (`BTC/USDT`, `btcusdt`) is accepted and becomes `BTC-PERP`."""


Rate = Annotated[Decimal, Field(gt=0)]


class MarketSettings(SettingsModel):
    """Which markets are watched, and when their quotes are refused."""

    symbols: Assets = setting(
        ("BTC-PERP", "ETH-PERP"), "Assets to watch and trade, on every venue that lists them.",
        min_length=1,
    )  # fmt: skip
    instruments_interval_s: float = setting(
        600.0,
        "How often a venue is asked for its steps, minima and listings; a refusal asks at once.",
        unit="s",
        ge=5,
        le=86_400,
    )
    silence_intervals: float = setting(
        1.0,
        "Silence of a quote channel that makes it stale, in declared quote intervals.",
        unit="intervals",
        ge=1,
        le=20,
        override=True,
    )
    max_lag_ms: float | None = setting(
        None,
        "Lag above the venue's own floor that makes a quote stale; nothing: the venue's declared.",
        gt=0,
        le=60_000,
        override=True,
    )
    max_price_jump_bps: float = setting(
        50.0,
        "Move between two quotes of one market that is reported as a jump.",
        gt=0,
        le=5_000,
        override=True,
    )
    jump_confirmations: int = setting(
        3, "Quotes around one level after a jump before that level is believed.",
        unit="quotes", ge=1, le=100,
    )  # fmt: skip
    max_spread_bps: float = setting(
        200.0,
        "Distance of bid and ask beyond which a quote is not traded on.",
        gt=0,
        le=5_000,
        override=True,
    )
    price_band_bps: float = setting(
        500.0,
        "Distance from the median mid of all venues beyond which a quote is out of band.",
        gt=0,
        le=5_000,
        override=True,
    )
    price_sanity_factor: float = setting(
        10.0,
        "A price this many times above or below the last good one is an error, not a move.",
        unit="times",
        gt=1,
        le=100,
    )
    min_touch_notional_usd: Decimal = setting(
        Decimal(100),
        "Quotes with less than this at the touch are not traded on.",
        ge=0,
        le=10_000_000,
        override=True,
    )
    currency_rates: dict[str, Rate] = setting(
        {},
        "USD per unit of a settle currency, such as {USDT: 1}. Without a rate, paper, testnet and"
        " live refuse the pair; demo and replay take 1.",
    )
    basis_sample_interval_ms: int = setting(
        100, "Time between two samples of the basis of a pair.", ge=10, le=10_000
    )
    basis_window_s: float = setting(
        600.0,
        "Window of the rolling median of the basis. Ten minutes: long against a dislocation, which"
        " lasts seconds, and short against the standing basis, which drifts over hours.",
        gt=0,
        le=86_400,
    )
    basis_warmup_s: float = setting(
        120.0,
        "Time that a pair is sampled before it may open. Two minutes: enough samples (1 200) that"
        " a single dislocation cannot pass for the basis.",
        gt=0,
        le=86_400,
    )

    @model_validator(mode="after")
    def _warm_up_fits_window(self) -> Self:
        return demand(self, "basis_warmup_s", "at most", "basis_window_s")
