from __future__ import annotations

from decimal import Decimal

from perpbot.simulation.model import (
    AccountUpdate,
    OrderStatus,
    Refusal,
)
from tests.unit.simulation.desk import Desk, d, refusal, seen


def test_round_trip_profit_reaches_the_wallet_exactly(desk: Desk) -> None:
    """Price profit less fees, to the last digit, also in thirds."""
    desk.quote("99x9", "100x1 100.1x2")
    desk.buy("3")
    desk.quote("107x1 106x9", "108x1")
    desk.sell("1")
    desk.sell("2")
    price = d(107) + 2 * d(106) - d(100) - 2 * d("100.1")
    fees = (d(107) + 2 * d(106) + d(100) + 2 * d("100.1")) * d("0.0005")
    assert desk.wallet() == 100_000 + price - fees
    assert sum((fill.realized_pnl for fill in desk.fills()), Decimal(0)) == price


def test_position_through_zero_starts_anew(desk: Desk) -> None:
    """Selling more than the long realises it and opens a short at the price."""
    desk.quote("110x9", "")
    desk.exchange.quote("BTCUSDT", (), ((d(100), d(1)),))
    desk.buy("1")
    desk.quote("110x9", "")
    desk.sell("3")
    (view,) = desk.exchange.positions("ann")
    assert view.quantity == -2
    assert view.entry_price == 110
    assert view.unrealized_pnl == 20
    assert desk.fills()[-1].realized_pnl == 10
    assert desk.wallet() == 100_000 + 10 - d("430") * d("0.0005")


def test_margin_counts_open_orders_and_frees_on_cancel(desk: Desk) -> None:
    """The worse direction of resting orders is set aside."""
    desk.buy("10", "90")
    desk.sell("5", "110")
    (balance,) = desk.exchange.balances("ann")
    assert seen(balance.used_margin, balance.free) == (90, 99_910)
    desk.exchange.cancel_all("ann")
    assert desk.exchange.balances("ann")[0].free == 100_000


def test_reductions_pass_without_free_margin() -> None:
    """An account that cannot open may always close."""
    desk = Desk(funds="100")
    desk.quote("99x20", "100x20")
    desk.buy("9")
    assert refusal(desk.buy, "5") is Refusal.INSUFFICIENT_MARGIN
    assert desk.sell("9").status is OrderStatus.FILLED


def test_funding_moves_money_from_longs_to_shorts(desk: Desk) -> None:
    """At the mark and rate of the settlement, told with the account update."""
    desk.buy("2", "100")
    desk.sell("2", "100", by="bob")
    before = desk.wallet("ann"), desk.wallet("bob")
    desk.mark("120", rate="0.0005")
    desk.exchange.settle_funding("BTCUSDT")
    assert desk.wallet("ann") - before[0] == d("-0.12")
    assert desk.wallet("bob") - before[1] == d("0.12")
    (paid,) = desk.exchange.funding_payments("ann")
    assert seen(paid.amount, paid.rate, paid.quantity) == (d("-0.12"), d("0.0005"), 2)
    told = [n for n in desk.news if isinstance(n, AccountUpdate) and n.cause == "funding"]
    assert {update.account for update in told} == {"ann", "bob"}


def test_transfers_are_bounded_by_what_is_free(desk: Desk) -> None:
    """Margin in use stays."""
    desk.buy("10000", "99")
    assert refusal(desk.exchange.transfer, "ann", "USDT", d(-2_000)) is Refusal.INSUFFICIENT_MARGIN
    desk.exchange.transfer("ann", "USDT", d(-1_000))
    desk.exchange.transfer("ann", "USDC", d(5))
    assert {b.currency: b.wallet for b in desk.exchange.balances("ann")} == {
        "USDT": 99_000,
        "USDC": 5,
    }
    listed = desk.exchange.transfers("ann")
    assert [(one.currency, one.amount) for one in listed] == [
        ("USDT", d(-1_000)),
        ("USDC", d(5)),
    ]
    assert listed[0].transfer_id != listed[1].transfer_id
    assert desk.exchange.transfers("ann", listed[0].ts_ns + 1) == []
    told = [n.transfer for n in desk.news if isinstance(n, AccountUpdate) and n.transfer]
    assert told == listed


def test_account_short_of_maintenance_is_liquidated() -> None:
    """Its orders go, its position is closed against the book, the rest at the mark."""
    desk = Desk(funds="100")
    desk.quote("99x20", "100x20")
    desk.buy("9")
    desk.buy("0.1", "90")
    (view,) = desk.exchange.positions("ann")
    assert view.liquidation_price is not None
    desk.quote("89x4", "91x4")
    desk.mark(str(round(view.liquidation_price, 1) + d("0.1")))
    assert desk.position() == 9
    desk.mark("89")
    assert desk.position() == 0
    forced = [fill for fill in desk.fills() if fill.cause == "liquidation"]
    assert [seen(fill.price, fill.quantity) for fill in forced] == [(89, 4), (89, 5)]
    assert "liquidation" in {view.cause for view in desk.exchange.order_history("ann")}
    assert desk.accountant.equity("binance", "ann", "USDT") == desk.wallet()


def test_short_has_a_liquidation_price_above(desk: Desk) -> None:
    """And a long that its wallet covers wholly has none."""
    desk.sell("5000", "100")
    desk.buy("5000", "100", by="bob")
    (short,) = desk.exchange.positions("ann")
    assert short.liquidation_price is not None
    assert short.liquidation_price > 100
    desk.exchange.transfer("bob", "USDT", d(1_000_000))
    assert desk.exchange.positions("bob")[0].liquidation_price is None
