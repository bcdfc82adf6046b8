"""Positions that no pair holds: what a person at the venue does, and what the books make of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpbot.console.state import ConsoleState
from perpbot.domain.sides import OrderType, Side, TimeInForce
from perpbot.operations.unowned import unowned_positions
from perpbot.research.world import ACCOUNT, World
from perpbot.simulation.fates import Fate, NoFaults
from perpbot.simulation.model import Ticket
from tests.unit.operations.small_world import ASSET, adjust, feed, rows, small_world, sources


class Deaf(NoFaults):
    """Nothing that the private stream says arrives."""

    def stream(self, subject: str) -> Fate:
        """It is lost."""
        return Fate(drop=True)


def by_hand(world: World, side: Side, quantity: str) -> None:
    """Trade at the venue's own page: no order of ours explains it."""
    exchange = world.venues["okx"].exchange
    [symbol] = {contract.symbol for contract in exchange.contracts()}
    price = Decimal(61_000 if side is Side.BUY else 59_000)
    exchange.submit(
        ACCOUNT,
        Ticket(
            symbol=symbol,
            side=side,
            order_type=OrderType.LIMIT,
            quantity=Decimal(quantity),
            price=price,
            time_in_force=TimeInForce.IOC,
        ),
    )


@pytest.mark.parametrize("told", [True, False], ids=["told_by_the_stream", "found_by_comparison"])
def test_opening_resumes_once_a_person_has_flattened_what_nobody_owns(*, told: bool) -> None:
    """While it is held it is listed and nothing opens; afterwards a pair does."""
    world = small_world()
    if not told:
        world.venues["okx"]._faults = Deaf()
    feed(world, rows(8.0))
    by_hand(world, Side.BUY, "0.5")
    feed(world, rows(40.0, since_s=8.0, gap_from_s=30.0))

    [leg] = unowned_positions(sources(world))
    assert (leg.venue, leg.asset, leg.quantity) == ("okx", ASSET, Decimal("0.5"))
    assert leg.blocks_opening
    assert world.core.folds.pairs.opened == 0

    by_hand(world, Side.SELL, "0.5")
    world.venues["okx"]._faults = NoFaults()
    feed(world, rows(30.0, since_s=48.0, gap_from_s=50.0))

    assert unowned_positions(sources(world)) == []
    assert world.core.folds.pairs.opened == 1


def test_what_nobody_owns_is_told_with_venue_asset_quantity_and_what_to_do() -> None:
    """In the picture that `perpbot status` shows."""
    world = small_world()
    feed(world, rows(8.0))
    by_hand(world, Side.SELL, "0.5")
    feed(world, rows(4.0, since_s=8.0))

    [row] = ConsoleState(sources(world)).positions()["unowned"]
    assert row["quantity"] == "-0.5"
    for word in ("okx", ASSET, "Buy 0.5 there by hand", "opening resumes"):
        assert word in row["text"]


@pytest.mark.parametrize(
    ("asset", "quantity"),
    [(ASSET, "0.0000001"), ("DOGE-PERP", "100")],
    ids=["dust", "what_is_not_traded_here"],
)
def test_what_keeps_nothing_from_opening_says_so(asset: str, quantity: str) -> None:
    """A person need not hurry."""
    world = small_world()
    feed(world, rows(2.0))
    adjust(world, asset, quantity)

    [leg] = unowned_positions(sources(world))
    assert not leg.blocks_opening
    assert "keeps nothing from opening" in leg.text


def test_legs_of_pairs_are_not_listed() -> None:
    """They are hedged, and somebody looks after them."""
    world = small_world()
    feed(world, rows(25.0, gap_from_s=20.0))

    assert len(ConsoleState(sources(world)).positions()["legs"]) == 2
    assert unowned_positions(sources(world)) == []
