"""What is told twice is booked once, however much came between, and little is remembered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpbot.domain.errors import StateConflict
from perpbot.domain.events import FundingPaid, OrderFilled
from perpbot.domain.sides import Side
from perpbot.kernel.fold import DurableState
from perpbot.portfolio import booked as module
from perpbot.portfolio.booked import BookedTrades, fill_key, funding_key, twin_key
from tests.unit.portfolio.office import d

KEPT = 5
LATE = 1_000
"""How long after its moment an execution is told to us, ns."""


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEYS_KEPT", KEPT)


def filled(number: int, venue_ns: int = 0, **changes: Any) -> OrderFilled:
    """Return an execution; they differ by number."""
    fields: dict[str, Any] = {
        "ts_ns": venue_ns + LATE,
        "client_id": f"c{number}",
        "venue": "okx",
        "account": "main",
        "asset": "BTC-PERP",
        "venue_ns": venue_ns,
        "trade_id": f"t{number}",
        "side": Side.BUY,
        "price": d(number + 1),
        "quantity": d(1),
        "fee_usd": d(0),
    }
    return OrderFilled(**(fields | changes))


def paid(number: int, **changes: Any) -> FundingPaid:
    """Return a funding payment."""
    fields: dict[str, Any] = {
        "ts_ns": number + LATE,
        "venue": "okx",
        "account": "main",
        "asset": "BTC-PERP",
        "payment_id": f"p{number}",
        "amount_usd": d(1),
        "venue_ns": number,
    }
    return FundingPaid(**(fields | changes))


def book(booked: BookedTrades, event: OrderFilled | FundingPaid) -> bool:
    """Book what is told unless it is booked, as the intake does; return whether it was."""
    key = fill_key(event) if isinstance(event, OrderFilled) else funding_key(event)
    if key in booked or booked.is_past(key, event.venue_ns):
        return False
    booked.folds()[type(event)](event)
    return True


def dumped(booked: BookedTrades) -> bytes:
    """Return the bytes of a snapshot."""
    return DurableState([booked]).dump()


def restored(state: bytes) -> BookedTrades:
    """Return what comes back from the bytes of a snapshot."""
    booked = BookedTrades()
    DurableState([booked]).load(state)
    return booked


@pytest.mark.parametrize(
    "changes",
    [
        {"venue": "binance"},
        {"account": "second"},
        {"asset": "ETH-PERP"},
        {"side": Side.SELL},
        {"trade_id": "other"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_execution_is_one_by_place_side_and_id(changes: dict[str, Any]) -> None:
    """Whatever else is told of it."""
    booked = BookedTrades()
    assert book(booked, filled(1, 10))
    assert not book(booked, filled(1, 10, price=d(7), client_id="x"))
    assert book(booked, filled(1, 10, **changes))


def test_an_execution_under_another_id_is_known_by_what_it_was() -> None:
    """Order, price, quantity and moment; without a moment nothing can be said."""
    booked = BookedTrades()
    book(booked, filled(1, 10))
    book(booked, filled(2, 0))
    alike = filled(1, 10, trade_id="other")

    assert twin_key(alike, "c1") in booked
    assert twin_key(alike, "c2") not in booked
    for changes in ({"price": d(3)}, {"quantity": d(2)}, {"venue_ns": 11}):
        assert twin_key(filled(1, **({"venue_ns": 10} | changes)), "c1") not in booked
    assert twin_key(filled(2, 0), "c2") not in booked


def test_a_payment_is_no_execution() -> None:
    """They are kept apart: many executions push no payment out."""
    booked = BookedTrades()
    assert book(booked, paid(1))
    for number in range(10 * KEPT):
        assert book(booked, filled(number, 100 + number))
    assert funding_key(paid(1)) in booked
    assert not book(booked, paid(1))
    assert book(booked, paid(1, account="second"))


def test_an_account_with_many_executions_pushes_none_of_another_out() -> None:
    """Nor makes what is told late there too old."""
    booked = BookedTrades()
    book(booked, filled(1, 10, venue="binance"))
    for number in range(10 * KEPT):
        book(booked, filled(number, 100 + number))

    assert not book(booked, filled(1, 10, venue="binance"))
    assert book(booked, filled(2, 11, venue="binance"))


def test_what_may_be_forgotten_counts_as_booked() -> None:
    """It is not told apart from what is older; what is younger is still missed."""
    booked = BookedTrades()
    for number in range(KEPT + 2):
        book(booked, filled(number, 100 + 10 * number))

    assert fill_key(filled(0, 100)) not in booked
    assert not book(booked, filled(0, 100))
    assert not book(booked, filled(99, 110))
    assert book(booked, filled(98, 111))
    assert book(booked, filled(97, 0))


def test_a_moment_that_is_told_wrongly_makes_nothing_old() -> None:
    """An execution cannot be younger than the hearing of it."""
    booked = BookedTrades()
    book(booked, filled(1, 10**15, ts_ns=50))
    for number in range(2, 3 * KEPT):
        assert book(booked, filled(number, 100 * number))


def test_a_snapshot_of_another_version_is_refused() -> None:
    """Then the state is folded from the first record."""
    state = msgspec.msgpack.encode({"booked_trades": ["okx|main|BTC-PERP|buy|t1"]})
    with pytest.raises(StateConflict, match="another version"):
        restored(state)


told_in_some_order = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(["okx", "binance"])), max_size=120
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=told_in_some_order, restarts=st.sets(st.integers(0, 119)))
def test_whatever_is_told_how_often_in_which_order_is_booked_at_most_once(
    told: Sequence[tuple[int, str]], restarts: set[int]
) -> None:
    """Restarts by snapshot change nothing, and nothing grows."""
    booked, count = BookedTrades(), Counter[tuple[int, str]]()
    folded: list[OrderFilled] = []
    for step, (number, venue) in enumerate(told):
        if step in restarts:
            before = dumped(booked)
            booked = restored(before)
            assert dumped(booked) == before
        event = filled(number, 10 + number, venue=venue)
        if book(booked, event):
            count[number, venue] += 1
            folded.append(event)
        for table in booked._tables.values():
            assert len(table.moments) == len(table._order) <= KEPT

    assert set(count.values()) <= {1}
    again = BookedTrades()
    for event in folded:
        again.folds()[OrderFilled](event)
    assert dumped(again) == dumped(booked)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    repeats=st.lists(st.lists(st.integers(0, 60), max_size=4), min_size=61, max_size=61),
    late=st.lists(st.integers(0, KEPT - 1), min_size=61, max_size=61),
)
def test_each_execution_that_is_told_in_time_is_booked_once(
    repeats: list[list[int]], late: list[int]
) -> None:
    """However often older ones are repeated between: fewer than are kept may overtake it."""
    booked, count = BookedTrades(), Counter[int]()
    for number in sorted(range(61), key=lambda n: (n + late[n], n)):
        count[number] += book(booked, filled(number, 10 + number))
        for other in repeats[number]:
            if count[other]:
                count[other] += book(booked, filled(other, 10 + other))

    assert count == Counter(range(61))
