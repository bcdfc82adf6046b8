"""Settings as they hold for one venue, one asset or one market."""

from __future__ import annotations

from decimal import Decimal

from perpbot.app.overrides import Overrides
from perpbot.configuration import Settings
from perpbot.kernel.clock import MS
from tests.unit.risk.world import plan

MARKETS = (("okx", "BTC-PERP"), ("binance", "BTC-PERP"), ("okx", "ETH-PERP"))


def overrides(**blocks: object) -> Overrides:
    """Return what holds with these blocks."""
    return Overrides(Settings.model_validate(blocks), MARKETS)


def test_a_market_has_its_own_limits() -> None:
    """Of its venue and its symbol; the other markets keep the room's."""
    found = overrides(venues={"okx": {"symbols": {"BTC-PERP": {"risk": {"max_slippage_bps": 3}}}}})

    changed = {key for key, risk in found.risk.items() if risk.max_slippage_bps == 3}
    assert changed == {("okx", "BTC-PERP")}
    assert set(found.market) == set(MARKETS)


def test_terms_of_an_asset_are_its_symbols() -> None:
    """An asset without a block has the terms of elsewhere."""
    found = overrides(symbols={"BTC-PERP": {"arbitrage": {"take_profit_bps": 7}}})

    assert found.terms["BTC-PERP"].take_profit_bps == 7
    assert found.terms["ETH-PERP"] == found.terms_elsewhere
    assert found.terms_elsewhere.take_profit_bps == 10


def test_a_pair_is_as_patient_as_its_stricter_leg() -> None:
    """And asked twice the answer is the same object: resolving takes its time."""
    found = overrides(venues={"okx": {"execution": {"hedge_after_ms": 400}}})
    pair = plan()

    assert "okx" in {pair.long_venue, pair.short_venue}
    assert found.patience(pair).hedge_after_ns == 400 * MS
    assert found.patience(pair) is found.patience(pair)


def test_capital_is_resolved_by_venue() -> None:
    """Once."""
    found = overrides(venues={"okx": {"capital": {"leverage": 2}}})

    leverages = [found.capital(venue).leverage for venue in ("okx", "binance")]
    assert leverages == [Decimal(2), Decimal(1)]
    assert found.capital("okx") is found.capital("okx")
