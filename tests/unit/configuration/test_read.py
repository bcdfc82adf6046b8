"""The whole configuration: old keys, contradictions, mode defaults, credentials."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpbot.configuration import (
    OLD_KEYS,
    Configuration,
    Settings,
    credential_problems,
    credentials_of,
    find_config_files,
    load_configuration,
)
from perpbot.settings import Flag, SettingsError

# Every old key with a value of its documents, the key that it became and the value there.
CONVERTED: list[tuple[str, Any, str, Any]] = [
    ("symbols", ["BTC/USDT", "ETH/USDT"], "market.symbols", ("BTC-PERP", "ETH-PERP")),
    ("profit_target_pct", 0.01, "arbitrage.take_profit_bps", 100),
    ("arbitrage_min_profit_pct", 0.001, "arbitrage.min_edge_bps", 10),
    ("max_risk_pct", 0.05, "risk.max_trade_ratio", Decimal("0.05")),
    ("risk_cooldown_seconds", 30, "risk.symbol_cooldown_s", 30),
    ("max_drawdown_pct", 0.1, "risk.max_drawdown_ratio", Decimal("0.1")),
    ("max_consecutive_failures", 5, "risk.max_consecutive_failures", 5),
    ("max_symbol_exposure_pct", 0.2, "risk.max_symbol_exposure_ratio", Decimal("0.2")),
    ("freeze_threshold_pct", 0.004, "risk.fast_market_move_bps", 40),
    ("freeze_window_seconds", 2, "risk.fast_market_window_ms", 2000),
    ("daily_loss_limit_pct", 0.08, "risk.max_daily_loss_ratio", Decimal("0.08")),
    ("daily_loss_limit", 250, "risk.max_daily_loss_usd", Decimal(250)),
    ("daily_loss_limit", 0, "risk.max_daily_loss_usd", Decimal(500)),
    ("max_slippage_bps", 50, "risk.max_slippage_bps", 50),
    ("default_slippage_bps", 1.5, "arbitrage.slippage_bps", 1.5),
    ("order_fill_timeout_seconds", 5, "execution.wait_fill_limit_s", 5),
    ("per_exchange_limit", 1, "arbitrage.max_pairs_per_venue", 1),
    ("max_notional_per_trade", 100, "arbitrage.pair_notional_max_usd", Decimal(100)),
    ("max_notional_per_trade", 0, "arbitrage.pair_notional_max_usd", Decimal(200)),
    ("risk_enabled", True, "risk.max_slippage_bps", 10),
    ("capital_drawdown_limit_pct", 0.03, "capital.safe_mode_enter_ratio", Decimal("0.03")),
    ("capital_drawdown_limit_pct", 0.03, "capital.safe_mode_exit_ratio", Decimal("0.024")),
    ("quote_engine.websocket_timeout_sec", 40, "venues.okx.data_silence_s", 40),
    ("quote_engine.heartbeat_interval_sec", 6, "venues.binance.heartbeat_interval_s", 6),
    ("quote_engine.max_price_jump_pct", 0.5, "market.max_price_jump_bps", 50),
    ("quote_engine.min_volume_threshold", 200, "market.min_touch_notional_usd", Decimal(200)),
    ("scanner.min_profit_pct", 0.002, "arbitrage.min_edge_bps", 20),
    ("scanner.profit_weight", 0.4, "arbitrage.score_weights.profit", 0.4),
    ("scanner.liquidity_weight", 0.3, "arbitrage.score_weights.liquidity", 0.3),
    ("scanner.reliability_weight", 0.3, "arbitrage.score_weights.reliability", 0.3),
    (
        "scanner.priority_exchange_pairs",
        [["paradex", "extended"], ["okx", "binance"]],
        "arbitrage.priority_pairs",
        (("okx", "binance"),),
    ),
    ("execution.wait_fill_timeout_sec", 20, "execution.wait_fill_limit_s", 20),
    ("execution.fallback_policy", "conservative", "execution.fallback", "limit_only"),
    ("execution.fallback_policy", "aggressive", "execution.fallback", "aggressive"),
    ("execution.partial_fill_handling", "hedge", "execution.hedge_after_ms", 1500),
    ("execution.parallel_orders", True, "execution.hedge_after_ms", 1500),
    ("exchange_costs.okx.taker_fee_bps", 4, "venues.okx.taker_fee_bps", Decimal(4)),
    ("exchange_costs.okx.maker_fee_bps", 1, "venues.okx.maker_fee_bps", Decimal(1)),
]


def load(files: list[Path] | None = None, /, **values: Any) -> Configuration:
    """Load with values given as flags."""
    flags = [Flag(key, f"--{key}", value) for key, value in values.items()]
    return load_configuration(files or [], environ={}, flags=flags)


@pytest.mark.parametrize(
    ("old", "value", "new", "expected"), CONVERTED, ids=[f"{c[0]}={c[1]}" for c in CONVERTED]
)
def test_an_old_key_becomes_the_new_one_in_its_unit(
    old: str, value: Any, new: str, expected: Any
) -> None:
    """And each use gives a warning with the old key's name."""
    loaded = load(**{old: value})

    assert loaded.explain(new).value == expected
    assert loaded.warnings
    assert {warning.key for warning in loaded.warnings} == {old}


