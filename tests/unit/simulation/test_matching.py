from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.domain.sides import Liquidity, Side, TimeInForce
from perpbot.simulation.model import (
    OrderStatus,
)
from tests.unit.simulation.desk import Desk, d, seen

# --- taking and resting --------------------------------------------------------------------------


def test_market_buy_walks_the_background_depth(desk: Desk) -> None:
    """A taker gets the best prices first and pays the taker fee on each."""
    desk.quote("99x5", "100x1 101x5")
    order = desk.buy("3")
    assert order.status is OrderStatus.FILLED
    assert [seen(fill.price, fill.quantity) for fill in desk.fills()] == [(100, 1), (101, 2)]
    assert order.average_price == Decimal(302) / 3 or order.average_price == d("100.6666666666667")
    assert order.fee == d("302") * d("0.0005")
    assert all(fill.liquidity is Liquidity.TAKER for fill in desk.fills())
    assert desk.position() == 3


def test_consumed_depth_stays_consumed_until_the_next_quote(desk: Desk) -> None:
    """The market makers do not refill by themselves."""
    desk.quote("99x5", "100x1 101x5")
    desk.buy("1")
    assert seen(*desk.best()) == (99, 101)
    desk.quote("99x5", "100x1 101x5")
    assert seen(*desk.best()) == (99, 100)


def test_limit_order_rests_and_is_hit_at_its_own_price(desk: Desk) -> None:
    """The maker's price counts, and each side pays by its role."""
    resting = desk.buy("2", "99.5")
    assert resting.status is OrderStatus.NEW
    desk.sell("2", "99", by="bob")
    (maker,) = desk.fills("ann")
    (taker,) = desk.fills("bob")
    assert maker.price == taker.price == d("99.5")
    assert maker.trade_id == taker.trade_id
    assert (maker.liquidity, maker.fee) == (Liquidity.MAKER, d("0.0398"))
    assert (taker.liquidity, taker.fee) == (Liquidity.TAKER, d("0.0995"))


def test_earlier_order_at_a_price_is_filled_first(desk: Desk) -> None:
    """Time decides at one price."""
    first = desk.buy("1", "99")
    second = desk.buy("1", "99", by="bob")
    desk.exchange.open_account("eve", {"USDT": d(1000)})
    desk.sell("1", "99", by="eve")
    assert desk.exchange.order("ann", first.order_id).status is OrderStatus.FILLED  # type: ignore[union-attr]
    assert desk.exchange.order("bob", second.order_id).status is OrderStatus.NEW  # type: ignore[union-attr]


def test_better_price_is_filled_before_an_earlier_order(desk: Desk) -> None:
    """Price comes before time."""
    desk.buy("1", "99")
    desk.buy("1", "99.1", by="bob")
    desk.exchange.open_account("eve", {"USDT": d(1000)})
    desk.sell("1", "99", by="eve")
    assert [fill.account for fill in desk.fills("bob")] == ["bob"]
    assert not desk.fills("ann")


def test_background_that_was_there_first_stands_ahead_and_keeps_its_place(desk: Desk) -> None:
    """A lump that stays at its price over quotes keeps its time; a new one stands behind."""
    desk.quote("99x1")
    desk.buy("1", "99")
    desk.quote("99x2")
    desk.sell("2", "99", by="bob")
    assert not desk.fills("ann")
    desk.quote("98x2")
    desk.quote("99x2 98x2")
    desk.sell("1", "99", by="bob")
    assert [fill.quantity for fill in desk.fills("ann")] == [1]


def test_new_background_takes_what_it_crosses(desk: Desk) -> None:
    """Depth that comes through a resting order fills it as maker at its price."""
    order = desk.buy("3", "99.5")
    desk.quote("98x1", "99x2 99.4x5")
    filled = desk.exchange.order("ann", order.order_id)
    assert filled is not None
    assert filled.status is OrderStatus.FILLED
    assert {fill.price for fill in desk.fills()} == {d("99.5")}
    assert {fill.liquidity for fill in desk.fills()} == {Liquidity.MAKER}
    assert desk.exchange.book("BTCUSDT").asks == ((d("99.4"), d(4), 1),)


