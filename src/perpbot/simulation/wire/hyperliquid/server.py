"""Hyperliquid on loopback: POST /info, POST /exchange and the websocket at /ws."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from perpbot.simulation.model import (
    BookChange,
    Contract,
    ExchangeNews,
    ExchangeView,
    Mark,
    OrderUpdate,
    Profile,
    PublicTrade,
)
from perpbot.simulation.wire.connects import ConnectLimit
from perpbot.simulation.wire.hyperliquid.actions import Actions
from perpbot.simulation.wire.hyperliquid.contracts import CONTRACTS, PROFILE
from perpbot.simulation.wire.hyperliquid.gate import Gate, Malformed
from perpbot.simulation.wire.hyperliquid.info import Info
from perpbot.simulation.wire.hyperliquid.rows import Row
from perpbot.simulation.wire.hyperliquid.session import Rooms, Session
from perpbot.simulation.wire.hyperliquid.signing import address_of_secret
from perpbot.simulation.wire.hyperliquid.streams import Streams
from perpbot.simulation.wire.server import Topics, VenueServer, reply

_UNREADABLE = "Failed to deserialize the JSON body into the target type"


class Server(VenueServer):
    """Hyperliquid's protocol before one exchange.

    Credentials are the master's address and the private key of an agent that it has approved.
    With `greets` a websocket starts with a line of plain text, as older servers do.
    """

    venue: ClassVar[str] = "hyperliquid"
    connect_limit: ClassVar[ConnectLimit] = ConnectLimit(30, 60.0)

    def __init__(
        self,
        exchange: ExchangeView,
        clock_ns: Callable[[], int],
        rng: random.Random,
        credentials: Mapping[str, str] | None = None,
        *,
        greets: bool = False,
    ) -> None:
        super().__init__(exchange, clock_ns, rng, credentials)
        known = self.credentials()
        self.greets = greets
        self.gate = Gate(
            known["account_address"].lower(), {address_of_secret(known["private_key"])}
        )
        self.topics = Topics()
        self.info = Info(exchange, self.account, clock_ns, self.gate)
        self.streams = Streams(exchange, self.info, self.topics, self.gate.master, clock_ns)
        self._actions = Actions(exchange, self.account, clock_ns, self.gate, self.streams)
        self._rooms = Rooms(self.topics, self.streams, self.info, self.act, greets)
        self._faults: deque[tuple[str, bool]] = deque()

    @staticmethod
    def profile() -> Profile:
        """Base tier; one-way positions; a crossing post-only order is refused."""
        return PROFILE

    @staticmethod
    def contracts() -> tuple[Contract, ...]:
        """Ten perpetuals."""
        return CONTRACTS

    @staticmethod
    def make_credentials(rng: random.Random) -> dict[str, str]:
        """Return a new master address and the key of its agent."""
        master = f"0x{rng.getrandbits(255) + 1:064x}"
        return {
            "account_address": address_of_secret(master),
            "private_key": f"0x{rng.getrandbits(255) + 1:064x}",
        }

    def routes(self) -> web.Application:
        """Return the application."""
        application = web.Application()
        application.router.add_post("/info", self._info)
        application.router.add_post("/exchange", self._exchange)
        application.router.add_get("/ws", self._open)
        return application

    async def _info(self, request: web.Request) -> web.Response:
        return self._answered(await request.read(), self.info.answer)

    async def _exchange(self, request: web.Request) -> web.Response:
        return self._answered(await request.read(), self.act)

    async def _open(self, request: web.Request) -> web.WebSocketResponse:
        return await self.accept(Session(self, self._rooms, request))

    @staticmethod
    def _answered(body: bytes, answer: Callable[[Any], Any]) -> web.Response:
        try:
            return reply(answer(msgspec.json.decode(body)))
        except (Malformed, msgspec.DecodeError) as problem:
            return web.Response(status=422, text=f"{_UNREADABLE}: {problem}")

    def act(self, body: Any) -> Row:
        """Perform a posted action. Raises `Malformed`."""
        text, acted = self._faults.popleft() if self._faults else ("", True)
        answer = self._actions.perform(body) if acted else {}
        return {"status": "err", "response": text} if text else answer

    def fail_next(self, text: str, *, acted: bool = False) -> None:
        """Answer the next action with an error; with `acted` after it took effect."""
        self._faults.append((text, acted))

    def on_news(self, news: ExchangeNews) -> None:
        """Turn a piece of news into frames."""
        if isinstance(news, BookChange):
            self.streams.on_book(news)
        elif isinstance(news, PublicTrade):
            self.streams.on_trade(news)
        elif isinstance(news, Mark):
            self.info.remember_mark(news)
            self.streams.on_mark(news)
        elif isinstance(news, OrderUpdate):
            if news.order.account == self.account:
                if news.execution is not None:
                    self.gate.volume += news.execution.price * news.execution.quantity
                self.streams.on_order(news)
        elif news.account == self.account:
            self.streams.on_account(news)

    def pump(self) -> None:
        """Send what is due; close the idle."""
        self.streams.pump()
        self.close_idle()
