"""Asks the server process from outside: the accountant's books, behind a token, on loopback."""

from __future__ import annotations

import hmac

from aiohttp import web

from perpbot.simulation.wire.fleet import Fleet
from perpbot.simulation.wire.server import LOOPBACK, reply
from perpbot.simulation.wire.sockets import STOP_TIMEOUT_S


class Control:
    """`GET /accountant` with `Authorization: Bearer TOKEN`."""

    def __init__(self, fleet: Fleet, token: str) -> None:
        self._fleet = fleet
        self._expected = f"Bearer {token}"
        app = web.Application()
        app.router.add_get("/accountant", self._accountant)
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
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), self._expected.encode()):
            return reply({"error": "the token is missing or wrong"}, status=401)
        return reply(self._fleet.summary())
