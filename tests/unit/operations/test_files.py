"""Run file, kill file and status file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from pathlib import Path

import pytest

from perpbot.console.access import keep_token
from perpbot.domain.errors import StateConflict
from perpbot.domain.events import KillSwitchCleared, KillSwitchEngaged
from perpbot.operations.killfile import (
    DEFAULT_LEVEL,
    FILE_NAME,
    WORDS_MAX,
    KillFile,
    KillOrder,
    parse_order,
    write_order,
)
from perpbot.operations.killsignals import LEVELS_BY_SIGNAL, KillSignals
from perpbot.operations.looplag import watch_loop_lag
from perpbot.operations.records.recorder import TradeRecorder
from perpbot.operations.runfile import RunFile, RunInfo, running
from perpbot.operations.statusfile import read_status, remove_status, write_status
from perpbot.risk.latches import VenueKill
from perpbot.settings.private_files import write_private
from tests.unit.operations.small_world import small_world

INFO = RunInfo(pid=7, mode="paper", version="1", started_ns=5, console_url="http://x")


def test_a_held_run_file_says_who_runs(tmp_path: Path) -> None:
    """While it is held, others read it."""
    held = RunFile(tmp_path, INFO)

    assert running(tmp_path) == INFO
    held.close()
    assert running(tmp_path) is None


def test_a_file_that_a_crash_left_is_no_running_node(tmp_path: Path) -> None:
    """The lock counts, not the file."""
    (tmp_path / "run.json").write_text('{"pid": 1}')

    assert running(tmp_path) is None


def test_a_second_node_is_refused_by_name(tmp_path: Path) -> None:
    """Two nodes never share a state directory."""
    held = RunFile(tmp_path, INFO)

    with pytest.raises(StateConflict, match="process 7"):
        RunFile(tmp_path, INFO)
    held.close()


def test_no_directory_is_no_running_node(tmp_path: Path) -> None:
    """A place where nothing ever ran."""
    assert running(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("", DEFAULT_LEVEL),
        ("\n", DEFAULT_LEVEL),
        ("nonsense", DEFAULT_LEVEL),
        ('{"level": 9}', DEFAULT_LEVEL),
        ('{"level": "5"}', DEFAULT_LEVEL),
        ('{"level": 5, "reason": "r", "actor": "a"}', 5),
    ],
    ids=["touched", "blank", "unreadable", "no such level", "wrong type", "as written"],
)
def test_what_cannot_be_read_still_kills(text: str, level: int) -> None:
    """The kill file fails closed."""
    order = parse_order(text)

    assert order.level == level
    assert not order.clear


def test_the_kill_file_is_obeyed_once_and_removed(tmp_path: Path) -> None:
    """Journalled with its reason and actor, then gone."""
    core = small_world().core
    heard: list[KillSwitchEngaged] = []
    core.bus.subscribe(KillSwitchEngaged, heard.append, core=False)
    write_order(tmp_path, KillOrder(level=2, reason="why", actor="me"))
    watch = KillFile(tmp_path, core.kill_switch)

    taken = watch.check()

    assert taken is not None
    assert not (tmp_path / FILE_NAME).exists()
    assert [(event.level, event.reason, event.actor) for event in heard] == [(2, "why", "me")]
    assert watch.check() is None
    assert core.folds.latches.kill_level == 2


def test_the_kill_file_stops_and_clears_one_venue(tmp_path: Path) -> None:
    """And leaves the node and the other venues as they are."""
    core = small_world().core
    latches, watch = core.folds.latches, KillFile(tmp_path, core.kill_switch)
    for venue in ("okx", "binance"):
        write_order(tmp_path, KillOrder(level=2, reason="why", actor="me", venue=venue))
        watch.check()
    assert latches.kill_level == 0
    assert latches.venue_kills == {name: VenueKill(2, "why") for name in ("okx", "binance")}

    write_order(tmp_path, KillOrder(clear=True, venue="okx"))
    watch.check()
    assert list(latches.venue_kills) == ["binance"]
    assert latches.kill_level == 0


@pytest.mark.parametrize(
    ("text", "level", "words"),
    [
        ('{"level": 4, "reason": "r", "venue": "okxx"}', 4, "r (venue was 'okxx', one of"),
        ('{"level": 5, "reason": "r", "venue": "okx"}', 5, "r (kill level of okx was 5"),
        ('{"level": 9, "reason": "r", "venue": "okx"}', DEFAULT_LEVEL, "r (level was 9"),
        ('{"level": 1, "venue": 7}', DEFAULT_LEVEL, "unreadable kill file"),
        ('{"level": 1, "venue": null}', DEFAULT_LEVEL, "unreadable kill file"),
        ('{"clear": true, "venue": "okxx"}', DEFAULT_LEVEL, "to clear: venue was 'okxx'"),
        (json.dumps({"level": 2, "venue": "o" * 20_000}), 2, "(venue was 'ooo"),
    ],
    ids=["no venue", "exit", "no level", "a number", "null", "clears none", "endless"],
)
def test_a_venue_that_cannot_be_read_kills_the_whole_node(
    tmp_path: Path, text: str, level: int, words: str
) -> None:
    """Fail closed: never fewer than who wrote it may have meant, and no latch is lost."""
    core = small_world().core
    core.kill_switch.engage(1, actor="me", reason="try", venue="binance")
    write_private(tmp_path / FILE_NAME, text.encode())

    KillFile(tmp_path, core.kill_switch).check()

    latches = core.folds.latches
    assert latches.kill_level == level
    assert words in latches.kill_reason
    assert len(latches.kill_reason) < 1_000
    assert list(latches.venue_kills) == ["binance"]


def test_the_kill_file_can_clear_the_latch(tmp_path: Path) -> None:
    """A person's act, with their name."""
    core = small_world().core
    heard: list[KillSwitchCleared] = []
    core.bus.subscribe(KillSwitchCleared, heard.append, core=False)
    core.kill_switch.engage(1, actor="me", reason="try")
    write_order(tmp_path, KillOrder(clear=True, actor="me", reason="over"))

    KillFile(tmp_path, core.kill_switch).check()

    assert core.folds.latches.kill_level == 0
    assert heard[0].actor == "me"


