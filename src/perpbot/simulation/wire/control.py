"""Asks the server process from outside: the accountant's books and the orders that were taken.

Behind a token, on loopback.
"""

from __future__ import annotations

import hmac

from aiohttp import web

from perpbot.simulation.wire.fleet import Fleet
from perpbot.simulation.wire.server import LOOPBACK, reply
from perpbot.simulation.wire.sockets import STOP_TIMEOUT_S


class Control:
    """`GET /accountant` and `GET /orders` with `Authorization: Bearer TOKEN`."""

    def __init__(self, fleet: Fleet, token: str) -> None:
        self._fleet = fleet
        self._expected = f"Bearer {token}"
        app = web.Application()
        app.router.add_get("/accountant", self._accountant)
        app.router.add_get("/orders", self._orders)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_TIMEOUT_S)

    async def start(self) -> str:
        """Listen on a free port; return the address."""
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, 0).start()
        return f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the port."""
        await self._runner.cleanup()

    async def _accountant(self, request: web.Request) -> web.Response:
        return self._refusal(request) or reply(self._fleet.summary())

    async def _orders(self, request: web.Request) -> web.Response:
        return self._refusal(request) or reply({"orders": self._fleet.orders()})

    def _refusal(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), self._expected.encode()):
            return None
        return reply({"error": "the token is missing or wrong"}, status=401)
