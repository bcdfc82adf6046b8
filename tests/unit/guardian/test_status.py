"""Whether a guardian is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.domain.errors import StateConflict
from perpbot.guardian.bootclock import boot_ns
from perpbot.guardian.status import (
    DIRECTORY,
    STATUS_NAME,
    YOUNG_NS,
    GuardianLock,
    GuardianStatus,
    guardian_of,
)


def status(at_ns: int) -> GuardianStatus:
    """What a guardian says."""
    return GuardianStatus(pid=1, phase="alive", silence_s=0.1, at_ns=at_ns)


def test_one_guardian_a_state_directory(tmp_path: Path) -> None:
    """The second one is told; after the first one's end there is room."""
    first = GuardianLock(tmp_path)
    with pytest.raises(StateConflict, match="one is enough"):
        GuardianLock(tmp_path)
    first.close()
    GuardianLock(tmp_path).close()


def test_it_is_there_while_it_holds_the_lock_and_speaks(tmp_path: Path) -> None:
    """A guardian that hangs holds the lock and says nothing: it protects nobody."""
    assert guardian_of(tmp_path) is None
    lock = GuardianLock(tmp_path)
    assert guardian_of(tmp_path) is None
    lock.tell(status(boot_ns()))
    assert guardian_of(tmp_path) is not None
    at_ns = boot_ns() + 10 * YOUNG_NS
    assert guardian_of(tmp_path, at_ns) is None
    (tmp_path / DIRECTORY / STATUS_NAME).write_text("{")
    assert guardian_of(tmp_path) is None
    lock.tell(status(boot_ns()))
    lock.close()
    assert guardian_of(tmp_path) is None


def test_a_status_that_a_death_left_behind_is_nobody(tmp_path: Path) -> None:
    """The kernel has dropped the lock."""
    lock = GuardianLock(tmp_path)
    lock.tell(status(boot_ns()))
    content = (tmp_path / DIRECTORY / STATUS_NAME).read_bytes()
    lock.close()
    (tmp_path / DIRECTORY / STATUS_NAME).write_bytes(content)

    assert guardian_of(tmp_path) is None
