"""Explaining ids from the journal."""

from __future__ import annotations

import pytest

from perpbot.domain.events import CancelOrders, OrderIntent, PairPlanned, RiskRejected
from perpbot.kernel.journal.memory import MemoryJournal
from perpbot.operations.explanation import clock_text, explain, line
from perpbot.research.world import World
from tests.unit.operations.small_world import traded_world


@pytest.fixture(scope="module")
def world() -> World:
    """A world with one finished pair."""
    return traded_world()


def plan_of(world: World) -> PairPlanned:
    """Return the first plan in the journal."""
    events = (record.event() for record in world.journal.records())
    return next(event for event in events if isinstance(event, PairPlanned))


@pytest.mark.parametrize("what", ["pair", "opportunity", "reservation", "order"])
def test_every_id_of_a_trade_tells_the_whole_trade(world: World, what: str) -> None:
    """A pair, its opportunity, its reservation and its orders lead to one story."""
    plan = plan_of(world).plan
    events = (record.event() for record in world.journal.records())
    sent = next(event for event in events if isinstance(event, OrderIntent))
    order = sent.orders[0].client_id
    asked = {
        "pair": plan.pair_id,
        "opportunity": plan.opportunity.opportunity_id,
        "reservation": plan.reservation_id,
        "order": order,
    }[what]

    story = explain(world.journal.records(), asked)

    assert story is not None
    assert story.subject == what
    kinds = [told.kind for told in story.told]
    assert kinds[0] in {"PAIR_PLANNED", "RISK_REJECTED"}
    assert {"PAIR_PLANNED", "ORDER_FILLED", "TRADE_COMPLETED"} <= set(kinds)


def test_the_plan_is_told_with_its_numbers(world: World) -> None:
    """Edge and every term of it are in the line."""
    story = explain(world.journal.records(), plan_of(world).plan.pair_id)

    assert story is not None
    text = next(told.text for told in story.told if told.kind == "PAIR_PLANNED")
    edge = plan_of(world).plan.opportunity.edge
    assert f"edge {edge.edge_bps:.2f} bps" in text
    assert f"expected exit {edge.expected_exit_bps:.2f}" in text


def test_a_refusal_is_told_with_value_and_limit() -> None:
    """The measured value and the limit are what a person needs."""
    journal = MemoryJournal()
    journal.append(
        RiskRejected(
            gate="open",
            layer="market",
            rule="spread",
            value="9 bps",
            limit="5 bps",
            subject="o-1",
            asset="BTC-PERP",
            correlation_id="o-1",
        )
    )

    story = explain(journal.records(), "o-1")

    assert story is not None
    assert story.subject == "refusal"
    assert "measured 9 bps, limit 5 bps" in story.told[0].text


def test_a_refusal_that_waits_for_a_person_says_what_to_do() -> None:
    """What no pair holds stays until somebody flattens it."""
    refused = RiskRejected(
        gate="open",
        layer="position",
        rule="legs_clear",
        value="okx holds 0.5",
        limit="nothing that no pair owns",
        subject="o-1",
        asset="BTC-PERP",
    )

    assert "flatten by hand at the venue" in line(refused)


def test_a_cancel_of_many_connects_nobody(world: World) -> None:
    """Orders that were cancelled in one breath are not one trade."""
    journal = MemoryJournal()
    journal.append(CancelOrders(client_ids=("a" * 32, "b" * 32), reason="the node ends"))

    story = explain(journal.records(), "a" * 32)

    assert story is not None
    assert story.ids == ("a" * 32,)


def test_an_unknown_id_has_no_story(world: World) -> None:
    """Nothing is made up."""
    assert explain(world.journal.records(), "9-9") is None


def test_times_are_utc_to_the_millisecond() -> None:
    """So that lines sort and compare."""
    assert clock_text(1_700_000_000_123_456_789) == "2023-11-14 22:13:20.123Z"
