"""The Binance server: routes, keys, signatures, limits, and faults on request."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from perpbot.kernel.clock import SECOND
from perpbot.simulation.model import (
    AccountUpdate,
    Contract,
    ExchangeNews,
    ExchangeRefusal,
    ExchangeView,
    OrderUpdate,
    Profile,
)
from perpbot.simulation.wire.binance.account import AccountDesk
from perpbot.simulation.wire.binance.account_settings import SettingsDesk
from perpbot.simulation.wire.binance.algo import AlgoDesk
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table
from perpbot.simulation.wire.binance.contracts import CONTRACTS, PROFILE
from perpbot.simulation.wire.binance.errors import Refused, in_words
from perpbot.simulation.wire.binance.feeds import MARKET, PRIVATE, PUBLIC
from perpbot.simulation.wire.binance.limits import Limits
from perpbot.simulation.wire.binance.market import MarketDesk
from perpbot.simulation.wire.binance.requests import Params, Signed, check_time, read_http
from perpbot.simulation.wire.binance.streams import Hub, Session
from perpbot.simulation.wire.binance.trading import TradingDesk
from perpbot.simulation.wire.binance.user_stream import ListenKeys, UserEvents
from perpbot.simulation.wire.binance.ws_api import ApiSession
from perpbot.simulation.wire.connects import ConnectLimit
from perpbot.simulation.wire.server import Client, VenueServer, reply

PING_EVERY_NS = 180 * SECOND
MAX_CONNECTION_NS = 86_400 * SECOND
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class BinanceServer(VenueServer):
    """Serves one account of one exchange in the protocol of USD-M futures."""

    venue = "binance"
    connect_limit = ConnectLimit(300, 300.0)

    def __init__(
        self,
        exchange: ExchangeView,
        clock_ns: Callable[[], int],
        rng: random.Random,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(exchange, clock_ns, rng, credentials)
        context = Context(exchange, clock_ns, rng, self.account)
        self._context = context
        self._limits = Limits(clock_ns)
        self._market = MarketDesk(context)
        self._hub = Hub(context, self._market)
        trading = TradingDesk(context)
        algo = AlgoDesk(context, trading)
        self._events = UserEvents(context, algo)
        self._listen_keys = ListenKeys(clock_ns, rng, self._hub.tell_private)
        self.settings_desk = SettingsDesk(context)
        self._table: Table = {
            **self._market.endpoints(),
            **trading.endpoints(),
            **algo.endpoints(),
            **AccountDesk(context).endpoints(),
            **self.settings_desk.endpoints(),
            **self._listen_keys.endpoints(),
        }
        self._unknown_outcomes = 0
        self._pinged_ns: dict[Client, int] = {}

    @staticmethod
    def profile() -> Profile:
        """How Binance matches and what it charges."""
        return PROFILE

    @staticmethod
    def contracts() -> tuple[Contract, ...]:
        """The ten perpetuals."""
        return CONTRACTS

    @staticmethod
    def make_credentials(rng: random.Random) -> dict[str, str]:
        """Return an API key and its secret."""
        return {
            "api_key": "".join(rng.choices(_LETTERS, k=64)),
            "api_secret": "".join(rng.choices(_LETTERS, k=64)),
        }

    def routes(self) -> web.Application:
        """REST, the stream routes, the websocket API."""
        app = web.Application()
        app.router.add_get("/ws-fapi/v1", self._serve_api)
        for category in ("", PUBLIC, MARKET, PRIVATE):
            prefix = f"/{category}" if category else ""
            for path, wrapped in (("ws", False), ("stream", True)):
                handler = self._serve_streams(category, wrapped=wrapped)
                app.router.add_get(f"{prefix}/{path}", handler)
                app.router.add_get(f"{prefix}/{path}/{{names:.*}}", handler)
        app.router.add_route("*", "/{path:.*}", self._serve_rest)
        return app

    # --- news and time ---------------------------------------------------------------------------

    def on_news(self, news: ExchangeNews) -> None:
        """Tell the streams."""
        if isinstance(news, OrderUpdate):
            if news.order.account == self.account:
                for event in self._events.of_order(news):
                    self._hub.tell_private(self._listen_keys.key, event)
        elif isinstance(news, AccountUpdate):
            if news.account == self.account:
                self._hub.tell_private(self._listen_keys.key, self._events.of_account(news))
        else:
            self._market.on_news(news)
            self._hub.on_news(news)

    def pump(self) -> None:
        """Send batched streams and pings, end old connections and keys."""
        self._hub.pump()
        self._listen_keys.pump()
        now = self.clock_ns()
        for client in list(self.clients):
            if now - client.opened_ns >= MAX_CONNECTION_NS:
                client.cut("24 hours are over")
            elif now - self._pinged_ns.setdefault(client, client.opened_ns) >= PING_EVERY_NS:
                self._pinged_ns[client] = now
                client.ping()
        for client in tuple(self._pinged_ns):
            if client not in self.clients:
                del self._pinged_ns[client]

    # --- faults on request -----------------------------------------------------------------------

    def lose_depth(self, symbol: str) -> None:
        """Break the chain of the symbol's depth streams once."""
        self._hub.lose_depth(symbol)

    def leave_outcomes_open(self, count: int) -> None:
        """Answer the next requests that change orders with 503 and -1007, though they are done."""
        self._unknown_outcomes = count

    def expire_listen_key(self) -> None:
        """End the running listen key at once."""
        self._listen_keys.expire()

    # --- requests --------------------------------------------------------------------------------

    async def _serve_rest(self, request: web.Request) -> web.Response:
        body = (await request.read()).decode("utf-8", "replace")
        # As it was sent: the signature is over these very bytes.
        path, _, query = request.raw_path.partition("?")
        endpoint = self._table.get((request.method, path))
        if endpoint is None:
            wrong = f"Path {path}, Method {request.method} is invalid"
            return reply({"code": -5000, "msg": wrong}, status=404)
        params, signed = read_http(query, body)
        headers: dict[str, str] = {}
        try:
            value = self._answer(endpoint, params, signed, request.headers.get("X-MBX-APIKEY", ""))
            status = 200
        except Refused as refused:
            value, status = refused.body(), refused.status
            if refused.retry_after_s is not None:
                headers["Retry-After"] = str(refused.retry_after_s)
        headers |= self._limits.headers(orders=endpoint.counts_orders is not None)
        return reply(value, status=status, headers=headers)

    def _answer(self, endpoint: Endpoint, params: Params, signed: Signed, key: str) -> Any:
        """Check limits, key, signature and time, then do it. Raises `Refused`."""
        orders = endpoint.counts_orders(params) if endpoint.counts_orders is not None else 0
        self._limits.take(endpoint.cost(params), orders)
        if endpoint.signed or endpoint.keyed:
            self._check_key(key)
        if endpoint.signed:
            if not signed.signature:
                raise Refused(-1102, "Mandatory parameter 'signature' was not sent.")
            check_time(params, self._context.now_ms())
            if not signed.is_by(self._credentials["api_secret"]):
                raise Refused(-1022, "Signature for this request is not valid.")
        leave_open = endpoint.writes and self._unknown_outcomes > 0
        try:
            value = endpoint.handler(params)
        except ExchangeRefusal as refusal:
            raise in_words(refusal) from None
        if leave_open:
            self._unknown_outcomes -= 1
            raise Refused(
                -1007,
                "Timeout waiting for response from backend server. Send status unknown; "
                "execution status unknown.",
                status=503,
            )
        return value

    def _check_key(self, key: str) -> None:
        if not key:
            raise Refused(-2014, "API-key format invalid.", status=401)
        if key != self._credentials["api_key"]:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", status=401)

    # --- websockets ------------------------------------------------------------------------------

    def _serve_streams(self, category: str, *, wrapped: bool) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.WebSocketResponse:
            return await self.accept(
                Session(self, request, self._hub, category=category, wrapped=wrapped)
            )

        return serve

    async def _serve_api(self, request: web.Request) -> web.WebSocketResponse:
        return await self.accept(
            ApiSession(self, request, self._table, self._limits, self._answer)
        )
