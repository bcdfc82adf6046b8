"""What the engine knows of markets, and what it keeps from others."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.events import FundingRateUpdated, MarkUpdated, TradePrinted
from perpbot.domain.sides import Side
from perpbot.kernel.clock import SECOND
from perpbot.market.engine import QuoteEngine
from perpbot.market.settings import MarketSettings
from perpbot.venues.port import MarketSink, QuoteSlot
from tests.unit.market.floor import BTC, VENUES, Floor, instrument, one_dollar


def test_engine_is_a_sink_with_one_slot_a_market() -> None:
    """A market has the same slot however often a feed asks."""
    floor = Floor()
    sink: MarketSink = floor.engine
    slot: QuoteSlot = sink.slot(instrument("okx"))
    assert sink.slot(instrument("okx")) is slot
    assert sink.slot(instrument("binance")) is not slot
    assert len(list(floor.engine)) == 2


def test_unknown_venue_is_refused_by_name() -> None:
    """A slot needs the venue's declared interval and floor."""
    with pytest.raises(InvalidValue, match="kraken"):
        Floor().engine.slot(instrument("kraken"))


def test_unwatched_market_has_nothing() -> None:
    """What is not known is None, never a number."""
    engine = Floor().engine
    assert engine.find("okx", BTC) is None
    assert engine.latest("okx", BTC) is None
    assert engine.touch("okx", BTC) is None
    assert engine.mark("okx", BTC) is None
    assert engine.funding("okx", BTC) is None
    assert engine.usd_rate("okx", BTC) is None
    assert not engine.usable("okx", BTC)


def test_mark_is_the_venues_else_the_mid_of_a_usable_quote() -> None:
    """The quote stands in while it is usable; the mark wins."""
    floor = Floor()
    floor.quote(100.0, 101.0, size=10)
    assert floor.engine.mark("okx", BTC) == Decimal("100.5")
    floor.wait(5.1)
    assert floor.engine.mark("okx", BTC) is None
    floor.engine.publish(MarkUpdated(venue="okx", asset=BTC, mark=99.9))
    assert floor.engine.mark("okx", BTC) == Decimal("99.9")


def test_old_mark_gives_way_to_a_usable_quote_only() -> None:
    """A mark older than a minute is the last resort."""
    floor = Floor()
    floor.slot()
    floor.engine.publish(MarkUpdated(venue="okx", asset=BTC, mark=99.9))
    floor.wait(61)
    assert floor.engine.mark("okx", BTC) == Decimal("99.9")
    floor.quote(100.0, 101.0, size=10)
    assert floor.engine.mark("okx", BTC) == Decimal("100.5")


def test_mark_is_in_usd_or_not_told() -> None:
    """A settle currency without a rate has no mark; with one it is converted."""
    floor = Floor()
    rates = {"EURC": Decimal("1.1")}
    engine = QuoteEngine(floor.bus, floor.time, floor.settings, floor.capabilities, rates.get)
    for settle, venue in (("EURC", "okx"), ("XYZ", "binance")):
        engine.slot(instrument(venue, settle=settle))
        engine.publish(MarkUpdated(venue=venue, asset=BTC, mark=100.0))
    assert engine.mark("okx", BTC) == Decimal(110)
    assert engine.mark("binance", BTC) is None


@pytest.mark.parametrize("mark", [0.0, -1.0, math.nan, math.inf, 1e300, 1e-30])
def test_impossible_mark_is_refused(mark: float) -> None:
    """No handler ever sees it."""
    floor = Floor()
    floor.slot()
    floor.engine.publish(MarkUpdated(venue="okx", asset=BTC, mark=mark))
    assert floor.events == []
    assert floor.engine.statistics().unreadable == {"okx": {"bad_mark": 1}}


def test_funding_rate_is_kept_if_possible() -> None:
    """The last sane rate stays."""
    floor = Floor()
    good = FundingRateUpdated(venue="okx", asset=BTC, rate=1e-4, interval_s=28_800, next_ns=0)
    for rate, interval_s in ((math.nan, 28_800), (1e-4, 0)):
        floor.engine.publish(good)
        floor.engine.publish(
            FundingRateUpdated(venue="okx", asset=BTC, rate=rate, interval_s=interval_s, next_ns=0)
        )
    assert floor.engine.funding("okx", BTC) is good
    assert floor.engine.statistics().unreadable == {"okx": {"bad_funding_rate": 2}}


def test_a_mark_that_came_another_way_is_judged_too() -> None:
    """What is published past the sink is no price either."""
    floor = Floor()
    floor.slot()
    floor.bus.publish(MarkUpdated(venue="okx", asset=BTC, mark=math.nan))
    assert floor.engine.mark("okx", BTC) is None
    assert floor.engine.statistics().unreadable == {"okx": {"bad_mark": 1}}


def test_other_market_data_goes_straight_to_the_bus() -> None:
    """Trades, books and candles are published as they are."""
    floor = Floor()
    trade = TradePrinted(venue="okx", asset=BTC, trade_id="1", price=1.0, size=1.0, side=Side.BUY)
    floor.engine.publish(trade)
    assert floor.events == [trade]