@pytest.mark.parametrize("mode", [0o662, 0o626, 0o666], ids=oct)
def test_what_others_can_write_kills_and_never_clears(tmp_path: Path, mode: int) -> None:
    """To stop is open to everybody who reaches the directory; to go on is a person's act."""
    core = small_world().core
    core.kill_switch.engage(1, actor="me", reason="try")
    path = write_order(tmp_path, KillOrder(clear=True, actor="me", reason="over"))
    path.chmod(mode)

    order = KillFile(tmp_path, core.kill_switch).check()

    assert order is not None
    assert "wanted to clear" in order.reason
    assert core.folds.latches.kill_level == DEFAULT_LEVEL


def test_a_link_never_clears(tmp_path: Path) -> None:
    """Whose file it leads to proves nothing of who laid it."""
    core = small_world().core
    core.kill_switch.engage(2, actor="me", reason="try")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / FILE_NAME).symlink_to(
        write_order(elsewhere, KillOrder(clear=True, actor="me", reason="over"))
    )

    KillFile(tmp_path, core.kill_switch).check()

    assert core.folds.latches.kill_level == DEFAULT_LEVEL


def test_what_cannot_be_opened_or_removed_kills_once(tmp_path: Path) -> None:
    """A directory of that name, a file of somebody else: the order is taken, once."""
    core = small_world().core
    heard: list[KillSwitchEngaged] = []
    core.bus.subscribe(KillSwitchEngaged, heard.append, core=False)
    (tmp_path / FILE_NAME).mkdir()
    watch = KillFile(tmp_path, core.kill_switch)

    watch.check()
    watch.check()

    assert [event.level for event in heard] == [DEFAULT_LEVEL]
    assert "unreadable kill file" in heard[0].reason


