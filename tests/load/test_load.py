"""Short runs of every load; the long ones are `python -m tests.load`. No pace is asserted here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.load import __main__ as command
from tests.load import journal, reconnects, soak

pytestmark = [
    pytest.mark.slow,
    pytest.mark.blocking,
    pytest.mark.no_cover,
    pytest.mark.timeout(240),
]


def test_a_long_journal_is_folded_and_restarted_from(tmp_path: Path) -> None:
    """Written live, folded from the first record, loaded by snapshot: one state."""
    figures = journal.measure(tmp_path, records=20_000, left_open=50)

    assert figures["records"] >= 20_000
    assert (figures["open_orders"], figures["open_pairs"]) == (100, 50)
    assert figures["ready_from_snapshot"] > 0
    assert figures["ready_from_snapshot"] + figures["ready_records_after_it"] == figures["records"]
    # Bounded: what has ended is forgotten, but for what may be told late.
    assert figures["component_bytes"]["orders"] < 4_000_000
    assert figures["component_bytes"]["reservations"] < 100_000


async def test_cut_lines_leave_nothing_behind(tmp_path: Path) -> None:
    """No task, no socket and no memory, over three venues."""
    figures = await reconnects.measure(tmp_path, reconnects=60, warm_up=30)

    assert figures["holds"], figures
    assert figures["reconnects"] >= 60


async def test_every_order_of_a_loaded_node_is_in_its_journal(tmp_path: Path) -> None:
    """And every record that was dispatched, while quotes rain."""
    pace = soak.Pace(
        seconds=8.0,
        warm_up_s=3.0,
        warm_up_at_most_s=3.0,
        rest_s=0.0,
        looks=1,
        history=5_000,
        snapshot_every=500,
    )

    figures = await soak.measure(tmp_path, pace)

    assert figures["lost_records"] == 0
    assert figures["orders_that_differ"] == []
    assert figures["orders_taken"] == figures["orders_filled"] > 100
    assert figures["orders_unsettled"] == 0
    assert figures["recent_orders_in_table"]
    assert figures["failures"] == {}
    assert figures["newest_snapshot"] > figures["history"], "a snapshot while it worked"


def test_figures_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON or as lines; the exit code tells whether the limits are kept."""
    monkeypatch.setattr(journal, "measure", lambda *_args, **_more: {"holds": False, "pace": 1})

    assert command.main(["journal", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"holds": False, "pace": 1}
    assert command.main(["journal"]) == 1
    assert "pace" in capsys.readouterr().out
