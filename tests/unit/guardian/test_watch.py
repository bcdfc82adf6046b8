"""When a node counts as silent."""

from __future__ import annotations

import pytest

from perpbot.guardian.heartbeat import Beat
from perpbot.guardian.watch import Verdict, Watch
from perpbot.kernel.clock import SECOND


def beat(at_s: float, *, boot: str = "b", ended: bool = False) -> Beat:
    """A beat at a time."""
    return Beat(run="1", epoch=1, count=1, at_ns=int(at_s * SECOND), boot_id=boot, ended=ended)


def watch(at_s: float = 100.0) -> Watch:
    """A watch for 10 s of silence that began at a time."""
    return Watch(silence_ns=10 * SECOND, now_ns=int(at_s * SECOND), boot_id="b")


def look(eye: Watch, until_s: float, found: Beat | None, since_s: float = 100.0) -> Verdict:
    """Look every second; return the last verdict."""
    verdict = Verdict.ABSENT
    at_s = since_s
    while at_s <= until_s:
        verdict = eye.look(int(at_s * SECOND), found)
        at_s += 1.0
    return verdict


@pytest.mark.parametrize("found", [None, beat(0, ended=True)], ids=["none", "ended"])
def test_nobody_there_is_not_silence(found: Beat | None) -> None:
    """Neither before the first run nor after an orderly end."""
    eye = watch()
    assert look(eye, 200, found) is Verdict.ABSENT
    assert eye.silence_ns == 0


def test_a_beat_that_is_not_followed_becomes_silence() -> None:
    """At the time that was set, not before."""
    eye = watch()
    assert look(eye, 114, beat(105)) is Verdict.ALIVE
    assert look(eye, 115, beat(105), since_s=115) is Verdict.SILENT
    assert look(eye, 116, beat(115.5), since_s=116) is Verdict.ALIVE


@pytest.mark.parametrize("boot", ["b", "another"])
def test_what_was_before_the_guardian_does_not_count(boot: str) -> None:
    """A beat of long ago, or of another start of the machine, counts from now."""
    eye = watch()
    assert look(eye, 109, beat(3, boot=boot)) is Verdict.ALIVE
    assert look(eye, 110, beat(3, boot=boot), since_s=110) is Verdict.SILENT


def test_a_gap_of_its_own_counts_anew() -> None:
    """Whoever was stopped together with the node gives it the time to beat."""
    eye = watch()
    look(eye, 105, beat(104))
    assert look(eye, 300, beat(104), since_s=300) is Verdict.ALIVE
    assert look(eye, 309, beat(104), since_s=301) is Verdict.ALIVE
    assert look(eye, 310, beat(104), since_s=310) is Verdict.SILENT