def test_a_pipe_kills_and_holds_nothing_up(tmp_path: Path) -> None:
    """Nobody writes into it; to wait for that would stop the whole node."""
    core = small_world().core
    os.mkfifo(tmp_path / FILE_NAME)

    order = KillFile(tmp_path, core.kill_switch).check()

    assert order is not None
    assert core.folds.latches.kill_level == DEFAULT_LEVEL
    assert not (tmp_path / FILE_NAME).exists()


def test_long_words_are_cut(tmp_path: Path) -> None:
    """A record of any size would be too large for a journal."""
    core = small_world().core
    write_order(tmp_path, KillOrder(level=4, reason="r" * 20_000, actor="a" * 20_000))

    KillFile(tmp_path, core.kill_switch).check()

    assert core.folds.latches.kill_level == 4
    assert core.folds.latches.kill_reason == "r" * WORDS_MAX


def test_signals_take_the_same_path(tmp_path: Path) -> None:
    """What comes before the node is there, or between two, reaches the next one."""
    assert tmp_path.exists()
    core = small_world().core
    heard: list[KillSwitchEngaged] = []
    core.bus.subscribe(KillSwitchEngaged, heard.append, core=False)
    signals = KillSignals()

    signals.take(signal.SIGUSR1)
    signals.attach(core.kill_switch)
    signals.take(signal.SIGUSR2)
    signals.detach()
    signals.take(signal.SIGUSR1)

    assert [(e.level, e.actor, e.reason) for e in heard] == [
        (2, "signal", "SIGUSR1"),
        (4, "signal", "SIGUSR2"),
    ]
    signals.attach(core.kill_switch)
    assert len(heard) == 3
    assert core.folds.latches.kill_level == 4


async def test_signals_are_heard_by_the_loop() -> None:
    """From before a node is there."""
    core = small_world().core
    signals = KillSignals()
    loop = asyncio.get_running_loop()
    signals.listen(loop)
    try:
        signals.attach(core.kill_switch)
        os.kill(os.getpid(), signal.SIGUSR2)
        while not core.folds.latches.kill_level:  # noqa: ASYNC110 - a signal is waited for
            await asyncio.sleep(0)
    finally:
        for number in LEVELS_BY_SIGNAL:
            loop.remove_signal_handler(number)

    assert core.folds.latches.kill_level == 4


async def test_the_kill_file_task_looks_at_once(tmp_path: Path) -> None:
    """An order that waits at the start is obeyed first."""
    core = small_world().core
    (tmp_path / FILE_NAME).touch()
    task = asyncio.create_task(KillFile(tmp_path, core.kill_switch).run())
    while (tmp_path / FILE_NAME).exists():  # noqa: ASYNC110 - the file is the signal
        await asyncio.sleep(0)
    task.cancel()

    assert core.folds.latches.kill_level == DEFAULT_LEVEL


def test_a_status_is_read_as_it_was_written(tmp_path: Path) -> None:
    """And it is gone when it is taken away."""
    assert read_status(tmp_path) is None
    write_status(tmp_path, {"ts_ns": 1})
    assert read_status(tmp_path) == {"ts_ns": 1}
    remove_status(tmp_path)
    assert read_status(tmp_path) is None


async def test_loop_lag_is_never_negative() -> None:
    """A timer cannot run before it is due."""
    seen = asyncio.Event()
    lags: list[float] = []

    def note(lag_ms: float) -> None:
        lags.append(lag_ms)
        seen.set()

    task = asyncio.create_task(watch_loop_lag(note))
    await seen.wait()
    task.cancel()

    assert lags[0] >= 0.0


def test_every_file_of_a_node_is_private(tmp_path: Path) -> None:
    """Whatever the umask; a state directory that others could enter is shut."""
    directory = tmp_path / "paper"
    directory.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        held = RunFile(directory, RunInfo(1, "paper", "1", 1))
        write_order(directory, KillOrder())
        write_status(directory, {"ts_ns": 1})
        keep_token(directory / "console.token")
        TradeRecorder(directory / "records.db", directory / "journal").close()
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    held.close()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {"KILL", "run.json", "status.json", "console.token", "records.db"} <= set(modes)
    assert {mode & 0o077 for mode in modes.values()} == {0}
