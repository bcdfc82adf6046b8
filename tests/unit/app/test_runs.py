"""What a node knows of its earlier runs."""

from __future__ import annotations

import msgspec

from perpbot.app.folds import Runs
from perpbot.domain.events import Event, RecordPassedOver, RunStarted, VenueReconciled
from perpbot.kernel.clock import SECOND


def folded(*events: Event) -> Runs:
    """Return the fold of these events."""
    runs = Runs()
    for event in events:
        runs.folds()[type(event)](event)
    return runs


def test_before_any_comparison_books_are_whole_from_the_first_start() -> None:
    """What an account did before the first run is nobody's business here; restarts keep that."""
    first = RunStarted(ts_ns=100 * SECOND, epoch=1, mode="live", version="1", config_hash="")
    second = RunStarted(ts_ns=900 * SECOND, epoch=2, mode="live", version="1", config_hash="")

    runs = folded(first, second)

    assert runs.epoch == 2
    assert runs.whole_until_ns("okx") == 100 * SECOND


def test_books_are_whole_until_a_venue_last_agreed() -> None:
    """With a margin; a comparison that failed proves nothing, another venue neither."""
    runs = folded(
        RunStarted(ts_ns=100 * SECOND, epoch=1, mode="live", version="1", config_hash=""),
        VenueReconciled(ts_ns=500 * SECOND, venue="okx", agreed=True),
        VenueReconciled(ts_ns=700 * SECOND, venue="okx", agreed=False),
    )

    assert runs.whole_until_ns("okx") == 440 * SECOND
    assert runs.whole_until_ns("binance") == 100 * SECOND


def test_a_snapshot_gives_the_same_runs() -> None:
    """Through msgpack and back."""
    runs = folded(
        RunStarted(ts_ns=100 * SECOND, epoch=7, mode="live", version="1", config_hash=""),
        VenueReconciled(ts_ns=120 * SECOND, venue="okx", agreed=True),
    )
    restored = Runs()

    restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(runs.snapshot())))

    assert restored.snapshot() == runs.snapshot()
    assert restored.whole_until_ns("okx") == 100 * SECOND


def test_a_record_that_was_passed_over_is_a_lost_one() -> None:
    """As are those that a machine took with it when it went down."""
    passed = RecordPassedOver(
        ts_ns=300 * SECOND,
        sequence=3,
        record_kind="SUBMIT_ORDERS",
        component="reading",
        error="of another version",
        actor="ann",
        reason="looked at it",
    )
    calm = RunStarted(ts_ns=100 * SECOND, epoch=1, mode="live", version="1", config_hash="")
    cut = msgspec.structs.replace(calm, ts_ns=700 * SECOND, epoch=2, may_lack=True)

    assert folded(calm).lost_ns == 0
    assert folded(calm, passed).lost_ns == 300 * SECOND
    assert folded(calm, passed, cut).lost_ns == 700 * SECOND
