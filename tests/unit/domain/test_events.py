"""The table of events, and the small closed sets beside it."""

from __future__ import annotations

import random
import typing
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import pytest

from perpbot.domain import events as module
from perpbot.domain.capabilities import Capabilities, ClientIdScope, DeadManScope, Lookup
from perpbot.domain.errors import InvalidValue, RateLimited, ReadOnly, RiskDenied
from perpbot.domain.events import (
    EVENTS,
    KIND_ALIASES,
    Event,
    EventKind,
    Lane,
    VenueSnapshot,
    event,
    event_class,
)
from perpbot.domain.pairs import ProfitSplit
from perpbot.domain.sides import OrderState, Side
from perpbot.kernel.journal.memory import MemoryJournal

D = Decimal
CLASSES = list(EVENTS.values())


def test_every_kind_has_one_class_and_every_class_one_kind() -> None:
    """And nothing is missing from the table."""
    assert {cls.kind for cls in CLASSES} >= {str(kind) for kind in EventKind}
    declared = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Event) and "kind" in vars(value)
    ]
    assert {cls.kind for cls in declared} == {str(kind) for kind in EventKind}
    assert len({cls.kind for cls in declared}) == len(declared)


def test_a_kind_is_declared_once() -> None:
    """An extension cannot take the place of a class of ours."""
    with pytest.raises(InvalidValue, match="declared by QuoteUpdated already"):
        event(EventKind.QUOTE_UPDATED)(Event)


def test_a_kind_is_its_name() -> None:
    """In the table it stands beside its lane; an extension, which is not there, names its own."""
    assert [str(kind) for kind in EventKind] == list(EventKind.__members__)
    with pytest.raises(InvalidValue, match="lane of event kind VOLUME_DONE"):
        event("VOLUME_DONE")


@pytest.mark.parametrize("alias", sorted(KIND_ALIASES))
def test_the_names_of_the_original_documents_are_understood(alias: str) -> None:
    """On the way in."""
    assert event_class(alias) is EVENTS[KIND_ALIASES[alias]]
    assert alias not in EVENTS


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    """Spelling is helped."""
    with pytest.raises(InvalidValue, match="'NOPE', one of ACCOUNT_REPORTED"):
        event_class("NOPE")


def test_money_and_promises_ride_on_lanes_that_never_drop() -> None:
    """What a restart needs is journalled; what is only news is not."""
    lanes = {cls.kind: cls.lane for cls in CLASSES}
    durable = {kind for kind, lane in lanes.items() if lane <= Lane.DURABLE}

    assert {
        kind for kind in lanes if kind.startswith(("ORDER_", "CAPITAL_R", "LEASE_"))
    } - durable == {"ORDER_REPORTED"}
    assert {"KILL_SWITCH", "HALT_LATCHED"} == {k for k, v in lanes.items() if v is Lane.URGENT}
    for kind in ("QUOTE_UPDATED", "BOOK_UPDATED", "MARK_UPDATED", "FUNDING_RATE_UPDATED"):
        assert lanes[kind] is Lane.LATEST
    for kind in ("TRADE_PRINTED", "BOOK_CHANGED", "CANDLE_CLOSED", "FILL_REPORTED"):
        assert lanes[kind] is Lane.STREAM


def example(kind: Any, rng: random.Random) -> Any:
    """Return some value of a type."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in {typing.Union, __import__("types").UnionType}:
        return example(rng.choice([a for a in args if a is not type(None)]), rng)
    if origin is tuple:
        inner = args[:-1] if args[-1] is ... else args
        return tuple(example(one, rng) for one in inner)
    if origin is dict:
        return {example(args[0], rng): example(args[1], rng) for _ in range(2)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return rng.choice(list(kind))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind)
        return kind(**{f: example(hints[f], rng) for f in kind.__struct_fields__})
    samples: dict[Any, Any] = {
        str: f"text {rng.randrange(9)}",
        int: rng.randrange(1 << 40),
        float: rng.random(),
        bool: rng.random() < 0.5,
        Decimal: D(rng.randrange(-(10**20), 10**20)).scaleb(-12),
    }
    return samples[kind]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: str(cls.__name__))
def test_every_event_survives_the_journal(cls: type[Event]) -> None:
    """Every field, to the last digit; and it has a key for the latest lane."""
    rng = random.Random(cls.kind)
    for _ in range(10):
        made = example(cls, rng)
        journal = MemoryJournal()
        journal.append(made)
        [record] = journal.records()

        assert record.event() == made
        assert record.kind == cls.kind
        hash(made.key)


def test_a_snapshot_is_complete_when_every_part_was_answered() -> None:
    """None is an answer that did not come."""
    empty: dict[str, Any] = {"orders": (), "fills": (), "positions": (), "balances": ()}

    def answered(**parts: Any) -> bool:
        return VenueSnapshot(venue="v", reason="r", asked_ns=0, **parts).complete

    assert answered(**empty)
    for part in empty:
        assert not answered(**(empty | {part: None}))


def test_sides_know_their_sign_and_their_opposite() -> None:
    """Buys add."""
    assert (Side.BUY.sign, Side.SELL.sign) == (1, -1)
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)


def test_the_ends_of_an_order() -> None:
    """Five of eleven states."""
    ends = {state for state in OrderState if state.is_end}

    assert ends == {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.EXPIRED,
        OrderState.REJECTED,
        OrderState.PROVEN_ABSENT,
    }


def test_a_venue_of_which_little_is_known_can_do_little() -> None:
    """Defaults are the weakest case."""
    found = Capabilities(
        venue="v", operator="o", maker_fee_bps=D(2), taker_fee_bps=D(5), fees_as_of="2026-01-01"
    )

    assert found.client_id_scope is ClientIdScope.OPEN_ORDERS
    assert found.lookup is Lookup.OPEN_ONLY
    assert found.dead_man is DeadManScope.NONE
    assert found.dead_man_removes_stops
    able = (
        found.request_expiry,
        found.post_only,
        found.reduce_only,
        found.hedge_mode,
        found.amend,
    )
    assert not any(able)


def test_profit_is_the_sum_of_its_parts() -> None:
    """Costs are negative; splits add part by part."""
    split = ProfitSplit(price=D(3), fees=D(-1), funding=D("-0.5"))

    assert split.net == D("1.5")
    assert split.plus(ProfitSplit(price=D(1))) == ProfitSplit(
        price=D(4), fees=D(-1), funding=D("-0.5")
    )


def test_errors_say_what_happened() -> None:
    """Layer, rule, value, limit; venue, message, code."""
    denied = RiskDenied("account", "drawdown", "0.2", "0.1")
    assert str(denied) == "account: drawdown: measured 0.2, limit 0.1"
    assert (denied.layer, denied.rule, denied.value, denied.limit) == (
        "account",
        "drawdown",
        "0.2",
        "0.1",
    )
    assert str(ReadOnly("okx")) == "okx: no credentials: this venue is read-only (code read_only)"
    assert RateLimited("okx", "slow", retry_after_s=3.0).retry_after_s == 3.0
