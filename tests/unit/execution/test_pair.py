"""The state table of a pair, walked completely, and how the book folds."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import msgspec
import pytest

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import (
    ClosePair,
    Event,
    FundingPaid,
    OrderFilled,
    PairStateChanged,
    PositionAdjusted,
    TradeCompleted,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan, ProfitSplit
from perpbot.domain.quotes import Opportunity
from perpbot.domain.sides import (
    OrderType,
    PairState,
    PositionSide,
    Purpose,
    Side,
    TimeInForce,
)
from perpbot.execution.pair import KEPT_ENDED, TRANSITIONS, PairBook, check_move
from perpbot.kernel.fold import DurableState
from tests.unit.execution.stand import ASSET, EDGE, LONG, SHORT, d
from tests.unit.portfolio.office import planned

P = PairState
LEGAL = {
    (P.PLANNED, P.RESERVED),
    (P.RESERVED, P.OPENING),
    (P.OPENING, P.HEDGED),
    (P.OPENING, P.HEDGING),
    (P.OPENING, P.UNWINDING),
    (P.OPENING, P.FLAT),
    (P.HEDGING, P.HEDGED),
    (P.HEDGING, P.UNWINDING),
    (P.HEDGING, P.FLAT),
    (P.HEDGED, P.CLOSING),
    (P.HEDGED, P.UNWINDING),
    (P.UNWINDING, P.HEDGED),
    (P.UNWINDING, P.CLOSING),
    (P.UNWINDING, P.FLAT),
    (P.CLOSING, P.FLAT),
}


def plan(pair_id: str = "1-1") -> PairPlan:
    """Two coins between two venues."""
    return PairPlan(
        pair_id=pair_id,
        strategy="arbitrage",
        asset=ASSET,
        long_venue=LONG,
        short_venue=SHORT,
        account_long="main",
        account_short="main",
        quantity=d(2),
        long_price=d(100),
        short_price=d(101),
        notional_usd=d(200),
        reservation_id=f"r{pair_id}",
        opportunity=Opportunity(
            opportunity_id="o",
            asset=ASSET,
            long_venue=LONG,
            short_venue=SHORT,
            long_ask=100.0,
            short_bid=101.0,
            size=2.0,
            mid=100.5,
            edge=EDGE,
            score=1.0,
            long_quote_ns=0,
            short_quote_ns=0,
        ),
        exit_level_bps=d(0),
        take_profit_bps=d(10),
        stop_bps=d(50),
        max_hold_s=60,
        loss_budget_usd=d(2),
    )


class Desk:
    """A book that is fed by hand."""

    def __init__(self) -> None:
        self.book = PairBook()
        self.state = DurableState((self.book,))

    def take(self, *events: Event) -> None:
        for event in events:
            self.state.apply(event)

    def planned(self, pair_id: str = "1-1") -> None:
        """A pair with one order a leg, `<pair>-0` and `<pair>-1`."""
        self.take(planned(plan(pair_id), order(pair_id, 0), order(pair_id, 1), ts_ns=1))

    def move(self, *states: PairState, pair_id: str = "1-1") -> None:
        for state in states:
            pair = self.book.get(pair_id)
            assert pair is not None
            self.take(
                PairStateChanged(
                    ts_ns=9,
                    pair_id=pair_id,
                    before=pair.state,
                    after=state,
                    reason="test",
                )
            )


def order(pair_id: str, leg: int) -> OrderRequest:
    """One leg's entry."""
    return OrderRequest(
        client_id=f"{pair_id}-{leg}",
        venue=SHORT if leg else LONG,
        account="main",
        asset=ASSET,
        symbol="BTCUSDT",
        side=Side.SELL if leg else Side.BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        quantity=d(2),
        price=d(100),
        reference_price=d(100),
        purpose=Purpose.OPEN,
        owner=pair_id,
        leg=leg,
        reservation_id=f"r{pair_id}",
    )


def fill(
    client_id: str,
    side: Side,
    quantity: str,
    price: str,
    *,
    ts_ns: int = 3,
    venue: str = "",
    rate: str = "1",
) -> OrderFilled:
    """One execution with a fee of a tenth."""
    return OrderFilled(
        ts_ns=ts_ns,
        client_id=client_id,
        venue=venue or (SHORT if client_id.endswith("1") else LONG),
        account="main",
        asset=ASSET,
        trade_id=f"{client_id}{ts_ns}",
        side=side,
        price=d(price),
        quantity=d(quantity),
        fee_usd=d("0.1"),
        cumulative=d(quantity),
        owner="",
        usd_rate=d(rate),
    )


def completed(pair_id: str = "1-1", *, opened: bool = True) -> TradeCompleted:
    """The end of a pair with a profit of one dollar."""
    return TradeCompleted(
        ts_ns=99,
        pair_id=pair_id,
        strategy="arbitrage",
        asset=ASSET,
        long_venue=LONG,
        short_venue=SHORT,
        quantity=d(2),
        pnl=ProfitSplit(price=d(1)),
        opened=opened,
        hold_ns=1,
        worst_unhedged_ns=0,
        exit_reason="test",
    )


