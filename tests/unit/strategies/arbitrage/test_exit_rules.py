"""When a hedged pair leaves."""

from __future__ import annotations

import math

import msgspec
import pytest

from perpbot.strategies.arbitrage.exit_rules import ExitRules, PairNow, decide

RULES = ExitRules(
    convergence_bps=1.0,
    take_profit_bps=10.0,
    stop_bps=50.0,
    max_hold_ns=600_000_000_000,
    exit_on_funding_turn=True,
    closing_cost_bps=12.0,
    counted_funding_bps=2.0,
)
HELD = PairNow(
    held_ns=1_000_000_000,
    exit_cost_bps=20.0,
    expected_exit_bps=2.0,
    profit_bps=-20.0,
    marked_profit_bps=-20.0,
    funding_bps=2.0,
)
NAN = math.nan
STALE = {"exit_cost_bps": NAN, "profit_bps": NAN}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({}, None, id="held"),
        pytest.param({"exit_cost_bps": 3.01}, None, id="convergence-above"),
        pytest.param({"exit_cost_bps": 3.0}, "convergence", id="convergence-at"),
        pytest.param({"exit_cost_bps": 2.9}, "convergence", id="convergence-below"),
        pytest.param({"profit_bps": 9.9}, None, id="profit-below"),
        pytest.param({"profit_bps": 10.0}, "take_profit", id="profit-at"),
        pytest.param({"profit_bps": -49.9}, None, id="loss-below"),
        pytest.param({"profit_bps": -50.0}, "stop", id="loss-at"),
        pytest.param({"marked_profit_bps": -99.0}, None, id="quotes-before-marks"),
        pytest.param({"held_ns": 599_999_999_999}, None, id="age-below"),
        pytest.param({"held_ns": 600_000_000_000}, "max_hold", id="age-at"),
        pytest.param({"funding_bps": -10.0}, None, id="funding-at"),
        pytest.param({"funding_bps": -10.1}, "funding", id="funding-beyond"),
        pytest.param(STALE, None, id="stale"),
        pytest.param(STALE | {"marked_profit_bps": 500.0}, None, id="stale-takes-no-profit"),
        pytest.param(STALE | {"marked_profit_bps": -50.0}, "stop", id="stale-stops-by-marks"),
        pytest.param(
            STALE | {"marked_profit_bps": NAN, "held_ns": 600_000_000_000},
            "max_hold",
            id="blind-ends-by-the-clock",
        ),
        pytest.param({"expected_exit_bps": NAN, "exit_cost_bps": -9.0}, None, id="unknown-basis"),
    ],
)
def test_exit_at_below_and_above_each_limit(changes: dict[str, float], reason: str | None) -> None:
    """The limit itself leaves; what is not known decides nothing."""
    found = decide(RULES, msgspec.structs.replace(HELD, **changes))
    assert (found.reason if found else None) == reason


def test_funding_exit_can_be_turned_off() -> None:
    """Then nothing that funding does makes a pair leave."""
    rules = msgspec.structs.replace(RULES, exit_on_funding_turn=False)
    assert decide(rules, msgspec.structs.replace(HELD, funding_bps=-1e6)) is None


def test_funding_that_is_still_good_never_turned() -> None:
    """Falling from much to little is no turn: the pair still earns."""
    rules = msgspec.structs.replace(RULES, counted_funding_bps=100.0)
    assert decide(rules, msgspec.structs.replace(HELD, funding_bps=1.0)) is None


def test_exit_tells_what_was_measured_against_what() -> None:
    """The numbers go into the journal."""
    found = decide(RULES, msgspec.structs.replace(HELD, exit_cost_bps=2.5))
    assert found is not None
    assert (found.measured, found.limit) == (2.5, 3.0)
