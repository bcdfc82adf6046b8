"""A node and a guardian as people start them, and a hand of ours at the same account."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from perpbot.app.venues import make_venue
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.guardian.hand import STRATEGY
from perpbot.guardian.record import read_record
from perpbot.kernel.clock import RealClock
from perpbot.kernel.ids import IdMaker, decode_order_id
from perpbot.operations.killfile import KillOrder, write_order
from perpbot.settings import VENUE_CREDENTIALS
from perpbot.simulation.wire.process import RunningServers, ServerAddress, launch
from perpbot.venues.options import VenueConnection
from perpbot.venues.port import Venue
from tests.processes.plan import EAGER, LIVELY, through
from tests.processes.proxy import Proxy

PERPBOT = (sys.executable, "-c", "from perpbot.cli import main; main()")
LIMIT_S = 90.0
GUARDIAN = {
    "enabled": True,
    "heartbeat_interval_s": 0.1,
    "silence_s": 1.0,
    "flatten_after_s": 2.0,
    "slippage_bps": 300.0,
}


class Process:
    """One process of ours, with what it says in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.pid = process.pid
        self.log = log

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.returncode

    @property
    def words(self) -> str:
        """What it said."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self._process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its code."""
        if self.exit_code is None:
            for each in (signal.SIGCONT, number):
                self.send(each)
        return await self.wait()

    async def wait(self) -> int:
        """Wait for its own end; return its code."""
        async with asyncio.timeout(LIMIT_S):
            return await self._process.wait()