def test_statistics_count_by_venue_and_reason() -> None:
    """Every quote is counted once: accepted, or refused by reason."""
    floor = Floor()
    floor.quote(100.0, 100.1, size=10)
    floor.quote(100.0, 100.1, size=10, asset="ETH-PERP")
    floor.quote(100.1, 100.0, size=10)
    floor.quote(100.1, 100.0, size=10, asset="ETH-PERP")
    floor.engine.refuse("okx", "not_json")
    found = floor.engine.statistics()
    assert found.accepted == {"okx": 2}
    assert found.refused == {"okx": {"crossed": 2}}
    assert found.unreadable == {"okx": {"not_json": 1}}
    assert found.offset_ms == {"okx": 5.0}
    assert floor.engine.accepted == 2


def test_overrides_hold_for_their_market_only() -> None:
    """A market with its own least notional refuses what others take."""
    floor = Floor()
    strict = MarketSettings(min_touch_notional_usd=Decimal(10_000))
    engine = QuoteEngine(
        floor.bus,
        floor.time,
        floor.settings,
        floor.capabilities,
        one_dollar,
        {("okx", BTC): strict},
    )
    now_ns = floor.time.monotonic_ns()
    for venue in VENUES:
        engine.slot(instrument(venue)).update(100.0, 10.0, 100.1, 10.0, now_ns, now_ns)
    assert [engine.usable(venue, BTC) for venue in VENUES] == [False, True, True]


def test_venue_far_from_the_others_is_out_of_band() -> None:
    """After a sweep, a mid more than 5 % from the median of the venues is refused."""
    floor = Floor()
    for venue, price in (("okx", 100.0), ("binance", 100.1), ("hyperliquid", 106.0)):
        floor.quote(price, price + 0.01, venue, size=10)
    floor.engine.sweep(floor.time.monotonic_ns())
    assert floor.quote(100.0, 100.01, "okx", size=10)
    assert not floor.quote(106.0, 106.01, "hyperliquid", size=10)
    assert floor.refused("hyperliquid") == {"out_of_band": 1}


def test_one_bad_tick_does_not_put_the_others_out_of_band() -> None:
    """The band follows what venues believe, not what they were just told."""
    floor = Floor()
    for price in (100.0, 1_000.0):
        floor.quote(price, price + 0.01, "okx", size=10)
    floor.quote(100.0, 100.01, "binance", size=10)
    floor.engine.sweep(floor.time.monotonic_ns())
    assert floor.quote(100.0, 100.01, "binance", size=10)


def test_an_old_error_of_one_venue_does_not_join_a_new_one_of_another() -> None:
    """Found by seed 102906: a tenth on one venue, later on a second, outvoted the third."""
    floor = Floor()
    for _ in range(5):
        floor.quote(10.0, 10.001, "hyperliquid", size=100)
    floor.wait(10)
    floor.quote(100.0, 100.01, "binance", size=10)
    for _ in range(4):
        floor.quote(10.0, 10.001, "okx", size=100)
        floor.engine.sweep(floor.time.monotonic_ns())
    assert not floor.quote(10.0, 10.001, "okx", size=100)
    assert floor.refused("okx")["out_of_band"] >= 1


def test_band_follows_a_real_move_of_all_venues() -> None:
    """A crash of 10 % between two sweeps is refused, then believed."""
    floor = Floor()
    for level in (100.0, 90.0):
        for venue in VENUES:
            for _ in range(4):
                floor.quote(level, level + 0.01, venue, size=10)
        floor.engine.sweep(floor.time.monotonic_ns())
    assert all(floor.quote(90.0, 90.01, venue, size=10) for venue in VENUES)


def test_band_of_a_silent_market_is_lifted() -> None:
    """After a minute of silence nobody knows where a market is."""
    floor = Floor()
    floor.quote(100.0, 100.01, size=10)
    floor.engine.sweep(floor.time.monotonic_ns())
    floor.wait(61)
    floor.engine.sweep(floor.time.monotonic_ns())
    assert [floor.quote(120.0, 120.01, size=10) for _ in range(4)][-1]


def test_nothing_is_usable_until_what_waited_has_been_read() -> None:
    """A process that stood still reads old frames, and a venue's clock may make them young."""
    floor = Floor()
    floor.slot()
    floor.engine.sweep(floor.time.monotonic_ns())
    floor.quote(100.0, 100.1, size=10)
    assert floor.engine.usable("okx", BTC)

    # It wakes up: a frame is read before any timer runs, then the sweep that is long due.
    floor.time.run_until(floor.time.now_ns() + 4 * SECOND)
    floor.quote(100.0, 100.1, size=10)
    assert not floor.engine.usable("okx", BTC)
    floor.engine.sweep(floor.time.monotonic_ns())
    floor.quote(100.0, 100.1, size=10)
    assert not floor.engine.usable("okx", BTC)
    assert floor.engine.latest("okx", BTC) is not None

    for _ in range(10):
        floor.time.run_until(floor.time.now_ns() + SECOND // 10)
        floor.engine.sweep(floor.time.monotonic_ns())
    assert floor.engine.usable("okx", BTC)


def test_a_sweep_that_is_a_little_late_is_no_standstill() -> None:
    """Loops are busy now and then."""
    floor = Floor()
    floor.engine.sweep(floor.time.monotonic_ns())
    floor.time.run_until(floor.time.now_ns() + SECOND)
    floor.quote(100.0, 100.1, size=10)

    assert floor.engine.usable("okx", BTC)
    floor.engine.sweep(floor.time.monotonic_ns())
    assert floor.engine.usable("okx", BTC)
