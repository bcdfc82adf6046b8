"""The kill switch as a file: `KILL` in the state directory.

It needs neither a console nor a network: whoever can write the directory can stop the node, with
`perpbot kill` or with `touch KILL`. The node takes the order once and removes the file. An order
for one venue that cannot be obeyed as it stands holds for the whole node. Only the person that the
node runs as, or root, can take the latch away again.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path

import msgspec

from perpbot.execution.killswitch import LEVELS, KillSwitch
from perpbot.settings.private_files import write_private

FILE_NAME = "KILL"
POLL_S = 0.25
BYTES_MAX = 65_536
WORDS_MAX = 200
"""Characters of a reason and of an actor that are journalled."""
DEFAULT_LEVEL = 3
"""Cancels what rests and flattens what is unhedged; hedged pairs stay hedged."""


class KillOrder(msgspec.Struct, frozen=True):
    """What the file asks for; an empty file asks for `DEFAULT_LEVEL` of the whole node."""

    level: int = DEFAULT_LEVEL
    reason: str = "kill file"
    actor: str = "file"
    clear: bool = False
    """Takes the latch away instead; `level` then means nothing."""
    venue: str = ""
    """For this venue only. One that is none of the node's kills the whole node."""


def write_order(directory: Path, order: KillOrder) -> Path:
    """Put an order there in one step; return the file."""
    path = directory / FILE_NAME
    write_private(path, json.dumps(msgspec.to_builtins(order)).encode())
    return path


def parse_order(text: str) -> KillOrder:
    """Read an order. What cannot be read still kills, at `DEFAULT_LEVEL`: fail closed."""
    if not text.strip():
        return KillOrder()
    try:
        order = msgspec.json.decode(text, type=KillOrder)
    except msgspec.DecodeError:
        return KillOrder(reason="unreadable kill file")
    order = msgspec.structs.replace(
        order,
        reason=order.reason[:WORDS_MAX],
        actor=order.actor[:WORDS_MAX],
        venue=order.venue[:WORDS_MAX],
    )
    if not order.clear and order.level not in LEVELS:
        return KillOrder(reason=f"{order.reason} (level was {order.level}, 1 to 5 was expected)")
    return order


class KillFile:
    """Watches for the file. `run` is the task."""

    def __init__(self, directory: Path, switch: KillSwitch) -> None:
        self._path = directory / FILE_NAME
        self._switch = switch
        self._obeyed: tuple[int, int] | None = None
        """Which file was obeyed and could not be removed."""

    def check(self) -> KillOrder | None:
        """Obey and remove the file, if it is there; return its order."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return None
        which = (found.st_ino, found.st_mtime_ns)
        if which == self._obeyed:
            return None
        order = self._widened(self._read(found))
        said = {"actor": order.actor, "reason": order.reason, "venue": order.venue}
        if order.clear:
            self._switch.clear(**said)
        else:
            self._switch.engage(order.level, **said)
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            self._obeyed = which
        return order

    def _read(self, found: os.stat_result) -> KillOrder:
        """Return the order of the file. Whatever is wrong with it, it still kills."""
        try:
            order = parse_order(_text_of(self._path))
        except OSError as error:
            return KillOrder(reason=f"unreadable kill file: {error.strerror}")
        if order.clear and not _is_private(found):
            return KillOrder(reason="a kill file that others can write wanted to clear the latch")
        return order

    def _widened(self, order: KillOrder) -> KillOrder:
        """Return what the switch takes: an order for a venue that is none kills the whole node."""
        if order.clear:
            refusal = self._switch.clear_refusal(order.venue)
            return KillOrder(reason=f"to clear: {refusal}") if refusal else order
        refusal = self._switch.refusal(order.level, order.venue)
        if not refusal:
            return order
        return msgspec.structs.replace(order, reason=f"{order.reason} ({refusal})", venue="")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(POLL_S)


def _text_of(path: Path) -> str:
    """Return the beginning of a file. A pipe of that name must not hold the node up."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, BYTES_MAX).decode(errors="replace")
    finally:
        os.close(descriptor)


def _is_private(found: os.stat_result) -> bool:
    """Whether only we (or root) can have written a file: to clear is a person's act."""
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_uid in {os.geteuid(), 0}
        and not found.st_mode & 0o022
    )
