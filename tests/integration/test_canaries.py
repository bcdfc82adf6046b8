"""No secret in anything that a node leaves behind, says or answers.

A whole node trades with canary credentials over real sockets, on its noisiest log level; its
exchanges are taken away under it, so that every library complains; every command looks at it. Then
everything written by anybody is searched for the secrets, in every form that libraries know.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import secrets
import signal
import sqlite3
import stat
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from typer.testing import CliRunner
from yarl import URL

from perpbot.cli.main import app
from perpbot.console.api import VIEWS
from perpbot.simulation.wire.process import RunningServers, launch
from tests.integration.test_run import PERPBOT, free_port

LIMIT_S = 40.0
VARIABLES = {
    ("binance", "api_key"): "BINANCE_API_KEY",
    ("binance", "api_secret"): "BINANCE_API_SECRET",
    ("okx", "api_key"): "OKX_API_KEY",
    ("okx", "api_secret"): "OKX_API_SECRET",
    ("okx", "passphrase"): "OKX_PASSPHRASE",
    ("hyperliquid", "private_key"): "HYPERLIQUID_PK",
    ("hyperliquid", "account_address"): "HYPERLIQUID_ACCOUNT_ADDRESS",
}
PUBLIC = {"HYPERLIQUID_ACCOUNT_ADDRESS"}
LOOKS = (
    ("status", "--json"),
    ("health", "--json"),
    ("doctor", "--json"),
    ("doctor",),
    ("config", "show"),
    ("config", "show", "--json"),
    ("config", "explain", "venues.okx.credentials"),
    ("config", "validate", "--json"),
    ("journal", "show", "--json"),
    ("journal", "verify", "--json"),
    ("trades", "export"),
    ("version", "--json"),
)


def wait_for(what: str, look: Callable[[], object]) -> None:
    """Wait until `look` gives something; a machine with much to do takes its time."""
    until = time.monotonic() + LIMIT_S
    while not look():
        if time.monotonic() > until:
            pytest.fail(f"no {what} in {LIMIT_S:g} s")
        time.sleep(0.1)


def written(secret: str) -> set[bytes]:
    """Return every way in which a secret may stand in a file; found without perpbot's own list."""
    forms = {
        secret,
        urllib.parse.quote(secret),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret)[1:-1],
        secret[::-1],
    }
    datas = [secret.encode()]
    bare = secret.removeprefix("0x")
    if len(bare) >= 32 and set(bare.lower()) <= set("0123456789abcdef"):
        forms |= {bare, bare.upper(), str(int(bare, 16))}
        datas.append(bytes.fromhex(bare))
    for data in datas:
        forms |= {data.hex(), data.hex().upper()}
        for before in (b"", b"x", b"xx"):
            whole = base64.b64encode(before + data).decode()
            cut = whole[4:-4] if before else whole[:-4]
            forms |= {cut, cut.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in forms if len(form) >= 8}


def leaks(canaries: Mapping[str, str], artefacts: Mapping[str, bytes]) -> list[str]:
    """Return which secret stands where."""
    forms = {name: written(secret) for name, secret in canaries.items()}
    return [
        f"{name} in {place}"
        for place, data in artefacts.items()
        for name, ways in forms.items()
        if any(way in data for way in ways)
    ]


