"""The server process: `run_servers` inside it, `launch` from outside.

One JSON object a line and server goes to standard output as soon as all answer; with `control`, a
last line names the control address and its token. The process serves until SIGTERM or SIGINT, or,
where asked, until its standard input ends, so that it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import msgspec

from perpbot.domain.errors import PerpbotError
from perpbot.simulation.market import MarketModel
from perpbot.simulation.wire.control import Control
from perpbot.simulation.wire.fleet import BALANCE, Fleet

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 30.0
"""For books and orders: a long answer of a process that may have much to do."""
_KEPT_LINES = 50


class ServersFailed(PerpbotError):
    """The server process did not start, or has ended; the text carries what it said."""


class ServerAddress(msgspec.Struct, frozen=True):
    """Where one server is, and what a client of it needs."""

    venue: str
    rest_url: str
    ws_url: str
    credentials: dict[str, str]


# --- inside the process --------------------------------------------------------------------------


def run_servers(
    venues: Sequence[str],
    *,
    seed: int,
    port_base: int = 0,
    tape: Path | None = None,
    model: MarketModel | None = None,
    balance: Decimal = BALANCE,
    control: bool = False,
    until_input_ends: bool = False,
    out: TextIO | None = None,
) -> int:
    """Serve until told to end; return the exit code. Problems go to standard error."""
    try:
        asyncio.run(
            _serve(
                Fleet(
                    venues,
                    seed=seed,
                    clock_ns=time.time_ns,
                    tape=tape,
                    model=model,
                    balance=balance,
                ),
                port_base=port_base,
                control=control,
                until_input_ends=until_input_ends,
                out=out or sys.stdout,
            )
        )
    except (PerpbotError, OSError) as error:
        sys.stderr.write(f"simulate: {error}\n")
        return 1
    return 0


async def _serve(
    fleet: Fleet, *, port_base: int, control: bool, until_input_ends: bool, out: TextIO
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    serving = await fleet.start(port_base)
    token = secrets.token_urlsafe(24)
    door = Control(fleet, token)
    work = [asyncio.create_task(fleet.run()), asyncio.create_task(ended.wait())]
    try:
        lines = [one.description() for one in serving]
        if control:
            lines.append({"control": await door.start(), "token": token})
        out.write("".join(msgspec.json.encode(line).decode() + "\n" for line in lines))
        out.flush()
        if until_input_ends:
            work.append(asyncio.create_task(_input_ends()))
        done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await door.stop()
        await fleet.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _input_ends() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while await reader.read(1024):
            pass
    finally:
        transport.close()


# --- outside -------------------------------------------------------------------------------------


class RunningServers:
    """A server process that answers. Made by `launch`; `stop` it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        servers: tuple[ServerAddress, ...],
        control: Mapping[str, str],
        said: deque[str],
        listener: asyncio.Task[None],
    ) -> None:
        self.servers = servers
        self._process = process
        self._control = control
        self._said = said
        self._listener = listener

    def server(self, venue: str) -> ServerAddress:
        """The server of a venue. Raises KeyError for a venue that was not launched."""
        return {found.venue: found for found in self.servers}[venue]

    @property
    def exit_code(self) -> int | None:
        """The code with which the process ended; None while it lives."""
        return self._process.returncode

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    async def accountant(self) -> dict[str, Any]:
        """Return the true books: money as decimal strings. Raises `ServersFailed`."""
        return await self._ask("/accountant")

    async def orders(self) -> list[dict[str, Any]]:
        """Return every order that was taken, one row a client id. Raises `ServersFailed`."""
        rows: list[dict[str, Any]] = (await self._ask("/orders"))["orders"]
        return rows

    async def _ask(self, path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._control['token']}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ASK_TIMEOUT_S)) as session,
                session.get(self._control["control"] + path, headers=headers) as answer,
            ):
                answer.raise_for_status()
                said: dict[str, Any] = msgspec.json.decode(await answer.read())
                return said
        except (aiohttp.ClientError, TimeoutError) as error:
            words = _words(self._said)
            raise ServersFailed(f"the accountant does not answer: {error}{words}") from None

    async def stop(self) -> None:
        """End the process: SIGTERM, then SIGKILL after a while. May be called twice."""
        await _end(self._process)
        await self._listener


async def launch(
    venues: Sequence[str],
    *,
    seed: int,
    port_base: int = 0,
    tape: Path | None = None,
    model: MarketModel | None = None,
    balance: Decimal = BALANCE,
    timeout_s: float = START_TIMEOUT_S,
    program: str = "perpbot.simulation.wire",
) -> RunningServers:
    """Start the servers in a child process and wait until they answer.

    `program` is a module that takes the same arguments. The child ends with us, however we end.
    Raises `ServersFailed` with what the child said.
    """
    arguments = [*venues, f"--seed={seed}", f"--port-base={port_base}", f"--balance={balance}"]
    if tape is not None:
        arguments.append(f"--tape={tape}")
    if model is not None:
        arguments.append(f"--market={msgspec.json.encode(model).decode()}")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", program, "--control", "--until-input-ends", *arguments),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
    )
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    listener = asyncio.create_task(_listen(process, said))
    try:
        async with asyncio.timeout(timeout_s):
            lines = [await _line(process) for _ in range(len(venues) + 1)]
    except (TimeoutError, EOFError) as error:
        await _end(process)
        await listener
        reason = "ended" if isinstance(error, EOFError) else f"said nothing for {timeout_s} s"
        raise ServersFailed(f"the server process {reason}{_words(said)}") from None
    except BaseException:
        await _end(process)
        await listener
        raise
    *servers, control = lines
    return RunningServers(
        process,
        tuple(msgspec.convert(line, ServerAddress) for line in servers),
        msgspec.convert(control, dict[str, str]),
        said,
        listener,
    )


async def _line(process: asyncio.subprocess.Process) -> object:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise EOFError
    return msgspec.json.decode(line)


async def _listen(process: asyncio.subprocess.Process, said: deque[str]) -> None:
    """Keep the last lines of the child's standard error, so that its pipe never fills."""
    assert process.stderr is not None
    while line := await process.stderr.readline():
        said.append(line.decode("utf-8", "replace").rstrip())


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _words(said: deque[str]) -> str:
    return ": " + "; ".join(said) if said else ""
