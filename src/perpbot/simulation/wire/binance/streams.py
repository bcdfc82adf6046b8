"""Websocket streams: subscriptions, routes, and who is told what.

Routes follow the split of 2026: `/public`, `/market` and `/private`, each with `/ws` (bare frames)
and `/stream` (frames wrapped with their name). A name that the route does not serve is
acknowledged and stays silent, as the venue does. The old routes without a category serve the
public ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from perpbot.kernel.clock import MS, SECOND
from perpbot.simulation.model import BookChange, ExchangeNews, PublicTrade
from perpbot.simulation.wire.binance import feeds
from perpbot.simulation.wire.binance.context import Context
from perpbot.simulation.wire.binance.market import MarketDesk
from perpbot.simulation.wire.server import Client, Topics, VenueServer, encode

MAX_STREAMS = 1_024
MAX_MESSAGES_PER_S = 10


class Session(Client):
    """One websocket of a stream route."""

    def __init__(
        self, server: VenueServer, request: web.Request, hub: Hub, *, category: str, wrapped: bool
    ) -> None:
        super().__init__(server, request)
        self.wrapped = wrapped
        self.category = category
        self.names: dict[str, None] = {}
        self._hub = hub
        self._second = 0
        self._messages = 0

    def on_open(self) -> None:
        """Join what the address names."""
        listed = self.request.match_info.get("names", "") or self.request.query.get("streams", "")
        listen_key = self.request.query.get("listenKey", "")
        for name in [*listed.split("/"), listen_key]:
            if name:
                self._hub.join(name, self)

    def on_text(self, data: bytes) -> None:
        """Answer SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS."""
        if self._too_many():
            self.cut(f"more than {MAX_MESSAGES_PER_S} messages a second")
            return
        self.send_value(self._answer(data))

    def on_closed(self) -> None:
        """Leave everything."""
        self._hub.drop(self)

    def _too_many(self) -> bool:
        second = self.heard_ns // SECOND
        if second != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        return self._messages > MAX_MESSAGES_PER_S

    def _answer(self, data: bytes) -> dict[str, Any]:
        try:
            message = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            return _error(3, f"Invalid JSON: {error}")
        if not isinstance(message, dict):
            return _error(2, "Invalid request: request must be an object")
        method, number = message.get("method"), message.get("id")
        if method == "LIST_SUBSCRIPTIONS":
            return {"result": list(self.names), "id": number}
        names = message.get("params")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return _error(2, "Invalid request: params must be a list of stream names", number)
        if method == "SUBSCRIBE":
            if len(self.names.keys() | names) > MAX_STREAMS:
                return _error(4, f"Too many streams; the limit is {MAX_STREAMS}", number)
            for name in names:
                self._hub.join(name, self)
        elif method == "UNSUBSCRIBE":
            for name in names:
                self._hub.leave(name, self)
        else:
            return _error(2, f"Invalid request: unknown method {method!r}", number)
        return {"result": None, "id": number}


def _error(code: int, text: str, number: object = None) -> dict[str, Any]:
    return {"error": {"code": code, "msg": text}, "id": number}


class _Timed:
    """A stream that is told by the clock."""

    def __init__(self, name: feeds.StreamName, make: Callable[[int], Any]) -> None:
        self.name = name
        self.make = make
        self.due_ns = 0


class Hub:
    """All streams of the server, public and private."""

    def __init__(self, context: Context, market: MarketDesk) -> None:
        self._context = context
        self._market = market
        self._topics = Topics()
        self._timed: dict[str, _Timed] = {}
        self._depths: dict[str, dict[str, feeds.DepthFeed]] = {}
        self._best = feeds.BookTickerFeed(context)
        self._names = {
            symbol: {
                kind: f"{symbol.lower()}@{kind}" for kind in ("bookTicker", "trade", "aggTrade")
            }
            for symbol in context.contracts
        }

    # --- who listens -----------------------------------------------------------------------------

    def join(self, name: str, session: Session) -> None:
        """Listen; a name of another route, or of nothing, is noted and never told."""
        session.names[name] = None
        if session.category == feeds.PRIVATE:
            self._topics.join(name, session)
            return
        read = feeds.read_name(name)
        if read is None or read.category != (session.category or feeds.PUBLIC):
            return
        if read.symbol and read.symbol not in self._context.contracts:
            return
        if name not in self._topics:
            self._begin(read)
        self._topics.join(name, session)

    def leave(self, name: str, session: Session) -> None:
        """Stop listening."""
        session.names.pop(name, None)
        self._topics.leave(name, session)
        if name not in self._topics:
            self._end(name)

    def drop(self, session: Session) -> None:
        """Forget a session."""
        for name in list(session.names):
            self.leave(name, session)

    def _begin(self, name: feeds.StreamName) -> None:
        if name.kind == "depth":
            feed = feeds.DepthFeed(self._context, name.symbol, name.levels)
            self._depths.setdefault(name.symbol, {})[name.name] = feed
            self._timed[name.name] = _Timed(name, feed.frame)
        elif name.interval_ms:
            make = feeds.timed_frames(self._context, self._market, name)
            self._timed[name.name] = _Timed(name, make)
        elif name.kind == "bookTicker":
            for symbol in (name.symbol,) if name.symbol else tuple(self._context.contracts):
                self._best.forget(symbol)

    def _end(self, name: str) -> None:
        timed = self._timed.pop(name, None)
        if timed is not None and timed.name.kind == "depth":
            del self._depths[timed.name.symbol][name]

    # --- what is told ----------------------------------------------------------------------------

    def on_news(self, news: ExchangeNews) -> None:
        """Tell what is told at once, keep what is told by the clock."""
        if isinstance(news, BookChange):
            for feed in self._depths.get(news.symbol, {}).values():
                feed.add(news)
            name = self._names[news.symbol]["bookTicker"]
            if name in self._topics or "!bookTicker" in self._topics:
                frame = self._best.frame(news)
                if frame is not None:
                    encoded = encode(frame)
                    self._send(name, encoded)
                    self._send("!bookTicker", encoded)
        elif isinstance(news, PublicTrade):
            names = self._names[news.symbol]
            if names["trade"] in self._topics:
                frame = feeds.trade_frame(news, self._context.now_ms())
                self._send(names["trade"], encode(frame))
            if names["aggTrade"] in self._topics:
                frame = feeds.agg_trade_frame(news, self._context.now_ms())
                self._send(names["aggTrade"], encode(frame))

    def tell_private(self, listen_key: str, event: dict[str, Any]) -> None:
        """Send an account event to who listens with the key."""
        if listen_key in self._topics:
            self._send(listen_key, encode(event))

    def pump(self) -> None:
        """Send what is due."""
        now_ns = self._context.clock_ns()
        for timed in list(self._timed.values()):
            if now_ns < timed.due_ns:
                continue
            interval_ns = timed.name.interval_ms * MS
            timed.due_ns = now_ns - now_ns % interval_ns + interval_ns
            frame = timed.make(now_ns // MS)
            if frame is not None:
                self._send(timed.name.name, encode(frame))

    def lose_depth(self, symbol: str) -> None:
        """Make the next frame of each depth stream of a symbol vanish."""
        for feed in self._depths.get(symbol, {}).values():
            feed.lose_next()

    def _send(self, name: str, frame: bytes) -> None:
        wrapped = b""
        for client in self._topics.listeners(name):
            if isinstance(client, Session) and client.wrapped:
                wrapped = wrapped or b'{"stream":"%s","data":%s}' % (name.encode(), frame)
                client.send(wrapped)
            else:
                client.send(frame)
