from __future__ import annotations

import pytest

from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.model import (
    ClientIdRule,
    ExchangeRefusal,
    OrderStatus,
    Refusal,
    Ticket,
)
from tests.unit.simulation.desk import Desk, d, profile, refusal, seen

# --- the door ------------------------------------------------------------------------------------


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
