"""A scripted OKX on loopback: answers what a test tells it to, and keeps what it was asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

Socket = web.WebSocketResponse
Script = Callable[["LoopbackOkx", Socket, dict[str, Any]], Awaitable[None]]


async def accept_subscriptions(server: LoopbackOkx, socket: Socket, frame: dict[str, Any]) -> None:
    """Acknowledge every subscription and every login."""
    if frame["op"] == "login":
        await socket.send_json({"event": "login", "code": "0", "msg": "", "connId": "1"})
    for argument in frame["args"] if frame["op"] in {"subscribe", "unsubscribe"} else []:
        await socket.send_json({"event": frame["op"], "arg": argument, "connId": "1"})


class LoopbackOkx:
    """REST answers by path in `rest`; websocket frames go to the scripts `public`, `private`."""

    def __init__(self) -> None:
        self.rest: dict[str, Any] = {}
        self.public: Script = accept_subscriptions
        self.private: Script = accept_subscriptions
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.frames: list[dict[str, Any]] = []
        self.sockets: dict[str, list[Socket]] = {"public": [], "private": []}
        self.port = 0

    @property
    def rest_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[tuple[str, str, dict[str, str], str]]:
        """Return the requests to a path: method, path with query, headers, body."""
        return [one for one in self.requests if one[1].split("?")[0] == path]

    def said(self, op: str) -> list[dict[str, Any]]:
        """Return the websocket frames of one op."""
        return [frame for frame in self.frames if frame.get("op") == op]

    async def push(self, kind: str, *frames: object) -> None:
        """Send frames on the newest socket of a kind; a str as it is, anything else as JSON."""
        socket = self.sockets[kind][-1]
        for frame in frames:
            await socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.requests.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.rest.get(request.path)
        if callable(answer):
            answer = answer(request, body)
        if isinstance(answer, Exception):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, tuple):
            status, text = answer
            return web.Response(status=status, text=text)
        if answer is None:
            return web.json_response({"code": "404", "msg": "not scripted", "data": []})
        return web.json_response({"code": "0", "msg": "", "data": answer})

    async def socket(self, request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.sockets[kind].append(socket)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if message.data == "ping":
                await socket.send_str("pong")
                continue
            frame = json.loads(message.data)
            self.frames.append(frame)
            await (self.public if kind == "public" else self.private)(self, socket, frame)
        return socket


@asynccontextmanager
async def loopback_okx() -> AsyncIterator[LoopbackOkx]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    server = LoopbackOkx()
    app = web.Application()
    app.router.add_get("/ws/v5/{kind}", server.socket)
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        for sockets in server.sockets.values():
            for socket in sockets:
                await socket.close()
        await runner.cleanup()
