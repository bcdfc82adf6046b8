"""The settings of a chaos world's node: as in life, but a minute holds many pairs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from perpbot.configuration import Settings

PACES: Mapping[str, Mapping[str, float]] = {
    "usual": {},
    "hasty": {
        "hedge_after_ms": 150,
        "maker_timeout_ms": 300,
        "order_expiry_ms": 500,
        "reconcile_quiet_s": 0.5,
        "resolve_limit_s": 3,
        "retry_base_ms": 10,
        "retry_max_ms": 500,
    },
    "patient": {
        "hedge_after_ms": 2_500,
        "maker_timeout_ms": 10_000,
        "order_expiry_ms": 6_000,
        "retry_base_ms": 300,
    },
}
"""Times of the execution settings, from a tenth to some times of the usual ones."""


@lru_cache(maxsize=8)
def chaos_settings(fallback: str, pace: str = "usual") -> Settings:
    """Return settings under which a minute holds many pairs; limits stay as in life."""
    return Settings.model_validate(
        {
            "mode": "replay",
            "market": {
                "symbols": ["BTC-PERP", "ETH-PERP"],
                "basis_sample_interval_ms": 500,
                "basis_window_s": 60,
                "basis_warmup_s": 4,
                "instruments_interval_s": 15,
            },
            "arbitrage": {
                "min_edge_bps": 4,
                "slippage_bps": 0.5,
                "max_hold_s": 12,
                "exit_convergence_bps": 2,
                "take_profit_bps": 8,
            },
            "risk": {
                "symbol_cooldown_s": 2,
                "global_pause_s": 2,
                "max_pauses": 20,
                "fast_market_freeze_s": 1,
            },
            "execution": {"fallback": fallback, **PACES[pace]},
        }
    )
