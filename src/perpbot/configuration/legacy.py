"""The keys of the original documents and of the bots they describe, with their units.

A `_pct` of those bots is mostly a ratio (.05 = 5 %), in one place a percentage (0.5 = 0.5 %): each
line below says which. Keys of parts that this version does not have are named, so that nobody
believes that they still work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from perpbot.configuration.tree import VENUES
from perpbot.settings import Alias, AliasTable, OldValueError, number, same, scaled

_Converted = Mapping[str, object]
_RATIO = "ratio (0.05 is 5 %)"
_PERCENT = "percentage (0.5 is 0.5 %)"
_LATER = "this part is not in this version"
_PLANNED_VENUES = ("aster", "backpack", "edgex", "extended", "grvt", "lighter", "paradex")


def _ratio(old: str, new: str) -> Alias:
    return Alias(old, new, scaled(new, 1, most=0.5, unit=_RATIO))


def _ratio_to_bps(old: str, new: str) -> Alias:
    return Alias(old, new, scaled(new, 10_000, most=0.5, unit=_RATIO))


def _plain(old: str, new: str) -> Alias:
    return Alias(old, new, same(new))


def _each_venue(field: str) -> Callable[[object], _Converted]:
    return lambda value: {f"venues.{venue}.{field}": value for venue in VENUES}


def _unless_zero(new: str) -> Callable[[object], _Converted]:
    """Old limits used 0 for off; ours cannot be switched off."""
    return lambda value: {} if number(value) == 0 else {new: value}


def _must_be(wanted: object, reason: str) -> Callable[[object], _Converted]:
    def convert(value: object) -> _Converted:
        if value != wanted:
            raise OldValueError(reason)
        return {}

    return convert


def _fallback(value: object) -> _Converted:
    profiles = {
        "aggressive": "aggressive",
        "balanced": "balanced",
        "conservative": "limit_only",
        "limit_only": "limit_only",
    }
    if str(value) not in profiles:
        raise OldValueError(f"one of {', '.join(profiles)} was expected")
    return {"execution.fallback": profiles[str(value)]}


def _priority_pairs(value: object) -> _Converted:
    if not isinstance(value, list) or not all(isinstance(pair, list) for pair in value):
        raise OldValueError("a list of pairs such as [[okx, binance]] was expected")
    kept = [pair for pair in value if all(venue in VENUES for venue in pair)]
    return {"arbitrage.priority_pairs": kept}


def _safe_mode(value: object) -> _Converted:
    converted = scaled("capital.safe_mode_enter_ratio", 1, most=0.5, unit=_RATIO)(value)
    enter = Decimal(str(converted["capital.safe_mode_enter_ratio"]))
    # The old bot left safe mode below 80 % of the limit.
    exit_ratio = enter * Decimal("0.8")
    return {**converted, "capital.safe_mode_exit_ratio": str(exit_ratio.normalize())}


def _layer_shares(value: object) -> _Converted:
    """Five layers into three pools: L1 + L2 volume, L3 arbitrage, L4 + L5 reserve."""
    if not isinstance(value, dict) or set(value) != {"L1", "L2", "L3", "L4", "L5"}:
        raise OldValueError("shares of L1, L2, L3, L4 and L5 were expected")
    shares = {layer: Decimal(str(number(share))) for layer, share in value.items()}
    if sum(shares.values()) != 1 or min(shares.values()) < 0:
        raise OldValueError("shares of at least 0 that sum to 1 were expected")
    return {
        "capital.volume_share_ratio": str(shares["L1"] + shares["L2"]),
        "capital.arbitrage_share_ratio": str(shares["L3"]),
        "capital.reserve_share_ratio": str(shares["L4"] + shares["L5"]),
    }


_CONVERTED = (
    Alias("symbols", "market.symbols", same("market.symbols"), only=list),
    _ratio_to_bps("profit_target_pct", "arbitrage.take_profit_bps"),
    _ratio_to_bps("arbitrage_min_profit_pct", "arbitrage.min_edge_bps"),
    _ratio("max_risk_pct", "risk.max_trade_ratio"),
    _plain("risk_cooldown_seconds", "risk.symbol_cooldown_s"),
    _ratio("max_drawdown_pct", "risk.max_drawdown_ratio"),
    _plain("max_consecutive_failures", "risk.max_consecutive_failures"),
    _ratio("max_symbol_exposure_pct", "risk.max_symbol_exposure_ratio"),
    _ratio_to_bps("freeze_threshold_pct", "risk.fast_market_move_bps"),
    Alias(
        "freeze_window_seconds",
        "risk.fast_market_window_ms",
        scaled("risk.fast_market_window_ms", 1_000, most=60, unit="time in seconds"),
    ),
    _ratio("daily_loss_limit_pct", "risk.max_daily_loss_ratio"),
    Alias("daily_loss_limit", "risk.max_daily_loss_usd", _unless_zero("risk.max_daily_loss_usd")),
    _plain("max_slippage_bps", "risk.max_slippage_bps"),
    _plain("default_slippage_bps", "arbitrage.slippage_bps"),
    _plain("order_fill_timeout_seconds", "execution.wait_fill_limit_s"),
    _plain("per_exchange_limit", "arbitrage.max_pairs_per_venue"),
    Alias(
        "max_notional_per_trade",
        "arbitrage.pair_notional_max_usd",
        _unless_zero("arbitrage.pair_notional_max_usd"),
    ),
    Alias("risk_enabled", "risk", _must_be(wanted=True, reason="risk cannot be switched off")),
    Alias("capital_layer_targets", "capital.*_share_ratio", _layer_shares),
    Alias("capital_drawdown_limit_pct", "capital.safe_mode_enter_ratio", _safe_mode),
    Alias(
        "quote_engine.websocket_timeout_sec",
        "venues.<name>.data_silence_s",
        _each_venue("data_silence_s"),
    ),
    Alias(
        "quote_engine.heartbeat_interval_sec",
        "venues.<name>.heartbeat_interval_s",
        _each_venue("heartbeat_interval_s"),
    ),
    Alias(
        "quote_engine.max_price_jump_pct",
        "market.max_price_jump_bps",
        scaled("market.max_price_jump_bps", 100, most=50, unit=_PERCENT),
    ),
    _plain("quote_engine.min_volume_threshold", "market.min_touch_notional_usd"),
    _ratio_to_bps("scanner.min_profit_pct", "arbitrage.min_edge_bps"),
    _plain("scanner.profit_weight", "arbitrage.score_weights.profit"),
    _plain("scanner.liquidity_weight", "arbitrage.score_weights.liquidity"),
    _plain("scanner.reliability_weight", "arbitrage.score_weights.reliability"),
    Alias("scanner.priority_exchange_pairs", "arbitrage.priority_pairs", _priority_pairs),
    _plain("execution.wait_fill_timeout_sec", "execution.wait_fill_limit_s"),
    Alias("execution.fallback_policy", "execution.fallback", _fallback),
    Alias(
        "execution.partial_fill_handling",
        "execution.hedge_after_ms",
        _must_be("hedge", "a partly filled pair is always hedged or unwound; hedge was expected"),
    ),
    Alias(
        "execution.parallel_orders",
        "execution",
        _must_be(wanted=True, reason="both legs always go out together; true was expected"),
    ),
)

_WITHOUT_EFFECT = {
    "position_size": "sizes are notionals: arbitrage.pair_notional_max_usd",
    "arbitrage_edge": "edges count after costs: arbitrage.min_edge_bps",
    "arbitrage_trade_size": "sizes are notionals: arbitrage.pair_notional_max_usd",
    "failure_probability": "failures are measured",
    "assumed_equity": "equity is read from the venues; on paper it is paper.balance_usd",
    "enforce_direction_consistency": "it refused hedges",
    "loop_interval_seconds": "there is no loop; quotes are scanned as they come",
    "default_maker_fee_bps": "fees are the venue's: venues.<name>.maker_fee_bps",
    "default_taker_fee_bps": "fees are the venue's: venues.<name>.taker_fee_bps",
    "retry_cost_bps": "retries are not priced",
    "volatility_window_minutes": _LATER,
    "volatility_high_threshold_pct": _LATER,
    "high_vol_min_profit_pct": _LATER,
    "low_vol_min_profit_pct": _LATER,
    "priority_score_threshold": "the score has another scale: arbitrage.min_score",
    "priority_weights": "the score has other terms: arbitrage.score_weights",
    "reliability_scores": "reliability is measured",
    "circuit_breaker_failures": "failures pause all opens: risk.max_consecutive_failures",
    "quote_engine.l2_depth": "books keep every level that a venue tells",
    "risk_mode": _LATER,
    "risk_mode_presets": _LATER,
    "manual_override_minutes": "an override is a command; risk.override_max_minutes bounds it",
    "manual_override_trades": "an override is a command; risk.override_max_trades bounds it",
    "daily_volume_target": _LATER,
    "max_total_notional_in_flight": "reservations bound it: capital.arbitrage_share_ratio",
    "balance_concentration_pct": "it is measured on positions now: risk.max_venue_share_ratio",
    "trade_record_path": "trades are exported by `perpbot trades export`",
    "alert_record_path": _LATER,
    "alerts": _LATER,
    "notifications": _LATER,
    "capital_wu_size": "equity is read from the venues",
    "capital_layer_max_usage": "pools replace layers",
    "capital_safe_layers": "pools replace layers; safe mode refuses arbitrage only",
    "capital_allow_borrow_from_l5": "capital.reserve_top_up_ratio says when the reserve helps",
    "hedge_min_notional": _LATER,
    "hedge_max_notional": _LATER,
    "hedge_hold_seconds": _LATER,
    "hedge_slippage_bps_limit": _LATER,
    "hedge_time_skew_ms": _LATER,
    "hedge_loss_limit_pct": _LATER,
    "hedge_funding_blackout_minutes": _LATER,
    "hedge_funding_cycle_seconds": _LATER,
    "hedge_next_funding_timestamp": _LATER,
    "hedge_max_wash_pct_per_call": _LATER,
}


def _exchange_costs() -> Iterator[Alias]:
    for venue in VENUES:
        for fee in ("maker_fee_bps", "taker_fee_bps"):
            yield _plain(f"exchange_costs.{venue}.{fee}", f"venues.{venue}.{fee}")
        yield Alias(
            f"exchange_costs.{venue}.funding_rate", reason="funding is read from the venue"
        )
    for venue in _PLANNED_VENUES:
        yield Alias(f"exchange_costs.{venue}", reason=f"{venue} is not in this version")


OLD_KEYS = AliasTable(
    (
        *_CONVERTED,
        *_exchange_costs(),
        *(Alias(old, reason=reason) for old, reason in _WITHOUT_EFFECT.items()),
    )
)
"""Every old key that is understood."""
