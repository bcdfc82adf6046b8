"""Orders by REST, dead man and stops."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from perpbot.domain.errors import (
    AuthFailed,
    InvalidValue,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
    VenueError,
)
from perpbot.domain.sides import OrderState, PositionSide, Purpose, Side
from perpbot.kernel.clock import RealClock
from perpbot.venues.okx.orders import PositionMode
from perpbot.venues.okx.venue import OkxVenue
from tests.venues.okx.loopback import LoopbackOkx, loopback_okx
from tests.venues.okx.rig import Sent, make_venue, refused
from tests.venues.okx.support import BTC, an_id, an_order


async def test_rest_stands_in_while_the_socket_is_down(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """Without a login the order goes by REST: signed, instId, deadline in the header."""
    server.rest["/api/v5/trade/order"] = [{"ordId": "3412", "clOrdId": an_id(), "sCode": "0"}]
    server.rest["/api/v5/trade/cancel-order"] = [{"ordId": "3412", "sCode": "0"}]
    order, sent = an_order(expires_ns=RealClock().now_ns() + 10**10), Sent()

    report = await venue.trading.submit(order, sent)
    await venue.trading.cancel(order, "3412")

    ((method, _, headers, body),) = server.asked("/api/v5/trade/order")
    assert method == "POST"
    assert headers["expTime"] == str(order.expires_ns // 10**6)
    assert headers["OK-ACCESS-KEY"] == "demo-key"
    assert json.loads(body)["instId"] == "BTC-USDT-SWAP"
    assert sent.times == 1
    assert (report.state, report.venue_order_id) == (OrderState.ACCEPTED, "3412")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(
            (200, '{"code":"50004","msg":"timeout","data":[]}'), OutcomeUnknown, id="50004"
        ),
        pytest.param((503, '{"code":"50001","msg":"down","data":[]}'), OutcomeUnknown, id="503"),
        pytest.param((502, "<html>"), OutcomeUnknown, id="502"),
        pytest.param((200, "<html>"), OutcomeUnknown, id="unreadable"),
        pytest.param((429, '{"code":"50011","msg":"slow","data":[]}'), RateLimited, id="429"),
        pytest.param((401, '{"code":"50113","msg":"sign","data":[]}'), AuthFailed, id="401"),
        pytest.param((200, json.dumps(refused("51121"))), Rejected, id="lot"),
        pytest.param(ConnectionError(), OutcomeUnknown, id="reset"),
    ],
)
async def test_rest_answers_become_errors(
    server: LoopbackOkx, venue: OkxVenue, answer: Any, kind: type[VenueError]
) -> None:
    """HTTP and codes together decide; nothing is tried again."""
    server.rest["/api/v5/trade/order"] = lambda *_: answer

    with pytest.raises(kind):
        await venue.trading.submit(an_order(), Sent())

    assert len(server.asked("/api/v5/trade/order")) == 1


async def test_an_order_whose_time_cannot_be_read_was_taken(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """What it says else is clear."""
    item = {"ordId": "3411", "clOrdId": an_id(), "sCode": "0", "sMsg": "", "ts": "9" * 30}
    server.rest["/api/v5/trade/order"] = [item]

    report = await venue.trading.submit(an_order(), Sent())

    assert (report.state, report.venue_order_id, report.venue_ns) == (
        OrderState.ACCEPTED,
        "3411",
        0,
    )


@pytest.mark.parametrize("price", ["NaN", "1e99", "x"])
async def test_an_index_that_is_no_number_is_no_rate(
    server: LoopbackOkx, venue: OkxVenue, price: str
) -> None:
    """Nothing is known then."""
    server.rest["/api/v5/market/index-tickers"] = [{"instId": "USDT-USD", "idxPx": price}]

    with pytest.raises(Unavailable, match="idxPx"):
        await venue.market_data.usd_rates(["USDT"])


async def test_order_that_cannot_leave_is_a_definite_refusal() -> None:
    """Nobody listens: nothing was sent, so nothing is unknown."""
    async with loopback_okx() as server:
        pass
    venue = make_venue(server)
    venue.catalogue.add([BTC])

    with pytest.raises(Rejected) as caught:
        await venue.trading.submit(an_order(), Sent())

    assert caught.value.code == "not_sent"
    await venue.close()


async def test_unknown_symbol_and_bad_numbers_never_leave(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """The last check before the wire."""
    for order in (an_order(symbol="BTC-USD-SWAP"), an_order(quantity=Decimal("0.00001"))):
        with pytest.raises(Rejected):
            await venue.trading.submit(order, Sent())

    assert not server.asked("/api/v5/trade/order")


async def test_dead_man(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Whole seconds, rounded up, within what OKX takes; 0 disarms."""
    path = "/api/v5/trade/cancel-all-after"
    server.rest[path] = [{"triggerTime": "1", "ts": "1"}]

    await venue.trading.set_dead_man(BTC, 29.5)

    assert json.loads(server.asked(path)[0][3]) == {"timeOut": "30"}
    for wrong in (0.5, -1, 5, 121):
        with pytest.raises(InvalidValue):
            await venue.trading.set_dead_man(BTC, wrong)


