"""What a key may do, and what follows from it."""

from __future__ import annotations

import pytest

from perpbot.domain.permissions import KeyPermissions

GOOD = KeyPermissions(trade=True, withdraw=False, transfer=False, address_bound=True)


@pytest.mark.parametrize(
    ("permissions", "objection"),
    [
        (KeyPermissions(trade=False), "cannot trade"),
        (KeyPermissions(withdraw=True), "can withdraw"),
        (KeyPermissions(transfer=True), "can transfer money"),
    ],
    ids=["no trading", "withdrawal", "transfer"],
)
def test_a_right_too_many_or_too_few_is_objected_to(
    permissions: KeyPermissions, objection: str
) -> None:
    """Each alone."""
    (found,) = permissions.objections()

    assert objection in found


def test_a_good_key_meets_neither_objection_nor_warning() -> None:
    """Trades, from one address, and nothing else."""
    assert GOOD.objections() == GOOD.warnings() == []
    assert GOOD.summary() == "trade yes, withdraw no, transfer no, bound to addresses yes"


def test_what_the_venue_does_not_tell_is_said() -> None:
    """Unknown is neither yes nor no."""
    silent = KeyPermissions(note="a testnet")

    assert silent.objections() == []
    assert silent.warnings() == [
        "the venue does not tell whether it may trade, withdraw, transfer, be bound to addresses"
    ]
    assert silent.summary().endswith("bound to addresses unknown (a testnet)")


def test_a_key_that_works_from_anywhere_is_warned_about() -> None:
    """A stolen one would."""
    (warning,) = KeyPermissions(
        trade=True, withdraw=False, transfer=False, address_bound=False
    ).warnings()

    assert "bind it" in warning
