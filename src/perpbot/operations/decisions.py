"""What a person decides about risk, as a file: halts that are cleared, pauses that are lifted.

`perpbot risk` puts `decision.json` into the state directory and reads `decision.answer.json`; it
needs neither a console nor a network. Both switch something on again, so anything but a fresh
request in a file that only its owner can write is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from perpbot.domain.errors import ConfigError, InvalidValue
from perpbot.kernel.clock import SECOND, Clock
from perpbot.risk.manager import RiskManager
from perpbot.settings.private_files import read_private, write_private

FILE_NAME = "decision.json"
ANSWER_NAME = "decision.answer.json"
POLL_S = 0.25
FRESH_NS = 30 * SECOND
"""What was decided before a node was there is not what its person would decide now."""


class ClearHalt(msgspec.Struct, frozen=True, kw_only=True, tag="clear_halt"):
    """Clear one latched halt."""

    number: str
    ts_ns: int
    actor: str
    reason: str
    rule: str


class LiftPauses(msgspec.Struct, frozen=True, kw_only=True, tag="lift_pauses"):
    """Lift the failure pause and cooldowns for a while, or for so many trades."""

    number: str
    ts_ns: int
    actor: str
    reason: str
    minutes: int
    trades: int


Decision = ClearHalt | LiftPauses


class Answer(msgspec.Struct, frozen=True):
    """What became of the decision of that number."""

    number: str
    done: bool
    text: str


def decide(risk: RiskManager, decision: Decision) -> str:
    """Carry a decision out; return what was done. Raises `InvalidValue` for what cannot be."""
    if isinstance(decision, ClearHalt):
        risk.clear_halt(decision.rule, actor=decision.actor, reason=decision.reason)
        return f"halt {decision.rule} is cleared"
    granted = risk.grant_override(
        actor=decision.actor,
        minutes=decision.minutes,
        trades=decision.trades,
        reason=decision.reason,
    )
    return f"pauses and cooldowns are lifted for {granted.minutes} min or {granted.trades} trades"


def write_decision(directory: Path, decision: Decision) -> Path:
    """Put a decision there in one step; return the file. Remove it when nobody took it."""
    path = directory / FILE_NAME
    write_private(path, msgspec.json.encode(decision))
    return path


def read_answer(directory: Path, number: str) -> Answer | None:
    """Return what became of a decision; None until the node has answered."""
    try:
        answer = msgspec.json.decode(read_private(directory / ANSWER_NAME), type=Answer)
    except (OSError, msgspec.DecodeError):
        return None
    return answer if answer.number == number else None


class DecisionFile:
    """Watches for the file. `run` is the task."""

    def __init__(
        self, directory: Path, risk: RiskManager, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._path = directory / FILE_NAME
        self._risk = risk
        self._clock = clock
        self._say = say
        self._taken: tuple[int, int] | None = None
        """Which file was taken last: it may be one that cannot be removed."""

    def check(self) -> None:
        """Take the file, if it is there: carry it out or refuse it, and answer."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        which = (found.st_ino, found.st_mtime_ns)
        if which == self._taken:
            return
        self._taken = which
        try:
            data = read_private(self._path)
            decision: Decision = msgspec.json.decode(data, type=Decision)
        except (OSError, ConfigError, msgspec.DecodeError) as error:
            self._say(f"a decision was refused: {self._path} cannot be taken: {error}")
            self._remove()
            return
        self._remove()
        answer = self._judge(decision)
        self._say(f"decision of {decision.actor}: {answer.text}")
        write_private(self._directory / ANSWER_NAME, msgspec.json.encode(answer), durable=False)

    def _judge(self, decision: Decision) -> Answer:
        age_ns = self._clock.now_ns() - decision.ts_ns
        try:
            if not -FRESH_NS <= age_ns <= FRESH_NS:
                raise InvalidValue(
                    f"the decision was {age_ns // SECOND} s old, at most"
                    f" {FRESH_NS // SECOND} s was expected"
                )
            return Answer(decision.number, done=True, text=decide(self._risk, decision))
        except InvalidValue as refusal:
            return Answer(decision.number, done=False, text=str(refusal))

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # what stays is known, and not taken again
            self._path.unlink(missing_ok=True)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(POLL_S)
