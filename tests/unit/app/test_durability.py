from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.app.durability import SYNCED, is_synced_intent, may_lack
from perpbot.domain.events import (
    EVENTS,
    HaltLatched,
    KillSwitchEngaged,
    OrderIntent,
    OrderPlaced,
    RunStarted,
)
from perpbot.guardian.bootclock import boot_id, boot_ns
from perpbot.guardian.heartbeat import FILE_NAME, Beat, HeartbeatFile
from perpbot.operations.settings import SyncPolicy

PLACED = OrderPlaced(client_id="a", venue="okx", venue_order_id="1")
ENGAGED = KillSwitchEngaged(level=1, actor="ann", reason="test")


@pytest.mark.parametrize(
    ("policy", "placed", "engaged"),
    [
        (SyncPolicy.WRITE, False, False),
        (SyncPolicy.INTENTS, False, True),
        (SyncPolicy.EVERY, True, True),
    ],
)
def test_a_policy_decides_which_records_wait(
    policy: SyncPolicy, placed: bool, engaged: bool
) -> None:
    """The start of a run always; beside it nothing, what sends orders or stops them, or all."""
    rule = SYNCED[policy]
    assert rule(PLACED) is placed
    assert rule(ENGAGED) is engaged
    assert rule(RunStarted(epoch=1, mode="paper", version="1", config_hash=""))


def test_what_sends_orders_waits_and_what_tells_of_them_does_not() -> None:
    """Facts are asked for again; an intent that is lost could never be."""
    sending = {kind for kind, event in EVENTS.items() if issubclass(event, OrderIntent)}
    assert sending == {"PAIR_PLANNED", "SUBMIT_ORDERS"}
    assert is_synced_intent(HaltLatched(rule="drawdown", value="11", limit="10"))
    assert not is_synced_intent(PLACED)


def beat(directory: Path, *, boot: str, at_ns: int) -> None:
    """Leave the last sign of life of a node."""
    file = HeartbeatFile(directory)
    file.write(Beat(run="1-1", epoch=3, count=9, at_ns=at_ns, boot_id=boot))
    file.close()


def test_a_machine_that_was_started_anew_may_have_taken_records(tmp_path: Path) -> None:
    """Where orders do not wait for the disk; where they do, none can be missing."""
    assert not may_lack(tmp_path, SyncPolicy.WRITE), "no node has run here"
    beat(tmp_path, boot=boot_id(), at_ns=boot_ns())
    assert not may_lack(tmp_path, SyncPolicy.WRITE), "the process died, not the machine"

    beat(tmp_path, boot="another", at_ns=0)

    assert may_lack(tmp_path, SyncPolicy.WRITE)
    assert not may_lack(tmp_path, SyncPolicy.INTENTS)
    assert not may_lack(tmp_path, SyncPolicy.EVERY)


def test_a_beat_of_later_or_without_sense_is_of_a_machine_that_went_down(tmp_path: Path) -> None:
    """Systems that name no boot count from it; a beat may have been cut short itself."""
    beat(tmp_path, boot=boot_id(), at_ns=boot_ns() + 10**15)
    assert may_lack(tmp_path, SyncPolicy.WRITE)
    (tmp_path / FILE_NAME).write_text("torn")
    assert may_lack(tmp_path, SyncPolicy.WRITE)
