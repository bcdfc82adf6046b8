"""What hedged legs move between venues, and the fold of everything durable."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from perpbot.app.folds import Folds
from perpbot.domain.events import (
    CapitalReserved,
    CooldownStarted,
    EquitySampled,
    Event,
    FundingPaid,
    HaltLatched,
    OrderCancelled,
    OrderFilled,
    OrderPlaced,
    SubmitOrders,
    TradeCompleted,
    Transfer,
)
from perpbot.domain.pairs import ProfitSplit
from perpbot.domain.sides import Side
from perpbot.kernel.journal.memory import MemoryJournal
from tests.unit.portfolio.office import DECISION, d, planned, request
from tests.unit.risk.world import ASSET, orders, plan


def fill(leg: int, side: Side, quantity: str, price: str, trade_id: str = "1") -> OrderFilled:
    """Return an execution of a leg of the plan: 0 is long on okx, 1 is short on binance."""
    return OrderFilled(
        client_id=f"c{leg}",
        venue="binance" if leg else "okx",
        account="main",
        asset=ASSET,
        trade_id=trade_id,
        side=side,
        price=d(price),
        quantity=d(quantity),
        fee_usd=d(1),
    )


def opened() -> Folds:
    """A pair of one coin, long on okx and short on binance, both at 100."""
    folds = Folds()
    state = folds.state()
    wanted = plan()
    for event in (
        planned(wanted, *orders(wanted)),
        fill(0, Side.BUY, "1", "100"),
        fill(1, Side.SELL, "1", "100"),
    ):
        state.apply(event)
    return folds


def completed() -> TradeCompleted:
    """Return the end of the pair."""
    return TradeCompleted(
        pair_id="1-1",
        strategy="arbitrage",
        asset=ASSET,
        long_venue="okx",
        short_venue="binance",
        quantity=d(1),
        pnl=ProfitSplit(),
        opened=True,
        hold_ns=0,
        worst_unhedged_ns=0,
        exit_reason="convergence",
    )


def test_a_hedged_pair_moves_what_one_leg_loses_and_the_other_wins() -> None:
    """The smaller of the two; what is lost beyond it stays a loss."""
    pairs = opened().pairs
    marks = {"okx": d(90), "binance": d(91)}

    assert pairs.moved(lambda venue, _asset: marks[venue]) == {"okx": d(9), "binance": d(-9)}
    marks = {"okx": d(110), "binance": d(112)}
    assert pairs.moved(lambda venue, _asset: marks[venue]) == {"okx": d(-10), "binance": d(10)}


def test_legs_that_both_lose_move_nothing() -> None:
    """A real loss is seen on both venues."""
    marks = {"okx": d(90), "binance": d(110)}

    assert opened().pairs.moved(lambda venue, _asset: marks[venue]) == {}


def test_without_a_mark_nothing_is_known() -> None:
    """No price is invented."""
    assert opened().pairs.moved(lambda _venue, _asset: None) is None
    assert Folds().pairs.moved(lambda _venue, _asset: None) == {}


def test_what_a_finished_pair_moved_is_remembered() -> None:
    """Through a restart: the realised loss of one venue was the other's win."""
    folds = opened()
    state = folds.state()
    state.apply(fill(0, Side.SELL, "1", "80", "2"))
    state.apply(fill(1, Side.BUY, "1", "80", "3"))
    state.apply(completed())
    again = Folds()
    again.state().load(state.dump())

    for found in (folds, again):
        moved = found.pairs.moved(lambda _venue, _asset: None)
        assert moved == {"okx": d(20), "binance": d(-20)}


NUMBERS = st.integers(1, 5)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Some history of everything that folds, in any order that the tables allow."""
    made: list[Event] = []
    for number in range(draw(st.integers(1, 12))):
        amount = Decimal(draw(NUMBERS))
        wanted = plan("1", pair_id=f"1-{number}", reservation_id=f"p{number}", asset=f"A{number}")
        client_id = f"o{draw(st.integers(0, number))}"
        made += draw(
            st.sampled_from(
                [
                    [planned(wanted)],
                    [
                        SubmitOrders(
                            orders=(request(f"o{number}", owner=wanted.pair_id),),
                            decision=DECISION,
                        )
                    ],
                    [fill_of(client_id, str(amount), str(number))],
                    [OrderPlaced(client_id=client_id, venue="okx", venue_order_id=client_id)],
                    [OrderCancelled(client_id=client_id, venue="okx", filled=amount)],
                    [
                        CapitalReserved(
                            reservation_id=f"r{number}",
                            pool="arbitrage",
                            owner=wanted.pair_id,
                            legs={"okx": amount},
                            leverage={"okx": d(1)},
                            expires_ns=0,
                        )
                    ],
                    [EquitySampled(per_venue={"okx": amount}, total_usd=amount)],
                    [Transfer(venue="okx", account="main", amount_usd=amount, reference="t")],
                    [HaltLatched(rule=f"h{number}", value="1", limit="0")],
                    [CooldownStarted(scope=ASSET, until_ns=number, reason="r", failures=1)],
                    [
                        FundingPaid(
                            venue="okx",
                            account="main",
                            asset=ASSET,
                            payment_id=str(number),
                            amount_usd=amount,
                        )
                    ],
                    [completed()],
                ]
            )
        )
    return made


def fill_of(client_id: str, quantity: str, trade_id: str) -> OrderFilled:
    """Return an execution of some order."""
    return OrderFilled(
        client_id=client_id,
        venue="okx",
        account="main",
        asset=ASSET,
        trade_id=trade_id,
        side=Side.BUY,
        price=d(100),
        quantity=d(quantity),
        fee_usd=d("0.1"),
    )


@settings(max_examples=60, deadline=None)
@given(histories())
def test_every_prefix_of_a_journal_replays_to_the_same_bytes(history: list[Event]) -> None:
    """From the first record, and from a snapshot at any place before it."""
    journal, live = MemoryJournal(), Folds().state()
    dumps = [live.dump()]
    for event in history:
        journal.append(event)
        live.apply(event)
        dumps.append(live.dump())
    records = list(journal.records())
    for count, dump in enumerate(dumps):
        replayed = Folds().state()
        replayed.replay(records[:count])
        assert replayed.dump() == dump
        loaded = Folds().state()
        loaded.load(dump)
        loaded.replay(records[count:])
        assert loaded.dump() == dumps[-1]
