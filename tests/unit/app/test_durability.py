from __future__ import annotations

import pytest

from perpbot.app.durability import SYNCED, is_synced_intent
from perpbot.domain.events import (
    EVENTS,
    HaltLatched,
    KillSwitchEngaged,
    OrderIntent,
    OrderPlaced,
    RunStarted,
)
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
