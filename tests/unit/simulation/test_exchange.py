from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.errors import InvalidValue
from perpbot.domain.sides import Liquidity, OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange
from perpbot.simulation.model import (
    AccountUpdate,
    BookChange,
    ClientIdRule,
    ExchangeNews,
    ExchangeRefusal,
    ExchangeView,
    Mark,
    OrderStatus,
    OrderUpdate,
    PublicTrade,
    Refusal,
    Ticket,
)
from tests.unit.simulation.desk import BTC, PROFILE, Desk, d, profile


def refusal(call: Any, *args: Any, **more: Any) -> Refusal:
    """The refusal that a call ends with."""
    with pytest.raises(ExchangeRefusal) as caught:
        call(*args, **more)
    assert caught.value.text
    return caught.value.refusal


def seen(*values: object) -> tuple[object, ...]:
    """Values to compare with plain numbers."""
    return values


def test_exchange_fulfils_the_view() -> None:
    """The class is what servers and venues code against."""
    view: ExchangeView = Exchange(PROFILE, [BTC], lambda: 0, Accountant())
    assert [contract.symbol for contract in view.contracts()] == ["BTCUSDT"]


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


def test_quote_that_is_no_book_is_refused(desk: Desk) -> None:
    """Crossed, unordered and empty levels raise."""
    for bids, asks in (("100x1", "100x1"), ("99x1 99.5x1", ""), ("", "101x1 100x1"), ("99x0", "")):
        with pytest.raises(InvalidValue, match="expected"):
            desk.quote(bids, asks)


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


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "accepts then ends"])
def test_post_only_never_takes(refuses: bool) -> None:
    """Refused at the door, or accepted and ended, as the profile says."""
    desk = Desk(profile(post_only_refuses=refuses))
    desk.quote("99x1", "100x1")
    if refuses:
        found = refusal(desk.buy, "1", "100", tif=TimeInForce.POST_ONLY)
        assert found is Refusal.POST_ONLY_WOULD_TAKE
    else:
        order = desk.buy("1", "100", tif=TimeInForce.POST_ONLY)
        assert order.cause == "post_only"
        assert desk.statuses(order.order_id) == ["new", "expired"]
    assert not desk.fills()
    assert desk.buy("1", "99.9", tif=TimeInForce.POST_ONLY).status is OrderStatus.NEW


# --- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        ("1", "100.05", Refusal.BAD_PRICE),
        ("1", "0", Refusal.BAD_PRICE),
        ("1", "NaN", Refusal.BAD_PRICE),
        ("1", "1e40", Refusal.BAD_PRICE),
        ("1e40", "100", Refusal.BAD_QUANTITY),
        ("Infinity", "100", Refusal.BAD_QUANTITY),
        ("1.0001", "100", Refusal.BAD_QUANTITY),
        ("0", "100", Refusal.BAD_QUANTITY),
        ("-1", "100", Refusal.BAD_QUANTITY),
        ("NaN", "100", Refusal.BAD_QUANTITY),
        ("0.001", "100", Refusal.MIN_NOTIONAL),
        ("1", "120.1", Refusal.PRICE_BAND),
        ("100000", "100", Refusal.INSUFFICIENT_MARGIN),
    ],
)
def test_bad_numbers_are_refused(desk: Desk, quantity: str, price: str, expected: Refusal) -> None:
    """Each rule has its refusal, and nothing is left behind."""
    assert refusal(desk.buy, quantity, price) is expected
    assert not desk.exchange.order_history("ann")


def eth(quantity: str, price: str) -> Ticket:
    """A buy of ETH: steps of 0.01, at least 0.02, five digits."""
    return Ticket(
        symbol="ETHUSDT",
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        quantity=d(quantity),
        price=d(price),
    )


