"""The table "who protects you if this process dies": nothing is invented."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.capabilities import Capabilities, DeadManScope
from perpbot.guardian.status import GuardianStatus, HandStatus
from perpbot.operations.protection import NOBODY, Protection, VenueFacts, protection_of, table


def facts(
    *, scope: DeadManScope = DeadManScope.ACCOUNT, removes_stops: bool = True, **more: Any
) -> VenueFacts:
    """A venue where we trade with an account of our own."""
    capabilities = Capabilities(
        venue="okx",
        operator="okx",
        dead_man=scope,
        dead_man_removes_stops=removes_stops,
        maker_fee_bps=Decimal(0),
        taker_fee_bps=Decimal(0),
        fees_as_of="2026-01-01",
    )
    given = {"trades": True, "dedicated": True, "dead_man_s": 60.0, "resting": 0, "stops": 0}
    return VenueFacts(capabilities=capabilities, **{**given, **more})


def guardian(hand: HandStatus | None = None, **more: Any) -> GuardianStatus:
    """A guardian that may do everything, unless told otherwise."""
    hand = hand or HandStatus(ready=True, flattens=True)
    given = {
        "pid": 7,
        "phase": "alive",
        "silence_s": 0.0,
        "at_ns": 0,
        "flatten": "unhedged",
        "silence_limit_s": 10.0,
        "flatten_after_s": 30.0,
        "venues": {"okx": hand},
    }
    return GuardianStatus(**{**given, **more})


def row(
    venue: VenueFacts, there: GuardianStatus | None = None, *, meant: bool = False
) -> Protection:
    """One row."""
    return protection_of(venue, there, expected=meant)


@pytest.mark.parametrize(
    ("venue", "why"),
    [
        (facts(scope=DeadManScope.NONE), "the venue has none"),
        (facts(dedicated=False), "orders of others: venues.okx.account_dedicated"),
        (facts(stops=1), "take the protective stops away"),
        (facts(dead_man_failed=True), "refused the last refresh"),
    ],
    ids=["none", "shared", "stops", "refused"],
)
def test_a_switch_that_is_not_armed_says_why(venue: VenueFacts, why: str) -> None:
    """And then nobody cancels."""
    found = row(venue)
    assert not found.dead_man.armed
    assert why in found.dead_man.why
    assert found.cancels == NOBODY


@pytest.mark.parametrize(
    "venue",
    [facts(), facts(scope=DeadManScope.SYMBOL), facts(stops=1, removes_stops=False)],
    ids=["account", "symbol", "stops stay"],
)
def test_an_armed_switch_cancels_and_flattens_nothing(venue: VenueFacts) -> None:
    """It is not position aware."""
    found = row(venue)
    assert found.dead_man.armed
    assert found.cancels == "the venue, 60 s"
    assert "guardian" not in found.flattens


def test_a_guardian_that_can_act() -> None:
    """Both say how long they wait; stops at the venue are told as what they are."""
    found = row(facts(stops=2, removes_stops=False), guardian())
    assert found.cancels == "guardian, 10 s and the venue, 60 s"
    assert found.flattens == (
        "guardian, what is unhedged, 30 s and 2 protective stops at the venue"
    )
    assert row(facts(), guardian(flatten="all")).flattens == "guardian, everything, 30 s"


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (None, "none runs, though guardian.enabled says"),
        (guardian(venues={}), "no key here"),
        (guardian(HandStatus(ready=False, flattens=True, problem="refused")), "did not work"),
        (guardian(problem="cannot take over: no space"), "no space"),
    ],
    ids=["none", "no key", "bad key", "in trouble"],
)
def test_a_guardian_that_cannot_act_protects_nobody(
    there: GuardianStatus | None, why: str
) -> None:
    """Whatever runs."""
    found = row(facts(scope=DeadManScope.NONE), there, meant=True)
    assert why in found.guardian.why
    assert (found.cancels, found.flattens) == (NOBODY, NOBODY)


def test_a_guardian_that_may_only_cancel() -> None:
    """It says why it does not flatten."""
    hand = HandStatus(ready=True, flattens=False, problem="not declared dedicated")
    found = row(facts(dedicated=False), guardian(hand))
    assert found.cancels == "guardian, 10 s"
    assert found.flattens == NOBODY
    assert "not declared dedicated" in found.guardian.why


def test_where_nothing_of_ours_is_nobody_is_needed() -> None:
    """On paper, and at venues without a key."""
    found = row(facts(trades=False), guardian())
    assert (found.cancels, found.flattens) == ("not needed", "not needed")
    assert not found.dead_man.armed


def test_the_table_for_people_and_for_programs() -> None:
    """Three lines a venue; the rows survive JSON."""
    rows = [row(facts(resting=3)), row(facts(trades=False)), row(facts(resting=None, stops=None))]
    lines = table(rows)
    assert lines[0] == "who protects you if this process dies:"
    assert (
        "cancelled by the venue, 60 s (3 rest now); positions are flattened by nobody" in lines[1]
    )
    assert "okx: nothing of ours is there" in lines[4]
    assert "stops there: unknown" in lines[7]
    told = msgspec.json.decode(msgspec.json.encode(rows))
    assert msgspec.convert(told, list[Protection]) == rows
