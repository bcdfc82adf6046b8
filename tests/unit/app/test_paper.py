"""Trading on paper across runs: the exchange forgets, its client's journal does not."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import pytest

from perpbot.app.paper import PaperVenue
from perpbot.domain.capabilities import Capabilities, Lookup
from perpbot.domain.events import (
    FillReported,
    GateDecision,
    QuoteUpdated,
    ReconcileVenue,
    SubmitOrders,
    VenueSnapshot,
)
from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.simulation.settings import PaperSettings
from perpbot.venues.port import Venue
from tests.unit.execution.stand import d
from tests.unit.market.floor import instrument
from tests.unit.operations.small_world import traded_world

CAPABILITIES = Capabilities(
    venue="okx",
    operator="okx",
    lookup=Lookup.FULL,
    maker_fee_bps=Decimal(2),
    taker_fee_bps=Decimal(5),
    fees_as_of="2026-01-01",
)


@dataclass
class RealVenue:
    """What paper trading asks of the real one."""

    name: str = "okx"
    account_name: str = "main"
    capabilities: Capabilities = CAPABILITIES


def fill_of_a_run(time: VirtualTime) -> FillReported:
    """Start a paper exchange, buy on it, return what it told."""
    listed = instrument("okx")
    order = OrderRequest(
        client_id="a",
        venue="okx",
        account="main",
        asset=listed.asset,
        symbol=listed.symbol,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        quantity=listed.min_quantity * 10,
        price=Decimal(60_000),
        reference_price=Decimal(60_000),
        purpose=Purpose.OPEN,
    )
    bus = EventBus(time)
    told: list[FillReported] = []
    bus.subscribe(FillReported, told.append)
    real = cast("Venue", RealVenue())
    PaperVenue(real, [listed], bus, time, time, lambda _: order, PaperSettings()).start()
    bus.publish(
        QuoteUpdated(
            venue="okx", asset=listed.asset, bid=59_999, bid_size=9, ask=60_000, ask_size=9
        )
    )
    decision = GateDecision(gate="open", checks={}, ts_ns=0)
    bus.publish(SubmitOrders(orders=(order,), decision=decision))
    time.run_until(time.now_ns() + 5 * SECOND)
    (fill,) = told
    return fill


@pytest.mark.parametrize(
    ("kept", "wallet"), [(None, 10_000), (d("10211.5"), d("10211.5")), (d(-3), 0)]
)
def test_an_account_goes_on_with_what_the_books_say(
    kept: Decimal | None, wallet: Decimal | int
) -> None:
    """Profit of an earlier run that was gone would count as lost money."""
    time = VirtualTime(1_700_000_000 * SECOND)
    bus = EventBus(time)
    told: list[VenueSnapshot] = []
    bus.subscribe(VenueSnapshot, told.append)
    real = cast("Venue", RealVenue())
    paper = PaperVenue(
        real,
        [instrument("okx")],
        bus,
        time,
        time,
        lambda _: None,
        PaperSettings(),
        kept_usd=kept,
    )

    paper.start()
    bus.publish(ReconcileVenue(venue="okx", reason="start", fills_since_ns=0))
    time.run_until(time.now_ns() + SECOND)

    assert [balance.wallet for balance in told[-1].balances or ()] == [wallet]


def test_booked_wallets_hold_what_the_exchanges_say() -> None:
    """After a trade, venue by venue; nothing is known of a venue that never told."""
    world = traded_world()

    for name, venue in world.venues.items():
        (true,) = venue.exchange.balances("main")
        assert world.core.booked_wallet(name) == true.wallet != 10_000
    assert world.core.booked_wallet("mtgox") is None


def test_no_run_uses_an_id_that_the_journal_knows_from_another() -> None:
    """Under an old id an execution would pass for one that is booked; its order never ends."""
    time = VirtualTime(1_700_000_000 * SECOND)

    first, second = fill_of_a_run(time).report, fill_of_a_run(time).report

    assert int(second.trade_id) > int(first.trade_id)
    assert int(second.venue_order_id) > int(first.venue_order_id)