def test_quantity_below_the_minimum_is_refused(desk: Desk) -> None:
    """The minimum counts apart from the step."""
    assert refusal(desk.exchange.submit, "ann", eth("0.01", "100")) is Refusal.BAD_QUANTITY
    assert desk.exchange.submit("ann", eth("0.02", "100")).is_open


def test_price_with_too_many_digits_is_refused_unless_whole(desk: Desk) -> None:
    """Five significant digits, but whole numbers always."""
    assert refusal(desk.exchange.submit, "ann", eth("0.02", "1234.56")) is Refusal.BAD_PRICE
    assert desk.exchange.submit("ann", eth("0.02", "1234.50")).is_open
    assert desk.exchange.submit("ann", eth("0.02", "123456")).is_open


def test_unknown_names_and_halts_are_refused(desk: Desk) -> None:
    """Accounts, symbols, orders; a halted symbol takes no orders but cancels."""
    assert refusal(desk.buy, "1", "99", by="eve") is Refusal.UNKNOWN_ACCOUNT
    assert refusal(desk.exchange.mark, "XYZ") is Refusal.UNKNOWN_SYMBOL
    assert refusal(desk.exchange.cancel, "ann", "BTCUSDT", 99) is Refusal.UNKNOWN_ORDER
    order = desk.buy("1", "99")
    assert refusal(desk.exchange.cancel, "ann", "ETHUSDT", order.order_id) is Refusal.UNKNOWN_ORDER
    desk.exchange.set_halted("BTCUSDT", halted=True)
    assert refusal(desk.buy, "1", "99") is Refusal.HALTED
    assert desk.exchange.cancel("ann", "BTCUSDT", order.order_id).cause == "user"
    desk.exchange.set_halted("BTCUSDT", halted=False)
    assert desk.buy("1", "99").is_open


def test_late_request_is_refused(desk: Desk) -> None:
    """A request that carries an expiry is dead after it."""
    desk.now_ns = 2_000
    assert refusal(desk.buy, "1", "99", expires_ns=1_999) is Refusal.EXPIRED_REQUEST
    assert desk.buy("1", "99", expires_ns=2_000).is_open


def test_reduce_only_where_the_venue_has_none_is_refused() -> None:
    """A flag that the venue would ignore is not taken silently."""
    desk = Desk(profile(reduce_only=False))
    assert refusal(desk.sell, "1", "99", reduce_only=True) is Refusal.REDUCE_ONLY


@pytest.mark.parametrize(
    ("rule", "while_open", "after_end"),
    [
        (ClientIdRule.NEVER, True, True),
        (ClientIdRule.OPEN_ORDERS, False, True),
        (ClientIdRule.FOREVER, False, False),
    ],
)
def test_client_id_rule_decides_on_repetitions(
    rule: ClientIdRule, while_open: bool, after_end: bool
) -> None:
    """Never, among open orders, or for ever unique; accounts do not disturb each other."""
    desk = Desk(profile(client_ids=rule))

    def taken() -> bool:
        try:
            desk.buy("1", "90", client_id="x")
        except ExchangeRefusal as refused:
            return refused.refusal is not Refusal.DUPLICATE_CLIENT_ID
        return True

    assert taken()
    assert taken() is while_open
    desk.exchange.cancel_all("ann")
    assert taken() is after_end
    assert desk.buy("1", "90", client_id="x", by="bob").is_open


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


# --- reduce only, legs ---------------------------------------------------------------------------


def test_reduce_only_is_refused_without_a_position_to_reduce(desk: Desk) -> None:
    """Flat, or on the same side."""
    assert refusal(desk.sell, "1", "99", reduce_only=True) is Refusal.REDUCE_ONLY
    desk.quote("99x9", "100x9")
    desk.buy("1")
    assert refusal(desk.buy, "1", "99", reduce_only=True) is Refusal.REDUCE_ONLY


