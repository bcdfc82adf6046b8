"""One websocket of a Hyperliquid client: subscribe, post, ping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import WSCloseCode, web

from perpbot.simulation.wire.hyperliquid.gate import Malformed
from perpbot.simulation.wire.hyperliquid.rows import Row
from perpbot.simulation.wire.server import Client, encode

if TYPE_CHECKING:
    from perpbot.simulation.wire.hyperliquid.server import Server

IDLE_NS = 60_000_000_000
GREETING = b"Websocket connection established."


class Session(Client):
    """One connection."""

    def __init__(self, server: Server, request: web.Request) -> None:
        super().__init__(server, request)
        self._server = server
        self._sent_ns = self.opened_ns
        self._topics: set[str] = set()
        self._closing: asyncio.Task[None] | None = None

    def send(self, frame: bytes) -> None:
        """Queue a text frame and note when."""
        self._sent_ns = self._server.clock_ns()
        super().send(frame)

    def close_if_idle(self, now_ns: int) -> None:
        """Close when nothing was sent for 60 s (a pong counts)."""
        if now_ns - self._sent_ns > IDLE_NS and self._closing is None:
            self._closing = asyncio.create_task(self.close(WSCloseCode.OK, "Inactive"))

    def on_open(self) -> None:
        """Greet, where the server is told to be an old one."""
        if self._server.greets:
            self.send(GREETING)

    def on_closed(self) -> None:
        """Forget what this client listened to."""
        self._server.topics.leave_all(self)

    def on_text(self, data: bytes) -> None:
        """Handle one message."""
        try:
            message = msgspec.json.decode(data)
        except msgspec.DecodeError:
            message = None
        if not isinstance(message, dict):
            text = data.decode("utf-8", "replace")
            self._error(f"Error parsing JSON into valid websocket request: {text}")
            return
        method = message.get("method")
        if method == "ping":
            self.send(encode({"channel": "pong"}))
        elif method in ("subscribe", "unsubscribe"):
            self._listen(method, message.get("subscription"))
        elif method == "post" and isinstance(message.get("id"), int):
            self._post(message["id"], message.get("request"))
        else:
            text = data.decode("utf-8", "replace")
            self._error(f"Error parsing JSON into valid websocket request: {text}")

    def _error(self, text: str) -> None:
        self.send(encode({"channel": "error", "data": text}))

    def _listen(self, method: str, wanted: Any) -> None:
        shown = encode(wanted).decode()
        topic = self._server.streams.topic(wanted)
        if topic is None:
            self._error(f"Invalid subscription {shown}")
            return
        joins = method == "subscribe"
        if joins is (topic in self._topics):
            self._error(f"Already {method}d: {shown}")
            return
        data = {"method": method, "subscription": wanted}
        self.send(encode({"channel": "subscriptionResponse", "data": data}))
        if joins:
            self._topics.add(topic)
            self._server.streams.subscribe(wanted, topic, self)
        else:
            self._topics.discard(topic)
            self._server.topics.leave(topic, self)

    def _post(self, number: int, request: Any) -> None:
        kind = request.get("type") if isinstance(request, dict) else None
        payload = request.get("payload") if isinstance(request, dict) else None
        response: Row
        try:
            if kind == "action":
                response = {"type": "action", "payload": self._server.act(payload)}
            elif kind == "info" and isinstance(payload, dict):
                data = self._server.info.answer(payload)
                response = {"type": "info", "payload": {"type": payload["type"], "data": data}}
            else:
                raise Malformed("a request is an action or an info")
        except Malformed as problem:
            response = {"type": "error", "payload": f"422 Unprocessable Entity: {problem}"}
        data = {"id": number, "response": response}
        self.send(encode({"channel": "post", "data": data}))