@pytest.mark.parametrize(("before", "after"), list(product(P, P)), ids=str)
def test_table_is_complete(before: PairState, after: PairState) -> None:
    """Every pair of states is legal or raises; FLAT is the end."""
    assert (after in TRANSITIONS[before]) == ((before, after) in LEGAL)
    if (before, after) in LEGAL:
        check_move(before, after)
    else:
        with pytest.raises(StateConflict, match=f"{before} cannot become {after}"):
            check_move(before, after)


def test_every_state_is_reached_and_left() -> None:
    """No state is a dead end but FLAT, none but PLANNED comes from nowhere."""
    assert set(TRANSITIONS) == set(P)
    assert [state for state in P if not TRANSITIONS[state]] == [P.FLAT]
    reached = {after for afters in TRANSITIONS.values() for after in afters}
    assert set(P) - reached == {P.PLANNED}


def test_life_of_a_pair() -> None:
    """Plan, reservation, orders, fills, end: states, legs, profit and counts follow."""
    desk = Desk()
    desk.planned()
    pair = desk.book.get("1-1")
    assert pair is not None
    assert pair.state is P.OPENING
    assert pair.attempts == 2
    assert (pair.venue(0), pair.venue(1), pair.account(0), pair.account(1)) == (
        LONG,
        SHORT,
        "main",
        "main",
    )
    desk.take(fill("1-1-0", Side.BUY, "2", "100", ts_ns=10))
    assert (pair.imbalance, pair.matched, pair.has_opened) == (d(2), d(0), False)
    desk.take(fill("1-1-1", Side.SELL, "2", "101", ts_ns=35))
    assert (pair.imbalance, pair.matched, pair.has_opened) == (d(0), d(2), True)
    assert pair.worst_unhedged_ns == desk.book.worst_unhedged_ns == 25
    assert desk.book.opened == 1
    desk.move(P.HEDGED)
    assert pair.hedged_ns == 9
    desk.take(
        FundingPaid(
            ts_ns=40,
            venue=SHORT,
            account="main",
            asset=ASSET,
            payment_id="f",
            amount_usd=d("0.3"),
            owner="1-1",
        )
    )
    assert pair.profit() == ProfitSplit(price=d(0), fees=d("-0.2"), funding=d("0.3"))
    desk.take(ClosePair(ts_ns=50, pair_id="1-1", reason="first"))
    desk.take(ClosePair(ts_ns=51, pair_id="1-1", reason="second"))
    assert pair.close_reason == "first"
    desk.take(completed())
    assert desk.book.get("1-1") is None
    assert (desk.book.closed, desk.book.realised.price) == (1, d(1))


def test_money_is_counted_in_dollars() -> None:
    """Prices of a leg that settles in another currency count at its rate."""
    desk = Desk()
    desk.planned()
    pair = desk.book.get("1-1")
    assert pair is not None
    desk.take(fill("1-1-0", Side.BUY, "1", "100", rate="0.9"))
    assert pair.long.cash == d(-90)
    assert pair.long.last_price == d(100), "orders are priced in the venue's currency"
    assert pair.profit().price == 0
    desk.take(
        PositionAdjusted(
            ts_ns=9,
            venue=LONG,
            account="main",
            asset=ASSET,
            position_side=PositionSide.NET,
            delta=d(-1),
            price=d(110),
            reason="the venue says so",
        )
    )
    assert pair.long.cash == d(9)
    assert pair.profit().price == d(9)


def test_what_reduces_does_not_count_as_opened() -> None:
    """`opened` is what was traded in the direction of the plan by orders of ours."""
    desk = Desk()
    desk.planned()
    pair = desk.book.get("1-1")
    assert pair is not None
    desk.take(fill("1-1-0", Side.BUY, "2", "100"), fill("1-1-0", Side.SELL, "1", "100", ts_ns=4))
    assert (pair.long.opened, pair.long.quantity) == (d(2), d(1))


def test_executions_without_an_order_belong_to_the_leg() -> None:
    """What the venue or a person traded moves the leg that lies there, and opens nothing."""
    desk = Desk()
    desk.planned()
    pair = desk.book.get("1-1")
    assert pair is not None
    desk.take(
        fill("", Side.SELL, "0.5", "100", venue=LONG), fill("", Side.BUY, "1", "9", venue="?")
    )
    assert pair.long.quantity == d("-0.5")
    assert pair.long.opened == pair.short.quantity == 0
    desk.take(
        PositionAdjusted(
            ts_ns=5,
            venue=SHORT,
            account="main",
            asset=ASSET,
            position_side=PositionSide.NET,
            delta=d("0.5"),
            price=d(100),
            reason="test",
        )
    )
    assert pair.short.quantity == d("0.5")
    assert pair.imbalance == 0


