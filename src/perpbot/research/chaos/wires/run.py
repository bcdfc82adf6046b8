"""One seed of tier B from its plan to its verdict."""

from __future__ import annotations

import gc
import hashlib
import logging
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web_app

from perpbot.app import memory
from perpbot.kernel.journal.reading import read_records
from perpbot.kernel.journal.writer import Journal
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.mutants import mutated
from perpbot.research.chaos.plan import Plan
from perpbot.research.chaos.run import SeedResult, judged, shrunk
from perpbot.research.chaos.wires.death import LifeJournal
from perpbot.research.chaos.wires.life import wall_ns
from perpbot.research.chaos.wires.mutants import PATCHES
from perpbot.research.chaos.wires.plan import draw
from perpbot.research.chaos.wires.stage import Stage
from perpbot.simulation.virtual.complaints import Complaints, complaints
from perpbot.simulation.virtual.fence import fenced

_MEMORY = Path("/dev/shm")  # noqa: S108 # nosec B108


def run_seed(
    seed: int, mutant: str | None = None, row: str | None = None, plan: Plan | None = None
) -> SeedResult:
    """Run a seed; raises `InvalidValue` for a mutant that does not exist."""
    chosen = plan or draw(seed, row)
    counters = Counters()
    context: AbstractContextManager[None] = (
        nullcontext() if mutant is None else mutated(mutant, PATCHES)
    )
    place = _MEMORY if _MEMORY.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="perpbot-wires-", dir=place))
    collecting, quiet = gc.isenabled(), logging.root.manager.disable
    gc.disable()
    # Libraries say loudly what the plan breaks on purpose.
    logging.disable(logging.CRITICAL)
    try:
        with complaints() as heard:
            with context:
                result = _play(chosen, counters, directory, heard)
            # aiohttp remembers applications, and with them all of a world, in a cache of its own.
            getattr(web_app, "_cached_build_middleware").cache_clear()  # noqa: B009
            gc.collect()
        said = tuple(f"a warning: {text}" for text in heard.said)
        return msgspec.structs.replace(result, violations=result.violations + said)
    finally:
        logging.disable(quiet)
        shutil.rmtree(directory, ignore_errors=True)
        if collecting:
            gc.enable()


def _play(plan: Plan, counters: Counters, directory: Path, heard: Complaints) -> SeedResult:
    stage = Stage(plan, counters, directory)
    rng = random.Random(f"wires libraries {plan.seed}")
    with fenced(stage.loop, wall_ns(stage.clock), rng), _journals(stage):
        stage.run()
        result = judged(
            plan,
            counters,
            stage.witness,
            stage.ground.accountant,
            stage.absences,
            trace_hash=hash_of(stage, directory),
            lives=len(stage.dead) + 1,
        )
        heard.deaf = bool(stage.dead)
        stage.loop.close()
    return result


@contextmanager
def _journals(stage: Stage) -> Iterator[None]:
    """Let nodes open journals that the stage hears of."""

    def open_journal(directory: Path, **options: Any) -> Journal:
        assert stage.life is not None
        return LifeJournal(directory, stage.life, **options)

    # A node opens its journal by this name.
    before = getattr(memory, "Journal")  # noqa: B009
    setattr(memory, "Journal", open_journal)  # noqa: B010
    try:
        yield
    finally:
        setattr(memory, "Journal", before)  # noqa: B010


def shrink(seed: int, row: str | None = None) -> Plan:
    """Return the plan of a failing seed with every fault taken out that it does not need."""
    return shrunk(draw(seed, row), lambda plan: run_seed(seed, plan=plan))


def hash_of(stage: Stage, directory: Path) -> str:
    """Return a hash over every step of the loop, every record and every execution."""
    digest = hashlib.sha256(stage.loop.trace_hash.encode())
    journal = directory / "journal"
    for record in read_records(journal) if journal.is_dir() else ():
        digest.update(f"{record.sequence} {record.ts_ns} {record.kind} ".encode())
        digest.update(record.payload)
    for line in stage.witness.truth.trace:
        digest.update(line.encode())
    return digest.hexdigest()
