"""The API over a real server on a free port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from perpbot.console.access import Gate
from perpbot.console.api import VIEWS, make_api
from perpbot.console.server import ConsoleServer, PortUnavailable
from perpbot.console.state import ConsoleState
from perpbot.domain.events import AlertFired
from perpbot.operations.health import Health
from perpbot.research.world import World
from tests.unit.console.asking import HOST, Call, ask, change_headers
from tests.unit.operations.small_world import feed, rows, small_world, sources

TOKEN = "t" * 40


@pytest.fixture
def world() -> World:
    """A world with a pair at work."""
    made = small_world()
    feed(made, rows(25.0, gap_from_s=20.0))
    return made


@pytest.fixture
async def console(world: World) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a served console, token included."""
    state = ConsoleState(sources(world), lambda: Health(score=50.0))
    world.core.bus.publish(AlertFired(name="a", severity="low", text="t"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await guarded(scope, receive, send)

    server = ConsoleServer(app, "127.0.0.1", 0)
    guarded = make_api(state, Gate("127.0.0.1", server.port, TOKEN), lambda: b"perpbot_info 1\n")
    task = asyncio.create_task(server.run())
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        yield session
    await server.stop(task)


@pytest.mark.parametrize("name", VIEWS)
async def test_every_endpoint_answers_with_the_state(
    console: aiohttp.ClientSession, world: World, name: str
) -> None:
    """As JSON."""
    async with console.get(f"/api/v1/{name}") as answer:
        data = await answer.json()

    assert answer.status == 200
    assert isinstance(data, (dict, list))


async def test_figures_are_those_of_the_node(console: aiohttp.ClientSession, world: World) -> None:
    """Pairs, quotes, capital and risk as the core has them."""

    async def get(name: str) -> Any:
        async with console.get(f"/api/v1/{name}") as answer:
            return await answer.json()

    overview = await get("overview")
    pairs, quotes = await get("pairs"), await get("quotes")
    assert overview["pairs_open"] == len(world.core.folds.pairs) == len(pairs["open"]) > 0
    assert {row["venue"] for row in quotes} == {"binance", "okx"}
    assert all(row["bid"] < row["ask"] for row in quotes)
    assert {leg["venue"] for leg in (await get("positions"))["legs"]} == {"binance", "okx"}
    assert float((await get("capital"))["pools"]["arbitrage"]["in_use"]) > 0
    assert (await get("risk"))["venues"]["okx"]["may_open"]
    assert [row["kind"] for row in await get("journal")] == ["ALERT_FIRED"]
    assert [row["name"] for row in await get("alerts")] == ["a"]
    assert (await get("opportunities"))["evaluated"] > 0


async def test_without_a_token_nothing_is_told(console: aiohttp.ClientSession) -> None:
    """Not even whether a path exists."""
    for path in ("/api/v1/overview", "/openapi.json", "/nowhere"):
        async with console.get(path, headers={"Authorization": ""}) as answer:
            assert answer.status == 401
            assert "access-control-allow-origin" not in answer.headers


async def test_other_hosts_and_pages_are_refused(console: aiohttp.ClientSession) -> None:
    """By the Host and Origin headers."""
    async with console.get("/api/v1/overview", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 421
    async with console.get("/api/v1/overview", headers={"Origin": "http://evil"}) as answer:
        assert answer.status == 403


async def test_probes_and_metrics(console: aiohttp.ClientSession, world: World) -> None:
    """Probes without a token; a halted bus is not alive."""
    for path in ("/health/live", "/health/ready"):
        async with console.get(path, headers={"Authorization": ""}) as answer:
            assert answer.status == 200
    async with console.get("/metrics") as answer:
        assert await answer.text() == "perpbot_info 1\n"
    world.core.bus._halt = RuntimeError("gone")
    for path in ("/health/live", "/health/ready"):
        async with console.get(path) as answer:
            assert answer.status == 503


async def test_kill_is_engaged_and_journalled(
    console: aiohttp.ClientSession, world: World
) -> None:
    """The one write."""
    body = {"level": 1, "reason": "test"}
    async with console.post(
        "/api/v1/control/kill", json=body, headers=change_headers(time.time_ns())
    ) as answer:
        assert answer.status == 200

    assert world.core.folds.latches.kill_level == 1


async def test_the_latch_is_cleared_with_the_token_only(
    console: aiohttp.ClientSession, world: World
) -> None:
    """By whoever holds it, with a reason."""
    world.core.kill_switch.engage(2, actor="test", reason="test")
    for body, status in (({}, 422), ({"reason": ""}, 422), ({"reason": "over"}, 200)):
        assert world.core.folds.latches.kill_level == 2
        async with console.post(
            "/api/v1/control/clear", json=body, headers=change_headers(time.time_ns())
        ) as answer:
            assert answer.status == status

    assert world.core.folds.latches.kill_level == 0
    world.core.kill_switch.engage(2, actor="test", reason="test")
    async with console.post(
        "/api/v1/control/clear",
        json={"reason": "over"},
        headers={**change_headers(time.time_ns()), "Authorization": "Bearer wrong"},
    ) as answer:
        assert answer.status == 401
    assert world.core.folds.latches.kill_level == 2


async def test_a_halt_is_cleared_and_pauses_are_lifted(
    console: aiohttp.ClientSession, world: World
) -> None:
    """By whoever holds the token; what cannot be done is refused with its reason."""
    world.core.risk._latch("drawdown", "11 %", "10 %")
    latches = world.core.folds.latches
    for path, body, status in (
        ("halt/clear", {"rule": "dradown", "reason": "x"}, 409),
        ("halt/clear", {"rule": "drawdown"}, 422),
        ("halt/clear", {"rule": "drawdown", "reason": "looked at"}, 200),
        ("override", {"minutes": 0, "trades": 1, "reason": "x"}, 422),
        ("override", {"minutes": 5, "trades": 1, "reason": "x"}, 200),
    ):
        async with console.post(
            f"/api/v1/control/{path}", json=body, headers=change_headers(time.time_ns())
        ) as answer:
            assert answer.status == status, body
            if status == 409:
                assert "one of these was expected: drawdown" in await answer.text()

    assert latches.halts == {}
    assert latches.override is not None


@pytest.mark.parametrize(
    "body",
    [{"level": 0, "reason": "x"}, {"level": 6, "reason": "x"}, {"level": "1", "reason": "x"},
     {"level": 1}, {"level": 1, "reason": ""}, {"level": 1, "reason": "x", "more": 1}, [],
     {"level": 1, "reason": "x", "venue": "okxx"}, {"level": 5, "reason": "x", "venue": "okx"},
     {"level": 1, "reason": "x", "venue": 1}, {"level": 1, "reason": "x", "venue": "o" * 65}],
    ids=["low", "high", "text", "no reason", "empty reason", "unknown key", "a list",
         "unknown venue", "exit of a venue", "venue is a number", "endless venue"],
)  # fmt: skip
async def test_a_bad_kill_is_refused(
    console: aiohttp.ClientSession, world: World, body: object
) -> None:
    """And nothing happens."""
    async with console.post(
        "/api/v1/control/kill", json=body, headers=change_headers(time.time_ns())
    ) as answer:
        assert answer.status == 422

    assert world.core.folds.latches.kill_level == 0


async def test_one_venue_is_killed_and_cleared(
    console: aiohttp.ClientSession, world: World
) -> None:
    """By its name; the rest of the node trades on."""
    latches = world.core.folds.latches

    async def post(what: str, body: object) -> tuple[int, Any]:
        async with console.post(
            f"/api/v1/control/{what}", json=body, headers=change_headers(time.time_ns())
        ) as answer:
            return answer.status, await answer.json()

    for venue in ("okx", "binance"):
        status, _ = await post("kill", {"level": 2, "reason": "x", "venue": venue})
        assert status == 200
    assert (latches.kill_level, list(latches.venue_kills)) == (0, ["okx", "binance"])
    async with console.get("/api/v1/risk") as answer:
        kills = (await answer.json())["venue_kills"]
    assert kills["okx"] == {"level": 2, "reason": "x"}

    status, told = await post("clear", {"reason": "over", "venue": "okxx"})
    assert (status, "venue was 'okxx', one of" in told["error"]) == (422, True)
    assert (await post("clear", {"reason": "over", "venue": "okx"}))[0] == 200
    assert list(latches.venue_kills) == ["binance"]
    assert (await post("clear", {"reason": "over"}))[0] == 200
    assert not latches.venue_kills


async def test_a_kill_by_get_is_refused(console: aiohttp.ClientSession) -> None:
    """Opening a page never kills."""
    async with console.get("/api/v1/control/kill") as answer:
        assert answer.status == 405


@pytest.mark.parametrize(("mode", "status"), [("paper", 200), ("live", 404)])
async def test_the_console_describes_itself_only_where_no_money_moves(
    world: World, mode: str, status: int
) -> None:
    """No list of paths in live."""
    state = ConsoleState(replace(sources(world), mode=mode))
    app = make_api(state, Gate("127.0.0.1", 8000, TOKEN), None)
    headers = {"host": HOST, "authorization": f"Bearer {TOKEN}"}

    answer = await ask(app, Call("GET", "/openapi.json", headers, b""))

    assert answer.status == status


async def test_a_used_port_says_what_to_do(console: aiohttp.ClientSession) -> None:
    """The node catches it and goes on without a console."""
    port = console._base_url.port  # type: ignore[union-attr]
    assert port is not None

    with pytest.raises(PortUnavailable, match=r"console\.port"):
        ConsoleServer(lambda *_: asyncio.sleep(0), "127.0.0.1", port)