@pytest.mark.parametrize(
    "old", [alias.old for alias in OLD_KEYS if alias.convert is None], ids=str
)
def test_an_old_key_without_effect_says_so(old: str) -> None:
    """Known, named, and never believed to work."""
    loaded = load(**{old: 1})

    assert loaded.settings == Settings()
    assert "without effect in this version" in str(loaded.warnings[0])


def test_every_converted_old_key_is_tested() -> None:
    """A new line in the table needs a line here."""
    tested = {old for old, *_ in CONVERTED} | {"capital_layer_targets"}
    per_venue = {a.old for a in OLD_KEYS if a.old.startswith("exchange_costs.")}

    assert {alias.old for alias in OLD_KEYS if alias.convert} - tested <= per_venue


@pytest.mark.parametrize(
    ("old", "value", "problem"),
    [
        ("max_risk_pct", 5, "a ratio"),
        ("scanner.min_profit_pct", 0.6, "a ratio"),
        ("quote_engine.max_price_jump_pct", 60, "a percentage"),
        ("risk_enabled", False, "risk cannot be switched off"),
        ("execution.parallel_orders", False, "both legs always go out together"),
        ("execution.partial_fill_handling", "cancel", "always hedged or unwound"),
        ("execution.fallback_policy", "yolo", "one of aggressive, balanced"),
        ("scanner.priority_exchange_pairs", ["okx"], "a list of pairs"),
        ("capital_layer_targets", {"L1": 1}, "shares of L1, L2, L3, L4 and L5"),
        ("capital_layer_targets", dict.fromkeys(("L1", "L2", "L3", "L4", "L5"), 0.5), "sum to 1"),
        ("capital_layer_targets", 5, "shares of L1"),
    ],
)
def test_an_old_value_that_cannot_be_meant_is_refused(old: str, value: Any, problem: str) -> None:
    """With the unit that the old key has."""
    with pytest.raises(SettingsError, match=problem):
        load(**{old: value})


