"""One websocket of an OKX client: log in, subscribe, enter orders; text ping and pong.

`public` serves market data, `private` the account and orders, `business` orders with triggers.
A frame that cannot be read comes back inside an error of code 60012, without its id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from perpbot.simulation.wire.okx.auth import Denied, OkxKey, check_login
from perpbot.simulation.wire.okx.desk import MAX_BATCH, Desk, envelope_code
from perpbot.simulation.wire.okx.private import PrivateStreams
from perpbot.simulation.wire.okx.rows import Row
from perpbot.simulation.wire.okx.streams import Streams
from perpbot.simulation.wire.server import IdleClient, Topics, VenueServer, encode

_ORDER_OPS = {
    "order": ("place", False),
    "batch-orders": ("place", True),
    "cancel-order": ("cancel", False),
    "batch-cancel-orders": ("cancel", True),
    "amend-order": ("amend", False),
    "batch-amend-orders": ("amend", True),
}


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the connections of one server share."""

    keys: Mapping[str, OkxKey]
    topics: Topics
    desk: Desk
    streams: Streams
    private: PrivateStreams


class Session(IdleClient):
    """One connection to one of the three paths."""

    idle_ns = 30_000_000_000
    goodbye = (4004, "No data received in 30s.")

    def __init__(self, server: VenueServer, rooms: Rooms, request: web.Request, kind: str) -> None:
        super().__init__(server, request)
        self.kind = kind
        self.is_logged_in = False
        self._rooms = rooms
        self._connection_id = f"{server.rng.getrandbits(32):08x}"

    def on_closed(self) -> None:
        """Forget what this client listened to."""
        self._rooms.topics.leave_all(self)

    def on_text(self, data: bytes) -> None:
        """Handle one message."""
        if data == b"ping":
            self.send(b"pong")
            return
        try:
            message = msgspec.json.decode(data)
        except msgspec.DecodeError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("args"), list):
            self._refuse_frame(data)
            return
        operation = message.get("op")
        if operation == "login":
            self._log_in(message["args"])
        elif operation in ("subscribe", "unsubscribe"):
            for arg in message["args"]:
                self._listen(operation, arg, message)
        elif operation in _ORDER_OPS and self.kind == "private":
            self._order(operation, message)
        else:
            self._refuse_frame(data)

    # --- replies ---------------------------------------------------------------------------------

    def _error(self, code: str, text: str, message: Row | None = None) -> None:
        frame = {"event": "error", "code": code, "msg": text, "connId": self._connection_id}
        if message is not None and message.get("id"):
            frame["id"] = message["id"]
        self.send_row(frame)

    def send_row(self, frame: Row) -> None:
        """Encode and queue."""
        self.send(encode(frame))

    def _refuse_frame(self, data: bytes) -> None:
        self._error("60012", f"Invalid request: {data.decode('utf-8', 'replace')}")

    def _log_in(self, args: list[Any]) -> None:
        try:
            if self.kind == "public":
                raise Denied("60009", "Login failed: the public path has no login")
            if not args or not isinstance(args[0], dict):
                raise Denied("60012", "Invalid request: login needs its arguments")
            check_login(self._rooms.keys, args[0], self._clock_ns())
        except Denied as denied:
            self._error(denied.code, denied.text)
            return
        self.is_logged_in = True
        frame = {"event": "login", "code": "0", "msg": "", "connId": self._connection_id}
        self.send_row(frame)

    # --- channels --------------------------------------------------------------------------------

    def _listen(self, operation: str, arg: Any, message: Row) -> None:
        if not isinstance(arg, dict) or not isinstance(arg.get("channel"), str):
            self._error("60012", "Invalid request: an argument needs a channel", message)
            return
        private = self._rooms.private
        is_private = private.serves(self.kind, arg["channel"])
        if is_private and not self.is_logged_in:
            self._error("60011", "Please log in", message)
            return
        name = str(arg.get("instId") or arg.get("instType") or "")
        topic = private.topic(arg) if is_private else None
        known = topic is not None or (
            self.kind == "public" and self._rooms.streams.knows(arg["channel"], name)
        )
        if not known:
            text = f"Wrong URL or {arg['channel']} {name} doesn't exist"
            self._error("60018", text, message)
            return
        frame: Row = {"event": operation, "arg": arg, "connId": self._connection_id}
        if message.get("id"):
            frame = {"id": message["id"]} | frame
        self.send_row(frame)
        if operation == "subscribe":
            if topic is not None:
                private.subscribe(arg, self)
            else:
                self._rooms.streams.subscribe(arg["channel"], name, self)
        elif topic is not None:
            self._rooms.topics.leave(topic, self)
        else:
            self._rooms.streams.unsubscribe(arg["channel"], name, self)

    # --- orders ----------------------------------------------------------------------------------

    def _order(self, operation: str, message: Row) -> None:
        if not self.is_logged_in:
            self._error("60011", "Please log in", message)
            return
        verb, is_batch = _ORDER_OPS[operation]
        items = message["args"]
        expiry = str(message.get("expTime") or "0")
        right_size = 1 <= len(items) <= (MAX_BATCH if is_batch else 1)
        if not right_size or not expiry.isdigit() or not all(isinstance(i, dict) for i in items):
            self._error("60013", "Invalid args", message)
            return
        now_us = str(self._clock_ns() // 1_000)
        act = getattr(self._rooms.desk, verb)
        results = [act(item, by_code=True, expires_ns=int(expiry) * 1_000_000) for item in items]
        code, text = envelope_code(results)
        frame: Row = {"op": operation, "code": code, "msg": text, "data": results}
        if message.get("id"):
            frame = {"id": message["id"]} | frame
        self.send_row(frame | {"inTime": now_us, "outTime": now_us})
