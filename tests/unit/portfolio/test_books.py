"""Positions, exposure, leases, balances, currencies, readiness, comparison."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.errors import InvalidValue, StateConflict
from perpbot.domain.events import (
    AccountReported,
    CapitalSnapshotUpdated,
    ConnectionState,
    FundingPaid,
    LeaseReleased,
    PairPlanned,
    PositionAdjusted,
    PositionUpdated,
    VenueConnectionChanged,
    VenueReconciled,
    VenueSnapshot,
)
from perpbot.domain.orders import PositionReport
from perpbot.domain.sides import OrderState, PositionSide, Side
from perpbot.kernel.fold import DurableState
from perpbot.portfolio.comparison import (
    position_differences,
    unlisted_orders,
)
from perpbot.portfolio.currency import CurrencyRates
from perpbot.portfolio.exposure import PositionAggregator, expose
from perpbot.portfolio.leases import Leases, leg
from perpbot.portfolio.orders import Order
from perpbot.portfolio.positions import PositionBook
from perpbot.portfolio.readiness import Readiness
from tests.unit.portfolio.office import Office, d, order_report, planned, request
from tests.unit.risk.world import plan

LEG = leg("okx", "main", "BTC-PERP")


# --- positions -----------------------------------------------------------------------------------


def book(*fills: tuple[Side, str, str]) -> tuple[Office, PositionBook]:
    """Return a book after (side, quantity, price) fills."""
    desk = Office()
    for side, quantity, price in fills:
        desk.bus.publish(desk.filled(side=side, quantity=d(quantity), price=d(price)))
    return desk, desk.positions


def test_the_entry_is_the_average_of_what_is_held() -> None:
    """It grows with adds, stays with reductions, turns with a flip, goes with flat."""
    buy, sell = Side.BUY, Side.SELL
    _, positions = book((buy, "1", "100"), (buy, "3", "200"))
    assert positions.get(LEG).entry_price == d(175)
    _, positions = book((buy, "2", "100"), (sell, "1", "500"))
    assert positions.get(LEG).entry_price == d(100)
    _, positions = book((buy, "2", "100"), (sell, "3", "300"))
    assert (positions.get(LEG).quantity, positions.get(LEG).entry_price) == (d(-1), d(300))
    _, positions = book((sell, "2", "100"), (buy, "2", "90"))
    assert (positions.get(LEG).quantity, positions.get(LEG).entry_price) == (d(0), d(0))
    assert list(positions.held()) == []
    assert PositionBook().get(LEG).quantity == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Side)),
            st.decimals("0.001", "100", places=3),
            st.decimals("0.1", "1000", places=1),
            st.decimals("-1", "1", places=4),
        ),
        max_size=20,
    ),
    st.decimals("0.1", "1000", places=1),
)
def test_profit_is_cash_flow_to_the_last_digit(
    fills: list[tuple[Side, Decimal, Decimal, Decimal]], mark: Decimal
) -> None:
    """Price, fees and funding apart; the sum of the causes is the change."""
    desk = Office()
    quantity = cash = fees = Decimal(0)
    for side, size, price, fee in fills:
        desk.bus.publish(desk.filled(side=side, quantity=size, price=price, fee_usd=fee))
        quantity += size * side.sign
        cash -= size * side.sign * price
        fees += fee
    split = desk.positions.profit({("okx", "BTC-PERP"): mark})

    assert desk.positions.quantity("okx", "main", "BTC-PERP") == quantity
    assert (split.price, split.fees, split.funding) == (cash + quantity * mark, -fees, d(0))
    assert split.net == cash + quantity * mark - fees
    again = PositionBook()
    DurableState([again]).load(DurableState([desk.positions]).dump())
    assert again.snapshot() == desk.positions.snapshot()


def test_no_mark_no_profit_figure() -> None:
    """A price is never invented."""
    _, positions = book((Side.BUY, "1", "100"))

    with pytest.raises(KeyError):
        positions.profit({})


def test_dollars_follow_the_rate_of_the_settle_currency() -> None:
    """Adjustments too, at the rate of the newest fill."""
    desk = Office()
    desk.bus.publish(desk.filled(quantity=d(2), price=d(100), usd_rate=d("0.5")))
    desk.bus.publish(
        PositionAdjusted(
            venue="okx",
            account="main",
            asset="BTC-PERP",
            position_side=PositionSide.NET,
            delta=d(-1),
            price=d(100),
            reason="the venue says so",
        )
    )
    held = desk.positions.get(LEG)

    assert (held.quantity, held.cash, held.traded) == (d(1), d(-50), d(100))
    assert held.entry_usd == d(50)


def test_funding_goes_to_the_leg_it_was_paid_on() -> None:
    """Also to one that never traded here."""
    desk = Office()
    desk.bus.publish(desk.filled(position_side=PositionSide.LONG))
    for asset in ("BTC-PERP", "ETH-PERP"):
        desk.bus.publish(
            FundingPaid(
                venue="okx", account="main", asset=asset, payment_id="1", amount_usd=d("-0.2")
            )
        )

    assert desk.positions.get(leg("okx", "main", "BTC-PERP", PositionSide.LONG)).funding == d(
        "-0.2"
    )
    assert desk.positions.get(leg("okx", "main", "ETH-PERP")).funding == d("-0.2")
    assert desk.positions.profit({("okx", "BTC-PERP"): d(100)}).funding == d("-0.4")


# --- exposure: spec d.8 as corrected by E-06 and E-07 --------------------------------------------

VECTOR = [
    ("BTC-PERP", d(9500)),
    ("BTC-PERP", d(-9510)),
    ("ETH-PERP", d(5000)),
    ("ETH-PERP", d(-4900)),
]


def test_the_vector_of_the_specification() -> None:
    """Paradex and Extended BTC, OKX and Lighter ETH."""
    exposure = expose(VECTOR)

    assert exposure.net_by_asset == {"BTC-PERP": d(-10), "ETH-PERP": d(100)}
    assert exposure.total_net == d(110)
    assert exposure.directional_net == d(90)
    assert exposure.gross == d(28_910)
    share = exposure.gross_share("BTC-PERP")
    assert share is not None
    assert share.quantize(d("0.001")) == d("0.658")
    assert exposure.net_share("BTC-PERP", d(1000)) == d("0.01")


def test_shares_of_nothing_are_unknown() -> None:
    """Not zero."""
    assert expose([]).gross_share("BTC-PERP") is None
    assert expose(VECTOR).net_share("BTC-PERP", d(0)) is None
    assert expose(VECTOR).net_share("DOGE-PERP", d(1)) == 0


def test_the_aggregator_tells_every_change_of_a_leg() -> None:
    """Marked to market; a leg without a mark counts at its entry in USD."""
    desk = Office()
    marks: dict[tuple[str, str], Decimal] = {("okx", "BTC-PERP"): d(110)}
    aggregator = PositionAggregator(
        desk.bus, desk.time, desk.positions, lambda venue, asset: marks.get((venue, asset))
    )
    desk.bus.publish(desk.filled(quantity=d(2)))
    desk.bus.publish(desk.filled(asset="ETH-PERP"))
    desk.bus.publish(desk.filled(venue="aster", side=Side.SELL, quantity=d(1), usd_rate=d("0.5")))
    told = desk.seen(PositionUpdated)[-1]

    assert told.per_venue == {"okx": d(2), "aster": d(-1)}
    assert (told.net_usd, told.gross_usd) == (d(170), d(270))
    assert aggregator.exposure().net_by_asset == {"BTC-PERP": d(170), "ETH-PERP": d(100)}


# --- leases --------------------------------------------------------------------------------------


def granted(owner: str, **changes: Any) -> PairPlanned:
    """Return the plan of a pair, which leases its legs."""
    return planned(plan(pair_id=owner, **changes))


def released(owner: str) -> LeaseReleased:
    """Return the end of a lease."""
    return LeaseReleased(
        venue="okx",
        account="main",
        asset="BTC-PERP",
        position_side=PositionSide.NET,
        owner=owner,
    )


def test_a_leg_has_one_owner_until_it_lets_go() -> None:
    """Others neither take it nor free it; sides and accounts are legs of their own."""
    leases = Leases()
    state = DurableState([leases])
    state.apply(granted("p1"))
    state.apply(granted("p1"))
    state.apply(granted("p2", account_long="second", account_short="second"))
    with pytest.raises(StateConflict, match="owned by p1"):
        state.apply(granted("p2"))
    state.apply(released("p2"))
    again = Leases()
    DurableState([again]).load(state.dump())

    assert again.owner(LEG) == "p1"
    assert again.of_owner("p2") == [
        leg("okx", "second", "BTC-PERP"),
        leg("binance", "second", "BTC-PERP"),
    ]
    state.apply(released("p1"))
    assert leases.owner(LEG) is None


# --- balances and currencies ---------------------------------------------------------------------


def test_balances_add_up_over_currencies_and_accounts() -> None:
    """What has no price counts as nothing; the newest word of each replaces the older."""
    desk = Office(rates=CurrencyRates({"USDT": d(1), "USDC": d("0.5")}))
    desk.tell("okx", "100", free="80")
    desk.tell("okx", "10", currency="USDC")
    desk.tell("okx", "7", currency="SHIB")
    desk.tell("okx", "50", account="second")
    desk.tell("okx", "90", free="70")
    balance = desk.snapshots.balance("okx")
    assert balance is not None

    assert (balance.equity, balance.free) == (d(145), d(125))
    assert desk.snapshots.venues() == ["okx"]


def test_a_debt_without_a_price_makes_the_figures_unknown() -> None:
    """They grow old, and old balances open nothing."""
    desk = Office()
    desk.tell("okx", "100")
    desk.advance(9)
    desk.tell("okx", "-1", currency="SHIB")

    assert desk.snapshots.age_s("okx") == 9
    assert desk.snapshots.age_s("binance") is None
    assert desk.snapshots.balance("binance") is None


def test_figures_are_journalled_when_they_change_at_most_once_a_second() -> None:
    """However often the stream speaks; the newest are known all the same."""
    desk = Office()
    desk.tell("okx", "100")
    desk.tell("okx", "101")
    desk.advance(1)
    desk.tell("okx", "100")
    desk.tell("okx", "102", source="reconcile")

    told = desk.seen(CapitalSnapshotUpdated)
    assert [(e.equity_usd, e.from_stream) for e in told] == [(d(100), True), (d(102), False)]
    desk.bus.publish(AccountReported(venue="okx"))
    assert desk.snapshots.age_s("okx") == 0


def test_rates_are_positive_numbers_or_unknown() -> None:
    """USD is 1; an unknown one is what was agreed to assume, or nothing."""
    rates = CurrencyRates({"USDT": d("0.999")})
    assert (rates.usd("USD"), rates.usd("USDT"), rates.usd("DAI")) == (d(1), d("0.999"), None)
    assert CurrencyRates(assumed=d(1)).usd("DAI") == d(1)
    for bad in ("0", "-1", "NaN", "Infinity"):
        with pytest.raises(InvalidValue, match="rate of USDT"):
            rates.set("USDT", d(bad))


# --- readiness -----------------------------------------------------------------------------------


def test_a_venue_is_ready_after_it_agreed_and_while_it_is_connected() -> None:
    """A channel that nobody told of is down; a private stream that was away needs a comparison."""
    desk = Office()
    ready = Readiness(desk.bus)

    def connection(channel: str, state: ConnectionState) -> None:
        desk.bus.publish(
            VenueConnectionChanged(venue="okx", channel=channel, state=state, reason="why")
        )

    def compared(*, agreed: bool, differences: tuple[str, ...] = ()) -> None:
        desk.bus.publish(VenueReconciled(venue="okx", agreed=agreed, differences=differences))

    assert ready.refusal("okx") == "not compared with the venue yet"
    assert ready.state("okx", "public") is ConnectionState.DOWN
    compared(agreed=False)
    assert ready.refusal("okx") == "the venue did not answer"
    compared(agreed=False, differences=("BTC differs",))
    assert ready.refusal("okx") == "BTC differs"
    for channel in ("trading", "public", "private"):
        compared(agreed=True)
        assert ready.refusal("okx") == f"{channel} channel is down"
        connection(channel, ConnectionState.LIVE)
    compared(agreed=True)
    assert ready.refusal("okx") == ""
    connection("public", ConnectionState.POLLING)
    assert ready.refusal("okx") == "public channel is polling"
    connection("public", ConnectionState.LIVE)
    connection("trading", ConnectionState.DOWN)
    assert ready.refusal("okx") == "trading channel is down"
    connection("trading", ConnectionState.LIVE)
    connection("private", ConnectionState.DOWN)
    assert ready.refusal("okx") == "private channel is down: why"
    compared(agreed=True)
    connection("private", ConnectionState.LIVE)
    assert ready.refusal("okx") == "not compared since the private channel came back"
    connection("private", ConnectionState.LIVE)
    compared(agreed=True)
    assert ready.refusal("okx") == ""
    assert ready.refusal("binance") != ""
    assert ready.state("okx", "private") is ConnectionState.LIVE


# --- comparison ----------------------------------------------------------------------------------


def snapshot(**parts: Any) -> VenueSnapshot:
    """Return an answer of okx."""
    return VenueSnapshot(venue="okx", reason="timer", asked_ns=0, **parts)


def position(quantity: str, **changes: Any) -> PositionReport:
    """Return a leg as okx tells it."""
    fields: dict[str, Any] = {
        "venue": "okx",
        "account": "main",
        "symbol": "s",
        "asset": "BTC-PERP",
    }
    return PositionReport(quantity=d(quantity), **(fields | changes))


def test_an_answer_that_did_not_come_is_unknown_and_never_flat() -> None:
    """None is not an empty list."""
    _, positions = book((Side.BUY, "2", "100"))

    assert position_differences(snapshot(), positions) is None
    [difference] = position_differences(snapshot(positions=()), positions) or []
    assert (difference.ours, difference.theirs, difference.price) == (d(2), d(0), d(100))
    assert difference.text == "okx/main/BTC-PERP/net: ours 2, venue 0"


@pytest.mark.parametrize(
    ("theirs", "differs"),
    [("2", False), ("2.000", False), ("2.0001", True)],
    ids=["same", "written longer", "below any step"],
)
def test_less_than_a_step_is_a_difference_too(theirs: str, differs: bool) -> None:
    """Seed 8841: a step grew, and what lay below the new one was never booked."""
    _, positions = book((Side.BUY, "2", "100"))
    found = position_differences(snapshot(positions=(position(theirs),)), positions)

    assert bool(found) == differs


def test_what_only_the_venue_holds_is_a_difference() -> None:
    """At its mark, else its entry price; other venues' legs are not compared."""
    desk, positions = book()
    desk.bus.publish(desk.filled(venue="binance"))
    found = position_differences(
        snapshot(
            positions=(
                position("1", mark_price=d(5), entry_price=d(4)),
                position("1", asset="ETH-PERP", entry_price=d(4)),
            )
        ),
        positions,
    )

    assert found is not None
    assert [(f.key[2], f.price) for f in found] == [("BTC-PERP", d(5)), ("ETH-PERP", d(4))]


def test_our_resting_orders_that_the_venue_does_not_list() -> None:
    """Those are asked for one by one; what was not answered tells nothing."""

    def order(client_id: str, state: OrderState, venue: str = "okx") -> Order:
        return Order(request=request(client_id, venue=venue), state=state)

    orders = [
        order("listed", OrderState.ACCEPTED),
        order("missing", OrderState.PARTIALLY_FILLED),
        order("unknown", OrderState.UNKNOWN),
        order("elsewhere", OrderState.ACCEPTED, "binance"),
    ]
    listed = snapshot(
        orders=(order_report(OrderState.ACCEPTED, "listed"), order_report(OrderState.ACCEPTED, ""))
    )

    assert [o.request.client_id for o in unlisted_orders(listed, orders)] == ["missing"]
    assert unlisted_orders(snapshot(), orders) == []
    assert not listed.complete
