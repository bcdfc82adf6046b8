"""The alarm for a guardian that is not there, or cannot act."""

from __future__ import annotations

from pathlib import Path

from perpbot.guardian.status import GuardianStatus, HandStatus
from perpbot.operations.guardianwatch import GuardianWatch


def guardian(*, ready: bool = True, problem: str = "") -> GuardianStatus:
    """One that holds the key of one venue."""
    return GuardianStatus(
        pid=1,
        phase="alive",
        silence_s=0.0,
        at_ns=0,
        venues={"okx": HandStatus(ready=ready, flattens=True)},
        problem=problem,
    )


def test_each_trouble_is_told_once_until_it_is_over() -> None:
    """Nobody there, a key that does not work, a guardian in trouble."""
    found: list[GuardianStatus | None] = [
        guardian(),
        None,
        None,
        guardian(),
        None,
        guardian(ready=False),
        guardian(ready=False),
        guardian(problem="cannot take over: no space"),
        guardian(),
    ]
    told: list[str] = []
    watch = GuardianWatch(Path(), told.append, lambda _directory: found.pop(0))

    while found:
        watch.look()

    assert told == [
        "nobody watches over this node: start perpbot guardian",
        "nobody watches over this node: start perpbot guardian",
        "the guardian cannot act at okx",
        "cannot take over: no space",
    ]


def test_nobody_is_in_an_empty_directory(tmp_path: Path) -> None:
    """It looks where the guardian keeps its lock."""
    told: list[str] = []
    assert "nobody" in GuardianWatch(tmp_path, told.append).look()
    assert len(told) == 1
