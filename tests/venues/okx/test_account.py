"""The private stream, and questions about the account."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from perpbot.domain.errors import Unavailable
from perpbot.domain.events import AccountReported, ConnectionState, FillReported, OrderReported
from perpbot.kernel.clock import RealClock
from perpbot.venues.okx.venue import OkxVenue
from tests.venues.okx.loopback import LoopbackOkx
from tests.venues.okx.rig import INSTRUMENTS, running
from tests.venues.okx.support import INSTRUMENT_ROW, an_id, an_order
from tests.venues.okx.test_reports import ORDER
from tests.venues.waiting import until


async def test_private_pushes_become_reports(server: LoopbackOkx, venue: OkxVenue) -> None:
    """An order push gives the fill, then the order; positions and balances come as told."""
    async with running(venue) as heard:
        await until(lambda: server.said("subscribe"))
        await server.push(
            "private",
            {"arg": {"channel": "orders", "instType": "SWAP"}, "data": [ORDER]},
            {"arg": {"channel": "orders"}, "data": [{**ORDER, "instId": "BTC-USD-SWAP"}]},
            {
                "arg": {"channel": "positions"},
                "data": [{"instId": "BTC-USDT-SWAP", "pos": "0", "posSide": "net", "uTime": "1"}],
            },
            {
                "arg": {"channel": "account"},
                "data": [
                    {
                        "uTime": "1",
                        "details": [{"ccy": "USDT", "eq": "5", "cashBal": "5", "availEq": "5"}],
                    }
                ],
            },
            {"arg": {"channel": "account"}, "data": [{"uTime": "1", "details": []}]},
            {"arg": {"channel": "liquidation-warning"}, "data": []},
            {"event": "error", "code": "60018", "msg": "no such channel"},
            {"event": "channel-conn-count-error"},
            {},
            "nonsense",
        )
        await until(lambda: venue.account.refused["unreadable_frame"])

    kinds = [type(event) for event in heard.events]
    assert kinds.index(FillReported) < kinds.index(OrderReported)
    (fill,) = heard.of(FillReported)
    assert fill.report.quantity == Decimal("0.005")
    flat, money = heard.of(AccountReported)
    assert flat.positions[0].quantity == 0
    assert money.balances[0].equity == 5
    assert venue.account.refused == {
        "not_traded": 1,
        "unknown_channel": 1,
        "error_60018": 1,
        "error_channel-conn-count-error": 1,
        "unknown_frame": 1,
        "unreadable_frame": 1,
    }


async def test_unreadable_push_is_told_as_a_loss(server: LoopbackOkx, venue: OkxVenue) -> None:
    """What it said must be asked for, so a loss and a return are told; the socket stays."""
    async with running(venue) as heard:
        await server.push("private", {"arg": {"channel": "orders"}, "data": [{"ordId": 5}]})
        await until(lambda: len(heard.states) >= 3)

    assert heard.states[:3] == [ConnectionState.LIVE, ConnectionState.DOWN, ConnectionState.LIVE]
    assert venue.account.refused["unreadable_push"] == 1
    assert len(server.said("login")) == 1


async def test_private_service_notice_logs_in_again(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Notice 64008 on the private socket."""
    async with running(venue):
        await server.push("private", {"event": "notice", "code": "64008", "msg": "upgrade"})
        await until(lambda: len(server.said("login")) == 2)


