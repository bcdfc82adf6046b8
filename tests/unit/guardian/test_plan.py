"""What is taken back and what is closed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, PositionReport
from perpbot.domain.sides import OrderState, PositionSide, Purpose, Side
from perpbot.guardian.plan import Reduction, by_venue, everything, is_ours, sized, unhedged
from perpbot.kernel.ids import IdMaker

BTC = Instrument(
    venue="okx",
    asset="BTC-PERP",
    symbol="BTC-USDT-SWAP",
    base="BTC",
    settle="USDT",
    tick_size=Decimal("0.1"),
    quantity_step=Decimal("0.01"),
    min_quantity=Decimal("0.02"),
    max_quantity=Decimal(5),
)


def leg(venue: str, quantity: str, asset: str = "BTC-PERP", mark: str = "100") -> PositionReport:
    """A leg as a venue tells it."""
    return PositionReport(
        venue=venue,
        account="main",
        symbol=f"{asset} at {venue}",
        asset=asset,
        quantity=Decimal(quantity),
        mark_price=Decimal(mark),
    )


def brief(wanted: list[Reduction]) -> list[tuple[str, Side, Decimal]]:
    """What of it matters here."""
    return [(one.venue, one.side, one.quantity) for one in wanted]


@pytest.mark.parametrize(
    ("account", "purpose", "ours"),
    [
        ("main", Purpose.OPEN, True),
        ("main", Purpose.HEDGE, True),
        ("main", Purpose.REDUCE, True),
        ("main", Purpose.PROTECT, False),
        ("other", Purpose.OPEN, False),
    ],
)
def test_only_own_orders_without_stops(account: str, purpose: Purpose, *, ours: bool) -> None:
    """The bits of the account decide."""
    client_id = IdMaker(epoch=3).order_id(
        account=account, strategy="arbitrage", purpose=purpose, leg=0, attempt=0
    )
    assert is_ours(_open(client_id), "main") is ours


@pytest.mark.parametrize("client_id", ["", "x" * 32, "0" * 32, "web-order-1"])
def test_orders_of_others_are_never_ours(client_id: str) -> None:
    """Whatever does not decode was placed by somebody else."""
    assert not is_ours(_open(client_id), "main")


def _open(client_id: str) -> OrderReport:
    return OrderReport(
        venue="okx",
        account="main",
        client_id=client_id,
        venue_order_id="1",
        symbol="BTC-USDT-SWAP",
        state=OrderState.ACCEPTED,
    )


@pytest.mark.parametrize(
    ("legs", "wanted"),
    [
        ([("okx", "1"), ("binance", "-1")], []),
        ([("okx", "1")], [("okx", Side.SELL, "1")]),
        ([("okx", "-1"), ("binance", "0.7")], [("okx", Side.BUY, "0.3")]),
        ([("okx", "1"), ("binance", "2"), ("hl", "-0.5")], [("binance", Side.SELL, "2"),
                                                            ("okx", Side.SELL, "0.5")]),
    ],
    ids=["hedged", "naked", "partly", "two of three"],
)  # fmt: skip
def test_what_is_left_over_goes(
    legs: list[tuple[str, str]], wanted: list[tuple[str, Side, str]]
) -> None:
    """From the largest leg of that side on; hedged pairs stay."""
    found = unhedged([leg(venue, quantity) for venue, quantity in legs])
    assert brief(found) == [(venue, side, Decimal(q)) for venue, side, q in wanted]


LEGS = st.lists(
    st.tuples(
        st.sampled_from(["okx", "binance", "hl"]),
        st.sampled_from(["BTC-PERP", "ETH-PERP"]),
        st.decimals(-10, 10, places=2),
    ),
    max_size=8,
)


@given(LEGS)
def test_no_leg_grows_or_turns_and_nothing_is_left_over(
    legs: list[tuple[str, str, Decimal]],
) -> None:
    """Property of every plan: it only shrinks, and what remains is hedged."""
    reports = [leg(venue, str(quantity), asset) for venue, asset, quantity in legs]
    net: dict[str, Decimal] = {}
    for report in reports:
        net[report.asset] = net.get(report.asset, Decimal(0)) + report.quantity
    held = sorted(abs(report.quantity) for report in reports)

    wanted = unhedged(reports)

    for one in wanted:
        assert one.quantity > 0
        net[one.asset] += one.side.sign * one.quantity
        assert any(
            report.asset == one.asset
            and report.venue == one.venue
            and report.quantity * one.side.sign < 0
            and abs(report.quantity) >= one.quantity
            for report in reports
        )
    assert all(left == 0 for left in net.values())
    assert sorted(abs(report.quantity) for report in reports) == held


def test_all_of_it() -> None:
    """Every leg, hedged or not, by its own side."""
    wanted = everything([leg("okx", "1"), leg("binance", "-1"), leg("hl", "0")])

    assert brief(wanted) == [("okx", Side.SELL, Decimal(1)), ("binance", Side.BUY, Decimal(1))]
    assert set(by_venue(wanted)) == {"okx", "binance"}


@pytest.mark.parametrize(
    ("quantity", "mark", "side", "found"),
    [
        ("0.999", "100", Side.SELL, (Decimal("0.99"), Decimal("99.0"))),
        ("0.999", "100", Side.BUY, (Decimal("0.99"), Decimal("101.0"))),
        ("7", "100", Side.SELL, (Decimal("5.00"), Decimal("99.0"))),
        ("0.01", "100", Side.SELL, "at least 0.02"),
        ("0.001", "100", Side.SELL, "a positive multiple"),
        ("1", "0", Side.SELL, "no mark price"),
    ],
    ids=["sell", "buy", "too large", "below the minimum", "below the step", "no price"],
)
def test_sizes_and_prices(
    quantity: str, mark: str, side: Side, found: tuple[Decimal, Decimal] | str
) -> None:
    """On the venue's grid, bounded by the mark; what cannot be sent says why."""
    one = Reduction(
        venue="okx",
        symbol="BTC-USDT-SWAP",
        asset="BTC-PERP",
        side=side,
        position_side=PositionSide.NET,
        quantity=Decimal(quantity),
        mark=Decimal(mark),
    )
    size = sized(one, BTC, Decimal(100))
    if isinstance(found, str):
        assert isinstance(size, str)
        assert found in size
    else:
        assert size == found
