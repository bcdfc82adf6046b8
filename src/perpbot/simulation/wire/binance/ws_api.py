"""The websocket API (`/ws-fapi/v1`): the same handlers as REST behind method names.

Each request is signed by itself over its sorted parameters; sessions (Ed25519) are not offered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from perpbot.simulation.wire.binance.context import Endpoint, Table
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.limits import Limits
from perpbot.simulation.wire.binance.requests import Params, Signed, read_websocket
from perpbot.simulation.wire.server import Client, VenueServer

METHODS: dict[str, tuple[str, str]] = {
    "order.place": ("POST", "/fapi/v1/order"),
    "order.modify": ("PUT", "/fapi/v1/order"),
    "order.cancel": ("DELETE", "/fapi/v1/order"),
    "order.status": ("GET", "/fapi/v1/order"),
    "algoOrder.place": ("POST", "/fapi/v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "/fapi/v1/algoOrder"),
    "account.balance": ("GET", "/fapi/v2/balance"),
    "v2/account.balance": ("GET", "/fapi/v3/balance"),
    "account.position": ("GET", "/fapi/v2/positionRisk"),
    "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
    "account.status": ("GET", "/fapi/v2/account"),
    "v2/account.status": ("GET", "/fapi/v3/account"),
    "depth": ("GET", "/fapi/v1/depth"),
    "ticker.price": ("GET", "/fapi/v1/ticker/price"),
    "ticker.book": ("GET", "/fapi/v1/ticker/bookTicker"),
    "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
    "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
    "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
}

Answer = Callable[[Endpoint, Params, Signed, str], Any]
"""Checks and runs an endpoint: (endpoint, parameters, signature, key) to the result."""


class ApiSession(Client):
    """One websocket of the API."""

    def __init__(
        self,
        server: VenueServer,
        request: web.Request,
        table: Table,
        limits: Limits,
        answer: Answer,
    ) -> None:
        super().__init__(server, request)
        self._table = table
        self._limits = limits
        self._answer = answer

    def on_text(self, data: bytes) -> None:
        """Answer one request."""
        number: object = None
        try:
            message = _request(data)
            number = message.get("id")
            reply = {"id": number, "status": 200, "result": self._result(message)}
        except Refused as refused:
            reply = {"id": number, "status": refused.status, "error": refused.body()}
        reply["rateLimits"] = self._limits.counts()
        self.send_value(reply)

    def _result(self, message: dict[str, Any]) -> Any:
        method = str(message.get("method", "")).removeprefix("/")
        route = METHODS.get(method)
        if route is None:
            raise Refused(-1100, f"Unknown method {method!r}.")
        given = message.get("params") or {}
        if not isinstance(given, dict):
            raise Refused(-1130, "Data sent for parameter 'params' is not valid.")
        params, signed = read_websocket(given)
        return self._answer(self._table[route], params, signed, params.text("apiKey", ""))


def _request(data: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise Refused(-1135, f"Invalid JSON: {error}") from None
    if not isinstance(message, dict):
        raise Refused(-1135, "Invalid JSON: an object was expected.")
    return message
