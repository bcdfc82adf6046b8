"""How far a guardian may go with the keys and accounts that it has."""

from __future__ import annotations

import pytest

from perpbot.guardian.scope import GuardedVenue, Scope, scope_of
from perpbot.guardian.settings import Flatten


def venue(
    name: str,
    *,
    trades: bool = True,
    key: bool = True,
    dedicated: bool = True,
    reduce_only: bool = True,
) -> GuardedVenue:
    """One venue."""
    return GuardedVenue(
        name=name,
        node_trades=trades,
        has_key=key,
        dedicated=dedicated,
        reduce_only=reduce_only,
    )


def test_with_keys_everywhere_it_does_what_is_wanted() -> None:
    """A venue where nobody has a key is nobody's business."""
    scope = scope_of(
        [venue("okx"), venue("binance"), venue("hl", trades=False, key=False)], Flatten.UNHEDGED
    )
    assert scope == Scope(
        venues=("okx", "binance"),
        flatten=Flatten.UNHEDGED,
        flattens=("okx", "binance"),
        why_not={},
    )


@pytest.mark.parametrize(
    ("odd", "text"),
    [
        (venue("binance", key=False), "no key"),
        (venue("binance", dedicated=False), "dedicated"),
        (venue("binance", reduce_only=False), "reduce-only"),
    ],
    ids=["no key", "shared account", "no reduce-only"],
)
def test_one_venue_out_of_reach_and_no_net_is_known(odd: GuardedVenue, text: str) -> None:
    """It still cancels where it can; the reason names the venue."""
    scope = scope_of([venue("okx"), odd], Flatten.UNHEDGED)

    assert scope.flatten is Flatten.NONE
    assert scope.flattens == ()
    assert "okx" in scope.venues
    assert "needs every venue: binance" in scope.why_not["okx"]
    assert text in scope.why_not["binance"]


def test_closing_everything_needs_no_other_venue() -> None:
    """Each dedicated account is closed by itself."""
    scope = scope_of([venue("okx"), venue("binance", dedicated=False)], Flatten.ALL)

    assert scope.flatten is Flatten.ALL
    assert scope.venues == ("okx", "binance")
    assert scope.flattens == ("okx",)


def test_where_nothing_is_to_be_closed_it_says_so() -> None:
    """By setting."""
    scope = scope_of([venue("okx")], Flatten.NONE)

    assert scope.flatten is Flatten.NONE
    assert scope.why_not == {"okx": "guardian.flatten is none"}
