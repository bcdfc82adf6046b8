"""What is found, what is refused and why, and how long an opportunity lasts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.events import FundingRateUpdated, QuoteUpdated
from perpbot.strategies.arbitrage.scanner import Scanner
from perpbot.strategies.arbitrage.settings import ArbitrageSettings
from tests.unit.market.floor import BTC, VENUES
from tests.unit.strategies.arbitrage.desk import TOUCH, Desk

COST_BPS = 24.0
"""Four takers at 5 bps and four times 1 bps of slippage."""


def warm(settings: ArbitrageSettings | None = None) -> tuple[Desk, Scanner]:
    """A desk whose basis is known: all venues quote the same."""
    desk = Desk()
    scanner = desk.scanner(settings)
    desk.calm(2)
    return desk, scanner


def test_gap_beyond_basis_costs_and_floor_is_found_with_every_number() -> None:
    """46 bps less 24 of costs leave more than 20."""
    desk, scanner = warm()
    desk.dear("binance", 46.0)

    first = min(desk.found, key=lambda event: event.opportunity.long_venue)
    found = next(e.opportunity for e in desk.found if e.opportunity.long_venue == "okx")
    assert first.correlation_id == first.opportunity.opportunity_id
    assert (found.asset, found.short_venue) == (BTC, "binance")
    assert (found.long_ask, found.short_bid) == (TOUCH + 1, TOUCH * 1.0046)
    mean_mid = (TOUCH + TOUCH + 1 + 2 * TOUCH * 1.0046 + 1) / 4
    assert found.mid == pytest.approx(mean_mid)
    gross = (found.long_ask - found.short_bid) / -mean_mid * 10_000
    expected = 1 / (TOUCH + 0.5) * 10_000
    assert found.edge.gross_bps == pytest.approx(gross)
    assert found.edge.expected_exit_bps == pytest.approx(expected)
    assert found.edge.edge_bps == pytest.approx(gross - expected - COST_BPS)
    assert found.size == pytest.approx(200 / mean_mid)
    assert 0 < found.score <= 1
    latest = desk.engine.latest("binance", BTC)
    assert latest is not None
    assert found.read_ns == found.short_quote_ns == latest.recv_ns
    assert found.long_quote_ns <= found.short_quote_ns
    assert scanner.statistics().published == len(desk.found) == 2


@pytest.mark.parametrize(
    ("floor_bps", "opens"),
    [pytest.param(21.5, True, id="floor-below"), pytest.param(22.5, False, id="floor-above")],
)
def test_floor_decides(floor_bps: float, opens: bool) -> None:
    """A gap of 46 bps leaves an edge of 21.7 bps of the mean mid."""
    desk, scanner = warm(ArbitrageSettings(min_edge_bps=floor_bps))
    desk.dear("binance", 46.0)
    assert bool(desk.found) is opens
    assert bool(scanner.episodes) is opens


def test_least_ratio_lets_nothing_slip() -> None:
    """Whatever the gap, what passes the ratio is what the definition says."""
    desk, _ = warm(ArbitrageSettings(min_edge_bps=10.0))
    for tenth in range(300, 400):
        before = len(desk.found)
        desk.dear("binance", tenth / 10)
        latest = {venue: desk.engine.latest(venue, BTC) for venue in VENUES}
        long, short = latest["okx"], latest["binance"]
        assert long is not None
        assert short is not None
        passes = edge_by_definition(long, short) >= 10.0
        assert (len(desk.found) > before) is passes


def edge_by_definition(long: QuoteUpdated, short: QuoteUpdated) -> float:
    """The edge at the calm desk's basis and costs."""
    mean_mid = (long.bid + long.ask + short.bid + short.ask) / 4
    gross = (short.bid - long.ask) / mean_mid * 10_000
    return gross - 1 / (TOUCH + 0.5) * 10_000 - COST_BPS


def test_standing_basis_is_no_opportunity() -> None:
    """A venue that is always 60 bps dearer stays so: crossed all the time, never found."""
    desk = Desk()
    scanner = desk.scanner()
    for _ in range(50):
        desk.wait(0.1)
        for venue in ("okx", "hyperliquid"):
            desk.quote(TOUCH, TOUCH + 1, venue)
        desk.quote(TOUCH * 1.006, TOUCH * 1.006 + 1, "binance")
        desk.basis.sample(desk.time.monotonic_ns())
    assert desk.found == []
    assert scanner.episodes == 0


def test_cold_basis_opens_nothing_and_is_counted() -> None:
    """Before the warm-up every direction is refused for that reason."""
    desk = Desk()
    scanner = desk.scanner()
    desk.calm(0.5)
    desk.dear("binance", 46.0)
    assert desk.found == []
    counts = scanner.statistics()
    assert counts.reasons["below_floor"] + counts.reasons["cold_basis"] == counts.evaluated


def test_stale_other_leg_never_passes() -> None:
    """Six seconds of silence are too old, though the gap is there."""
    desk, scanner = warm()
    desk.wait(6.0)
    desk.dear("binance", 46.0)
    assert desk.found == []
    assert scanner.statistics().reasons["stale"] == 2


def test_invalidated_other_leg_never_passes() -> None:
    """A broken channel counts as stale at once."""
    desk, scanner = warm()
    for venue in ("okx", "hyperliquid"):
        desk.slot(venue).invalidate("disconnected")
    desk.dear("binance", 46.0)
    assert desk.found == []
    assert scanner.statistics().reasons["stale"] == 2


def test_polled_quote_of_its_own_never_passes() -> None:
    """Not even as the quote that completes the gap."""
    desk, _ = warm()
    desk.slot("binance").polled = True
    desk.dear("binance", 46.0)
    assert desk.found == []


