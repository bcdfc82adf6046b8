"""The fences around simulated time: a lint of the source and a trap at run time. Both can fail."""

from __future__ import annotations

import ast
import datetime as dt
import gc
import os
import random
import secrets
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from perpbot.kernel.clock import RealClock
from perpbot.research.chaos.run import run_seed
from perpbot.research.chaos.stage import Stage
from perpbot.research.chaos.trap import Trapped, trapped
from tests.simulation.set_order import followed, sets_of

ROOT = Path(__file__).parents[2]
SOURCES = {
    path: ast.parse(path.read_text()) for path in sorted((ROOT / "src" / "perpbot").rglob("*.py"))
}


# --- the lint ------------------------------------------------------------------------------------


def banned(code: str, place: str = "src/perpbot/portfolio/planted.py") -> bool:
    """Whether the lint refuses code at a place."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--select", "TID251", "--stdin-filename", place],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return "TID251" in done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "import time\nx = time.time()\n",
        "from time import monotonic_ns\nx = monotonic_ns()\n",
        "from datetime import datetime, UTC\nx = datetime.now(UTC)\n",
        "import random\nx = random.random()\n",
        "import uuid\nx = uuid.uuid4()\n",
        "import secrets\n",
        "import os\nx = os.urandom(4)\n",
        "import threading\n",
        "from concurrent.futures import ThreadPoolExecutor\n",
        "import asyncio\nx = asyncio.to_thread\n",
        "import subprocess\n",
        "import socket\n",
    ],
)
def test_the_lint_refuses_the_real_world(code: str) -> None:
    """Clocks, randomness, threads, processes and sockets, however they are imported."""
    assert banned(code)


def test_the_lint_lets_through_what_is_handed_in_and_who_stands_in_the_table() -> None:
    """A clock that is an argument, seeded numbers; and the module that is the real clock."""
    handed_in = "import random\ndef f(clock, rng: random.Random): return clock.now_ns()\n"
    assert not banned(handed_in)
    assert not banned("import time\nx = time.time_ns()\n", "src/perpbot/kernel/clock.py")


def unseeded(tree: ast.AST) -> list[int]:
    """Return the lines that make a generator without a seed."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"random.Random", "Random"}
        and not node.args
    ]


def test_random_numbers_are_seeded_or_come_from_outside() -> None:
    """Only what puts a real node together makes a generator of its own."""
    inside = [
        path.relative_to(ROOT / "src" / "perpbot").parts[0]
        for path, tree in SOURCES.items()
        for _ in unseeded(tree)
    ]
    assert set(inside) <= {"app", "cli"}
    assert unseeded(ast.parse("import random\nx = random.Random()\ny = random.Random(1)\n")) == [2]


def test_nothing_follows_the_order_of_a_set() -> None:
    """It differs from process to process."""
    known = sets_of(SOURCES.values())
    found = [
        f"{path.relative_to(ROOT)}:{place.line} {place.text}"
        for path, tree in SOURCES.items()
        for place in followed(tree, known)
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "for x in {a, b}: print(x)",
        "def f(names: set[str]):\n    return [n for n in names]",
        "def f(names: frozenset[str] | None):\n    return list(names)",
        "found = set(rows)\nfor row in found: tell(row)",
        "found = set(rows)\nfirst = found.pop()",
        "found = set(rows)\ntext = ', '.join(found)",
        "found = set(rows)\nall_of_them = [*found]",
        "for key in old.keys() - new.keys(): drop(key)",
        "def venues() -> set[str]: ...\nfor v in venues(): ask(v)",
        "class A:\n    seen: set[str]\n    def tell(self):\n        return tuple(self.seen)",
        "class A:\n    @property\n    def rows(self) -> set[str]: ...\nfor r in A().rows: pass",
        "best = min(set(rows), key=score)",
    ],
)
def test_what_follows_the_order_of_a_set_is_found(code: str) -> None:
    """Loops, lists, joins, unpacking, the first one that comes."""
    tree = ast.parse(code)
    assert list(followed(tree, sets_of([tree])))


