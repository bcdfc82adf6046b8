"""What the engine refuses, and what it says of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.errors import CapitalShort, InvalidValue, RiskDenied
from perpbot.domain.events import OrderIntent, RiskRejected
from perpbot.domain.sides import Purpose
from perpbot.execution.surroundings import Account, Surroundings
from tests.unit.execution.stand import ASSET, LONG, SHORT, THIRD, Stand, d
from tests.unit.execution.test_trader import hedged, ready, the_end
from tests.unit.portfolio.office import DECISION


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (
            {"arbitrage.max_concurrent_pairs": 1, "arbitrage.max_pairs_per_venue": 1},
            "pairs_full",
        ),
        ({"arbitrage.max_pairs_per_venue": 1}, "venue_full"),
        ({}, "leg_taken"),
    ],
    ids=["pairs", "venue", "leg"],
)
def test_what_is_full_is_counted(flags: dict[str, Any], reason: str) -> None:
    """No second pair where there is no room; nothing is journalled of it."""
    stand, _ = hedged(flags, venues=(LONG, SHORT, THIRD))
    stand.open(2.0, LONG, THIRD)
    assert len(stand.pairs) == 1
    assert stand.core.engine.refused == {reason: 1}
    assert not stand.told(RiskRejected)


def test_leg_of_a_revived_pair_is_taken() -> None:
    """A pair without a lease holds its leg all the same."""
    stand, _ = hedged()
    stand.core.folds.leases.restore([])
    stand.open()
    assert stand.core.engine.refused == {"leg_taken": 1}


def test_refusal_is_journalled_once_an_episode() -> None:
    """Each tick counts; the same refusal is told once."""
    stand = ready()
    for _ in range(3):
        stand.open(0.01)
    assert stand.core.engine.refused == {"size": 3}
    (refused,) = stand.told(RiskRejected)
    assert "below twice the larger minimum" in refused.value


def test_capital_that_is_short_is_told() -> None:
    """What the pools do not carry is refused with its numbers, and nothing is half done."""
    stand = ready()
    stand.core.risk.check_open = lambda *_: DECISION  # type: ignore[method-assign]
    stand.core.capital._check = _short  # type: ignore[method-assign,assignment]
    stand.open()
    assert stand.core.engine.refused == {"pool": 1}
    assert not stand.told(OrderIntent)
    assert stand.core.capital.reserved_total() == 0


def _short(*_: object) -> None:
    raise CapitalShort("nothing left")


def test_reductions_that_are_refused_are_tried_again() -> None:
    """A gate or a number stands in the way for a while: it is told, and tried until it goes."""
    stand, _ = hedged()
    check, make = stand.core.risk.check_reduce, stand.core.maker.order
    answers = [RiskDenied("reduce", "test", "1", "0"), InvalidValue("no price")]

    def denied(*arguments: Any) -> Any:
        if len(answers) == 2:
            raise answers.pop(0)
        return check(*arguments)

    def invalid(*arguments: Any, **more: Any) -> Any:
        if len(answers) == 1 and more["purpose"] is Purpose.REDUCE:
            raise answers.pop()
        return make(*arguments, **more)

    stand.core.risk.check_reduce = denied  # type: ignore[method-assign,assignment]
    stand.core.maker.order = invalid  # type: ignore[method-assign]
    stand.close()
    the_end(stand)
    assert {event.rule for event in stand.told(RiskRejected)} == {"test", "numbers"}


def test_surroundings() -> None:
    """What is not traded raises; hedge mode names the side of each leg."""
    stand = Stand()
    around = stand.core.around
    with pytest.raises(InvalidValue, match="XXX-PERP is not traded on okx"):
        around.instrument(LONG, "XXX-PERP")
    assert around.position_side(LONG, 0) == "net"
    both = Surroundings(
        around.instruments,
        around.capabilities,
        {LONG: Account("main", hedge_mode=True)},
        around.market,
    )
    assert [both.position_side(LONG, leg) for leg in (0, 1)] == ["long", "short"]
    assert both.instrument(LONG, ASSET).quantity_step == d("0.001")


@pytest.mark.parametrize(
    ("symbol", "coins"), [(ASSET, d("1.189")), ("DOGE-PERP", d(2))], ids=["its own", "another's"]
)
def test_a_symbol_may_have_terms_of_its_own(symbol: str, coins: Decimal) -> None:
    """Its pairs are cut to its own size; those of other symbols are not."""
    stand = ready({f"symbols.{symbol}.arbitrage.pair_notional_max_usd": 120})

    stand.open()

    (pair,) = stand.pairs
    assert pair.plan.quantity == coins


def test_maker_without_a_quote_to_rest_at_is_refused() -> None:
    """No price is invented for the resting leg."""
    stand = ready({"execution.fallback": "balanced"})
    stand.core.around.market.latest = lambda *_: None  # type: ignore[method-assign]
    stand.open()
    (refused,) = stand.told(RiskRejected)
    assert "no quote to rest a maker order at" in refused.value