def test_five_layers_become_three_pools_with_their_own_shares(tmp_path: Path) -> None:
    """L1 + L2, L3, L4 + L5; not 70/20/10."""
    path = tmp_path / "c.yaml"
    path.write_text("capital_layer_targets: {L1: .2, L2: .3, L3: .25, L4: .1, L5: .15}\n")
    loaded = load([path])
    capital = loaded.settings.capital

    assert capital.volume_share_ratio == Decimal("0.5")
    assert capital.arbitrage_share_ratio == capital.reserve_share_ratio == Decimal("0.25")
    assert len(loaded.warnings) == 3


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"capital.volume_share_ratio": 0.8}, "shares sum to 1.1"),
        ({"market.currency_rates": {"USDT": -1}}, "USDT was -1: input should be greater than 0"),
        ({"market.currency_rates": {"USDT": 0}}, "USDT was 0: input should be greater than 0"),
        ({"market.symbols": "BTC-PERP"}, "a list such as [a, b]"),
        (
            {"venues.okx.rest_url": "http://me:canary@h"},
            "was http://********@h: an address without",
        ),
        ({"capital.safe_mode_exit_ratio": 0.05}, "below safe_mode_enter_ratio"),
        ({"capital.snapshot_max_age_s": 4}, "at least snapshot_interval_s"),
        ({"arbitrage.score_weights.profit": 0.5}, "shares sum to 1.1"),
        ({"arbitrage.pair_notional_min_usd": 300}, "at most pair_notional_max_usd"),
        ({"arbitrage.max_pairs_per_venue": 4}, "at most max_concurrent_pairs"),
        ({"arbitrage.priority_pairs": [["okx", "okx"]]}, "pairs okx with itself"),
        ({"arbitrage.priority_pairs": [["okx", "mtgox"]]}, "names mtgox: one of binance"),
        ({"risk.max_trade_ratio": 0.4}, "at most max_symbol_exposure_ratio"),
        ({"risk.max_daily_loss_ratio": 0.2}, "at most max_drawdown_ratio"),
        ({"execution.retry_base_ms": 6000}, "at most retry_max_ms"),
        ({"execution.hedge_after_ms": 30_000}, "below wait_fill_limit_s"),
        ({"market.basis_warmup_s": 700}, "at most basis_window_s"),
        ({"market.symbols": ["BTC", "btcusdt"]}, "names BTC-PERP more than once"),
        ({"market.symbols": []}, "1 or more items"),
        ({"bus.high_water_events": 100_000}, "below hard_limit_events"),
        ({"health.weights.quote": 0.5}, "shares sum to 1.35"),
        ({"health.critical_score": 95}, "at most warning_score"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_that_contradict_are_refused(values: dict[str, Any], problem: str) -> None:
    """With the key, both values and what would be right."""
    with pytest.raises(SettingsError) as caught:
        load(**values)

    assert len(caught.value.problems) == 1
    assert problem in str(caught.value)
    assert f"--{next(iter(values))}" in str(caught.value)


def test_defaults_are_those_of_the_documents_as_corrected() -> None:
    """The numbers that a trader would look up."""
    settings = Settings()

    assert settings.mode.value == "paper"
    assert (settings.console.host, settings.console.port) == ("127.0.0.1", 8000)
    assert (settings.market.basis_sample_interval_ms, settings.market.basis_window_s) == (100, 600)
    assert settings.arbitrage.min_edge_bps == 20
    assert settings.execution.hedge_after_ms == 1500
    assert settings.execution.fallback.value == "limit_only"
    assert settings.capital.leverage == 1
    assert not settings.capital.volume_enabled
    assert settings.enabled_venues == ("binance", "hyperliquid", "okx")


@pytest.mark.parametrize(
    ("mode", "edge", "slippage"), [("demo", 5, 1), ("replay", 1, 0), ("paper", 20, 1)]
)
def test_the_mode_has_defaults_of_its_own(mode: str, edge: float, slippage: float) -> None:
    """Below everything that anybody sets."""
    loaded = load(mode=mode)
    assert loaded.settings.arbitrage.min_edge_bps == edge
    assert loaded.settings.arbitrage.slippage_bps == slippage

    assert load(**{"mode": mode, "arbitrage.min_edge_bps": 7}).settings.arbitrage.min_edge_bps == 7


def test_files_of_a_directory_are_found_in_order(tmp_path: Path) -> None:
    """config.yaml first, then config.d in the order of names."""
    (tmp_path / "config.d").mkdir()
    for name in ("config.yaml", "config.d/2.yaml", "config.d/1.yaml", "config.d/note.txt"):
        (tmp_path / name).write_text("")

    found = [str(path.relative_to(tmp_path)) for path in find_config_files(tmp_path)]
    assert found == ["config.yaml", "config.d/1.yaml", "config.d/2.yaml"]
    assert find_config_files(tmp_path / "none") == []


def test_credentials_follow_the_mode_and_the_account() -> None:
    """Paper reads none; testnet reads those of the named account."""
    environ = {"OKX_API_KEY": "a", "OKX__SUB1__API_KEY": "b", "OKX__SUB1__API_SECRET": "c"}
    flags = [Flag("mode", "--testnet", "testnet"), Flag("venues.okx.credentials", "--x", "sub1")]
    paper = load_configuration(environ=environ)
    testnet = load_configuration(environ=environ, flags=flags)

    assert len(credentials_of(paper, "okx")) == 0
    assert credential_problems(paper) == []
    assert [problem.key for problem in credential_problems(testnet)] == ["OKX__SUB1__PASSPHRASE"]
    with pytest.raises(SettingsError):
        credentials_of(testnet, "okx")


def test_an_unknown_venue_gets_a_suggestion() -> None:
    """Only venues with an adapter have a block."""
    with pytest.raises(SettingsError, match=r"did you mean venues\.binance\.enabled"):
        load(**{"venues.binanc.enabled": True})
    with pytest.raises(KeyError):
        Settings().venue("mtgox")


def test_an_explanation_tells_of_blocks_and_old_keys() -> None:
    """What `perpbot config explain` prints."""
    text = load(max_slippage_bps=5).explain("risk.max_slippage_bps").text()

    assert "risk.max_slippage_bps = 5 bps" in text
    assert "from     flag --max_slippage_bps" in text
    assert "instead of 10 from default" in text
    assert "may be set per venue or symbol" in text
    assert "once     max_slippage_bps" in text


def test_symbols_may_be_spelled_in_any_way_and_in_shells() -> None:
    """A variable cannot carry a dash."""
    loaded = load_configuration(
        environ={"PERPBOT__SYMBOLS__BTC_PERP__RISK__MAX_SLIPPAGE_BPS": "3"},
        flags=[Flag("symbols", "--x", {"ETH/USDT": {"risk": {"max_slippage_bps": 4}}})],
    )

    assert sorted(loaded.settings.symbols) == ["BTC-PERP", "ETH-PERP"]