def test_reduce_only_is_clipped_to_the_position(desk: Desk) -> None:
    """More than the position is cut to it; below the minimum notional is fine."""
    desk.quote("99x9", "100x9")
    desk.buy("1")
    order = desk.sell("5", reduce_only=True)
    assert seen(order.status, order.filled, order.ticket.quantity) == (OrderStatus.FILLED, 1, 1)
    assert desk.position() == 0


def test_resting_reductions_shrink_with_the_position(desk: Desk) -> None:
    """When another order closed a part, resting reduce-only orders keep only what is covered."""
    desk.quote("99x9", "100x9")
    desk.buy("3")
    resting = desk.sell("3", "105", reduce_only=True)
    desk.sell("2")
    left = desk.exchange.order("ann", resting.order_id)
    assert left is not None
    assert seen(left.ticket.quantity, left.is_open) == (1, True)
    desk.sell("1")
    gone = desk.exchange.order("ann", resting.order_id)
    assert gone is not None
    assert (gone.status, gone.cause) == (OrderStatus.CANCELLED, "reduce_only")
    assert desk.exchange.book("BTCUSDT").asks == ((d(100), d(6), 1),)


def test_two_resting_reductions_cannot_turn_the_position(desk: Desk) -> None:
    """Both cover the whole position; a sweep through both closes it once."""
    desk.quote("99x9", "100x9")
    desk.buy("2")
    desk.quote("99x9", "110x9")
    desk.sell("2", "103", reduce_only=True)
    desk.sell("2", "104", reduce_only=True)
    desk.buy("4", "105", by="bob")
    assert desk.position() == 0
    assert not desk.exchange.open_orders("ann")
    assert desk.position("bob") == 2


def test_hedge_mode_keeps_legs_apart(desk: Desk) -> None:
    """LONG and SHORT live side by side and close on their own."""
    desk.exchange.set_hedge_mode("ann", enabled=True)
    assert desk.exchange.hedge_mode("ann")
    desk.quote("99x9", "100x9")
    desk.buy("2", leg=PositionSide.LONG)
    desk.sell("1", leg=PositionSide.SHORT)
    assert desk.position(leg=PositionSide.LONG) == 2
    assert desk.position(leg=PositionSide.SHORT) == -1
    closing = desk.sell("5", leg=PositionSide.LONG)
    assert closing.filled == 2
    assert desk.position(leg=PositionSide.LONG) == 0
    assert refusal(desk.buy, "1", leg=PositionSide.LONG, reduce_only=True) is Refusal.REDUCE_ONLY
    assert refusal(desk.sell, "1", leg=PositionSide.LONG) is Refusal.REDUCE_ONLY


def test_position_side_must_fit_the_mode(desk: Desk) -> None:
    """NET in one-way, LONG or SHORT in hedge mode."""
    assert refusal(desk.buy, "1", "99", leg=PositionSide.LONG) is Refusal.POSITION_SIDE
    desk.exchange.set_hedge_mode("ann", enabled=True)
    assert refusal(desk.buy, "1", "99") is Refusal.POSITION_SIDE


def test_position_mode_changes_only_when_idle(desk: Desk) -> None:
    """Open orders, positions and venues without hedge mode refuse."""
    order = desk.buy("1", "90")
    assert refusal(desk.exchange.set_hedge_mode, "ann", enabled=True) is Refusal.POSITION_MODE
    desk.exchange.set_hedge_mode("ann", enabled=False)
    desk.exchange.cancel("ann", "BTCUSDT", order.order_id)
    desk.exchange.set_hedge_mode("ann", enabled=True)
    one_way = Desk(profile(hedge_mode=False))
    assert refusal(one_way.exchange.set_hedge_mode, "ann", enabled=True) is Refusal.POSITION_MODE


# --- stops ---------------------------------------------------------------------------------------


