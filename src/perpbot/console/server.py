"""Serves the console inside the node's loop. A port in use costs the console, never the node."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from perpbot.console.guard import HEAD_BYTES_MAX, Application

STOP_LIMIT_S = 2
CONNECTIONS_MAX = 128


class PortUnavailable(OSError):
    """The console cannot listen; the text says where and what to do."""


class _QuietServer(uvicorn.Server):
    """Leaves the signals to the node."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ConsoleServer:
    """One listening console."""

    def __init__(self, app: Application, host: str, port: int) -> None:
        """Raises `PortUnavailable`. Port 0 takes a free one."""
        try:
            self._socket = _listen(host, port)
        except OSError as error:
            raise PortUnavailable(
                f"console: cannot listen on {host}:{port} ({error.strerror}); the node goes on "
                "without it. Free the port, or set console.port"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self._server = _QuietServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                date_header=False,
                # Addresses of clients are judged by the gate, from one header and one flag.
                proxy_headers=False,
                http="h11",
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=STOP_LIMIT_S,
            )
        )

    async def run(self) -> None:
        """Serve until stopped or cancelled."""
        await self._server.serve(sockets=[self._socket])

    async def stop(self, task: asyncio.Task[None]) -> None:
        """End in order; `task` is the one that runs it."""
        self._server.should_exit = True
        await asyncio.wait({task}, timeout=STOP_LIMIT_S + 1)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(64)
        listening.settimeout(0)
    except OSError:
        listening.close()
        raise
    return listening
