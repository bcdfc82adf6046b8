"""Somebody between a server and its clients, who may change what either says. For faults.

The connection itself is not touched here: frames and answers are lost, repeated, reordered or
spoilt while the sockets stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

if TYPE_CHECKING:
    from perpbot.simulation.wire.sockets import Client


class Meddler(Protocol):
    """What stands between. One that passes everything on changes nothing."""

    def said(self, client: Client, frame: bytes) -> Sequence[bytes]:
        """Return the frames that go out in the place of one of the server's."""

    def heard(self, client: Client, data: bytes) -> bool:
        """Whether the server gets to hear a message."""

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request (an upgrade to a websocket too), as a rule by asking `handler`."""


def meddling(meddler: Meddler) -> Middleware:
    """Return the middleware that asks `meddler`."""

    @web.middleware
    async def ask(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await meddler.answer(request, handler)

    return ask
