"""What systemd hears."""

from __future__ import annotations

import socket
from pathlib import Path

from perpbot.operations.servicemanager import ServiceManager


def listen(address: str) -> socket.socket:
    """A service manager's end."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(address)
    end.settimeout(1)
    return end


def heard(end: socket.socket, count: int) -> list[str]:
    """What came."""
    return [end.recv(256).decode() for _ in range(count)]


def test_it_tells_start_life_and_end(tmp_path: Path) -> None:
    """One datagram each, as sd_notify(3) writes them."""
    with listen(str(tmp_path / "notify")) as end:
        manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        manager.ready()
        manager.alive()
        manager.stopping()

        assert heard(end, 3) == ["READY=1", "WATCHDOG=1", "STOPPING=1"]
        manager.close()
        manager.alive()
        assert manager.unheard == 0


def test_an_abstract_address(tmp_path: Path) -> None:
    """`@name` is a name that begins with a zero byte."""
    name = f"perpbot-{tmp_path.name}-{id(tmp_path)}"
    with listen("\0" + name) as end:
        manager = ServiceManager({"NOTIFY_SOCKET": "@" + name})
        manager.alive()
        assert heard(end, 1) == ["WATCHDOG=1"]
        manager.close()


def test_nobody_listens(tmp_path: Path) -> None:
    """Without a service manager nothing is said; one that is gone costs nothing but a count."""
    alone = ServiceManager({})
    alone.alive()
    assert alone.unheard == 0
    gone = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    gone.alive()
    assert gone.unheard == 1
    gone.close()
