from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import socket
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from perpbot.domain.errors import ConfigError, InvalidValue
from perpbot.domain.sides import OrderType, Side, TimeInForce
from perpbot.simulation.market import TEN_PERPS, MarketModel
from perpbot.simulation.model import Ticket
from perpbot.simulation.wire import __main__ as wire_main
from perpbot.simulation.wire import process as process_module
from perpbot.simulation.wire.control import Control
from perpbot.simulation.wire.fleet import Fleet, TapeMarket, venue_map
from perpbot.simulation.wire.process import ServersFailed, _end, _serve, launch, run_servers
from perpbot.simulation.wire.server import PortInUse, Serving, VenueServer, start

START_NS = 1_700_000_000_000_000_000
HEADER = "recv_ts,venue,symbol,bid,bid_size,ask,ask_size\n"
ROWS = (
    "1700000000.0,spot_x,BTC-USDT,100.0,1,100.2,1\n"
    "1700000000.5,usdm_y,BTCUSDT,101.0,2,101.2,2\n"
    "1700000001.0,spot_x,BTC-USDT,102.0,1,102.2,1\n"
)


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """A short tape of two venues."""
    path = tmp_path / "tape.csv.gz"
    path.write_bytes(gzip.compress((HEADER + ROWS).encode()))
    return path


def buy(symbol: str, quantity: str) -> Ticket:
    """A market order."""
    return Ticket(
        symbol=symbol,
        side=Side.BUY,
        order_type=OrderType.MARKET,
        quantity=Decimal(quantity),
        time_in_force=TimeInForce.IOC,
    )


# --- the fleet -----------------------------------------------------------------------------------


def test_market_moves_all_exchanges_from_the_start() -> None:
    """No book is empty when the servers begin to answer."""
    fleet = Fleet(["binance", "okx"], seed=1, clock_ns=HandClock())
    fleet.step()
    for exchange in fleet.exchanges.values():
        assert all(exchange.book(row.symbol).bids for row in exchange.contracts())


def test_same_seed_same_market_and_keys() -> None:
    """And keys that do not depend on the other venues."""

    def first(venues: list[str], seed: int) -> tuple[Any, Any]:
        fleet = Fleet(venues, seed=seed, clock_ns=HandClock())
        fleet.step()
        return fleet.exchanges["binance"].book("BTCUSDT"), fleet.servers[0].credentials()

    assert first(["binance"], 5) == first(["binance"], 5)
    assert first(["binance"], 5) != first(["binance"], 6)
    assert first(["binance", "okx"], 5)[1] == first(["binance"], 5)[1]


def test_summary_is_json_with_plain_decimals() -> None:
    """Money as strings; positions and open orders are told."""
    clock = HandClock()
    fleet = Fleet(["binance"], seed=1, clock_ns=clock, balance=Decimal(50_000))
    fleet.step()
    exchange = fleet.exchanges["binance"]
    exchange.submit("client", buy("BTCUSDT", "0.01"))
    summary = fleet.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["executions"] >= 1
    assert summary["positions"] == [
        {"venue": "binance", "account": "client", "asset": "BTC-PERP", "quantity": "0.01"}
    ]
    net = sum(Decimal(summary[name]) for name in ("price", "fees", "funding"))
    assert Decimal(summary["net"]) == net
    assert Decimal(summary["fees"]) < 0
    assert summary["open_orders"] == 0
    [balance] = exchange.balances("client")
    assert balance.wallet == Decimal(50_000) + Decimal(summary["fees"])


@pytest.mark.parametrize("venues", [[], ["okx", "okx"], ["nowhere"]])
def test_bad_venues_are_refused(venues: list[str]) -> None:
    """None, twice, unknown."""
    with pytest.raises(ConfigError, match=r"venues? w"):
        Fleet(venues, seed=1, clock_ns=HandClock())


async def test_used_port_stops_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers take one port after the other; the first does not stay behind the second."""
    asked: list[int] = []
    began: list[Serving] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        # Two neighbouring ports may be anyone's: one that is free now, then the one taken here.
        real = iter((0, taken.getsockname()[1]))

        async def start_there(server: VenueServer, *, port: int) -> Serving:
            asked.append(port)
            began.append(await start(server, port=next(real)))
            return began[-1]

        monkeypatch.setattr("perpbot.simulation.wire.fleet.start", start_there)
        fleet = Fleet(["binance", "okx"], seed=1, clock_ns=HandClock())
        with pytest.raises(PortInUse, match="okx: port "):
            await fleet.start(9_100)
    assert asked == [9_100, 9_101]
    [first] = began
    assert first._runner.addresses == []
    assert first._pump.cancelled()


async def test_failing_market_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is swallowed."""
    fleet = Fleet(["binance"], seed=1, clock_ns=HandClock())
    await fleet.start(0)

    def broken() -> None:
        raise RuntimeError("the market broke")

    monkeypatch.setattr(fleet, "step", broken)
    with pytest.raises(RuntimeError, match="the market broke"):
        await fleet.run()
    await fleet.stop()