async def test_order_query(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Found, definitely unknown, and not answered are three things."""
    path = "/api/v5/trade/order"
    server.rest[path] = [{**ORDER, "tradeId": ""}]
    found = await venue.account.order(an_order(), "")
    server.rest[path] = (200, '{"code":"51603","msg":"Order does not exist","data":[]}')
    absent = await venue.account.order(an_order(client_id=""), "3411")

    assert found is not None
    assert found.filled == Decimal("0.015")
    assert absent is None
    assert f"clOrdId={an_id()}" in server.asked(path)[0][1]
    assert "ordId=3411" in server.asked(path)[1][1]
    for answer in (
        (500, ""),
        [],
        [{**ORDER, "state": "odd"}],
        [{**ORDER, "instId": "X"}],
        (200, '{"code":"50011","msg":"slow","data":[]}'),
    ):
        server.rest[path] = answer
        with pytest.raises(Unavailable):
            await venue.account.order(an_order(), "")


async def test_open_orders_are_paged(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Each full page asks for the next one; our orders and others' are told apart."""
    rows = [
        {**ORDER, "ordId": str(1_000 - n), "clOrdId": "b1" if n else an_id()} for n in range(450)
    ]

    def page(request: Any, _body: str) -> list[dict[str, Any]]:
        after = int(request.query.get("after", "2000"))
        return [row for row in rows if int(row["ordId"]) < after][:100]

    server.rest["/api/v5/trade/orders-pending"] = page

    found = await venue.account.open_orders()

    assert [one.venue_order_id for one in found] == [row["ordId"] for row in rows]
    assert [one.client_id for one in found[:2]] == [an_id(), ""]


async def test_pages_that_do_not_end_are_unavailable(server: LoopbackOkx, venue: OkxVenue) -> None:
    """A venue that answers the same page again is not believed."""
    server.rest["/api/v5/trade/orders-pending"] = [ORDER] * 100

    with pytest.raises(Unavailable, match="next page"):
        await venue.account.open_orders()


FILL = {
    "instId": "BTC-USDT-SWAP",
    "tradeId": "9001",
    "ordId": "3411",
    "clOrdId": "",
    "billId": "1",
    "side": "sell",
    "posSide": "net",
    "fillPx": "65012",
    "fillSz": "0.5",
    "fee": "-0.0163",
    "feeCcy": "USDT",
    "execType": "T",
}


async def test_fills_and_funding_since(server: LoopbackOkx, venue: OkxVenue) -> None:
    """Oldest first, nothing from before; old questions go to the archive."""
    now_ms = RealClock().now_ns() // 10**6
    recent, old = (now_ms - 1_000) * 10**6, (now_ms - 10 * 86_400_000) * 10**6
    fills = [{**FILL, "ts": str(now_ms - age)} for age in (100, 900, 5_000)]
    bills = [
        {
            "billId": str(age),
            "instId": "BTC-USDT-SWAP",
            "ccy": "USDT",
            "balChg": "-1",
            "ts": str(now_ms - age),
        }
        for age in (100, 900, 5_000)
    ]
    server.rest |= {
        "/api/v5/trade/fills": fills,
        "/api/v5/trade/fills-history": fills,
        "/api/v5/account/bills": bills,
        "/api/v5/account/bills-archive": bills,
    }

    found = await venue.account.fills(recent)
    paid = await venue.account.funding(recent)

    assert [fill.venue_ns // 10**6 for fill in found] == [now_ms - 900, now_ms - 100]
    assert [payment.payment_id for payment in paid] == ["900", "100"]
    assert len(await venue.account.fills(old)) == 3
    assert len(await venue.account.funding(old)) == 3
    assert len(server.asked("/api/v5/trade/fills-history")) == 1
    assert "type=8" in server.asked("/api/v5/account/bills-archive")[0][1]


async def test_positions_leave_out_flat_and_foreign_legs(
    server: LoopbackOkx, venue: OkxVenue
) -> None:
    """Inverse swaps are counted; a swap that is not known yet is looked up first."""
    path = "/api/v5/account/positions"
    server.rest[INSTRUMENTS] = [
        INSTRUMENT_ROW,
        {**INSTRUMENT_ROW, "instId": "BTC-USD-SWAP", "ctType": "inverse"},
        {**INSTRUMENT_ROW, "instId": "NEW-USDT-SWAP", "uly": "NEW-USDT", "ctValCcy": "NEW"},
    ]
    leg = {"posSide": "net", "avgPx": "1", "uTime": "1"}
    server.rest[path] = [
        {**leg, "instId": "BTC-USDT-SWAP", "pos": "0"},
        {**leg, "instId": "BTC-USD-SWAP", "pos": "7"},
        {**leg, "instId": "NEW-USDT-SWAP", "pos": "-3"},
    ]

    (found,) = await venue.account.positions()

    assert (found.symbol, found.quantity) == ("NEW-USDT-SWAP", Decimal("-0.03"))
    assert venue.account.refused == {"not_traded": 1}
    server.rest[path] = [{**leg, "instId": "GONE-USDT-SWAP", "pos": "1"}]
    with pytest.raises(Unavailable, match="GONE"):
        await venue.account.positions()
    server.rest[path] = [{**leg, "instId": "BTC-USDT-SWAP", "pos": "NaN"}]
    with pytest.raises(Unavailable):
        await venue.account.positions()


async def test_balances(server: LoopbackOkx, venue: OkxVenue) -> None:
    """An answer without an account is no empty account."""
    path = "/api/v5/account/balance"
    server.rest[path] = [{"details": [{"ccy": "USDT", "eq": "9", "cashBal": "8", "availEq": "7"}]}]
    (found,) = await venue.account.balances()
    server.rest[path] = []

    assert [str(one) for one in (found.equity, found.wallet, found.free)] == ["9", "8", "7"]
    with pytest.raises(Unavailable):
        await venue.account.balances()
