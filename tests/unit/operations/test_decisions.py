"""What a person decides about risk, by file."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.domain.events import AlertFired, Event, HaltCleared, OverrideGranted
from perpbot.kernel.clock import SECOND
from perpbot.operations.decisions import (
    ANSWER_NAME,
    FILE_NAME,
    FRESH_NS,
    ClearHalt,
    Decision,
    DecisionFile,
    LiftPauses,
    read_answer,
    write_decision,
)
from perpbot.research.world import World
from tests.unit.operations.small_world import small_world


class Bench:
    """A core whose drawdown halt is latched, and the file that it watches."""

    def __init__(self, directory: Path) -> None:
        self.world: World = small_world()
        self.directory = directory
        self.heard: list[Event] = []
        self.said: list[str] = []
        core = self.world.core
        core.bus.subscribe(Event, self.heard.append, core=False)
        core.risk._latch("drawdown", "11 %", "10 %")
        self.file = DecisionFile(directory, core.risk, core.clock, self.said.append)

    @property
    def halts(self) -> dict[str, str]:
        return self.world.core.folds.latches.halts

    def clear(self, *, rule: str = "drawdown", age_ns: int = 0) -> ClearHalt:
        return ClearHalt(
            number="7", ts_ns=self.world.core.clock.now_ns() - age_ns, actor="ann",
            reason="looked at", rule=rule,
        )  # fmt: skip

    def lift(self, *, minutes: int = 5, trades: int = 2) -> LiftPauses:
        return LiftPauses(
            number="8", ts_ns=self.world.core.clock.now_ns(), actor="ann", reason="it is back",
            minutes=minutes, trades=trades,
        )  # fmt: skip

    def decide(self, decision: Decision) -> tuple[bool, str]:
        """Let it take a decision; return the answer."""
        write_decision(self.directory, decision)
        self.file.check()
        answer = read_answer(self.directory, decision.number)
        assert answer is not None
        return answer.done, answer.text


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a fresh one."""
    return Bench(tmp_path)


def test_a_halt_says_how_it_is_cleared_and_is(bench: Bench) -> None:
    """The alarm names the command; the act is journalled with its person."""
    [alarm] = [event for event in bench.heard if isinstance(event, AlertFired)]
    assert (alarm.name, alarm.severity) == ("halt_drawdown", "critical")
    assert "perpbot risk reset drawdown" in alarm.text

    assert bench.decide(bench.clear()) == (True, "halt drawdown is cleared")

    assert bench.halts == {}
    [cleared] = [event for event in bench.heard if isinstance(event, HaltCleared)]
    assert (cleared.actor, cleared.reason) == ("ann", "looked at")
    assert not (bench.directory / FILE_NAME).exists()


def test_pauses_are_lifted_within_the_settings(bench: Bench) -> None:
    """More than they allow is cut to it, and the answer says so; a halt stays."""
    assert bench.decide(bench.lift(minutes=9_999)) == (
        True,
        "pauses and cooldowns are lifted for 60 min or 2 trades",
    )
    [granted] = [event for event in bench.heard if isinstance(event, OverrideGranted)]
    assert granted.until_ns == granted.ts_ns + 60 * 60 * SECOND
    assert "drawdown" in bench.halts


@pytest.mark.parametrize("age_ns", [FRESH_NS + 1, -FRESH_NS - 1], ids=["old", "of tomorrow"])
def test_a_decision_of_another_time_is_refused(bench: Bench, age_ns: int) -> None:
    """What lay there while no node ran is not what its person would decide now."""
    done, text = bench.decide(bench.clear(age_ns=age_ns))

    assert not done
    assert "s old" in text
    assert "drawdown" in bench.halts


def test_what_cannot_be_done_says_why(bench: Bench) -> None:
    """A halt that is not latched, an override of nothing."""
    assert bench.decide(bench.clear(rule="dradown")) == (
        False,
        "halt was 'dradown', one of these was expected: drawdown",
    )
    assert bench.decide(bench.lift(trades=0))[0] is False


def test_what_others_can_write_or_nobody_can_read_is_refused(bench: Bench) -> None:
    """It would switch something on: it fails closed, is taken away, and is told."""
    path = write_decision(bench.directory, bench.clear())
    path.chmod(0o666)
    bench.file.check()
    path.write_text("{")
    path.chmod(0o600)
    bench.file.check()
    path.mkdir()
    for _ in range(3):
        bench.file.check()

    assert "drawdown" in bench.halts
    assert len(bench.said) == 3, "each once, also what cannot be removed"
    assert all("refused" in text for text in bench.said)
    assert list(bench.directory.iterdir()) == [path]


def test_nothing_there_is_nothing_to_do(bench: Bench) -> None:
    """And an answer to somebody else is none."""
    bench.file.check()
    assert bench.said == []
    assert read_answer(bench.directory, "7") is None
    bench.decide(bench.clear())
    assert read_answer(bench.directory, "other") is None
    (bench.directory / ANSWER_NAME).write_text("{")
    assert read_answer(bench.directory, "7") is None
