"""A matrix of requests that must change nothing, and the few that must.

Each hostile request is the good one with one or two things wrong: token, Host, Origin, content,
time, id, method, path, size. The good one is accepted in the same set-up, so that no refusal is
for want of something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from perpbot.console.access import Gate
from perpbot.console.api import make_api
from perpbot.console.guard import Application
from perpbot.console.server import ConsoleServer
from perpbot.console.state import ConsoleState
from perpbot.domain.events import KillSwitchCleared, KillSwitchEngaged
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.world import World
from tests.unit.console.asking import (
    HOST,
    KILL,
    START_NS,
    TOKEN,
    Call,
    StandingClock,
    ask,
    change_headers,
    good,
)
from tests.unit.operations.small_world import small_world, sources

Change = Callable[[Call], Call]

CLEAR = "/api/v1/control/clear"
CLEAR_BODY = b'{"reason": "test"}'


def header(**headers: str | list[str] | None) -> Change:
    """Return a change of headers."""
    return lambda call: call.having(**headers)


def content(body: bytes) -> Change:
    """Return a change of the body."""
    return lambda call: replace(call, body=body)


def by(method: str) -> Change:
    """Return a change of the method."""
    return lambda call: replace(call, method=method)


def at(path: str, query: str = "") -> Change:
    """Return a change of the target."""
    return lambda call: replace(call, path=path, query=query)


def clock_ms(offset_s: float) -> str:
    """Return a time beside the console's."""
    return str((START_NS + int(offset_s * SECOND)) // MS)


TOKENS: dict[str, Change] = {
    "no token": header(authorization=None),
    "empty token": header(authorization="Bearer "),
    "wrong token": header(authorization="Bearer " + "u" * 40),
    "cut token": header(authorization="Bearer " + TOKEN[:-1]),
    "longer token": header(authorization=f"Bearer {TOKEN}t"),
    "another case": header(authorization=f"Bearer {TOKEN.upper()}"),
    "basic": header(authorization=f"Basic {TOKEN}"),
    "bare token": header(authorization=TOKEN),
    "two tokens": header(authorization=[f"Bearer {TOKEN}", "Bearer " + "u" * 40]),
    "token in a cookie": header(authorization=None, cookie=f"token={TOKEN}"),
    "token in another header": header(authorization=None, x_api_key=TOKEN),
    "token in the address": lambda call: replace(call, query=f"token={TOKEN}").having(
        authorization=None
    ),
    "token in both": lambda call: replace(call, query=f"access_token={TOKEN}"),
    "token that is not ascii": header(authorization="Bearer t\u00fct"),
}
HOSTS: dict[str, Change] = {
    "no host": header(host=None),
    "empty host": header(host=""),
    "rebound name": header(host="evil.example:8000"),
    "name without port": header(host="localhost"),
    "another port": header(host="127.0.0.1:8001"),
    "another address": header(host="10.0.0.1:8000"),
    "a name that begins alike": header(host="localhost.evil.example:8000"),
    "a user before the host": header(host="localhost:8000@evil.example"),
    "trailing dot": header(host="localhost.:8000"),
    "two hosts": header(host=[HOST, "evil.example:8000"]),
    "a list of hosts": header(host=f"{HOST}, evil.example"),
    "any address": header(host="0.0.0.0:8000"),
}
ORIGINS: dict[str, Change] = {
    "another page": header(origin="http://evil.example"),
    "a page without origin": header(origin="null"),
    "an empty origin": header(origin=""),
    "another port of this host": header(origin="http://127.0.0.1:3000"),
    "another name of this machine": header(origin="http://localhost:8000"),
    "another scheme": header(origin=f"https://{HOST}"),
    "a file": header(origin="file://"),
    "an extension": header(origin="chrome-extension://abcdef"),
    "a name that begins alike": header(origin=f"http://{HOST}.evil.example"),
    "a user before the host": header(origin=f"http://{HOST}@evil.example"),
    "two origins": header(origin=[f"http://{HOST}", "http://evil.example"]),
    "cross-site by fetch metadata": header(sec_fetch_site="cross-site"),
    "same-site by fetch metadata": header(sec_fetch_site="same-site"),
}
CONTENTS: dict[str, Change] = {
    "a form": header(content_type="application/x-www-form-urlencoded"),
    "a multipart form": header(content_type="multipart/form-data; boundary=x"),
    "plain text": header(content_type="text/plain"),
    "no type": header(content_type=None),
    "two types": header(content_type=["application/json", "text/plain"]),
    "a type that begins alike": header(content_type="application/jsonx"),
    "empty": content(b""),
    "not json": content(b"level=1&reason=x"),
    "a list": content(b"[]"),
    "null": content(b"null"),
    "level 0": content(b'{"level": 0, "reason": "x"}'),
    "level 6": content(b'{"level": 6, "reason": "x"}'),
    "level as text": content(b'{"level": "1", "reason": "x"}'),
    "level as a fraction": content(b'{"level": 1.5, "reason": "x"}'),
    "level as truth": content(b'{"level": true, "reason": "x"}'),
    "level beyond numbers": content(b'{"level": 1e400, "reason": "x"}'),
    "level not a number": content(b'{"level": NaN, "reason": "x"}'),
    "no reason": content(b'{"level": 1}'),
    "empty reason": content(b'{"level": 1, "reason": ""}'),
    "endless reason": content(b'{"level": 1, "reason": "' + b"x" * 201 + b'"}'),
    "one key too many": content(b'{"level": 1, "reason": "x", "clear": true}'),
    "cut": content(b'{"level": 1, "reason": "x"'),
    "not utf-8": content(b'{"level": 1, "reason": "\xff"}'),
    "deeply nested": content(b"[" * 8_000 + b"]" * 8_000),
    "huge": content(b'{"level": 1, "reason": "x"}' + b" " * 20_000),
    "a huge length": header(content_length="99999999"),
    "a length that is none": header(content_length="-1"),
}
ONCE: dict[str, Change] = {
    "no time": header(x_perpbot_time=None),
    "no id": header(idempotency_key=None),
    "neither": header(x_perpbot_time=None, idempotency_key=None),
    "too old": header(x_perpbot_time=clock_ms(-31)),
    "an hour old": header(x_perpbot_time=clock_ms(-3600)),
    "from the future": header(x_perpbot_time=clock_ms(31)),
    "seconds for milliseconds": header(x_perpbot_time=str(START_NS // SECOND)),
    "nanoseconds": header(x_perpbot_time=str(START_NS)),
    "time as text": header(x_perpbot_time="now"),
    "time with a sign": header(x_perpbot_time="+" + clock_ms(0)),
    "time in other digits": header(x_perpbot_time="\u00b9\u00b2\u00b3"),
    "two times": header(x_perpbot_time=[clock_ms(0), clock_ms(1)]),
    "a short id": header(idempotency_key="abc"),
    "a long id": header(idempotency_key="a" * 65),
    "an id with a space": header(idempotency_key="aaaaaaaa aaaaaaaa"),
    "two ids": header(idempotency_key=["a" * 20, "b" * 20]),
    "a moment before the console began": header(x_perpbot_time=clock_ms(-0.001)),
}
METHODS: dict[str, Change] = {
    method: by(method)
    for method in (
        "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "post",
        "POST ", "PROPFIND",
    )
}  # fmt: skip
PATHS: dict[str, Change] = {
    path: at(path)
    for path in (
        "/", "/api/v1/control", "/api/v1/control/", KILL + "/", "/" + KILL, KILL.upper(),
        "/api/v1/../v1/control/kill", KILL + "%00", KILL + ";a=b", "/api/v2/control/kill",
        "/api/v1/overview", "/api/v1/journal", "/health/live", "/health/ready", "/metrics",
        "/openapi.json", "/docs", KILL + "?level=1", KILL + "#", "x", "",
    )
}  # fmt: skip
OTHERS: dict[str, Change] = {
    "a websocket": header(upgrade="websocket", connection="upgrade"),
    "an upgrade to h2c": header(upgrade="h2c"),
    "an endless address": at(KILL, "a=" + "b" * 5_000),
    "a key in the address": at(KILL, "api_key=x"),
    "a password in the address": at(KILL, "PASSWORD=x"),
}
KINDS: dict[str, dict[str, Change]] = {
    "token": TOKENS,
    "host": HOSTS,
    "origin": ORIGINS,
    "content": CONTENTS,
    "once": ONCE,
    "method": METHODS,
    "path": PATHS,
    "other": OTHERS,
}


def matrix() -> Iterator[tuple[str, Call]]:
    """Yield every single fault, and pairs of faults of two kinds."""
    for kind, faults in KINDS.items():
        for name, change in faults.items():
            yield f"{kind}: {name}", change(good())
    for kind in ("token", "host", "origin", "once", "method", "other"):
        for name, change in KINDS[kind].items():
            clearing = replace(good(), path=CLEAR, body=CLEAR_BODY)
            yield f"clear, {kind}: {name}", change(clearing)
    for name in ("a form", "plain text", "empty", "not json", "a list", "no reason"):
        yield f"clear, content: {name}", replace(CONTENTS[name](good()), path=CLEAR)
    for first, second in combinations(("token", "host", "origin", "once", "method"), 2):
        for (name, change), (other, more) in zip(
            list(KINDS[first].items()), list(KINDS[second].items()), strict=False
        ):
            yield f"{first}: {name}; {second}: {other}", more(change(good()))


CASES = list(matrix())


class Console:
    """An application before a real core."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = StandingClock()
        self.engaged: list[KillSwitchEngaged] = []
        self.cleared: list[KillSwitchCleared] = []
        self.state = ConsoleState(sources(world))
        world.core.bus.subscribe(KillSwitchEngaged, self.engaged.append)
        world.core.bus.subscribe(KillSwitchCleared, self.cleared.append)
        self.app = self.restarted()

    def restarted(self) -> Application:
        """Return the application of a console that has just begun."""
        gate = Gate("127.0.0.1", 8000, TOKEN, clock=self.clock)
        return make_api(self.state, gate, lambda: b"perpbot_info 1\n")


@pytest.fixture(scope="module")
def world() -> World:
    """One core for all: nothing may change it."""
    return small_world()


def test_the_matrix_is_large() -> None:
    """Two hundred and more, each once."""
    assert len({name for name, _ in CASES}) == len(CASES) >= 200


@pytest.mark.parametrize("call", [call for _, call in CASES], ids=[name for name, _ in CASES])
async def test_a_hostile_request_changes_nothing(world: World, call: Call) -> None:
    """Nor is it told that it did; every answer is hardened, none opens itself to other pages."""
    console = Console(world)

    answer = await ask(console.app, call)

    assert console.engaged == []
    assert console.cleared == []
    assert world.core.folds.latches.kill_level == 0
    harmless = call.method in {"GET", "HEAD"} and call.path in {"/health/live", "/metrics"}
    assert answer.status >= 400 or harmless, answer
    assert TOKEN.encode() not in answer.body
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.fixture
def console() -> Console:
    """A core of its own, for what does change it."""
    return Console(small_world())


GOOD: dict[str, Change] = {
    "as it is": header(),
    "from our own page": header(origin=f"http://{HOST}", sec_fetch_site="same-origin"),
    "by another name of this machine": header(host="localhost:8000"),
    "by its IPv6 name": header(host="[::1]:8000"),
    "with a charset": header(content_type="application/json; charset=utf-8"),
    "with lower-case bearer": header(authorization=f"bearer {TOKEN}"),
    "by a clock that is late": header(x_perpbot_time=clock_ms(0)),
    "by a clock that is early": header(x_perpbot_time=clock_ms(29)),
}


@pytest.mark.parametrize("change", GOOD.values(), ids=list(GOOD))
async def test_a_good_request_is_taken(console: Console, change: Change) -> None:
    """The positive controls: what the matrix refuses is refused for its fault."""
    answer = await ask(console.app, change(good()))

    assert (answer.status, answer.json()) == (200, {"level": 1, "venue": "", "engaged": True})
    assert [event.level for event in console.engaged] == [1]


REPLAYS: dict[str, Change] = {
    "byte for byte": header(),
    "with another body": content(b'{"level": 5, "reason": "more"}'),
    "with another time": header(x_perpbot_time=clock_ms(5)),
    "from another address": lambda call: replace(call, client="127.0.0.9"),
    "by another name of this machine": header(host="localhost:8000"),
    "with a query": at(KILL, "again=1"),
}


@pytest.mark.parametrize("wait_s", [0.0, 15.0, 29.0, 31.0, 59.0, 61.0, 3_600.0])
@pytest.mark.parametrize("change", REPLAYS.values(), ids=list(REPLAYS))
async def test_a_replay_is_never_taken_twice(
    console: Console, change: Change, wait_s: float
) -> None:
    """At once or later, changed or not."""
    call = good()
    assert (await ask(console.app, call)).status == 200
    console.clock.advance(wait_s)

    replayed = await ask(console.app, change(call))

    assert replayed.status == 409
    assert len(console.engaged) == 1


@pytest.mark.parametrize("back_s", [10.0, 61.0, 100.0, 10_000.0])
async def test_a_clock_put_back_brings_no_request_to_life(console: Console, back_s: float) -> None:
    """The ids are kept by a clock that never steps."""
    console.clock.advance(20_000)
    call = good(console.clock.now_ns())
    assert (await ask(console.app, call)).status == 200
    console.clock.wall_ns += int(back_s * SECOND)
    assert (await ask(console.app, call)).status == 409
    console.clock.wall_ns -= int(back_s * SECOND)

    assert (await ask(console.app, call)).status == 409
    assert len(console.engaged) == 1


async def test_a_clock_put_back_shuts_nobody_out(console: Console) -> None:
    """Who goes by the same clock can still stop the node."""
    console.clock.advance(5)
    console.clock.wall_ns -= 3_600 * SECOND

    assert (await ask(console.app, good(console.clock.now_ns()))).status == 200


async def test_a_restart_forgets_no_request(console: Console) -> None:
    """What was made before the console began is refused, seen or not."""
    call = good()
    assert (await ask(console.app, call)).status == 200
    console.clock.advance(1)

    again = console.restarted()

    assert (await ask(again, call)).status == 409
    assert (await ask(again, good(console.clock.now_ns()))).status == 200


async def test_ids_are_not_kept_for_ever(console: Console) -> None:
    """Bounded: as many changes a minute as no person makes, then room again."""
    gate = Gate("127.0.0.1", 8000, TOKEN, clock=console.clock)
    replays = gate._replays
    for number in range(4_096):
        assert replays.refusal(clock_ms(0), f"number-{number:016d}") is None
    full = replays.refusal(clock_ms(0), "one-more-is-too-many")
    assert full is not None
    assert full[0] == 429
    console.clock.advance(61)
    assert replays.refusal(clock_ms(61), "one-more-is-too-many") is None
    assert len(replays._seen) == 1


async def test_wrong_tokens_lock_an_address_out(console: Console) -> None:
    """The right token does not help while it lasts; others are not touched; it ends."""
    wrong = header(authorization="Bearer " + "u" * 40)
    for _ in range(5):
        assert (await ask(console.app, wrong(good()))).status == 401

    locked = await ask(console.app, good())
    assert locked.status == 429
    assert "60 s" in locked.json()["error"]
    assert console.engaged == []
    assert (await ask(console.app, replace(good(), client="10.0.0.9"))).status == 200
    console.clock.advance(59)
    assert (await ask(console.app, good(console.clock.now_ns()))).status == 429
    console.clock.advance(2)
    assert (await ask(console.app, good(console.clock.now_ns()))).status == 200
    assert len(console.engaged) == 2


async def test_probes_answer_while_an_address_is_locked_out(console: Console) -> None:
    """A watchdog must not take a lock for an ill node."""
    for _ in range(6):
        await ask(console.app, good().having(authorization="Bearer " + "u" * 40))

    probe = Call("GET", "/health/live", {"host": HOST}, b"")
    assert (await ask(console.app, probe)).status == 200


async def test_a_page_cannot_lock_its_visitor_out(console: Console) -> None:
    """Requests without a token are no guesses."""
    for _ in range(50):
        assert (await ask(console.app, good().having(authorization=None))).status == 401

    assert (await ask(console.app, good())).status == 200


async def test_the_switch_is_cleared_once_and_by_a_request_of_its_own(console: Console) -> None:
    """The id of a kill clears nothing, and a clear that comes again does nothing."""
    kill = good()
    assert (await ask(console.app, kill)).status == 200
    clear = replace(good(), path=CLEAR, body=CLEAR_BODY)

    borrowed = replace(clear, headers=kill.headers)
    assert (await ask(console.app, borrowed)).status == 409
    assert console.cleared == []
    assert (await ask(console.app, clear)).status == 200
    assert (await ask(console.app, clear)).status == 409
    assert len(console.cleared) == 1
    assert console.world.core.folds.latches.kill_level == 0


async def test_websockets_are_closed_and_other_scopes_ignored(console: Console) -> None:
    """There is nothing behind them."""
    sent = []

    async def send(message: object) -> None:
        sent.append(message)

    async def receive() -> dict[str, object]:
        raise AssertionError

    await console.app({"type": "websocket", "headers": []}, receive, send)
    await console.app({"type": "lifespan"}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_client_that_goes_away_changes_nothing(console: Console) -> None:
    """Half a body is no request."""
    parts = [{"type": "http.request", "body": b'{"level"', "more_body": True}]
    sent = []

    async def receive() -> dict[str, object]:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": KILL, "client": None,
        "headers": [(name.encode(), value.encode()) for name, value in good().pairs()],
    }  # fmt: skip
    await console.app(scope, receive, send)

    assert sent[0]["status"] == 413
    assert console.engaged == []


def raw(call: Call, *, body: bytes | None = None) -> bytes:
    """Return a request as bytes of HTTP/1.1."""
    content = call.body if body is None else body
    target = call.path + (f"?{call.query}" if call.query else "")
    lines = [f"{call.method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in call.pairs()]
    if "content-length" not in call.headers and "transfer-encoding" not in call.headers:
        lines.append(f"content-length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content


async def over_a_socket(port: int, data: bytes) -> bytes:
    """Send bytes, return what comes back until the server closes or says no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read(65_536)
    finally:
        writer.close()
        await writer.wait_closed()


def on_the_wire(port: int) -> dict[str, tuple[Call, bytes | None]]:
    """Return a sample of the matrix, and what only bytes can say."""

    def fresh(call: Call) -> Call:
        host = call.headers.get("host")
        return call.having(
            host=f"127.0.0.1:{port}" if host == HOST else host,
            connection="close",
        )

    step = [case for case in CASES if not any(c in case[1].path for c in "%#;") and case[1].path]
    sample = {name: (fresh(call), None) for name, call in step[::7] if is_http(call)}
    smuggled = fresh(good()).having(content_length="5", transfer_encoding="chunked")
    return sample | {
        "two lengths": (fresh(good()).having(content_length=["5", "30"]), None),
        "length and chunks": (smuggled, b"0\r\n\r\nPOST / HTTP/1.1\r\n\r\n"),
        "a header of 64 kB": (fresh(good()).having(x_a="a" * 65_000), None),
        "another site's address": (
            replace(fresh(good()), path=f"http://evil.example{KILL}"),
            None,
        ),
    }


def is_http(call: Call) -> bool:
    """Tell whether a request can be written down at all."""
    return call.method.isalpha() and call.method not in {"CONNECT", "HEAD"}


@pytest.mark.blocking
async def test_the_same_holds_over_real_sockets(console: Console) -> None:
    """Whole server, real bytes: nothing hostile is taken, the good request is."""
    served: list[Application] = []

    async def app(scope: object, receive: object, send: object) -> None:
        await served[-1](scope, receive, send)  # type: ignore[arg-type]

    server = ConsoleServer(app, "127.0.0.1", 0)
    task = asyncio.create_task(server.run())
    try:
        cases = on_the_wire(server.port)
        assert len(cases) > 25
        for name, (call, body) in cases.items():
            gate = Gate("127.0.0.1", server.port, TOKEN, clock=console.clock)
            served.append(make_api(console.state, gate, None))
            answer = await over_a_socket(server.port, raw(call, body=body))
            assert not answer.startswith(b"HTTP/1.1 2"), name
            assert console.engaged == [], name
        taken = good().having(
            host=f"127.0.0.1:{server.port}", connection="close", **change_headers()
        )
        answer = await over_a_socket(server.port, raw(taken))
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(console.engaged) == 1
        again = await over_a_socket(server.port, raw(taken))
        assert again.startswith(b"HTTP/1.1 409")
        assert len(console.engaged) == 1
        assert b"server:" not in answer.lower()
    finally:
        await server.stop(task)
