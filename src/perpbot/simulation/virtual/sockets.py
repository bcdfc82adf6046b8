"""What libraries want to see of a socket."""

from __future__ import annotations

import errno
import socket


class VirtualSocket:
    """What libraries ask a socket for; it carries nothing itself."""

    def __init__(
        self,
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,  # noqa: A002 - the name of the standard library
        proto: int = 0,
        fileno: int | None = None,
    ) -> None:
        self.family = socket.AddressFamily(family) if family > 0 else socket.AF_INET
        self.type = type
        self.proto = proto
        self.peer: tuple[str, int] | None = None
        self.own: tuple[str, int] = ("0.0.0.0", 0)  # noqa: S104 # nosec B104
        self.called = ""
        self.closed = False

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the standard library's signature
        """Harmless."""

    def setsockopt(self, *_: object) -> None:
        """Harmless."""

    def getsockopt(self, *_: object) -> int:
        """Every option is 0."""
        return 0

    def fileno(self) -> int:
        """No descriptor: writing to it fails, as libraries expect of a full buffer."""
        return -1

    def getpeername(self) -> tuple[str, int]:
        """The other side."""
        if self.peer is None:
            raise OSError(errno.ENOTCONN, "not connected")
        return self.peer

    def getsockname(self) -> tuple[str, int]:
        """This side."""
        return self.own

    def close(self) -> None:
        """Forget it."""
        self.closed = True