def test_the_other_side_of_an_instrument_is_not_the_pairs() -> None:
    """In hedge mode a person may hold it beside ours: it is neither hedged nor closed for them."""
    desk = Desk()
    sides = {"side_long": PositionSide.LONG, "side_short": PositionSide.SHORT}
    desk.take(planned(msgspec.structs.replace(plan(), **sides), ts_ns=1))
    pair = desk.book.get("1-1")
    assert pair is not None
    theirs = fill("", Side.SELL, "1", "100", venue=LONG)
    adjusted = PositionAdjusted(
        ts_ns=5,
        venue=LONG,
        account="main",
        asset=ASSET,
        position_side=PositionSide.SHORT,
        delta=d("-0.5"),
        price=d(100),
        reason="test",
    )
    desk.take(msgspec.structs.replace(theirs, position_side=PositionSide.SHORT), adjusted)
    assert pair.long.quantity == 0

    closed = msgspec.structs.replace(theirs, position_side=PositionSide.LONG, trade_id="2")
    desk.take(closed, msgspec.structs.replace(adjusted, position_side=PositionSide.LONG))
    assert pair.long.quantity == d("-1.5")


def test_who_holds_which_leg() -> None:
    """Legs are found by venue, account and asset."""
    desk = Desk()
    desk.planned()
    assert desk.book.owner_of(LONG, "main", ASSET) == "1-1"
    assert desk.book.owner_of(LONG, "other", ASSET) == ""
    assert (desk.book.at_venue(LONG), desk.book.at_venue("?")) == (1, 0)
    assert len(desk.book) == 1


def test_planned_twice_raises() -> None:
    """A pair id is used once."""
    desk = Desk()
    desk.planned()
    with pytest.raises(StateConflict, match="planned twice"):
        desk.take(planned(plan(), ts_ns=2))


def test_news_of_unknown_pairs_changes_nothing() -> None:
    """Events of pairs that are gone, or never were, are no error."""
    desk = Desk()
    empty = desk.state.dump()
    desk.take(
        PairStateChanged(ts_ns=1, pair_id="?", before=P.OPENING, after=P.FLAT, reason=""),
        ClosePair(ts_ns=1, pair_id="?", reason=""),
        completed("?"),
        fill("?", Side.BUY, "1", "100"),
    )
    assert desk.state.dump() == empty


def test_execution_after_the_end_revives_the_pair() -> None:
    """A pair that is gone comes back to be unwound, with nothing but what came late."""
    desk = Desk()
    desk.planned()
    desk.move(P.FLAT)
    desk.take(completed(opened=False))
    desk.take(fill("1-1-1", Side.SELL, "0.5", "101", ts_ns=200))
    pair = desk.book.get("1-1")
    assert pair is not None
    assert (pair.state, pair.close_reason) == (P.UNWINDING, "late_fill")
    assert pair.imbalance == d("-0.5")
    assert (desk.book.opened, desk.book.closed) == (0, 0)


def test_execution_after_the_end_goes_to_the_holder_of_the_leg() -> None:
    """Where another pair lies on the leg by now, it is its position that moved."""
    desk = Desk()
    desk.planned()
    desk.move(P.FLAT)
    desk.take(completed(opened=False))
    desk.planned("1-2")
    desk.take(fill("1-1-0", Side.BUY, "0.5", "100", ts_ns=200))
    newer = desk.book.get("1-2")
    assert desk.book.get("1-1") is None
    assert newer is not None
    assert newer.long.quantity == d("0.5")


def test_ended_pairs_are_forgotten_in_time() -> None:
    """Only so many are kept; their orders go with them."""
    desk = Desk()
    for number in range(KEPT_ENDED + 1):
        pair_id = f"2-{number}"
        desk.planned(pair_id)
        desk.move(P.FLAT, pair_id=pair_id)
        desk.take(completed(pair_id, opened=False))
    desk.take(fill("2-0-0", Side.BUY, "1", "100"))
    assert len(desk.book) == 0
    desk.take(fill("2-1-0", Side.BUY, "1", "100"))
    assert desk.book.get("2-1") is not None


def test_snapshot_carries_everything() -> None:
    """A restored book goes on as the first one would have."""
    desk = Desk()
    desk.planned()
    desk.take(fill("1-1-0", Side.BUY, "2", "100", ts_ns=10))
    desk.planned("1-2")
    desk.move(P.FLAT, pair_id="1-2")
    desk.take(completed("1-2"))
    twin = Desk()
    twin.state.load(desk.state.dump())
    assert twin.state.dump() == desk.state.dump()
    for one in (desk, twin):
        one.take(
            fill("1-1-1", Side.SELL, "2", "101", ts_ns=40),
            fill("1-2-0", Side.BUY, "1", "100", ts_ns=41, venue="elsewhere"),
        )
    assert twin.state.dump() == desk.state.dump()
    assert twin.book.get("1-2") is not None


def test_legs_are_plain_values() -> None:
    """What a snapshot holds survives the wire as it is."""
    desk = Desk()
    desk.planned()
    pair = desk.book.get("1-1")
    assert pair is not None
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(pair), type=type(pair), strict=False)
    assert again == pair
    assert Decimal(0) == again.profit().net