def test_stop_waits_for_the_mark(desk: Desk) -> None:
    """Outside the book until the mark reaches it, then a market order."""
    desk.quote("99x9", "100x9")
    desk.buy("2")
    stop = desk.sell("2", trigger="95", reduce_only=True)
    assert stop.status is OrderStatus.UNTRIGGERED
    desk.mark("95.1")
    assert desk.position() == 2
    desk.mark("95")
    assert desk.position() == 0
    assert desk.statuses(stop.order_id) == ["untriggered", "new", "filled"]


def test_stop_above_triggers_upwards_into_a_resting_limit(desk: Desk) -> None:
    """A limit stop rests once triggered."""
    desk.quote("99x9", "100x9")
    stop = desk.buy("1", "98", trigger="105", above=True)
    desk.mark("105")
    view = desk.exchange.order("ann", stop.order_id)
    assert view is not None
    assert view.status is OrderStatus.NEW
    assert seen(*desk.exchange.book("BTCUSDT").bids[1]) == (98, 1, 1)


def test_stop_beyond_the_mark_is_refused(desk: Desk) -> None:
    """It would trigger at once."""
    assert refusal(desk.sell, "1", trigger="100") is Refusal.WOULD_TRIGGER
    assert refusal(desk.buy, "1", trigger="99", above=True) is Refusal.WOULD_TRIGGER


def test_close_position_takes_what_is_there_when_it_triggers(desk: Desk) -> None:
    """Its quantity is the position at that time; without one it expires."""
    desk.quote("99x9", "100x9")
    desk.buy("1")
    first = desk.sell("0", trigger="95", close=True)
    second = desk.sell("0", trigger="94", close=True)
    desk.buy("2")
    desk.mark("94")
    views = [desk.exchange.order("ann", found.order_id) for found in (first, second)]
    assert [seen(v.status, v.filled, v.cause) for v in views if v] == [
        (OrderStatus.FILLED, 3, ""),
        (OrderStatus.EXPIRED, 0, "reduce_only"),
    ]
    assert refusal(desk.sell, "0", close=True) is Refusal.BAD_QUANTITY


def test_cancel_all_leaves_stops(desk: Desk) -> None:
    """Resting orders go, untriggered ones stay; a stop is cancelled by its id."""
    stop = desk.buy("1", trigger="110", above=True)
    desk.buy("1", "99")
    assert [view.cause for view in desk.exchange.cancel_all("ann", "BTCUSDT")] == ["user"]
    assert [view.order_id for view in desk.exchange.open_orders("ann", "BTCUSDT")] == [
        stop.order_id
    ]
    assert not desk.exchange.cancel_all("ann", "ETHUSDT")
    assert desk.exchange.cancel("ann", "BTCUSDT", stop.order_id).status is OrderStatus.CANCELLED


@pytest.mark.parametrize("removes", [True, False], ids=["with stops", "without stops"])
def test_dead_man_cancels_when_due(removes: bool) -> None:
    """Armed for a time and a symbol; disarmed by zero; driven by `advance`."""
    desk = Desk(profile(dead_man_removes_stops=removes))
    desk.buy("1", "99")
    desk.buy("1", trigger="110", above=True)
    desk.exchange.arm_dead_man("ann", None, 5_000)
    desk.exchange.arm_dead_man("ann", None, 0)
    desk.exchange.arm_dead_man("ann", "BTCUSDT", 6_000)
    desk.now_ns = 5_500
    desk.exchange.advance()
    assert len(desk.exchange.open_orders("ann")) == 2
    desk.now_ns = 6_000
    desk.exchange.advance()
    assert len(desk.exchange.open_orders("ann")) == (0 if removes else 1)
    assert "dead_man" in {view.cause for view in desk.exchange.order_history("ann")}


# --- amend ---------------------------------------------------------------------------------------


