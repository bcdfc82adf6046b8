"""An asyncio loop that has no clock of its own: time moves when nothing is left to do.

Real code runs on it unchanged as long as it stays within one thread: timers, tasks, futures, and
connections over a `Network`. Threads, executors, signals, real sockets and name servers raise.

What is promised: callbacks of one host run in the order in which they were asked for; timers that
are due at one instant, and hosts that are ready at one instant, are taken in an order that the
seed decides. The same seed and the same code give the same `trace_hash`. An exception that nobody
takes fails the run.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import random
import struct
import sys
import zlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from perpbot.domain.errors import PerpbotError
from perpbot.simulation.virtual.hosts import HOST, Host, HostDied, OrderedTask

if TYPE_CHECKING:
    from perpbot.simulation.virtual.network import Network

T = TypeVar("T")
Callback = Callable[..., object]
ErrorHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]
SECOND_NS = 1_000_000_000
START_NS = 1_000 * SECOND_NS
"""What the loop's clock shows at the start: monotonic time is never zero."""
INSTANT_NS = 1_000_000
STEPS_AT_ONE_INSTANT = 50_000
"""So many callbacks within an instant are a busy loop."""
_STEP = struct.Struct("<qiI")


class Deadlock(PerpbotError):
    """Something is waited for and nothing will ever happen."""


class Forbidden(PerpbotError):
    """Simulated code reached for the real world."""


