from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Side
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import (
    AccountUpdate,
    BookChange,
    ExchangeNews,
    ExchangeView,
    Mark,
    OrderUpdate,
    PublicTrade,
)
from tests.unit.simulation.desk import BTC, PROFILE, Desk, d


def test_exchange_fulfils_the_view() -> None:
    """The class is what servers and venues code against."""
    view: ExchangeView = Exchange(PROFILE, [BTC], lambda: 0, Accountant())
    assert [contract.symbol for contract in view.contracts()] == ["BTCUSDT"]


def test_quote_that_is_no_book_is_refused(desk: Desk) -> None:
    """Crossed, unordered and empty levels raise."""
    for bids, asks in (("100x1", "100x1"), ("99x1 99.5x1", ""), ("", "101x1 100x1"), ("99x0", "")):
        with pytest.raises(InvalidValue, match="expected"):
            desk.quote(bids, asks)


def test_book_changes_are_numbered_without_gaps(desk: Desk) -> None:
    """Each change names the one before it and carries only what changed."""
    desk.quote("99x1 98x1", "101x1 102x1")
    desk.quote("99x1 98x2", "101x1 103x1")
    desk.quote("99x1 98x2", "101x1 103x1")
    order = desk.buy("1", "98")
    desk.exchange.cancel("ann", "BTCUSDT", order.order_id)
    changes = [n for n in desk.news if isinstance(n, BookChange)]
    assert [c.previous_sequence for c in changes[1:]] == [c.sequence for c in changes[:-1]]
    assert changes[1].bids == ((d(98), d(2), 1),)
    assert changes[1].asks == ((d(102), d(0), 0), (d(103), d(1), 1))
    assert changes[2].bids == ((d(98), d(3), 2),)
    assert len(changes) == 4
    assert desk.exchange.book("BTCUSDT").sequence == changes[-1].sequence


def test_changes_applied_in_order_give_the_book(desk: Desk) -> None:
    """A client that follows the changes has the exchange's book."""
    followed: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    desk.quote("99x1 98x1", "101x1 102x1")
    desk.buy("2", "101")
    desk.sell("3", "99.5", by="bob")
    desk.quote("99.4x1", "99.6x2")
    for news in desk.news:
        if isinstance(news, BookChange):
            for side in ("bids", "asks"):
                for price, quantity, _ in getattr(news, side):
                    followed[side][price] = quantity
    book = desk.exchange.book("BTCUSDT")
    for side in ("bids", "asks"):
        assert {p: q for p, q in followed[side].items() if q} == {
            p: q for p, q, _ in getattr(book, side)
        }


def test_news_of_a_fill_comes_in_order(desk: Desk) -> None:
    """Trade, then the order with its execution, then the account, then the book."""
    desk.quote("99x1", "100x1")
    desk.news.clear()
    desk.buy("1")
    kinds = [type(news) for news in desk.news]
    assert kinds == [OrderUpdate, PublicTrade, OrderUpdate, AccountUpdate, BookChange]
    account = desk.news[3]
    assert isinstance(account, AccountUpdate)
    assert account.positions[0].quantity == 1


def test_listener_may_call_back_and_stop(desk: Desk) -> None:
    """Calls from a listener work on a finished state; its news follows."""
    heard: list[ExchangeNews] = []

    def answer(news: ExchangeNews) -> None:
        heard.append(news)
        if isinstance(news, OrderUpdate) and news.order.ticket.client_id == "first":
            desk.exchange.submit("bob", desk.ticket(Side.BUY, "1", "90", client_id="second"))

    stop = desk.exchange.listen(answer)
    desk.buy("1", "95", client_id="first")
    told = [n.order.ticket.client_id for n in heard if isinstance(n, OrderUpdate)]
    assert told == ["first", "second"]
    stop()
    stop()
    desk.buy("1", "94")
    assert len([n for n in heard if isinstance(n, OrderUpdate)]) == 2


def test_a_listener_hears_the_kinds_that_it_asked_for(desk: Desk) -> None:
    """The others are not told to it; a book that nobody wants to hear of is counted on."""
    heard: list[ExchangeNews] = []
    stop = desk.exchange.listen(heard.append, frozenset({PublicTrade, Mark}))
    desk.quote("99x1", "100x1")
    desk.buy("1")
    desk.mark("100")
    assert [type(news) for news in heard] == [PublicTrade, Mark]
    stop()
    desk.mark("101")
    assert len(heard) == 2
    quiet = Exchange(PROFILE, [BTC], lambda: 0, Accountant())
    before = quiet.book("BTCUSDT").sequence
    quiet.quote("BTCUSDT", ((d(99), d(1)),), ((d(101), d(1)),))
    quiet.quote("BTCUSDT", ((d(99), d(1)),), ((d(101), d(1)),))
    assert quiet.book("BTCUSDT").sequence == before + 1


def test_mark_follows_the_middle_until_it_is_told() -> None:
    """So that a market without marks still has margin and bands."""
    exchange = Exchange(PROFILE, [BTC], lambda: 0, Accountant())
    assert exchange.mark("BTCUSDT").mark_price == 0
    exchange.quote("BTCUSDT", ((d(99), d(1)),), ((d(101), d(1)),))
    assert exchange.mark("BTCUSDT").mark_price == 100
    exchange.set_mark("BTCUSDT", d(90), d(91), d("0.0001"), 7)
    exchange.quote("BTCUSDT", ((d(98), d(1)),), ((d(101), d(1)),))
    assert exchange.mark("BTCUSDT") == Mark(
        symbol="BTCUSDT",
        mark_price=d(90),
        index_price=d(91),
        funding_rate=d("0.0001"),
        next_funding_ns=7,
        ts_ns=0,
    )


def test_reads_filter_by_time_and_id(desk: Desk) -> None:
    """Histories since a time; the newest order of a client id; public trades."""
    desk.quote("99x9", "100x9")
    desk.buy("1", client_id="x")
    desk.now_ns = 9_000
    desk.sell("1", client_id="x")
    assert [fill.side for fill in desk.exchange.executions("ann", 5_000)] == [Side.SELL]
    assert len(desk.exchange.order_history("ann", 5_000)) == 1
    newest = desk.exchange.order_by_client_id("ann", "x")
    assert newest is not None
    assert newest.ticket.side is Side.SELL
    assert desk.exchange.order_by_client_id("ann", "y") is None
    assert desk.exchange.order("ann", 99) is None
    assert [t.side for t in desk.exchange.recent_trades("BTCUSDT", 1)] == [Side.SELL]
    assert desk.exchange.recent_trades("BTCUSDT")[0].buyer == "ann"
    assert desk.exchange.funding_payments("ann", 1) == []
