from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.sides import Side
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.driver import MarketDriver
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.market import (
    MarketMark,
    MarketModel,
    MarketQuote,
    MarketTrade,
    MarketUpdate,
    SyntheticMarket,
)
from perpbot.simulation.model import Contract, Profile, PublicTrade
from tests.unit.simulation.desk import PROFILE, Desk, d

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


class Script:
    """A market that says what it was told to."""

    def __init__(self, *updates: MarketUpdate) -> None:
        self.updates = list(updates)

    def step(self, now_ns: int) -> Sequence[MarketUpdate]:
        due = [update for update in self.updates if update.ts_ns <= now_ns]
        self.updates = self.updates[len(due) :]
        return due


def quote(bids: list[tuple[float, float]], asks: list[tuple[float, float]]) -> MarketQuote:
    """Depth of BTC at the test venue."""
    return MarketQuote(1, "binance", "BTC-PERP", tuple(bids), tuple(asks))


def test_quotes_land_on_the_grid_best_first(desk: Desk) -> None:
    """Bids round down, asks up, levels stay apart, sizes are whole steps of at least one."""
    script = Script(
        quote([(99.97, 1.23456), (99.93, 2.0), (99.92, 0.00001)], [(100.01, 1), (100.02, 1)])
    )
    assert MarketDriver(script, {"binance": desk.exchange}).step(1) == 1
    book = desk.exchange.book("BTCUSDT")
    assert book.bids == (
        (d("99.9"), d("1.235"), 1),
        (d("99.8"), d(2), 1),
        (d("99.7"), d("0.001"), 1),
    )
    assert [price for price, _, _ in book.asks] == [d("100.1"), d("100.2")]


def test_quote_within_one_tick_is_kept_apart(desk: Desk) -> None:
    """A middle on the grid gives one tick of spread, never a locked book."""
    script = Script(quote([(100.0, 1)], [(100.0, 1), (100.05, 1)]))
    MarketDriver(script, {"binance": desk.exchange}).step(1)
    assert [*map(str, (p for p in desk.best()))] == ["100.0", "100.1"]


def test_levels_below_one_tick_end_the_ladder(desk: Desk) -> None:
    """A price cannot be zero."""
    script = Script(quote([(0.15, 1), (0.05, 1)], [(0.25, 1)]))
    MarketDriver(script, {"binance": desk.exchange}).step(1)
    assert desk.exchange.book("BTCUSDT").bids == ((d("0.1"), d(1), 1),)


def test_digits_make_the_grid_coarser() -> None:
    """Five significant digits: whole dollars at 97,000, and whole numbers beyond."""
    contract = Contract(
        symbol="BTC",
        asset="BTC-PERP",
        base="BTC",
        settle="USDC",
        tick_size=Decimal("0.1"),
        quantity_step=Decimal("0.00001"),
        min_quantity=Decimal("0.00001"),
        price_digits=5,
    )
    exchange = Exchange(PROFILE, [contract], lambda: 0, Accountant())
    for mid, expected in ((97_123.4, "97123"), (1_234.56, "1234.5"), (123_456.7, "123456")):
        MarketDriver(Script(quote([(mid, 1)], [(mid + 2, 1)])), {"binance": exchange}).step(1)
        assert exchange.book("BTC").bids[0][0] == d(expected)


def test_trades_take_from_the_touch_only(desk: Desk) -> None:
    """A public trade never walks the book; without a book there is none."""
    script = Script(
        MarketTrade(0, "binance", "BTC-PERP", Side.BUY, 1.0),
        quote([(99, 1)], [(100, 1), (101, 5)]),
        MarketTrade(2, "binance", "BTC-PERP", Side.BUY, 3.0),
    )
    MarketDriver(script, {"binance": desk.exchange}).step(2)
    (trade,) = [news for news in desk.news if isinstance(news, PublicTrade)]
    assert trade.price == 100
    assert trade.quantity == 1


def test_marks_carry_the_rate_of_the_interval_and_funding_settles(desk: Desk) -> None:
    """An hourly venue has an eighth of the rate and pays every hour."""
    contract = Contract(
        symbol="BTC",
        asset="BTC-PERP",
        base="BTC",
        settle="USDC",
        tick_size=Decimal(1),
        quantity_step=Decimal("0.001"),
        min_quantity=Decimal("0.001"),
        funding_interval_s=3_600,
    )
    exchange = Exchange(
        Profile(name="hyperliquid", maker_fee=Decimal(0), taker_fee=Decimal(0)),
        [contract],
        lambda: 0,
        Accountant(),
    )
    exchange.open_account("ann", {"USDC": d(1_000_000)})
    script = Script(
        *(
            MarketMark(at, "hyperliquid", "BTC-PERP", 100.2, 99.9, 0.0008)
            for at in (10, HOUR - 1, HOUR, 2 * HOUR + 5)
        )
    )
    driver = MarketDriver(script, {"hyperliquid": exchange})
    driver.step(10)
    mark = exchange.mark("BTC")
    assert mark.mark_price == mark.index_price == 100
    assert mark.funding_rate == d("0.0001")
    assert mark.next_funding_ns == HOUR
    exchange.quote("BTC", (), ((d(100), d(9)),))
    ticket = msgspec.structs.replace(desk.ticket(Side.BUY, "2", "100"), symbol="BTC")
    exchange.submit("ann", ticket)
    driver.step(HOUR - 1)
    assert not exchange.funding_payments("ann")
    driver.step(3 * HOUR)
    assert [paid.amount for paid in exchange.funding_payments("ann")] == [d("-0.02")] * 2
    assert exchange.mark("BTC").next_funding_ns == 3 * HOUR


def test_unlisted_assets_are_passed_over_and_switches_advance(desk: Desk) -> None:
    """The driver also drives what is due by the clock."""
    desk.buy("1", "99")
    desk.exchange.arm_dead_man("ann", None, 500)
    script = Script(MarketTrade(1, "binance", "DOGE-PERP", Side.BUY, 1.0))
    assert MarketDriver(script, {"binance": desk.exchange}).step(1) == 0
    assert not desk.exchange.open_orders("ann")


def test_synthetic_market_runs_an_exchange() -> None:
    """Books are full and uncrossed, marks are there, trades happen."""
    desk = Desk()
    market = SyntheticMarket(("binance",), seed=1, start_ns=0, model=MarketModel())
    driver = MarketDriver(market, {"binance": desk.exchange})
    for step in range(1, 101):
        desk.now_ns = step * SECOND // 20
        driver.step(desk.now_ns)
    book = desk.exchange.book("BTCUSDT")
    assert len(book.bids) >= 8
    assert book.bids[0][0] < book.asks[0][0]
    assert desk.exchange.mark("BTCUSDT").mark_price > 90_000
    assert desk.exchange.recent_trades("BTCUSDT")