class VirtualLoop(asyncio.AbstractEventLoop):
    """See the module. `network` gives it connections; without one they raise `Forbidden`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now_ns = START_NS
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._asked = 0
        self._created = 0
        self._hosts: list[Host] = []
        self.outside = self.new_host("outside")
        self._stopping = False
        self._running = False
        self._closed = False
        self._error_handler: ErrorHandler | None = None
        self.errors: list[str] = []
        """What nobody took: exceptions of callbacks and of forgotten tasks of living hosts."""
        self.steps = 0
        self._digest = hashlib.sha256()
        self._names: dict[str, int] = {}
        self.network: Network | None = None

    # --- time ------------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds on the loop's clock."""
        return self._now_ns / SECOND_NS

    def now_ns(self) -> int:
        """Nanoseconds on the loop's clock."""
        return self._now_ns

    @property
    def trace_hash(self) -> str:
        """One hash over every step so far: when, which host, what kind of callback."""
        return self._digest.hexdigest()

    def note(self, text: bytes) -> None:
        """Take something else into the trace."""
        self._digest.update(text)

    # --- hosts -----------------------------------------------------------------------------------

    def new_host(self, name: str) -> Host:
        """Return a new machine."""
        host = Host(name, len(self._hosts))
        self._hosts.append(host)
        return host

    def freeze(self, host: Host, duration_ns: int) -> None:
        """Let a host stand still: what is due there waits, the rest of the world goes on."""
        host.frozen_until_ns = max(host.frozen_until_ns, self._now_ns + duration_ns)

    # --- asking ----------------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call in this instant, after what was asked for before on the same host."""
        if context is None:
            context = copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        host = context.get(HOST) or self.outside
        if host.alive:
            host.ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call soon: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call after `delay` seconds."""
        return self.call_at_ns(
            self._now_ns + round(delay * SECOND_NS), callback, *args, context=context
        )

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call at a time of the loop's clock in seconds."""
        return self.call_at_ns(round(when * SECOND_NS), callback, *args, context=context)

    def call_at_ns(
        self, due_ns: int, callback: Callback, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call at a time of the loop's clock in nanoseconds."""
        handle = asyncio.TimerHandle(
            due_ns / SECOND_NS, callback, args, self, context or copy_context()
        )
        self._asked += 1
        heapq.heappush(self._timers, (due_ns, self._asked, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Told by `TimerHandle.cancel`; the heap drops it when its time has come."""

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_later: Any,
    ) -> asyncio.Task[T]:
        """Start a task; it belongs to the host of its context."""
        self._created += 1
        if context is None:
            context = copy_context()
        task = OrderedTask(self._created, coro, name, loop=self, context=context)
        host = context.get(HOST) or self.outside
        host.tasks[task] = None
        task.add_done_callback(lambda done: host.tasks.pop(done, None))
        return task

    # --- running ---------------------------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` is done; return its result."""
        awaited = asyncio.ensure_future(future, loop=self)
        awaited.add_done_callback(lambda _done: self.stop())
        self.run_forever()
        if not awaited.done():
            raise Deadlock("the loop stopped before its work was done")
        return awaited.result()

    def run_forever(self) -> None:
        """Run until `stop`. Raises `Deadlock` when nothing can ever happen again."""
        if self._running or self._closed:
            raise Forbidden("the loop is running or closed already")
        before = asyncio._get_running_loop()  # noqa: SLF001 - as every loop does
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._finalise)
        self._running = True
        asyncio._set_running_loop(self)  # noqa: SLF001
        try:
            self._run()
        finally:
            self._running = self._stopping = False
            asyncio._set_running_loop(before)  # noqa: SLF001
            sys.set_asyncgen_hooks(*hooks)

    def _finalise(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.call_soon(lambda: self.create_task(generator.aclose()))

    def _run(self) -> None:
        since, since_ns = self.steps, self._now_ns
        while not self._stopping:
            self._take_due()
            host = self._choose()
            if host is None:
                self._move_on()
            else:
                self._step(host)
            if self._now_ns - since_ns > INSTANT_NS:
                since, since_ns = self.steps, self._now_ns
            elif self.steps - since > STEPS_AT_ONE_INSTANT:
                raise Deadlock(f"busy, and time hardly moves: {self._waiting()}")

    def _take_due(self) -> None:
        """Hand timers that are due to their hosts; those of one instant in any order."""
        timers, now_ns = self._timers, self._now_ns
        while timers and timers[0][0] <= now_ns:
            due_ns, _, handle = heapq.heappop(timers)
            if not timers or timers[0][0] != due_ns:
                self._hand_over(handle)
                continue
            same = [handle]
            while timers and timers[0][0] == due_ns:
                same.append(heapq.heappop(timers)[2])
            self._rng.shuffle(same)
            for one in same:
                self._hand_over(one)

    def _hand_over(self, handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            host = _context_of(handle).get(HOST) or self.outside
            if host.alive:
                host.ready.append(handle)

    def _choose(self) -> Host | None:
        """Return the host that goes on: by the seed where several could."""
        now_ns = self._now_ns
        able = [host for host in self._hosts if host.ready and host.frozen_until_ns <= now_ns]
        if len(able) > 1:
            return able[int(self._rng.random() * len(able))]
        return able[0] if able else None

    def _step(self, host: Host) -> None:
        handle = host.ready.popleft()
        if handle.cancelled():
            return
        self.steps += 1
        self._digest.update(_STEP.pack(self._now_ns, host.number, self._name(handle)))
        try:
            handle._run()  # noqa: SLF001 - as every loop does
        except HostDied:
            if host.alive:
                raise

    def _name(self, handle: asyncio.Handle) -> int:
        callback: Any = getattr(handle, "_callback", None)
        name = getattr(callback, "__qualname__", None) or type(callback).__name__
        known = self._names.get(name)
        if known is None:
            known = self._names[name] = zlib.crc32(name.encode())
        return known

    def _move_on(self) -> None:
        """Nothing is ready: jump to what comes next."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        moments = [timers[0][0]] if timers else []
        moments += [host.frozen_until_ns for host in self._hosts if host.ready]
        if not moments:
            raise Deadlock(f"nothing can happen any more; waiting: {self._waiting()}")
        self._now_ns = max(self._now_ns, min(moments))

    def _waiting(self) -> str:
        """Say what waits, by host."""
        return "; ".join(
            f"{host.name}: {', '.join(_place(task) for task in host.tasks)}"
            for host in self._hosts
            if host.alive and host.tasks
        )

    def stop(self) -> None:
        """Leave `run_forever` after this callback."""
        self._stopping = True

    def is_running(self) -> bool:
        """Whether `run_forever` is under way."""
        return self._running

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Throw everything away without running it."""
        self._closed = True
        self._timers.clear()
        for host in self._hosts:
            host.die()
        for host in self._hosts:
            host.dispose()

    # --- failures --------------------------------------------------------------------------------

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody took; the dead are not listened to."""
        host = HOST.get()
        if host is not None and not host.alive:
            return
        if self._error_handler is not None:
            self._error_handler(self, context)
            return
        error = context.get("exception")
        text = str(context.get("message"))
        self.errors.append(f"{text}: {type(error).__name__}: {error}" if error else text)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """As without a handler."""
        self.errors.append(str(context.get("message")))

    def set_exception_handler(self, handler: ErrorHandler | None) -> None:
        """Let `handler` take what nobody took."""
        self._error_handler = handler

    def get_exception_handler(self) -> ErrorHandler | None:
        """What takes it."""
        return self._error_handler

    def get_debug(self) -> bool:
        """Never: debugging reads the real clock."""
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's signature
        """There is no debug mode."""
        if enabled:
            raise Forbidden("a virtual loop has no debug mode")

    # --- the world outside -----------------------------------------------------------------------

    def _networked(self) -> Network:
        if self.network is None:
            raise Forbidden("this loop has no network")
        return self.network

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """Connect over the network."""
        return await self._networked().create_connection(protocol_factory, *args, **options)

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """Listen on the network."""
        return self._networked().create_server(protocol_factory, *args, **options)

    async def sock_connect(self, sock: Any, address: Any) -> None:
        """Connect a virtual socket."""
        await self._networked().sock_connect(sock, address)

    async def getaddrinfo(self, host: Any, port: Any, **hints: Any) -> Any:
        """Ask the network's names."""
        return await self._networked().getaddrinfo(host, port, **hints)

    def run_in_executor(self, *_: Any) -> Any:  # type: ignore[override]
        """There is one thread."""
        raise Forbidden("threads and executors do not exist in virtual time")

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """There are no signals."""
        raise Forbidden("signals do not exist in virtual time")

    async def shutdown_asyncgens(self) -> None:
        """Nothing is kept of them."""

    async def shutdown_default_executor(self, *_: Any) -> None:
        """There is none."""


def _place(task: asyncio.Task[Any]) -> str:
    """Return where a task stands."""
    frames = task.get_stack()
    where = f"{frames[-1].f_code.co_qualname}:{frames[-1].f_lineno}" if frames else "?"
    return f"{task.get_name()} in {where}"


def new_loop(rng: random.Random) -> VirtualLoop:
    """Return a loop. What it lacks of asyncio's raises `NotImplementedError`."""
    return VirtualLoop(rng)  # type: ignore[abstract]


def _context_of(handle: asyncio.Handle) -> Context:
    found: Context = getattr(handle, "_context")  # noqa: B009 - public from Python 3.12 on
    return found