async def test_failing_server_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first failure is told as it is."""
    fleet = Fleet(["binance"], seed=1, clock_ns=HandClock())

    def broken() -> None:
        raise RuntimeError("the server broke")

    monkeypatch.setattr(fleet.servers[0], "pump", broken)
    await fleet.start(0)
    with pytest.raises(RuntimeError, match="the server broke"):
        await fleet.run()
    await fleet.stop()


# --- tapes ---------------------------------------------------------------------------------------


def test_tape_plays_at_its_own_pace(tape: Path) -> None:
    """From now on, with the distances of its rows; at the end the last quotes stay."""
    clock = HandClock()
    fleet = Fleet(["okx", "binance"], seed=1, clock_ns=clock, tape=tape)
    okx, binance = fleet.exchanges["okx"], fleet.exchanges["binance"]
    fleet.step()
    assert okx.book("BTC-USDT-SWAP").bids[0][0] == 100
    assert not binance.book("BTCUSDT").bids
    clock.now_ns += 500_000_000
    fleet.step()
    assert binance.book("BTCUSDT").bids[0][0] == 101
    clock.now_ns += 10_000_000_000
    fleet.step()
    assert okx.book("BTC-USDT-SWAP").bids[0][0] == 102


def test_tape_venues_are_matched_by_name_first(tmp_path: Path) -> None:
    """Then by order of appearance."""
    path = tmp_path / "tape.csv"
    path.write_text(HEADER + ROWS.replace("usdm_y", "okx"), encoding="utf-8")
    assert venue_map(path, ["okx", "binance"]) == {"okx": "okx", "spot_x": "binance"}


def test_tape_with_too_few_venues_is_refused(tape: Path) -> None:
    """The message counts them."""
    with pytest.raises(ConfigError, match=r"2 venues \(spot_x, usdm_y\), 3 were asked for"):
        venue_map(tape, ["okx", "binance", "hyperliquid"])


def test_broken_tape_is_refused(tmp_path: Path) -> None:
    """With file and line."""
    path = tmp_path / "tape.csv"
    path.write_text("time,price\n1,2\n", encoding="utf-8")
    with pytest.raises(InvalidValue, match=r"tape\.csv:1: header"):
        TapeMarket(path, ["okx"], START_NS)


# --- the control ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status"),
    [("Bearer right", 200), ("Bearer wrong", 401), ("", 401), ("Bearer rîght", 401)],
    ids=["right", "wrong", "none", "not ascii"],
)
async def test_control_wants_its_token(header: str, status: int) -> None:
    """The accountant answers nobody else."""
    door = Control(Fleet(["binance"], seed=1, clock_ns=HandClock()), "right")
    url = await door.start()
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url + "/accountant", headers={"Authorization": header}) as answer,
        ):
            assert answer.status == status
            assert ("net" in await answer.json()) is (status == 200)
    finally:
        await door.stop()


def test_taken_orders_are_told_by_client_id() -> None:
    """How many orders came under an id, what they asked for and what was filled."""
    clock = HandClock()
    fleet = Fleet(["binance"], seed=1, clock_ns=clock, model=MarketModel(assets=TEN_PERPS[:1]))
    fleet.step()
    exchange = fleet.exchanges["binance"]
    assert not exchange.book("ETHUSDT").bids
    ticket = msgspec.structs.replace(buy("BTCUSDT", "0.002"), client_id="x-1")
    for _ in range(2):
        exchange.submit("client", ticket)
    (row,) = fleet.orders()
    assert row == {
        "venue": "binance",
        "client_id": "x-1",
        "taken": 2,
        "quantity": "0.004",
        "filled": "0.004",
    }


# --- the process ---------------------------------------------------------------------------------


async def test_launch_answer_and_stop() -> None:
    """The child serves all venues, answers for the accountant, and is gone afterwards."""
    running = await launch(["binance", "okx"], seed=3, model=MarketModel(assets=TEN_PERPS[:2]))
    try:
        assert [server.venue for server in running.servers] == ["binance", "okx"]
        found = running.server("binance")
        assert found.ws_url == found.rest_url.replace("http://", "ws://")
        assert set(found.credentials) == {"api_key", "api_secret"}
        async with aiohttp.ClientSession() as session:
            url = f"{found.rest_url}/fapi/v1/depth?symbol=BTCUSDT"
            async with session.get(url) as answer:
                assert (await answer.json())["bids"]
        assert (await running.accountant())["net"] == "0"
        assert await running.orders() == []
        assert running.pid > 0
        codes = [running.exit_code]
    finally:
        await running.stop()
    assert [*codes, running.exit_code] == [None, 0]
    with pytest.raises(ServersFailed, match="the accountant does not answer"):
        await running.accountant()
    await running.stop()


async def test_launch_tells_what_the_child_said() -> None:
    """A problem of the child is a problem of the caller, with its words."""
    with pytest.raises(ServersFailed, match="ended: simulate: venue was 'nowhere'"):
        await launch(["nowhere"], seed=1)


async def test_launch_gives_up_on_a_silent_child() -> None:
    """After the timeout, and the child is ended."""
    with pytest.raises(ServersFailed, match="said nothing for 0"):
        await launch(["binance"], seed=1, timeout_s=0)


async def test_serve_prints_its_lines_and_ends_by_signal() -> None:
    """One a server, then the control; the ports are closed afterwards."""
    out = io.StringIO()
    fleet = Fleet(["binance", "okx"], seed=1, clock_ns=time.time_ns)
    serving = asyncio.create_task(
        _serve(fleet, port_base=0, control=True, until_input_ends=False, out=out)
    )
    async with asyncio.timeout(30):
        while not out.getvalue():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        *servers, control = (json.loads(line) for line in out.getvalue().splitlines())
        assert [line["venue"] for line in servers] == ["binance", "okx"]
        assert set(control) == {"control", "token"}
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
    async with aiohttp.ClientSession() as session:
        for url in (servers[0]["rest_url"], control["control"]):
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url)


async def test_serve_ends_with_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before the end is passed over."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)
        fleet = Fleet(["binance"], seed=1, clock_ns=time.time_ns)
        serving = asyncio.create_task(
            _serve(fleet, port_base=0, control=False, until_input_ends=True, out=io.StringIO())
        )
        pipe.write("hello")
        pipe.close()
        async with asyncio.timeout(30):
            await serving


def test_run_servers_returns_0_when_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the end of its input, here."""
    reading, writing = os.pipe()
    os.close(writing)
    out = io.StringIO()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run_servers(["okx"], seed=1, until_input_ends=True, out=out) == 0
    assert json.loads(out.getvalue())["venue"] == "okx"


