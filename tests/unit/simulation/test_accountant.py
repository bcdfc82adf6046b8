from __future__ import annotations

from decimal import Decimal

from perpbot.simulation.accountant import Accountant
from tests.unit.simulation.desk import d

SECOND = 1_000_000_000


def trade(
    books: Accountant,
    quantity: str,
    price: str,
    *,
    venue: str = "okx",
    at_s: float = 0,
    fee: str = "0",
    client_id: str = "",
) -> None:
    """One execution in BTC by account `main`."""
    books.executed(
        venue=venue,
        account="main",
        asset="BTC-PERP",
        client_id=client_id,
        signed_quantity=d(quantity),
        price=d(price),
        fee=d(fee),
        ts_ns=int(at_s * SECOND),
    )


def test_flat_books_are_exact() -> None:
    """Price, fees and funding of a hedged pair, to the last digit, costs negative."""
    books = Accountant()
    trade(books, "0.3", "100.1", fee="0.015015")
    trade(books, "-0.3", "100.4", venue="binance", fee="0.01506")
    books.funded(venue="okx", account="main", asset="BTC-PERP", amount=d("-0.003"))
    trade(books, "-0.1", "100.2")
    trade(books, "-0.2", "100.3")
    trade(books, "0.3", "100.3", venue="binance")
    summary = books.summary()
    assert summary["price"] == d("0.05") + d("0.03")
    assert summary["fees"] == d("-0.030075")
    assert summary["funding"] == d("-0.003")
    assert summary["net"] == d("0.046925")
    assert summary["positions"] == []
    assert summary["executions"] == 5


def test_open_position_is_valued_at_the_mark() -> None:
    """At the last mark of its venue, also when the mark came before the trade."""
    books = Accountant()
    books.marked(venue="okx", asset="BTC-PERP", price=d(105), ts_ns=0)
    books.transferred(venue="okx", account="main", currency="USDT", amount=d(1_000))
    trade(books, "2", "100", fee="1")
    assert books.equity("okx", "main", "USDT") == 1_009
    books.marked(venue="okx", asset="BTC-PERP", price=d(90), ts_ns=0)
    books.marked(venue="binance", asset="BTC-PERP", price=d(1), ts_ns=0)
    assert books.equity("okx", "main", "USDT") == 979
    assert books.equity("okx", "other", "USDT") == 0
    assert books.position("okx", "main", "BTC-PERP") == 2
    assert books.position("okx", "main", "ETH-PERP") == 0
    assert books.summary()["positions"] == [("okx", "main", "BTC-PERP", d(2))]


def test_without_a_mark_the_last_execution_values_the_position() -> None:
    """Nothing is invented: the price somebody paid."""
    books = Accountant()
    trade(books, "1", "100")
    trade(books, "1", "110")
    assert books.summary()["price"] == 10


def test_executions_are_counted_by_client_id() -> None:
    """An order that executed twice shows; executions without an id do not."""
    books = Accountant()
    trade(books, "1", "100", client_id="a")
    trade(books, "1", "100", client_id="a")
    trade(books, "1", "100", client_id="b")
    trade(books, "1", "100")
    assert books.summary()["executions_per_client_id"] == {"a": 2, "b": 1}


def test_unhedged_time_runs_from_the_first_fill_to_the_cover() -> None:
    """Over all venues of an asset; the worst stays, in time and in USD seconds."""
    books = Accountant()
    trade(books, "1", "100", at_s=10)
    trade(books, "-0.5", "100", venue="binance", at_s=11)
    trade(books, "-0.5", "100", venue="binance", at_s=13)
    trade(books, "1", "100", at_s=20)
    trade(books, "-1", "100", venue="binance", at_s=21)
    summary = books.summary(now_ns=100 * SECOND)
    assert summary["worst_unhedged_ns"] == 3 * SECOND
    assert summary["worst_unhedged_usd"] == 100
    assert summary["worst_unhedged_usd_s"] == 100 * 1 + 50 * 2


def test_open_exposure_counts_until_now() -> None:
    """What is unhedged at the end is told too; marks move its value."""
    books = Accountant()
    trade(books, "2", "100", at_s=0)
    books.marked(venue="okx", asset="BTC-PERP", price=d(50), ts_ns=SECOND)
    assert books.worst_unhedged_ns() == 0
    assert books.worst_unhedged_ns(5 * SECOND) == 5 * SECOND
    assert books.summary(now_ns=3 * SECOND)["worst_unhedged_usd_s"] == 200 + 100 * 2


def test_exposure_that_turns_begins_anew() -> None:
    """Passing through zero was a cover."""
    books = Accountant()
    trade(books, "1", "100", at_s=0)
    trade(books, "-2", "100", venue="binance", at_s=2)
    trade(books, "1", "100", at_s=5)
    assert books.worst_unhedged_ns(99 * SECOND) == 3 * SECOND


def test_dust_counts_as_hedged() -> None:
    """A net at or below one step is no exposure."""
    books = Accountant({"BTC-PERP": Decimal("0.001")})
    trade(books, "0.001", "100", at_s=0)
    trade(books, "0.999", "100", at_s=1)
    trade(books, "-0.9995", "100", venue="binance", at_s=2)
    trade(books, "-0.0005", "100", venue="binance", at_s=9)
    assert books.worst_unhedged_ns(99 * SECOND) == SECOND
