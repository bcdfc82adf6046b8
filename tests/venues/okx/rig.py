"""The whole adapter on a scripted server, and what its streams told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from perpbot.domain.events import ConnectionState, Event, VenueConnectionChanged
from perpbot.kernel.clock import RealClock
from perpbot.venues.okx.venue import OkxVenue
from perpbot.venues.options import VenueConnection
from tests.venues.okx.loopback import LoopbackOkx, Socket, accept_subscriptions
from tests.venues.okx.support import BTC, CREDENTIALS
from tests.venues.sink import Sink
from tests.venues.waiting import PATIENCE_S, until

INSTRUMENTS = "/api/v5/public/instruments"
CONFIG = "/api/v5/account/config"
NET_ACCOUNT = [{"posMode": "net_mode", "acctLv": "2", "uid": "1"}]


def make_venue(server: LoopbackOkx, **options: Any) -> OkxVenue:
    """Return a venue on the scripted server."""
    keys = {"credentials": CREDENTIALS, "testnet": False, **options}
    settings = VenueConnection(
        rest_url=server.rest_url,
        ws_url=server.ws_url,
        request_timeout_s=PATIENCE_S,
        testnet=keys.pop("testnet"),
    )
    return OkxVenue(settings=settings, clock=RealClock(), rng=random.Random(1), **keys)


class Heard:
    """What a private stream published."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if type(event) is kind]

    @property
    def states(self) -> list[ConnectionState]:
        return [event.state for event in self.of(VenueConnectionChanged)]


@asynccontextmanager
async def running(venue: OkxVenue) -> AsyncIterator[Heard]:
    """Run the private stream until it is logged in, and to the end of the block."""
    heard = Heard()
    task = asyncio.ensure_future(venue.account.run(heard.events.append))
    try:
        await until(lambda: heard.states[-1:] == [ConnectionState.LIVE] or task.done())
        if task.done():
            await task
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def feeding(venue: OkxVenue) -> AsyncIterator[Sink]:
    """Run the public stream to the end of the block."""
    sink = Sink("okx")
    task = asyncio.ensure_future(venue.market_data.run([BTC], sink))
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reply_to_orders(answer: Callable[[dict[str, Any]], dict[str, Any] | str | None]) -> Any:
    """Return a private script that answers order ops with what `answer` makes of the frame."""

    async def script(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
        if frame["op"] in {"login", "subscribe"}:
            await accept_subscriptions(server, socket, frame)
            return
        made = answer(frame)
        if isinstance(made, str):
            await socket.send_str(made)
        elif made is not None:
            await socket.send_json({"id": frame["id"], "op": frame["op"], **made})

    return script


def accepted(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to an order that was taken."""
    item = {"ordId": "3411", "clOrdId": frame["args"][0].get("clOrdId", ""), "sCode": "0"}
    return {"code": "0", "msg": "", "data": [{**item, "sMsg": "", "ts": "1795225231208"}]}


def refused(code: str) -> dict[str, Any]:
    """Return the answer to an order that was refused."""
    return {"code": "1", "msg": "failed", "data": [{"ordId": "", "sCode": code, "sMsg": "no"}]}


class Sent:
    """Counts how often an order was told to be on its way."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