async def test_stubborn_child_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it does not end by itself in time."""
    monkeypatch.setattr(process_module, "STOP_TIMEOUT_S", 0.05)
    stubborn = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", stubborn), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await _end(process)
    assert process.returncode == -signal.SIGKILL


async def test_cancelled_launch_leaves_no_child() -> None:
    """The child is ended before the cancellation goes on."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15):
            await launch(["binance", "okx"], seed=1)


async def test_child_ends_when_its_input_ends() -> None:
    """So it never outlives its parent."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perpbot.simulation.wire", "binance", "--until-input-ends"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    line = json.loads(await process.stdout.readline())
    assert set(line) == {"venue", "rest_url", "ws_url", "credentials"}
    process.stdin.close()
    async with asyncio.timeout(30):
        assert await process.wait() == 0


async def test_child_ends_on_sigterm() -> None:
    """With exit code 0, and without a traceback."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perpbot.simulation.wire", "okx", "--seed=4"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline())["venue"] == "okx"
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert (process.returncode, said) == (0, b"")


def test_used_port_is_a_clear_error_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed on standard output."""
    out = io.StringIO()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run_servers(["binance"], seed=1, port_base=port, out=out) == 1
    assert out.getvalue() == ""
    said = capsys.readouterr().err
    assert said.startswith(f"simulate: binance: port {port} of 127.0.0.1 is in use")


def test_broken_gzip_tape_is_refused(tmp_path: Path) -> None:
    """As what it is."""
    path = tmp_path / "tape.csv.gz"
    path.write_bytes(gzip.compress((HEADER + ROWS).encode())[:-10])
    with pytest.raises(InvalidValue, match="broken gzip file"):
        venue_map(path, ["okx"])


def test_module_reads_its_arguments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m perpbot.simulation.wire` hands them on."""
    monkeypatch.setattr(sys, "argv", ["wire", "nowhere", "--seed=2", "--balance=5"])
    assert wire_main.main() == 1
    assert "venue was 'nowhere'" in capsys.readouterr().err


def test_missing_tape_is_a_clear_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 1 with the path."""
    path = tmp_path / "no.csv"
    assert run_servers(["binance"], seed=1, tape=path, out=io.StringIO()) == 1
    assert "no.csv" in capsys.readouterr().err