def test_opportunity_is_an_episode_with_one_id() -> None:
    """Above the floor without a break it is one; after a break a new one."""
    desk, scanner = warm()
    for gap in (46.0, 46.5, 47.0, 10.0, 46.0):
        desk.dear("binance", gap)
    of_okx = [e.opportunity for e in desk.found if e.opportunity.long_venue == "okx"]
    ids = [one.opportunity_id for one in of_okx]
    assert len(ids) == 4
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert scanner.episodes == 4
    assert scanner.statistics().episodes == 4


def test_episode_ends_when_the_other_leg_moves() -> None:
    """The quote that closes the gap may come from either venue."""
    desk, scanner = warm()
    desk.dear("binance", 46.0)
    desk.dear("okx", 40.0)
    desk.dear("okx", 0.0)
    assert scanner.episodes == 3


def test_venues_of_one_operator_never_pair() -> None:
    """Operators are compared, not names."""
    desk = Desk()
    desk.scanner(operators={"okx": "o", "binance": "o", "hyperliquid": "h"})
    desk.calm(2)
    desk.dear("binance", 46.0)
    assert {event.opportunity.long_venue for event in desk.found} == {"hyperliquid"}


def test_unknown_settle_rate_is_refused() -> None:
    """Where nothing is known of the settle currency nothing opens, and it is counted."""
    desk = Desk()
    scanner = desk.scanner(usd_rate={"USD": Decimal(1)}.get)
    desk.calm(2)
    desk.dear("binance", 46.0)
    assert desk.found == []
    assert scanner.statistics().reasons["no_usd_rate"] > 0


def test_disabled_strategy_finds_nothing() -> None:
    """For one asset too, by its override."""
    desk = Desk()
    off = ArbitrageSettings(enabled=False)
    scanner = desk.scanner(overrides={BTC: off})
    desk.calm(2)
    desk.dear("binance", 46.0)
    assert desk.found == []
    assert scanner.statistics().reasons["disabled"] > 0


def test_stop_opening_ends_episodes_and_finds_nothing_more() -> None:
    """From the call on."""
    desk, scanner = warm()
    desk.dear("binance", 46.0)
    found = len(desk.found)
    scanner.stop_opening()
    desk.dear("binance", 46.0)
    desk.calm(0.2)
    desk.dear("binance", 46.0)
    assert len(desk.found) == found
    assert scanner.statistics().reasons["stopped"] > 0


def test_touch_too_small_for_a_pair_is_counted() -> None:
    """It stays an episode, and nothing is published."""
    settings = ArbitrageSettings(pair_notional_min_usd=Decimal(150))
    desk, scanner = warm(settings)
    desk.dear("binance", 46.0, size=0.0012)
    assert desk.found == []
    assert scanner.episodes == 2
    assert scanner.statistics().reasons["too_small"] == 2


def test_low_score_is_counted() -> None:
    """A venue that never fills drags the score below the threshold."""
    desk = Desk()
    scanner = desk.scanner(ArbitrageSettings(min_score=0.9), reliability=lambda _: 0.0)
    desk.calm(2)
    desk.dear("binance", 46.0)
    assert desk.found == []
    assert scanner.statistics().reasons["low_score"] == 2


def test_best_score_comes_first() -> None:
    """Of two directions that pass on one quote, the wider one leads."""
    desk, _ = warm()
    desk.dear("hyperliquid", -5.0)
    desk.dear("binance", 46.0)
    assert [event.opportunity.long_venue for event in desk.found] == ["hyperliquid", "okx"]


def test_priority_pair_comes_before_better_scores() -> None:
    """Whichever way round it is written."""
    desk, _ = warm(ArbitrageSettings(priority_pairs=(("binance", "okx"),)))
    desk.dear("hyperliquid", -5.0)
    desk.dear("binance", 46.0)
    assert [event.opportunity.long_venue for event in desk.found] == ["okx", "hyperliquid"]


def test_funding_counts_into_the_edge() -> None:
    """A long that pays 10 bps an hour loses 1.67 bps over ten minutes."""
    desk, _ = warm()
    desk.engine.publish(
        FundingRateUpdated(venue="okx", asset=BTC, rate=1e-3, interval_s=3_600, next_ns=0)
    )
    desk.calm(0.1)
    desk.dear("binance", 50.0)
    found = next(e.opportunity for e in desk.found if e.opportunity.long_venue == "okx")
    assert found.edge.funding_bps == pytest.approx(-10 / 6)


def test_every_direction_looked_at_is_counted_once() -> None:
    """Published and reasons sum to evaluated."""
    desk, scanner = warm()
    for gap in (10.0, 46.0, 46.0, 0.0):
        desk.dear("binance", gap)
    counts = scanner.statistics()
    assert counts.quotes == desk.engine.accepted
    assert counts.evaluated == 4 * counts.quotes
    assert counts.published + sum(counts.reasons.values()) == counts.evaluated


def test_foreign_markets_are_passed_over() -> None:
    """Quotes and rates of markets that are not scanned change nothing."""
    desk, scanner = warm()
    before = scanner.statistics()
    desk.bus.publish(QuoteUpdated(venue="okx", asset="SOL-PERP", bid=1.0, ask=1.1))
    desk.bus.publish(QuoteUpdated(venue="kraken", asset=BTC, bid=1.0, ask=1.1))
    for venue, asset in (("okx", "SOL-PERP"), ("kraken", BTC)):
        desk.engine.publish(
            FundingRateUpdated(venue=venue, asset=asset, rate=0.0, interval_s=1, next_ns=0)
        )
    assert scanner.statistics() == before


def test_without_directions_nothing_is_imagined() -> None:
    """Three venues of one operator pair with nobody."""
    desk = Desk()
    scanner = desk.scanner(operators=dict.fromkeys(VENUES, "one"))
    assert scanner.imagine() is None