def test_new_background_bids_take_a_resting_sell(desk: Desk) -> None:
    """The same on the other side; what is left of the order keeps resting."""
    desk.sell("3", "100.5")
    desk.quote("101x2", "102x1")
    assert desk.position() == -2
    assert desk.best() == (None, d("100.5"))


def test_outside_taker_fills_client_makers_and_background(desk: Desk) -> None:
    """Public flow consumes the book in price-time order and stops at its limit."""
    desk.quote("98x1", "101x1")
    desk.buy("1", "99")
    assert desk.exchange.take("BTCUSDT", Side.SELL, d("1.5"), d(98)) == d("1.5")
    assert desk.position() == 1
    assert seen(*desk.best()) == (98, 101)
    assert desk.exchange.take("BTCUSDT", Side.SELL, d(5), d("98.5")) == 0
    assert desk.exchange.take("BTCUSDT", Side.SELL, d(5)) == d("0.5")


# --- time in force -------------------------------------------------------------------------------


def test_ioc_remainder_expires(desk: Desk) -> None:
    """What an IOC does not get at once is gone."""
    desk.quote("99x1", "100x1")
    order = desk.buy("3", "100", tif=TimeInForce.IOC)
    assert seen(order.status, order.cause, order.filled) == (OrderStatus.EXPIRED, "ioc", 1)
    assert seen(*desk.best()) == (99, None)


def test_fok_fills_all_or_nothing(desk: Desk) -> None:
    """A fill-or-kill that does not fit trades nothing."""
    desk.quote("99x1", "100x1 101x1")
    assert desk.buy("2", "100", tif=TimeInForce.FOK).cause == "fok"
    assert not desk.fills()
    assert desk.buy("2", "101", tif=TimeInForce.FOK).status is OrderStatus.FILLED


def test_fok_does_not_count_own_orders(desk: Desk) -> None:
    """Self-trade prevention would take them away."""
    desk.sell("2", "100")
    desk.quote("", "101x1")
    assert desk.buy("2", "101", tif=TimeInForce.FOK).status is OrderStatus.EXPIRED


def test_fok_does_not_count_reductions_twice(desk: Desk) -> None:
    """Two resting reductions of one position are worth that position."""
    desk.quote("99x9", "100x9")
    desk.buy("2")
    desk.quote("99x9", "110x9")
    desk.sell("2", "103", reduce_only=True)
    desk.sell("2", "104", reduce_only=True)
    killed = desk.buy("3", "105", tif=TimeInForce.FOK, by="bob")
    assert killed.cause == "fok"
    assert killed.filled == 0
    assert desk.buy("2", "105", tif=TimeInForce.FOK, by="bob").status is OrderStatus.FILLED


def test_fok_stops_counting_where_self_trade_prevention_would_end_it(desk: Desk) -> None:
    """Cancel-taker at an own order: all or nothing still holds."""
    desk.quote("", "100x1 102x5")
    desk.sell("1", "100")
    order = desk.buy("2", "102", tif=TimeInForce.FOK, self_trade="cancel_taker")
    assert order.cause == "fok"
    assert not desk.fills()


def test_market_order_stops_at_the_band(desk: Desk) -> None:
    """A market order never takes beyond the band around the mark."""
    desk.quote("", "119x1 121x5")
    order = desk.buy("3")
    assert seen(order.status, order.cause, order.filled) == (OrderStatus.EXPIRED, "market", 1)


# --- self-trade prevention -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "maker", "taker"),
    [
        ("cancel_maker", OrderStatus.CANCELLED, OrderStatus.NEW),
        ("cancel_taker", OrderStatus.NEW, OrderStatus.CANCELLED),
        ("cancel_both", OrderStatus.CANCELLED, OrderStatus.CANCELLED),
    ],
)
def test_own_orders_never_meet(
    desk: Desk, mode: str, maker: OrderStatus, taker: OrderStatus
) -> None:
    """The mode of the taker says which of the two goes."""
    resting = desk.sell("1", "100")
    coming = desk.buy("1", "100", self_trade=mode)
    after = desk.exchange.order("ann", resting.order_id)
    assert after is not None
    assert (after.status, coming.status) == (maker, taker)
    assert not desk.fills()