def test_the_search_finds_what_is_there() -> None:
    """A search that finds nothing must be able to find something."""
    key = "0x" + secrets.token_hex(32)
    phrase = "pa ss/wo+rd=" + secrets.token_hex(8)
    canaries = {"key": key, "phrase": phrase}
    for text in (
        key,
        key[2:].upper(),
        str(int(key, 16)),
        base64.b64encode(b"x" + bytes.fromhex(key[2:])).decode(),
        f"https://x/?a={urllib.parse.quote(phrase)}",
        base64.b64encode(f"user:{phrase}".encode()).decode(),
        phrase.encode().hex(),
    ):
        assert leaks(canaries, {"a": f"before {text} after".encode()}), text


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory."""
    directory = tmp_path / "bot"
    directory.mkdir()
    return directory


def configure(place: Path, addresses: Mapping[str, tuple[str, str]], port: int) -> None:
    """Write a testnet configuration that leads to exchanges of our own."""
    venues = "".join(
        f"  {name}: {{rest_url: '{rest}', ws_url: '{ws}'}}\n"
        for name, (rest, ws) in addresses.items()
    )
    (place / "config.yaml").write_text(
        "mode: testnet\n"
        "logging: {level: debug}\n"
        "market: {symbols: [BTC-PERP, ETH-PERP, SOL-PERP], basis_window_s: 30,"
        " basis_warmup_s: 1}\n"
        "arbitrage: {min_edge_bps: 3, pair_notional_min_usd: 100, pair_notional_max_usd: 300}\n"
        f"console: {{port: {port}}}\n"
        f"venues:\n{venues}"
    )


def start(
    place: Path, environment: Mapping[str, str], said: Path, verb: str = "run"
) -> subprocess.Popen[bytes]:
    """Start a node or its guardian; what it says goes to a file."""
    with said.open("wb") as out:
        return subprocess.Popen(
            [*PERPBOT, verb, "--testnet"],
            cwd=place,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


def end(*processes: subprocess.Popen[bytes]) -> None:
    """Kill what still runs."""
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def perpbot(place: Path, environment: Mapping[str, str], *arguments: str) -> bytes:
    """Run a command to its end in this process; return all that it said."""
    with chdir(place):
        ended = CliRunner().invoke(app, list(arguments), env=dict(environment))
    assert ended.exception is None or isinstance(ended.exception, SystemExit), arguments
    return ended.output.encode()


def console_says(url: str, token: str) -> Iterator[tuple[str, bytes]]:
    """Yield what the console answers, headers included, to good and to bad requests."""
    for path in (
        *(f"/api/v1/{name}" for name in (*VIEWS, "nowhere")),
        "/metrics",
        "/health/ready",
    ):
        for headers in ({"Authorization": f"Bearer {token}"}, {}):
            asked = urllib.request.Request(url + path, headers=headers)  # noqa: S310 - loopback
            try:
                with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - loopback
                    yield path, str(answer.headers).encode() + answer.read()
            except urllib.error.HTTPError as refused:
                with refused:
                    yield path, str(refused.headers).encode() + refused.read()


def files_of(place: Path) -> dict[str, bytes]:
    """Return everything below a directory; a database as bytes and as text."""
    found = {}
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.name != "console.token":
            found[str(path.relative_to(place))] = path.read_bytes()
        if path.name == "records.db":
            with sqlite3.connect(path) as database:
                found[f"{path.name} as text"] = "\n".join(database.iterdump()).encode()
            database.close()
    return found


def shared_paths(place: Path) -> list[str]:
    """Return what others could read or enter below a node's directories."""
    return [
        f"{path.relative_to(place)} {stat.S_IMODE(path.stat().st_mode):o}"
        for root in (place / "state" / "testnet", place / "logs" / "testnet")
        for path in (root, *root.rglob("*"))
        if path.stat().st_mode & 0o077
    ]


def credentials_of(servers: RunningServers) -> dict[str, str]:
    """Return the canaries by the variables that carry them."""
    return {
        VARIABLES[server.venue, name]: value
        for server in servers.servers
        for name, value in server.credentials.items()
        if (server.venue, name) in VARIABLES
    }


@pytest.mark.slow
@pytest.mark.blocking
@pytest.mark.timeout(180)
async def test_a_trading_node_lets_no_secret_out(place: Path) -> None:
    """Logs, journal, tables, status, metrics, console, commands, complaints: none, and private."""
    servers = await launch(("binance", "okx", "hyperliquid"), seed=secrets.randbelow(2**32))
    environment = credentials_of(servers) | {
        f"OKX__GUARDIAN__{name}": secrets.token_hex(16)
        for name in ("API_KEY", "API_SECRET", "PASSPHRASE")
    }
    canaries = {name: text for name, text in environment.items() if name not in PUBLIC}
    addresses = {server.venue: (server.rest_url, server.ws_url) for server in servers.servers}
    port = free_port()
    configure(place, addresses, port)
    said = place.parent / "said"
    artefacts: dict[str, bytes] = {}
    before = os.umask(0)  # a careless shell
    try:
        node = start(place, {**environment, "PYTHONASYNCIODEBUG": "1"}, said)
        guardian = node
        try:
            state = place / "state" / "testnet"
            wait = asyncio.to_thread
            await wait(wait_for, "console", lambda: _url(state) or node.poll() is not None)
            assert node.poll() is None, said.read_text()
            # With keys that the exchanges do not know: every request of it is refused.
            guardian = start(place, environment, place.parent / "guardian said", "guardian")
            await wait(wait_for, "trade", lambda: b"ORDER_FILLED" in _journal(state))
            token = (state / "console.token").read_text().strip()
            canaries["console token"] = token
            for path, answer in await wait(lambda: list(console_says(_url(state), token))):
                artefacts[f"console {path} {len(artefacts)}"] = answer
            for look in LOOKS:
                artefacts[" ".join(look)] = await wait(perpbot, place, environment, *look)
            await servers.stop()  # every socket and request of the node now fails
            await asyncio.sleep(2.0)
            artefacts["doctor alone"] = await wait(perpbot, place, environment, "doctor")
            for process in (node, guardian):
                process.send_signal(signal.SIGTERM)
                await wait(process.wait, LIMIT_S)
        finally:
            end(node, guardian)
    finally:
        os.umask(before)
        await servers.stop()
    artefacts |= files_of(place)
    artefacts["said"] = said.read_bytes()
    artefacts["guardian said"] = (place.parent / "guardian said").read_bytes()

    assert leaks(canaries, artefacts) == []
    assert shared_paths(place) == []
    assert any(name.startswith("state/testnet/journal") for name in artefacts)
    assert any(name.startswith("state/testnet/guardian") for name in artefacts)
    assert b"mode" in artefacts["logs/testnet/perpbot.log"]
    assert b"signature=" not in artefacts["said"].replace(b"signature=********", b"")


