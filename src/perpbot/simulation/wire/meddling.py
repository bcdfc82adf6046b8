"""Somebody between a server and its clients, who may change what either says. For faults.

The connection itself is not touched here: frames and answers are lost, repeated, reordered or
spoilt while the sockets stand.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from perpbot.simulation.wire.sockets import Meddler


def meddling(meddler: Meddler) -> Middleware:
    """Return the middleware that asks `meddler`."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await meddler.answer(request, handler)

    return ask