def test_amend_smaller_keeps_the_place_larger_loses_it(desk: Desk) -> None:
    """Price-time priority after amends."""
    ann = desk.buy("3", "99")
    desk.buy("1", "99", by="bob")
    desk.exchange.amend("ann", ann.order_id, price=None, quantity=d(2))
    desk.exchange.take("BTCUSDT", Side.SELL, d("0.5"))
    assert desk.position("ann") == d("0.5")
    amended = desk.exchange.amend("ann", ann.order_id, price=None, quantity=d(4))
    assert seen(amended.order_id, amended.ticket.quantity, amended.filled) == (
        ann.order_id,
        4,
        d("0.5"),
    )
    desk.exchange.take("BTCUSDT", Side.SELL, d(1))
    assert seen(desk.position("ann"), desk.position("bob")) == (d("0.5"), 1)


def test_amend_into_the_other_side_takes(desk: Desk) -> None:
    """A new price that crosses trades at once, with the same id."""
    desk.quote("98x1", "100x1")
    order = desk.buy("2", "99")
    amended = desk.exchange.amend("ann", order.order_id, price=d(100), quantity=None)
    assert seen(amended.status, amended.filled) == (OrderStatus.PARTIALLY_FILLED, 1)
    assert seen(*desk.best()) == (100, None)


def test_amend_to_what_is_filled_cancels(desk: Desk) -> None:
    """Nothing is left to fill."""
    order = desk.buy("2", "99")
    desk.exchange.take("BTCUSDT", Side.SELL, d(1))
    amended = desk.exchange.amend("ann", order.order_id, price=None, quantity=d(1))
    assert (amended.status, amended.cause) == (OrderStatus.CANCELLED, "amend")


def test_refused_amend_leaves_the_order_in_its_place(desk: Desk) -> None:
    """Grid, band, margin and post-only are checked first."""
    desk.quote("", "101x1")
    order = desk.buy("1", "99", tif=TimeInForce.POST_ONLY)
    desk.buy("1", "99", by="bob")
    amend = desk.exchange.amend
    before = desk.exchange.book("BTCUSDT").sequence
    assert (
        refusal(amend, "ann", order.order_id, price=d("99.01"), quantity=None) is Refusal.BAD_PRICE
    )
    assert refusal(amend, "ann", order.order_id, price=d(150), quantity=None) is Refusal.PRICE_BAND
    assert (
        refusal(amend, "ann", order.order_id, price=d(101), quantity=None)
        is Refusal.POST_ONLY_WOULD_TAKE
    )
    assert (
        refusal(amend, "ann", order.order_id, price=None, quantity=d(100_000))
        is Refusal.INSUFFICIENT_MARGIN
    )
    assert refusal(amend, "ann", 12345, price=None, quantity=d(1)) is Refusal.UNKNOWN_ORDER
    stop = desk.buy("1", trigger="110", above=True)
    assert refusal(amend, "ann", stop.order_id, price=None, quantity=d(2)) is Refusal.UNKNOWN_ORDER
    view = desk.exchange.order("ann", order.order_id)
    assert view is not None
    assert seen(view.ticket.price, view.ticket.quantity, view.is_open) == (99, 1, True)
    desk.exchange.take("BTCUSDT", Side.SELL, d(1))
    assert seen(desk.position("ann"), desk.position("bob")) == (1, 0)
    assert desk.exchange.book("BTCUSDT").sequence == before + 1


# --- money ---------------------------------------------------------------------------------------


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


def test_leverage_is_bounded_and_must_be_carried(desk: Desk) -> None:
    """1 to the contract's maximum; lowering it needs the margin."""
    assert desk.exchange.leverage("ann", "BTCUSDT") == 10
    desk.exchange.set_leverage("ann", "BTCUSDT", 20)
    assert refusal(desk.exchange.set_leverage, "ann", "BTCUSDT", 21) is Refusal.BAD_QUANTITY
    desk.buy("15000", "95")
    found = refusal(desk.exchange.set_leverage, "ann", "BTCUSDT", 1)
    assert found is Refusal.INSUFFICIENT_MARGIN
    assert desk.exchange.leverage("ann", "BTCUSDT") == 20


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


# --- news ----------------------------------------------------------------------------------------


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
