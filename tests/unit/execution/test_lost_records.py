"""A journal that lost its last records and was repaired: the venues say what is true, first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from perpbot.app.recovery import EPOCH_MARGIN
from perpbot.domain.events import JournalRepaired, KillSwitchEngaged, OrderIntent, PairPlanned
from tests.unit.execution.stand import ASSET, LATENCY_NS, LONG, SHORT, Stand
from tests.unit.execution.test_recovery import one_legged, smooth


def live(stand: Stand) -> None:
    """One pair from its opportunity to its end, and a second one the other way round."""
    stand.run(2_500, every_ms=500.0)
    stand.open()
    stand.run(700)
    stand.close()
    stand.run(4_000, every_ms=250.0)
    stand.prices[LONG], stand.prices[SHORT] = stand.prices[SHORT], stand.prices[LONG]
    stand.run(2_000, every_ms=250.0)
    stand.open(long=SHORT, short=LONG)
    stand.run(700)


SCENES = {"smooth": smooth, "one_legged": one_legged}


@lru_cache
def kinds_of(scene: str) -> list[str]:
    """The records of a life that nothing ends."""
    stand = SCENES[scene]()
    live(stand)
    return [record.kind for record in stand.journal.records()]


def repaired(stand: Stand, kept: int) -> None:
    """Lose every record after `kept`, and leave the journal as `perpbot recover` does."""
    lost = stand.journal.lose_after(kept)
    now_ns, epoch = stand.time.now_ns(), stand.core.folds.runs.epoch + EPOCH_MARGIN
    stand.journal.append(KillSwitchEngaged(ts_ns=now_ns, level=1, actor="ann", reason="repair"))
    stand.journal.append(
        JournalRepaired(
            ts_ns=now_ns,
            damage="a bit",
            kept_until=kept,
            lost=lost,
            epoch=epoch,
            files=(),
            actor="ann",
        )
    )


def deaths(scene: str) -> Iterator[tuple[int, int, str]]:
    """Return records to die at, with the last one that is kept, and words for both."""
    kinds = kinds_of(scene)
    first = kinds.index(PairPlanned.kind) + 1
    for dies_at in range(first, len(kinds) + 1, 3):
        # Every record is the last one at some death, and every kind of loss comes.
        for kept in range(first - 1 + dies_at % 5, dies_at, 5):
            yield dies_at, kept, f"died at {dies_at} {kinds[dies_at - 1]}, kept until {kept}"


@pytest.mark.parametrize("scene", SCENES)
def test_pairs_that_are_known_end_flat_and_nothing_else_is_touched(scene: str) -> None:
    """By the books that are left a hedge may be missing that was made: the venues are heard first.

    What a known pair's legs hold by now is closed with it, whoever's it was; what belongs to no
    known pair stays as it was.
    """
    for dies_at, kept, where in deaths(scene):
        stand = SCENES[scene]()
        stand.journal.dies_at = dies_at
        live(stand)
        stand.crash()
        stand.time.run_until(stand.time.now_ns() + 20 * LATENCY_NS)
        before = [stand.held(name) for name in stand.names]
        repaired(stand, kept)
        stand.boot()
        known = bool(stand.pairs)
        stand.settle()
        stand.close()
        stand.settle()

        after = [stand.held(name) for name in stand.names]
        assert after == ([0, 0] if known else before), where
        assert not stand.pairs, where
        assert any(before) or not stand.told(OrderIntent), f"{where}: orders for nothing"
        books = stand.core.folds.positions
        assert [books.quantity(name, "main", ASSET) for name in stand.names] == after, where


@pytest.mark.parametrize("scene", SCENES)
def test_after_a_power_loss_no_hedge_is_sent_that_was_made(scene: str) -> None:
    """The machine went down and the journal lacks its end: what is held never grows by a restart.

    A death of the next process, before the venues have told, changes nothing.
    """
    for dies_at, kept, where in deaths(scene):
        stand = SCENES[scene]()
        stand.journal.dies_at = dies_at
        live(stand)
        stand.crash()
        stand.time.run_until(stand.time.now_ns() + 20 * LATENCY_NS)
        before = [abs(stand.held(name)) for name in stand.names]
        stand.journal.lose_after(kept)
        stand.may_lack = True
        stand.boot()
        stand.crash()
        stand.may_lack = False
        stand.boot()
        for _ in range(40):
            stand.run(50, every_ms=50)
            now = [abs(stand.held(name)) for name in stand.names]
            grown = [held > most for held, most in zip(now, before, strict=True)]
            assert not any(grown) or before[0] != before[1], f"{where}: {before} became {now}"
        stand.settle()
        stand.close()
        stand.settle()
        assert not stand.pairs, where
