"""Two nodes on one account: in one state directory, and each in its own."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perpbot.domain.events import AlertFired, HaltLatched
from perpbot.kernel.journal.reading import read_records
from perpbot.portfolio.fence import RULE
from tests.processes.guardian.rig import Rig, open_rig

pytestmark = [pytest.mark.timeout(240)]

ALONE = {"guardian.enabled": False}
BUDGET_S = 100.0
"""Two nodes share what a venue allows in a minute: one may have to wait for the next."""


async def test_second_node_in_one_directory(tmp_path: Path) -> None:
    """It says who is there, where, and what to do; the first goes on."""
    async with open_rig(tmp_path, ALONE) as rig:
        first = await rig.node()
        second = await rig.start("run", "--testnet")
        assert await second.wait() != 0
        for words in (f"process {first.pid}", str(rig.state), "paths.state_dir"):
            assert words in second.words
        assert "Traceback" not in second.words
        assert first.exit_code is None
        assert await first.end() == 0


def halts(rig: Rig) -> list[str]:
    """Why a node has stopped opening, from its journal."""
    events = [r.event() for r in read_records(rig.state / "journal") if r.kind == "HALT_LATCHED"]
    return [e.value for e in events if isinstance(e, HaltLatched) and e.rule == RULE]


def alarms(rig: Rig) -> str:
    """What a node has told people."""
    events = [r.event() for r in read_records(rig.state / "journal") if r.kind == "ALERT_FIRED"]
    return "\n".join(event.text for event in events if isinstance(event, AlertFired))


def planned(rig: Rig) -> int:
    """How many pairs a node has opened."""
    return sum(r.kind == "PAIR_PLANNED" for r in read_records(rig.state / "journal"))


async def test_two_directories_meet_at_the_venue(tmp_path: Path) -> None:
    """Whoever sees an order of the other halts and says so, before long; two never trade on."""
    (tmp_path / "other").mkdir()
    async with open_rig(tmp_path, ALONE) as rig:
        other = Rig(tmp_path / "other", rig.exchanges, rig.proxies, ALONE)
        pair = (rig, other)
        try:
            nodes = [await rig.node()]
            await rig.until("a trade", lambda: planned(rig))
            # Not until its venues agree: on an account where somebody trades they may never.
            nodes.append(await other.start("run", "--testnet"))
            await other.until("a journal", (other.state / "journal").is_dir)

            def traders() -> list[Rig]:
                return [each for each in pair if planned(each) and not halts(each)]

            await rig.until("a halt", lambda: any(map(halts, pair)), BUDGET_S)
            await rig.until("one trader", lambda: len(traders()) < 2, BUDGET_S)
            halted = [each for each in pair if halts(each)]
            before = [planned(each) for each in halted]
            await asyncio.sleep(1.0)  # time in which they would have opened several pairs
            assert [planned(each) for each in halted] == before
            for each in halted:
                assert "another perpbot trades on the account" in alarms(each)
            assert [await node.end() for node in nodes] == [0, 0]
        finally:
            await other.end()
