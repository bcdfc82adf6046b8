"""OKX on loopback: REST under /api/v5, websockets under /ws/v5/{public,private,business}."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import ClassVar

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
from perpbot.simulation.wire.okx.auth import OkxKey
from perpbot.simulation.wire.okx.contracts import CONTRACTS, PROFILE
from perpbot.simulation.wire.okx.desk import Desk
from perpbot.simulation.wire.okx.ledger import Ledger
from perpbot.simulation.wire.okx.market import Market
from perpbot.simulation.wire.okx.private import PrivateStreams
from perpbot.simulation.wire.okx.rest import PREFIX, Fault, Rest
from perpbot.simulation.wire.okx.session import Rooms, Session
from perpbot.simulation.wire.okx.streams import Streams
from perpbot.simulation.wire.server import Topics, VenueServer, encode


class Server(VenueServer):
    """OKX's protocol; `books_snapshot` says whether the channel `books` starts with one."""

    venue: ClassVar[str] = "okx"
    connect_limit: ClassVar[ConnectLimit] = ConnectLimit(3, 1.0)

    def __init__(
        self,
        exchange: ExchangeView,
        clock_ns: Callable[[], int],
        rng: random.Random,
        credentials: Mapping[str, str] | None = None,
        *,
        books_snapshot: bool = True,
    ) -> None:
        super().__init__(exchange, clock_ns, rng, credentials)
        known = self.credentials()
        key = OkxKey(known["api_key"], known["api_secret"], known["passphrase"], self.account)
        self.keys = {key.api_key: key}
        self.topics = Topics()
        self.desk = Desk(exchange, self.account, clock_ns)
        market = Market(exchange, clock_ns)
        self.ledger = Ledger(exchange, self.account, clock_ns, market, self.desk)
        self.streams = Streams(
            exchange, market, self.topics, clock_ns, books_snapshot=books_snapshot
        )
        self.private = PrivateStreams(
            exchange, self.account, market, self.ledger, self.desk, self.topics, clock_ns
        )
        self._market = market
        self._rooms = Rooms(self.keys, self.topics, self.desk, self.streams, self.private)
        self._rest = Rest(self.keys, clock_ns, market, self.ledger, self.desk)

    @staticmethod
    def profile() -> Profile:
        """Base tier of swaps; a crossing post-only order is accepted, then cancelled."""
        return PROFILE

    @staticmethod
    def contracts() -> tuple[Contract, ...]:
        """Ten swaps."""
        return CONTRACTS

    @staticmethod
    def make_credentials(rng: random.Random) -> dict[str, str]:
        """Return a new key, secret and passphrase."""
        key = f"{rng.getrandbits(128):032x}"
        groups = (key[:8], key[8:12], key[12:16], key[16:20], key[20:])
        return {
            "api_key": "-".join(groups),
            "api_secret": f"{rng.getrandbits(128):032X}",
            "passphrase": f"demo-{rng.getrandbits(32):08x}",
        }

    def routes(self) -> web.Application:
        """Return the application."""
        application = web.Application()
        application.router.add_get("/ws/v5/{kind:public|private|business}", self._open)
        application.router.add_route("*", PREFIX + "{name:.*}", self._rest.answer)
        return application

    async def _open(self, request: web.Request) -> web.WebSocketResponse:
        return await self.accept(Session(self, self._rooms, request, request.match_info["kind"]))

    def on_news(self, news: ExchangeNews) -> None:
        """Turn a piece of news into frames."""
        if isinstance(news, BookChange):
            self.streams.on_book(news)
        elif isinstance(news, PublicTrade):
            self.streams.on_trade(news)
        elif isinstance(news, Mark):
            self._market.remember(news)
            self.streams.on_mark(news)
        elif isinstance(news, OrderUpdate):
            if news.order.account == self.account:
                self.private.on_order(news)
        elif news.account == self.account:
            self.private.on_account(news)

    def pump(self) -> None:
        """Send what is due; close the idle."""
        self.streams.pump()
        self.private.pump()
        self.close_idle()

    def fail_next(self, code: str, text: str = "", *, acted: bool = False) -> None:
        """Answer the next private request with a code; with `acted` after it took effect."""
        self._rest.faults.append(Fault(code, text, acted))

    def notify_upgrade(self) -> None:
        """Tell all clients that the connection will soon be closed (notice 64008)."""
        text = "The connection will soon be closed for a service upgrade. Please reconnect."
        frame = encode({"event": "notice", "code": "64008", "msg": text})
        for client in self.clients:
            client.send(frame)
