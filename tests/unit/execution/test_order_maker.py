from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import InvalidValue
from perpbot.domain.instruments import Instrument
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.execution.order_maker import OrderMaker
from perpbot.execution.policies import OrderStyle
from perpbot.execution.surroundings import Account, Surroundings
from perpbot.kernel.clock import MS, SECOND, VirtualTime
from perpbot.kernel.ids import IdMaker

D = Decimal
ASSET = "BTC-PERP"
LONG, SHORT = "okx", "binance"
NOW_NS = 1_000 * SECOND


def instrument(venue: str) -> Instrument:
    """Ticks of a tenth, steps of a thousandth."""
    return Instrument(
        venue=venue,
        asset=ASSET,
        symbol=f"{venue} BTC",
        base="BTC",
        settle="USDT",
        tick_size=D("0.1"),
        quantity_step=D("0.001"),
        min_quantity=D("0.001"),
    )


def maker(
    *, hedge_mode: bool = False, expires: bool = True, reduce_only: bool = True
) -> OrderMaker:
    """Return a maker for two venues; only the short one's account may be in hedge mode."""

    def capabilities(venue: str) -> Capabilities:
        return Capabilities(
            venue=venue,
            operator=venue,
            request_expiry=expires,
            reduce_only=reduce_only,
            maker_fee_bps=D(2),
            taker_fee_bps=D(5),
            fees_as_of="2026-10-01",
        )

    market: Any = SimpleNamespace(
        touch=lambda venue, _asset: (99.5, 100.5) if venue == LONG else None
    )
    around = Surroundings(
        {(venue, ASSET): instrument(venue) for venue in (LONG, SHORT)},
        {venue: capabilities(venue) for venue in (LONG, SHORT)},
        {LONG: Account("one"), SHORT: Account("two", hedge_mode=hedge_mode)},
        market,
    )
    return OrderMaker(VirtualTime(NOW_NS), IdMaker(epoch=1), around, expiry_ms=5_000)


def plan(*, hedge_mode: bool = False) -> PairPlan:
    """Return a plan whose prices and quantity lie on the grids."""
    opportunity: Any = None
    return PairPlan(
        pair_id="1-1",
        strategy="arbitrage",
        asset=ASSET,
        long_venue=LONG,
        short_venue=SHORT,
        account_long="one",
        account_short="two",
        side_short=PositionSide.SHORT if hedge_mode else PositionSide.NET,
        quantity=D("0.5"),
        long_price=D("100.1"),
        short_price=D("99.9"),
        notional_usd=D(50),
        reservation_id="r1-1",
        opportunity=opportunity,
        exit_level_bps=D(0),
        take_profit_bps=D(0),
        stop_bps=D(0),
        max_hold_s=60,
        loss_budget_usd=D(1),
    )


STYLES = {
    "limit": OrderStyle(OrderType.LIMIT, TimeInForce.IOC, D(10)),
    "market": OrderStyle(OrderType.MARKET, TimeInForce.IOC, D(10)),
}


@pytest.mark.parametrize("leg", [0, 1], ids=["long", "short"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("hedge_mode", [False, True], ids=["one-way", "hedge"])
@pytest.mark.parametrize("expires", [False, True], ids=["no expiry", "expiry"])
def test_an_entry_is_the_order_that_the_longer_way_makes(
    leg: int, style: str, *, hedge_mode: bool, expires: bool
) -> None:
    """Field by field, the client id too."""
    made, reference = plan(hedge_mode=hedge_mode), D("100.03")
    quick = maker(hedge_mode=hedge_mode, expires=expires)
    slow = maker(hedge_mode=hedge_mode, expires=expires)
    entry = quick.entry(made, leg, instrument(SHORT if leg else LONG), STYLES[style], reference)
    assert entry == slow.order(
        made,
        leg=leg,
        side=Side.SELL if leg else Side.BUY,
        quantity=made.quantity,
        purpose=Purpose.OPEN,
        style=STYLES[style],
        reference=reference,
        limit=made.short_price if leg else made.long_price,
        attempt=leg,
    )
    assert entry.expires_ns == (NOW_NS + 5_000 * MS if expires else 0)


def test_a_limit_is_the_reference_moved_against_us_and_on_the_grid() -> None:
    """Ten bps of 100.03, rounded so that it gives away no more."""
    made = maker()
    common: dict[str, Any] = {
        "quantity": D("0.5009"),
        "purpose": Purpose.OPEN,
        "style": STYLES["limit"],
        "reference": D("100.03"),
    }
    buy = made.order(plan(), leg=0, side=Side.BUY, **common)
    sell = made.order(plan(), leg=1, side=Side.SELL, **common)
    assert (buy.price, buy.quantity) == (D("100.1"), D("0.500"))
    assert (sell.price, sell.quantity) == (D("100.0"), D("0.500"))


@pytest.mark.parametrize("purpose", [Purpose.REDUCE, Purpose.PROTECT, Purpose.HEDGE])
@pytest.mark.parametrize("has", [True, False], ids=["reduce-only", "without"])
def test_reductions_are_enforced_where_the_venue_can(purpose: Purpose, *, has: bool) -> None:
    """A hedge is none."""
    order = maker(reduce_only=has).order(
        plan(),
        leg=0,
        side=Side.SELL,
        quantity=D("0.5"),
        purpose=purpose,
        style=STYLES["market"],
        reference=D(100),
        replaces="lost",
    )
    assert order.reduce_only is (has and purpose is not Purpose.HEDGE)
    assert (order.price, order.replaces) == (None, "lost")


def test_what_the_venue_would_refuse_is_refused_here() -> None:
    """A quantity below its step."""
    with pytest.raises(InvalidValue):
        maker().order(
            plan(),
            leg=0,
            side=Side.BUY,
            quantity=D("0.0001"),
            purpose=Purpose.OPEN,
            style=STYLES["limit"],
            reference=D(100),
        )


def test_the_touch_is_what_the_side_would_take() -> None:
    """Else the fallback, where no quote ever came."""
    made = maker()
    assert made.touch(LONG, ASSET, Side.BUY, D(1)) == D("100.5")
    assert made.touch(LONG, ASSET, Side.SELL, D(1)) == D("99.5")
    assert made.touch(SHORT, ASSET, Side.SELL, D(1)) == D(1)