@pytest.mark.parametrize(
    "code",
    [
        "for x in sorted({a, b}): print(x)",
        "def f(names: set[str]):\n    return sorted(n for n in names)",
        "ok = any(n > 1 for n in {a, b})",
        "found = set(rows)\nboth = {*found, *others}",
        "found = set(rows)\nfound = sorted(found)\nfor row in found: tell(row)",
        "def f(venues: dict[str, int]):\n    return list(venues)",
        "largest = max(set(rows))",
        "left = {n for n in set(rows)}",
        "ok = any(map(text.count, set(rows)))",
    ],
)
def test_what_does_not_depend_on_the_order_is_let_through(code: str) -> None:
    """Sorted, counted, compared, or a set again."""
    tree = ast.parse(code)
    assert list(followed(tree, sets_of([tree]))) == []


# --- the trap ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reach",
    [
        lambda: time.time(),  # noqa: PLW0108 - looked up inside of the trap
        lambda: time.monotonic_ns(),  # noqa: PLW0108 - looked up inside of the trap
        lambda: time.sleep(0),
        lambda: RealClock().now_ns(),
        lambda: RealClock.monotonic_ns(),  # noqa: PLW0108 - looked up inside of the trap
        lambda: random.random(),  # noqa: PLW0108 - looked up inside of the trap
        lambda: random.SystemRandom().random(),
        lambda: secrets.token_hex(),  # noqa: PLW0108 - looked up inside of the trap
        lambda: uuid.uuid4(),  # noqa: PLW0108 - looked up inside of the trap
        lambda: os.urandom(4),
        lambda: threading.Thread(target=print).start(),
        lambda: subprocess.Popen(["true"]),  # noqa: S607
        lambda: subprocess.run(["true"], check=True),  # noqa: S607
        lambda: socket.create_connection(("127.0.0.1", 1)),
    ],
)
def test_the_trap_refuses_the_real_world(reach: Callable[[], object]) -> None:
    """Whoever calls; and all is as before afterwards."""
    before = (time.time, random.random, os.urandom, threading.Thread.start, socket.socket)
    with trapped(), pytest.raises(Trapped, match="in virtual time"):
        reach()
    after = (time.time, random.random, os.urandom, threading.Thread.start, socket.socket)
    assert before == after
    assert time.time() > 0


def test_other_threads_go_on() -> None:
    """Those that hand out seeds to other processes know nothing of the seed that runs here."""
    asked, told = threading.Event(), []

    def other() -> None:
        asked.wait(5)
        told.append(time.monotonic())

    thread = threading.Thread(target=other)
    thread.start()
    with trapped():
        asked.set()
        thread.join(5)
    assert told


def test_a_seed_runs_in_the_trap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call from within the run fails it."""
    monkeypatch.setattr(Stage, "run", lambda _stage: time.time())
    with pytest.raises(Trapped, match=r"time\.time was called"):
        run_seed(1)


def test_no_function_of_the_real_world_is_called_by_any_name() -> None:
    """What was imported by name passes the trap, not the profiler: it sees every call into C."""
    real: set[object] = {
        time.time,
        time.time_ns,
        time.monotonic,
        time.monotonic_ns,
        time.perf_counter,
        time.sleep,
        os.urandom,
        dt.datetime.now,
        random.random,
    }
    named = {"now", "utcnow", "today", "urandom", "start_new_thread", "socket"}
    called: list[str] = []

    def see(_frame: FrameType, event: str, function: object) -> None:
        if event == "c_call" and (function in real or getattr(function, "__name__", "") in named):
            called.append(repr(function))

    monotonic = time.monotonic
    # A test library looks at the clock whenever garbage is collected.
    watchers, gc.callbacks[:] = list(gc.callbacks), []
    sys.setprofile(see)
    try:
        monotonic()
        seen, called[:] = list(called), []
        result = run_seed(4)
    finally:
        sys.setprofile(None)
        gc.callbacks[:] = watchers
    assert seen, "the profiler sees nothing"
    assert called == []
    assert result.violations == ()