class Rig:
    """Exchanges, a configuration that leads to them, and processes on it."""

    def __init__(
        self,
        directory: Path,
        exchanges: RunningServers,
        proxies: Mapping[str, Proxy],
        settings: Mapping[str, Any],
    ) -> None:
        """Node and guardian reach each venue through its proxy."""
        self.directory = directory
        self.proxies = proxies
        self.exchanges = exchanges
        self.state = directory / "state" / "testnet"
        self.environment = {
            **os.environ,
            **_variables(exchanges.servers, ""),
            **_variables(exchanges.servers, "GUARDIAN"),
        }
        self._processes: list[Process] = []
        places = {venue: proxy.place for venue, proxy in proxies.items()}
        tree = _tree(through(exchanges.servers, places), settings)
        (directory / "config.yaml").write_text(yaml.safe_dump(tree))

    async def start(self, *arguments: str) -> Process:
        """Start `perpbot` with arguments."""
        log = self.directory / f"{arguments[0]}-{len(self._processes)}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *PERPBOT, *arguments, cwd=self.directory, stdout=out, stderr=out,
                env=self.environment,
            )  # fmt: skip
        self._processes.append(Process(process, log))
        return self._processes[-1]

    async def node(self) -> Process:
        """Start a node and wait until every venue has agreed."""
        process = await self.start("run", "--testnet")
        await self.ready()
        return process

    def kill(self, level: int) -> None:
        """Engage the kill switch, as `perpbot kill` does; 0 clears it."""
        order = KillOrder(level=level, reason="test", actor="rig", clear=level == 0)
        write_order(self.state, order)

    async def ready(self) -> None:
        """Wait until the node's venues agree."""
        await self.until("a ready node", lambda: self._agreed(self.status()))

    @staticmethod
    def _agreed(status: dict[str, Any]) -> bool:
        venues = status.get("overview", {}).get("venues", {})
        return bool(venues) and set(venues.values()) == {"ready"}

    def status(self) -> dict[str, Any]:
        """What the node last said."""
        with contextlib.suppress(OSError, ValueError):
            found: dict[str, Any] = json.loads((self.state / "status.json").read_text())
            return found
        return {}

    async def said(self, seconds: float) -> int:
        """Return how often the node wrote its status in a span of time; it does each second."""
        moments = set()
        ends = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(0.1)
            moments.add(self.status().get("ts_ns"))
        return len(moments)

    async def guardian(self) -> Process:
        """Start a guardian and wait until its keys were accepted everywhere."""
        process = await self.start("guardian", "--testnet")
        places = {server.venue for server in self.exchanges.servers}
        await self.until(
            "a ready guardian",
            lambda: {f["venue"] for f in self.facts("hand") if f["ready"]} == places,
        )
        return process

    def facts(self, *kinds: str) -> list[dict[str, Any]]:
        """What the guardian recorded, of these kinds or all."""
        found = read_record(self.state / "guardian" / "journal.jsonl")
        return [fact for fact in found if not kinds or fact["kind"] in kinds]

    async def until(self, what: str, look: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        """Return what `look` gives once it gives something."""
        try:
            async with asyncio.timeout(limit_s):
                while not (found := look()):  # noqa: ASYNC110 - files are looked at
                    await asyncio.sleep(0.02)
                return found
        except TimeoutError:
            said = "\n".join(f"--- {p.log.name}\n{p.words[-3000:]}" for p in self._processes)
            raise AssertionError(f"no {what} in {limit_s:g} s\n{self.facts()}\n{said}") from None

    async def positions(self) -> dict[tuple[str, str], Decimal]:
        """The true positions."""
        books = await self.exchanges.accountant()
        return {(p["venue"], p["asset"]): Decimal(p["quantity"]) for p in books["positions"]}

    async def net(self) -> dict[str, Decimal]:
        """The true net of each asset."""
        net: dict[str, Decimal] = {}
        for (_, asset), quantity in (await self.positions()).items():
            net[asset] = net.get(asset, Decimal(0)) + quantity
        return net

    async def epochs(self) -> Counter[int]:
        """How many orders the exchanges took from each run epoch."""
        found: Counter[int] = Counter()
        for row in await self.exchanges.orders():
            identity = decode_order_id(row["client_id"][-32:])
            if identity is not None:
                found[identity.epoch] += row["taken"]
        return found

    async def end(self) -> None:
        """End what still runs."""
        for process in self._processes:
            await process.end(signal.SIGKILL)


class Hand:
    """Somebody with the account's own key, in the name of one whom the node does not suspect."""

    def __init__(self, venue: Venue, listed: Sequence[Instrument]) -> None:
        self.venue = venue
        self._instruments = {found.asset: found for found in listed}
        self._ids = IdMaker(epoch=0)

    async def order(
        self,
        asset: str,
        side: Side,
        quantity: str,
        *,
        away_bps: int = -300,
        purpose: Purpose = Purpose.OPEN,
        account: str = "main",
    ) -> OrderReport:
        """Send a limit order `away_bps` from the market; negative ones take at once."""
        instrument = self._instruments[asset]
        quotes = await self.venue.market_data.poll_quotes([instrument])  # type: ignore[attr-defined]
        touch = Decimal(str(quotes[0].bids[0][0]))
        price = touch * (1 - side.sign * Decimal(away_bps) / 10_000)
        return await self.venue.trading.submit(
            OrderRequest(
                client_id=self._ids.order_id(
                    account=account, strategy=STRATEGY, purpose=purpose, leg=0, attempt=0
                ),
                venue=self.venue.name,
                account="main",
                asset=asset,
                symbol=instrument.symbol,
                side=side,
                order_type=OrderType.LIMIT,
                time_in_force=TimeInForce.GTC if away_bps > 0 else TimeInForce.IOC,
                quantity=instrument.round_quantity(Decimal(quantity)),
                price=instrument.round_price(price, side),
                reference_price=touch,
                purpose=purpose,
            ),
            lambda: None,
        )

    async def open_ids(self) -> set[str]:
        """Client ids of the account's open orders."""
        return {report.client_id for report in await self.venue.account.open_orders()}


@contextlib.asynccontextmanager
async def hand_at(server: ServerAddress) -> AsyncIterator[Hand]:
    """Have a hand at a server."""
    venue = make_venue(
        server.venue,
        VenueConnection(rest_url=server.rest_url, ws_url=server.ws_url, testnet=True),
        server.credentials,
        RealClock(),
        random.Random(1),
        leverage=None,
    )
    try:
        listed = await venue.market_data.instruments()
        await venue.open(listed)
        yield Hand(venue, listed)
    finally:
        await venue.close()


@contextlib.asynccontextmanager
async def open_rig(
    directory: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    venues: Sequence[str] = ("binance", "okx"),
) -> AsyncIterator[Rig]:
    """Start exchanges for a rig; everything ends with it."""
    exchanges = await launch(
        venues,
        seed=1,
        model=LIVELY,
        balance=Decimal(100_000),
        program="tests.processes.servers",
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(exchanges.stop)
        proxies = {
            server.venue: await stack.enter_async_context(Proxy(server.rest_url.split("//")[1]))
            for server in exchanges.servers
        }
        rig = Rig(directory, exchanges, proxies, settings or {})
        stack.push_async_callback(rig.end)
        yield rig


def _tree(servers: Sequence[ServerAddress], settings: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {
        "guardian": dict(GUARDIAN),
        "console": {"enabled": False},
        "execution": {},
        "venues": {name: {"enabled": False} for name in VENUE_CREDENTIALS},
    }
    for server in servers:
        tree["venues"][server.venue] = {
            "rest_url": server.rest_url,
            "ws_url": server.ws_url,
            "account_dedicated": True,
        }
    for key, value in {**EAGER, **settings}.items():
        *rooms, name = key.split(".")
        place = tree
        for room in rooms:
            place = place.setdefault(room, {})
        place[name] = value
    tree["mode"] = "testnet"
    tree["market"]["currency_rates"] = {"USDT": 1, "USDC": 1}
    return tree


def _variables(servers: Sequence[ServerAddress], account: str) -> dict[str, str]:
    """Return the credentials as variables of the environment."""
    found = {}
    for server in servers:
        prefix = server.venue.upper()
        for field in VENUE_CREDENTIALS[server.venue]:
            if field.name in server.credentials:
                name = field.variable
                if account:
                    name = f"{prefix}__{account}__{name.removeprefix(prefix + '_')}"
                found[name] = server.credentials[field.name]
    return found
