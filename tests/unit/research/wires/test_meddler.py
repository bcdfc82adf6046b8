from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from perpbot.kernel.clock import MS, SECOND
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import START_NS, Fault, Plan
from perpbot.research.chaos.wires.meddler import HUGE, PlannedMeddler
from perpbot.research.chaos.wires.plan import draw
from perpbot.simulation.virtual.pipes import Pipe

BOOK = b'{"e":"depthUpdate","s":"BTCUSDT","pu":7,"u":9}'
ORDER = b'{"id":"5","op":"order","args":[]}'
REPLY = b'{"id":"5","op":"order","code":"0","data":[]}'
FILL = b'{"e":"ORDER_TRADE_UPDATE","o":{"i":3,"t":12,"s":"BTCUSDT"}}'


class Ear:
    """A client as far as a meddler looks at it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.cut_because = ""
        self.request = make_mocked_request("GET", "/ws")

    def send_value(self, value: Any) -> None:
        """Keep it."""
        self.told.append(value)

    def cut(self, because: str) -> None:
        """Note it."""
        self.cut_because = because


class Desk:
    """A meddler under one fault that always strikes."""

    def __init__(self, row: str, variant: int = 0, venue: str = "binance") -> None:
        fault = Fault(
            row=row, venue=venue, asset="BTC-PERP", start_ns=START_NS, stop_ns=START_NS + SECOND,
            intensity=10.0, variant=variant, numbers=(1,),
        )  # fmt: skip
        plan: Plan = msgspec.structs.replace(draw(1), faults=(fault,))
        self.row = row
        self.now_ns = START_NS
        self.counters = Counters()
        self.violations: list[str] = []
        self.nonces: list[int] = []
        self.ear: Any = Ear()
        self.pipe: Any = None
        """What requests come by, where that matters."""
        self.meddler = PlannedMeddler(
            plan, venue, lambda: self.now_ns, self.counters, self.violations.append,
            self.nonces.append,
        )  # fmt: skip

    @property
    def hits(self) -> int:
        """How often the row was counted."""
        return self.counters.rows[self.row]

    def said(self, frame: bytes) -> list[bytes]:
        """What goes out."""
        return list(self.meddler.said(self.ear, frame))

    async def ask(self, path: str = "/x", method: str = "GET", **headers: str) -> web.Response:
        """Return the answer to a request whose handler says ok."""

        async def handler(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=b'{"price":"1.5","id":7}')

        request = make_mocked_request(method, path, headers=headers)
        if self.pipe is not None:
            setattr(request.protocol, "transport", self.pipe)  # noqa: B010 - read only
        answer = await self.meddler.answer(request, handler)
        assert isinstance(answer, web.Response)
        return answer


@pytest.mark.parametrize(
    ("variant", "out"),
    [(0, [[], []]), (1, [[BOOK, BOOK], [BOOK, BOOK]]), (2, [[], [b"x", BOOK]])],
    ids=["lost", "twice", "late"],
)
def test_row_4_breaks_the_order_of_books(variant: int, out: list[list[bytes]]) -> None:
    """A book update vanishes, comes twice, or after the frame that followed it."""
    desk = Desk("4", variant)
    assert desk.said(BOOK) == out[0]
    assert desk.said(b"x" if variant == 2 else BOOK) == out[1]
    assert desk.hits >= 1


def test_row_5_spoils_what_links_an_update_to_the_one_before() -> None:
    """Levels stay, the chain does not fit."""
    desk = Desk("5")
    assert desk.said(BOOK) == [BOOK.replace(b'"pu":7', b'"pu":8')]
    assert desk.said(b'{"channel":"books"}') == [b'{"channel":"books"}']
    assert desk.hits == 1


def test_row_6_swallows_a_request_or_its_answer() -> None:
    """By the variant; other frames pass."""
    request, answer = Desk("6", 0), Desk("6", 1)
    assert not request.meddler.heard(request.ear, ORDER)
    assert request.said(REPLY) == [REPLY]
    assert answer.meddler.heard(answer.ear, ORDER)
    assert answer.said(REPLY) == []
    assert answer.said(b"other") == [b"other"]
    assert (request.hits, answer.hits) == (1, 1)


async def test_row_7_answers_5xx_before_or_after_the_act() -> None:
    """502 for what was never done, 503 for what was; the socket breaks with the reply."""
    assert (await Desk("7", 0).ask()).status == 502
    assert (await Desk("7", 2).ask()).status == 503
    desk = Desk("7", 1)
    assert desk.said(REPLY) == []
    assert desk.ear.cut_because


@pytest.mark.parametrize(
    ("venue", "variant", "status", "told"),
    [
        ("binance", 1, 429, "2"),
        ("binance", 5, 418, "GMT"),
        ("okx", 3, 429, "GMT"),
        ("hyperliquid", 0, 429, "1"),
    ],
)
async def test_row_9_refuses_for_rate(venue: str, variant: int, status: int, told: str) -> None:
    """In seconds or as a date, in the words of the venue."""
    answer = await Desk("9", variant, venue).ask()
    assert answer.status == status
    assert told in answer.headers["Retry-After"]


class End:
    """One end of a connection as far as patience looks at it."""

    def __init__(self) -> None:
        self.written = self.taken = self.idle_ns = 0
        self.on_taken: Any = None


@pytest.mark.parametrize(
    ("venue", "variant", "free_ns", "other_path"),
    [
        ("binance", 2, 3 * SECOND, 1),
        ("binance", 5, 4 * SECOND, 1),
        ("okx", 2, 3 * SECOND, 0),
    ],
    ids=["of the whole venue", "until a date", "of a path"],
)
async def test_a_call_before_retry_after_is_a_violation(
    venue: str, variant: int, free_ns: int, other_path: int
) -> None:
    """Once its bytes were taken, until the time that it named, and no longer."""
    desk = Desk("9", variant, venue)
    client, server = End(), End()
    desk.pipe = Pipe.__new__(Pipe)
    desk.pipe.link = SimpleNamespace(client=client, server=server)
    desk.now_ns += MS
    await desk.ask()
    server.written = client.taken = 100
    client.on_taken()
    desk.now_ns = START_NS + 2 * SECOND
    await desk.ask("/y")
    assert len(desk.violations) == other_path
    await desk.ask()
    assert "before Retry-After was over" in desk.violations[0]
    desk.violations.clear()
    desk.now_ns = START_NS + free_ns + MS
    await desk.ask()
    assert desk.violations == []


async def test_a_new_node_was_told_nothing() -> None:
    """What a dead one heard binds no other."""
    desk = Desk("9", 2)
    client, server = End(), End()
    desk.pipe = Pipe.__new__(Pipe)
    desk.pipe.link = SimpleNamespace(client=client, server=server)
    await desk.ask()
    server.written = client.taken = 100
    client.on_taken()
    desk.meddler.forget()
    desk.now_ns += 2 * SECOND
    await desk.ask()
    assert desk.violations == []


def test_row_9_refuses_operations_on_the_socket() -> None:
    """OKX has a code for it."""
    desk = Desk("9", venue="okx")
    assert not desk.meddler.heard(desk.ear, ORDER)
    assert desk.ear.told[0]["code"] == "60014"


def test_row_16_tells_an_execution_under_another_id() -> None:
    """Alone or beside the true one; what has no execution stays as it is."""
    alone = Desk("16", 1).said(FILL)
    both = Desk("16", 0).said(FILL)
    assert len(alone) == 1
    assert b'"t":7000000012' in alone[0]
    assert both == [FILL, alone[0]]
    empty = FILL.replace(b'"t":12', b'"t":0')
    assert Desk("16", 0).said(empty) == [empty]


def test_row_20_spends_the_nonce_before_it_arrives() -> None:
    """As a second program with the same key does."""
    desk = Desk("20", venue="hyperliquid")
    post = b'{"method":"post","id":4,"request":{"payload":{"nonce":1234}}}'
    assert desk.meddler.heard(desk.ear, post)
    assert desk.nonces == [1234]


@pytest.mark.parametrize("variant", range(6))
def test_row_32_spoils_frames(variant: int) -> None:
    """Truncated, deep, huge, not a number, not UTF-8, too large a number."""
    frame = b'{"price":"1.5","size":"2.25","id":7,"n":8}'
    [spoilt] = Desk("32", variant).said(frame)
    assert spoilt != frame
    if variant == 2:
        assert len(spoilt) > HUGE
    if variant == 3:
        assert spoilt.count(b'"NaN"') == 2


async def test_row_32_spoils_answers() -> None:
    """The status stays."""
    answer = await Desk("32", 3).ask()
    assert answer.status == 200
    assert isinstance(answer.body, bytes)
    assert b"NaN" in answer.body


@pytest.mark.parametrize(
    ("venue", "headers", "status"),
    [
        ("binance", {"X-MBX-APIKEY": "k"}, 401),
        ("okx", {"OK-ACCESS-KEY": "k"}, 401),
        ("hyperliquid", {}, 200),
    ],
)
async def test_row_38_knows_the_key_no_more(
    venue: str, headers: dict[str, str], status: int
) -> None:
    """Private requests are refused, public ones are not; so are logins and posts."""
    desk = Desk("38", venue=venue)
    refused = await desk.ask("/exchange", **headers)
    assert (refused.status, desk.hits) == (status, 1)
    assert refused.body != b'{"price":"1.5","id":7}'
    assert (await desk.ask("/info")).body == b'{"price":"1.5","id":7}'
    assert not desk.meddler.heard(desk.ear, b'{"op":"login","args":[]}')
    assert not desk.meddler.heard(desk.ear, b'{"method":"post","id":4}')
    assert [told.get("code") for told in desk.ear.told] == ["60005", None]


async def test_a_storm_of_refused_logins_is_a_violation() -> None:
    """Three in ten seconds are let pass, however they are asked for; a new node begins anew."""
    desk = Desk("38", venue="binance")
    for _ in range(2):
        assert not desk.meddler.heard(desk.ear, b'{"op":"login","args":[]}')
    await desk.ask("/fapi/v1/listenKey", "POST", **{"X-MBX-APIKEY": "key"})
    assert desk.violations == []
    desk.meddler.forget()
    for _ in range(3):
        desk.meddler.heard(desk.ear, b'{"op":"login","args":[]}')
    assert desk.violations == []
    desk.meddler.heard(desk.ear, b'{"op":"login","args":[]}')
    assert "B10 4 logins at binance in 10 s" in desk.violations[0]


async def test_after_its_window_nothing_is_changed() -> None:
    """Everything passes."""
    for row in ("4", "5", "6", "7", "9", "16", "20", "32", "38"):
        desk = Desk(row)
        desk.now_ns += 2 * SECOND
        assert desk.said(BOOK) == [BOOK]
        assert desk.meddler.heard(desk.ear, ORDER)
        assert desk.meddler.heard(desk.ear, b'{"op":"login","args":[]}')
        assert (await desk.ask("/x", "POST")).status == 200
        assert desk.hits == 0
