"""One websocket of a Hyperliquid client: subscribe, post, ping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import WSCloseCode, web

from perpbot.simulation.wire.hyperliquid.gate import Malformed
from perpbot.simulation.wire.hyperliquid.info import Info
from perpbot.simulation.wire.hyperliquid.rows import Row
from perpbot.simulation.wire.hyperliquid.streams import Streams
from perpbot.simulation.wire.server import IdleClient, Topics, VenueServer, encode

GREETING = b"Websocket connection established."


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the connections of one server share."""

    topics: Topics
    streams: Streams
    info: Info
    act: Callable[[Any], Row]
    """Performs a posted action. Raises `Malformed`."""
    greets: bool


class Session(IdleClient):
    """One connection."""

    idle_ns = 60_000_000_000
    goodbye = (WSCloseCode.OK, "Inactive")

    def __init__(self, server: VenueServer, rooms: Rooms, request: web.Request) -> None:
        super().__init__(server, request)
        self._rooms = rooms
        self._topics: set[str] = set()

    def on_open(self) -> None:
        """Greet, where the server is told to be an old one."""
        if self._rooms.greets:
            self.send(GREETING)

    def on_closed(self) -> None:
        """Forget what this client listened to."""
        self._rooms.topics.leave_all(self)

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
        topic = self._rooms.streams.topic(wanted)
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
            self._rooms.streams.subscribe(wanted, topic, self)
        else:
            self._topics.discard(topic)
            self._rooms.topics.leave(topic, self)

    def _post(self, number: int, request: Any) -> None:
        kind = request.get("type") if isinstance(request, dict) else None
        payload = request.get("payload") if isinstance(request, dict) else None
        response: Row
        try:
            if kind == "action":
                response = {"type": "action", "payload": self._rooms.act(payload)}
            elif kind == "info" and isinstance(payload, dict):
                data = self._rooms.info.answer(payload)
                response = {"type": "info", "payload": {"type": payload["type"], "data": data}}
            else:
                raise Malformed("a request is an action or an info")
        except Malformed as problem:
            response = {"type": "error", "payload": f"422 Unprocessable Entity: {problem}"}
        data = {"id": number, "response": response}
        self.send(encode({"channel": "post", "data": data}))