def _url(state: Path) -> str:
    try:
        found: dict[str, Any] = json.loads((state / "run.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(found.get("console_url", ""))


def _journal(state: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (state / "journal").glob("*") if path.is_file())


class Mirror:
    """A broken proxy: passes public requests on, and repeats signed ones in its complaints."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._targets = targets
        self.complaints: set[str] = set()
        self._count = itertools.count()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Pass on or complain."""
        venue, body = request.match_info["venue"], await request.read()
        signed = "signature=" in request.query_string or "OK-ACCESS-SIGN" in request.headers
        path = request.raw_path.removeprefix(f"/{venue}")
        if not signed and path != "/exchange":
            address = URL(self._targets[venue] + path, encoded=True)
            async with ClientSession() as session, session.request(
                request.method, address, data=body or None,
                headers={"Content-Type": request.headers.get("Content-Type", "text/plain")},
            ) as real:  # fmt: skip
                return web.Response(
                    body=await real.read(), status=real.status, content_type=real.content_type
                )
        self.complaints.add(venue)
        said = f"bad gateway: {request.raw_path} {dict(request.headers)} {body.decode()}"
        match next(self._count) % 4:
            case 0:
                return web.json_response({"code": -1, "msg": said}, status=502)
            case 1:
                return web.json_response({"code": -4000, "msg": said}, status=400)
            case 2:
                return web.json_response({"code": "50000", "msg": said, "data": []})
        return web.Response(text=said, status=400)


@pytest.mark.slow
@pytest.mark.blocking
@pytest.mark.timeout(180)
async def test_an_answer_that_repeats_the_request_is_masked(place: Path) -> None:
    """Headers and signed addresses come back in error texts; they end there."""
    servers = await launch(("binance", "okx", "hyperliquid"), seed=secrets.randbelow(2**32))
    environment = credentials_of(servers)
    canaries = {name: text for name, text in environment.items() if name not in PUBLIC}
    mirror = Mirror({server.venue: server.rest_url for server in servers.servers})
    proxy = web.Application()
    proxy.router.add_route("*", "/{venue}/{rest:.*}", mirror.answer)
    runner = web.AppRunner(proxy, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    addresses = {found.venue: (f"{base}/{found.venue}", found.ws_url) for found in servers.servers}
    configure(place, addresses, free_port())
    said = place.parent / "said"
    node = start(place, environment, said)
    try:
        wait = asyncio.to_thread
        await wait(wait_for, "complaints", lambda: {"binance", "okx"} <= mirror.complaints)
        await asyncio.sleep(2.0)
        doctor = await wait(perpbot, place, environment, "doctor")
        node.send_signal(signal.SIGTERM)
        await wait(node.wait, LIMIT_S)
    finally:
        end(node)
        await runner.cleanup()
        await servers.stop()

    artefacts = files_of(place) | {"said": said.read_bytes(), "doctor": doctor}
    assert leaks(canaries, artefacts) == []
    everything = b"".join(artefacts.values())
    assert b"bad gateway" in everything
    assert b"********" in everything
