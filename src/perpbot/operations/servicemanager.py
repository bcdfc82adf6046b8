"""Speaks to systemd, where it started us: ready, alive, stopping.

The protocol is sd_notify(3): datagrams to the socket that `NOTIFY_SOCKET` names. With
`WatchdogSec=` in the unit, systemd ends and restarts a node whose core says nothing for that long.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping


class ServiceManager:
    """See the module. Without `NOTIFY_SOCKET` it says nothing to anybody."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is an abstract one: a zero byte on the wire.
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(0)
        self.unheard = 0
        """Messages that the service manager did not take; it judges by what it hears."""

    def ready(self) -> None:
        """The node runs."""
        self._say("READY=1")

    def alive(self) -> None:
        """The core has just taken a step."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """The node ends in order, which may take a while."""
        self._say("STOPPING=1")

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, text: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            self.unheard += 1
