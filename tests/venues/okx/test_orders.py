"""Order requests as bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from perpbot.domain.errors import Rejected
from perpbot.domain.sides import OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.venues.okx.orders import (
    PositionMode,
    cancel_body,
    cancel_frame,
    check,
    place_body,
    place_frame,
    position_side,
)
from tests.venues.okx.support import BTC, an_id, an_order

NET, HEDGE = PositionMode.NET, PositionMode.LONG_SHORT


def test_websocket_frame_has_the_code_and_no_name() -> None:
    """The golden frame: instIdCode, contracts, deadline in ms, our id as it is."""
    order = an_order(
        time_in_force=TimeInForce.POST_ONLY,
        expires_ns=1_795_225_231_208_999_999,
        price=Decimal("65000.10"),
    )

    assert place_frame("77", order, BTC, NET) == (
        b'{"id":"77","op":"order","args":[{"instIdCode":10459,"tdMode":"cross","side":"buy",'
        b'"ordType":"post_only","px":"65000.1","sz":"1","clOrdId":"' + an_id().encode() + b'",'
        b'"stpMode":"cancel_maker"}],"expTime":"1795225231208"}'
    )


def test_rest_body_has_the_name_and_no_code() -> None:
    """REST keeps instId; the deadline is not in the body."""
    order = an_order(expires_ns=1_795_225_231_208_000_000)

    assert msgspec.json.decode(place_body(order, BTC, NET)) == {
        "instId": "BTC-USDT-SWAP",
        "tdMode": "cross",
        "side": "buy",
        "ordType": "limit",
        "px": "65000",
        "sz": "1",
        "clOrdId": an_id(),
        "stpMode": "cancel_maker",
    }


def arguments(changes: dict[str, Any], mode: PositionMode) -> dict[str, Any]:
    """Return what a frame asks for."""
    frame: dict[str, Any] = msgspec.json.decode(place_frame("1", an_order(**changes), BTC, mode))
    found: dict[str, Any] = frame["args"][0]
    return found


@pytest.mark.parametrize(
    ("time_in_force", "kind"),
    [
        (TimeInForce.GTC, "limit"),
        (TimeInForce.IOC, "ioc"),
        (TimeInForce.FOK, "fok"),
        (TimeInForce.POST_ONLY, "post_only"),
    ],
)
def test_time_in_force_becomes_order_type(time_in_force: TimeInForce, kind: str) -> None:
    """OKX has one field for both."""
    assert arguments({"time_in_force": time_in_force}, NET)["ordType"] == kind


def test_market_order_has_no_price() -> None:
    """A market order goes without px, whatever the request carries."""
    found = arguments({"order_type": OrderType.MARKET, "time_in_force": TimeInForce.IOC}, NET)

    assert found["ordType"] == "market"
    assert "px" not in found


def test_reduce_only_is_said_in_net_mode_only() -> None:
    """In long/short mode the leg says it, and OKX refuses reduceOnly."""
    closing = {"side": Side.SELL, "reduce_only": True, "purpose": Purpose.REDUCE}

    assert arguments(closing, NET)["reduceOnly"] is True
    assert "posSide" not in arguments(closing, NET)
    assert "reduceOnly" not in arguments(closing, HEDGE)
    assert arguments(closing, HEDGE)["posSide"] == "long"


@pytest.mark.parametrize(
    ("side", "reduce_only", "named", "leg"),
    [
        (Side.BUY, False, PositionSide.NET, PositionSide.LONG),
        (Side.SELL, False, PositionSide.NET, PositionSide.SHORT),
        (Side.SELL, True, PositionSide.NET, PositionSide.LONG),
        (Side.BUY, True, PositionSide.NET, PositionSide.SHORT),
        (Side.BUY, True, PositionSide.LONG, PositionSide.LONG),
    ],
)
def test_leg_in_long_short_mode(
    side: Side, reduce_only: bool, named: PositionSide, leg: PositionSide
) -> None:
    """A named leg is taken; otherwise side and purpose imply it."""
    order = an_order(side=side, reduce_only=reduce_only, position_side=named)

    assert position_side(order, HEDGE) is leg


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"position_side": PositionSide.LONG}, id="leg-on-a-net-account"),
        pytest.param(
            {"order_type": OrderType.MARKET, "time_in_force": TimeInForce.POST_ONLY},
            id="post-only-market",
        ),
        pytest.param({"price": None}, id="limit-without-price"),
        pytest.param({"client_id": 'a","x":"'}, id="client-id-breaks-out"),
        pytest.param({"client_id": ""}, id="no-client-id"),
    ],
)
def test_impossible_orders_are_refused_before_sending(changes: dict[str, Any]) -> None:
    """What OKX does not have is a definite refusal of ours."""
    with pytest.raises(Rejected):
        place_frame("1", an_order(**changes), BTC, NET)


def test_instrument_without_code_cannot_go_by_websocket() -> None:
    """A missing instIdCode is found here, not by the venue."""
    with pytest.raises(Rejected, match="instIdCode"):
        place_frame("1", an_order(), msgspec.structs.replace(BTC, wire_code=0), NET)


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": Decimal("0.00005")},
        {"quantity": Decimal("0.0001")},
        {"price": Decimal("65000.05")},
        {"quantity": Decimal(2000)},
    ],
    ids=["lot", "minimum", "tick", "maximum"],
)
def test_numbers_off_the_grid_are_refused(changes: dict[str, Any]) -> None:
    """Lot, minimum, tick and maximum are checked in base coins."""
    with pytest.raises(Rejected) as caught:
        check(an_order(**changes), BTC)

    assert caught.value.code == "invalid_order"


def test_cancel_by_client_id() -> None:
    """Our id is all it takes."""
    assert msgspec.json.decode(cancel_frame("5", an_order(), "99", BTC)) == {
        "id": "5",
        "op": "cancel-order",
        "args": [{"instIdCode": 10459, "clOrdId": an_id()}],
    }


def test_cancel_of_an_order_without_our_id() -> None:
    """An order that carries no id of ours is cancelled by the venue's."""
    order = an_order(client_id="")

    assert msgspec.json.decode(cancel_body(order, "99")) == {
        "instId": "BTC-USDT-SWAP",
        "ordId": "99",
    }
    with pytest.raises(Rejected):
        cancel_body(order, "")