@pytest.mark.parametrize("readable", [True, False])
async def test_a_refusal_for_rate_holds_the_endpoint_for_its_retry_after(
    server: LoopbackOkx, venue: OkxVenue, monkeypatch: pytest.MonkeyPatch, *, readable: bool
) -> None:
    """Orders, reads and switches alike; without a header it is a window of the venue."""
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(
        venue.trading._budgets,
        "penalise_endpoint",
        lambda path, pause_s: told.append((path, pause_s)),
    )
    monkeypatch.setattr(
        venue.trading._budgets,
        "penalise_orders",
        lambda symbol, pause_s, account: told.append((f"{symbol} {account}", pause_s)),
    )
    order, timer = "/api/v5/trade/order", "/api/v5/trade/cancel-all-after"
    leverage, positions = "/api/v5/account/set-leverage", "/api/v5/account/positions"

    def refuse(*_: object) -> web.Response:
        code = "50061" if len(told) < 1 else "50011"
        text = f'{{"code":"{code}","msg":"slow","data":[]}}' if readable else "<html>"
        headers = {"Retry-After": str(3 + len(told))} if len(told) < 4 else {}
        return web.Response(status=429, headers=headers, text=text)

    for path in (order, timer, leverage, positions):
        server.rest[path] = refuse
    for ask in (
        lambda: venue.trading.submit(an_order(), Sent()),
        lambda: venue.trading.set_dead_man(BTC, 30),
        lambda: venue._set_leverage(BTC, 3),
        venue.account.positions,
        lambda: venue.trading.set_dead_man(BTC, 30),
    ):
        with pytest.raises((RateLimited, Unavailable)):
            await ask()

    assert told == [
        (f"BTC-USDT-SWAP {readable}", 3),
        (timer, 4),
        (leverage, 5),
        (positions, 6),
        (timer, 2),
    ]


async def test_refused_dead_man_is_told(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A switch that was not armed must not be taken for one."""
    refusal = (200, '{"code":"50111","msg":"key","data":[]}')
    server.rest["/api/v5/trade/cancel-all-after"] = refusal

    with pytest.raises(AuthFailed):
        await venue.trading.set_dead_man(BTC, 0)


async def test_stops(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A stop of the whole leg, one with a size, its list, its cancel; a refusal is in the item."""
    place = "/api/v5/trade/order-algo"
    server.rest[place] = [{"algoId": "88", "algoClOrdId": an_id(), "sCode": "0", "sMsg": ""}]
    order = an_order(side=Side.SELL, reduce_only=True, purpose=Purpose.PROTECT, price=None)
    sent = Sent()

    whole = await venue.trading.submit_stop(order, Decimal(60000), sent, whole_leg=True)
    venue.trading.mode = PositionMode.LONG_SHORT
    sized = await venue.trading.submit_stop(order, Decimal(60000), sent)

    terms = [json.loads(body) for _, _, _, body in server.asked(place)]
    shared = {
        "instId": "BTC-USDT-SWAP",
        "tdMode": "cross",
        "side": "sell",
        "ordType": "conditional",
        "algoClOrdId": an_id(),
        "slTriggerPx": "60000",
        "slTriggerPxType": "mark",
        "slOrdPx": "-1",
    }
    assert terms == [
        {**shared, "closeFraction": "1", "reduceOnly": True},
        {**shared, "sz": "1", "posSide": "long"},
    ]
    assert (whole.venue_order_id, whole.quantity) == ("88", None)
    assert (sized.position_side, sized.quantity) == (PositionSide.LONG, order.quantity)
    assert sent.times == 2

    server.rest[place] = [{"algoId": "", "sCode": "51000", "sMsg": "Parameter error"}]
    with pytest.raises(Rejected, match="Parameter error"):
        await venue.trading.submit_stop(order, Decimal(60000), sent)
    server.rest[place] = (429, '{"code":"50011","msg":"slow","data":[]}')
    with pytest.raises(RateLimited):
        await venue.trading.submit_stop(order, Decimal(60000), sent)
    with pytest.raises(Rejected, match="only reduces"):
        await venue.trading.submit_stop(an_order(), Decimal(60000), sent)

    server.rest["/api/v5/trade/cancel-algos"] = [{"algoId": "88", "sCode": "0"}]
    await venue.trading.cancel_stop(BTC, "88")
    stop = {"algoId": "88", "instId": "BTC-USDT-SWAP", "state": "live", "side": "sell"}
    server.rest["/api/v5/trade/orders-algo-pending"] = [
        {**stop, "algoClOrdId": an_id(), "slTriggerPx": "60000", "sz": "1"},
        {**stop, "instId": "BTC-USD-SWAP"},
    ]
    (waiting,) = await venue.trading.open_stops()
    assert (waiting.price, waiting.client_id) == (Decimal(60000), an_id())
    server.rest["/api/v5/trade/orders-algo-pending"] = [{**stop, "slTriggerPx": "x"}]
    with pytest.raises(Unavailable):
        await venue.trading.open_stops()
