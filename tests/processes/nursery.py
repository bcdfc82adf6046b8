"""Starts node processes fast: a process that has imported everything forks one a life.

Protocol, one JSON object a line: `{"plan": …}` in, `{"started": pid}` out; `{"ended": pid,
"status": n}` when a child ends (the status of `os.waitstatus_to_exitcode`). When its input ends
the nursery kills what still lives and goes; when the nursery itself is killed, a child notices
by the pipe that only the nursery holds open.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Self

import msgspec

from tests.processes import node
from tests.processes.plan import NodePlan, decode, encode

REPOSITORY = Path(__file__).resolve().parents[2]
START_LIMIT_S = 20.0
END_LIMIT_S = 40.0
STACKS_S = 0.5
"""Time to write down where it hangs."""


# --- inside the nursery --------------------------------------------------------------------------


class _Order(msgspec.Struct):
    plan: str
    log: str


def serve() -> None:
    """Fork until the input ends."""
    held, holding = os.pipe()
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    alive: set[int] = set()
    text = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(alive)
        if 0 in ready:
            part = os.read(0, 65536)
            if not part:
                break
            *lines, text = (text + part).split(b"\n")
            for line in lines:
                order = msgspec.json.decode(line, type=_Order)
                pid = os.fork()
                if not pid:
                    for descriptor in (holding, woken, waking):
                        os.close(descriptor)
                    _live(order, held)
                alive.add(pid)
                _say({"started": pid})
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reap(alive: set[int]) -> None:
    while alive:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        alive.discard(pid)
        _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(message: dict[str, int]) -> None:
    os.write(1, msgspec.json.encode(message) + b"\n")


def _live(order: _Order, held: int) -> NoReturn:
    """Be a node; never returns into the nursery."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        faulthandler.register(signal.SIGUSR1)
        threading.Thread(target=_end_with_nursery, args=(held,), daemon=True).start()
        node.run(decode(order.plan.encode()))
        code = 0
    except BaseException:  # noqa: BLE001 - the last frame of this process: told, then gone
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _end_with_nursery(held: int) -> None:
    os.read(held, 1)
    os._exit(3)


# --- outside -------------------------------------------------------------------------------------


class Child:
    """One node process."""

    def __init__(self, pid: int, plan: NodePlan, log: Path) -> None:
        self.pid = pid
        self.plan = plan
        self.log = log
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)

    async def wait(self, limit_s: float = END_LIMIT_S) -> int:
        """Return the exit code, negative for a signal; kills and raises `TimeoutError`."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.ended), limit_s)
        except TimeoutError:
            self.signal(signal.SIGUSR1)
            await asyncio.sleep(STACKS_S)
            self.kill()
            raise TimeoutError(f"still there after {limit_s:g} s: {self.words()}") from None

    def words(self) -> str:
        """What it wrote to its standard error."""
        return self.log.read_text() if self.log.exists() else ""


class Nursery:
    """The process that forks, from outside; use it with `async with`."""

    def __init__(self, directory: Path, within: Sequence[str] = ()) -> None:
        """`within` is a command that runs the nursery, and becomes it."""
        self._directory = directory
        self._within = tuple(within)
        self._children: dict[int, Child] = {}
        self._starting: asyncio.Queue[Child] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        self._count = 0

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(*self._within, sys.executable, "-m", "tests.processes.nursery"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 5)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await self._listening

    @property
    def root(self) -> Path:
        """Its root directory, as seen from here."""
        return Path(f"/proc/{self._process.pid}/root")

    async def start(self, plan: NodePlan) -> Child:
        """Begin a life."""
        assert self._process.stdin is not None
        self._count += 1
        log = self._directory / f"node-{self._count}.log"
        order = _Order(plan=encode(plan).decode(), log=str(log))
        async with self._one_at_a_time:
            self._next = (plan, log)
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            return await asyncio.wait_for(self._starting.get(), START_LIMIT_S)

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message: dict[str, int] = msgspec.json.decode(line)
            if "started" in message:
                child = Child(message["started"], *self._next)
                self._children[child.pid] = child
                self._starting.put_nowait(child)
            else:
                self._children.pop(message["ended"]).ended.set_result(message["status"])


if __name__ == "__main__":
    serve()
