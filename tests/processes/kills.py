"""`python -m tests.processes.kills`: `kill -9` at random, or at every enumerated point.

Several deaths follow each other on one state directory while the exchanges live on; then the node
is started in peace, twice, and what the journal, the exchanges and their accountant say must
agree. Exit code 1 when anything does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tests.processes.nursery import Child, Nursery
from tests.processes.plan import Death
from tests.processes.points import POINTS, Acks
from tests.processes.stage import Stage, open_stage, until

EARLY, RUNNING = 0.15, 0.35
"""Shares of deaths before the first record of a life and at any time; others while it trades."""
START_S = 0.3
LIVES_S = 0.8
"""Longest life of a node after its first record."""
TRADES_S = 0.3
"""The same after its first order."""
BATCH = 25
STAGE_KILLS = 100
"""Kills before a stage is left for a new one, whose journal is short again."""
VENUE_PAIRS = (("binance", "okx"), ("okx", "hyperliquid"), ("hyperliquid", "binance"))
DEATH_LIMIT_S = 60.0
SEGMENT_BYTES = 8 * 1024
"""Small segments, so that nodes die while one is settled, too."""
WHEN = ("before", "after")
STARTS = ("run started", "venue reconciled")
"""Steps of every recovery."""
ATTEMPTS = 8
"""Whether an order fills, and so what a recovery has to do, is the market's business."""


class Figures(msgspec.Struct):
    """What a run of kills has shown; `violations` empty is good."""

    kills: int = 0
    points: Counter[str] = msgspec.field(default_factory=Counter)
    """Enumerated deaths, by point; random ones by what the node had done in that life."""
    missed: list[str] = []
    """Points that a life did not reach."""
    recoveries: int = 0
    records: int = 0
    lost: int = 0
    orders: int = 0
    executions: int = 0
    ready_s: list[float] = []
    settled_s: list[float] = []
    violations: list[str] = []
    seconds: float = 0.0

    def summary(self) -> dict[str, object]:
        """The figures as JSON values."""
        found = msgspec.to_builtins(self)
        found["points"] = dict(sorted(self.points.items()))
        for name in ("ready_s", "settled_s"):
            values = sorted(getattr(self, name))
            found[name] = {
                "p50": values[len(values) // 2] if values else None,
                "max": values[-1] if values else None,
            }
        found["seconds"] = round(self.seconds, 1)
        return dict(found)


async def judge(stage: Stage, figures: Figures, what: str) -> None:
    """Recover in peace, twice, and take down what does not hold."""
    try:
        found, report = await stage.judge()
    except TimeoutError as hung:
        found, report = [str(hung)], {}
    figures.recoveries += 2
    figures.lost += sum("is lost" in text for text in found)
    figures.violations += [f"{what}: {text}" for text in found]
    for name, values in (("ready_s", figures.ready_s), ("settled_s", figures.settled_s)):
        if name in report:
            values.append(report[name])


async def account(stage: Stage, figures: Figures) -> None:
    """Add what happened on a stage to the figures."""
    accountant = await stage.exchanges.accountant()
    figures.executions += accountant["executions"]
    figures.orders += len(await stage.exchanges.orders())
    acks = Acks(stage.acks)
    figures.records += acks.last
    acks.close()


# --- at random -----------------------------------------------------------------------------------


async def random_kills(
    nursery: Nursery, directory: Path, *, count: int, seed: int, batch: int = BATCH
) -> Figures:
    """Kill a node `count` times, each after a random while."""
    figures, began, number = Figures(), time.monotonic(), 0
    while figures.kills < count:
        rng = random.Random(f"kills {seed} {number}")
        venues = VENUE_PAIRS[(seed + number) % len(VENUE_PAIRS)]
        place = directory / f"random-{seed}-{number}"
        async with open_stage(place, nursery, venues=venues, seed=seed + number) as stage:
            stage.segment_bytes = SEGMENT_BYTES
            first = True
            until = min(figures.kills + STAGE_KILLS, count)
            while figures.kills < until:
                for _ in range(min(batch, until - figures.kills)):
                    await _kill_once(stage, figures, rng, is_first=first)
                    first = False
                await judge(stage, figures, f"seed {seed}, {figures.kills} kills")
            await account(stage, figures)
        number += 1
    figures.seconds = time.monotonic() - began
    return figures


async def _kill_once(
    stage: Stage, figures: Figures, rng: random.Random, *, is_first: bool
) -> None:
    acks = Acks(stage.acks)
    before = (acks.last, acks.intents)
    child = await stage.start()
    chance = rng.random()
    if is_first or chance > EARLY + RUNNING:
        await _until(lambda: acks.intents > before[1], child, "its first order")
        await asyncio.sleep(rng.uniform(0.0, TRADES_S))
    elif chance > EARLY:
        await _until(lambda: acks.last > before[0], child, "its first record")
        await asyncio.sleep(rng.uniform(0.0, LIVES_S))
    else:
        await asyncio.sleep(rng.uniform(0.0, START_S))
    child.kill()
    status = await child.wait()
    if status != -signal.SIGKILL:
        figures.violations.append(f"a node ended by itself ({status}): {child.words()[-2000:]}")
    after = (acks.last, acks.intents)
    acks.close()
    did = "trading" if after[1] > before[1] else "running"
    figures.points["starting" if after[0] == before[0] else did] += 1
    figures.kills += 1


async def _until(reached: Callable[[], bool], child: Child, what: str) -> None:
    """Wait for something in a life, or for its end."""
    await until(lambda: reached() or child.ended.done(), within_s=DEATH_LIMIT_S, what=what)


# --- at every point ------------------------------------------------------------------------------


def sequences(depth: int, *, nested: bool = True) -> list[tuple[Death, ...]]:
    """Return the deaths to go through: one life each, in order; every point at least once.

    `depth` asks for a point's first to n-th passing; `nested` for every first death before each
    death in recovery, else for one of them.
    """
    one_leg = Death(point="send open:after")
    both_legs = Death(point="send open:after", nth=2)
    unseen_fill = Death(point="take fill:before")
    found: list[tuple[Death, ...]] = []
    for point in POINTS:
        for nth in range(1, depth + 1):
            death = Death(point=point, nth=nth)
            # The first leg alone was sent: whoever comes back must hedge it or take it back.
            found.append((one_leg, death) if "hedge" in point else (death,))
    always = [Death(point=f"append {step}:{when}") for step in STARTS for when in WHEN]
    firsts = (one_leg, both_legs, unseen_fill)
    found += [
        (first, second)
        for number, second in enumerate(always)
        for first in (firsts if nested else firsts[number % len(firsts) :][:1])
    ]
    # These need an execution that the node has not heard of when it comes back.
    found += [
        (unseen_fill, Death(point=f"append {step}:{when}"))
        for step in ("order filled", "reduce intent")
        for when in WHEN
    ]
    # Dying again and again in recovery.
    found += [(both_legs, again, again, again) for again in always[: 4 if nested else 1]]
    return found


async def enumerated_kills(
    nursery: Nursery,
    directory: Path,
    chosen: Sequence[Sequence[Death]],
    *,
    seed: int = 1,
    every: int = 1,
) -> Figures:
    """Go through sequences of deaths on one stage; judge after `every` so many of them."""
    figures, began = Figures(), time.monotonic()
    venues = VENUE_PAIRS[seed % len(VENUE_PAIRS)]
    async with open_stage(directory, nursery, venues=venues, seed=seed) as stage:
        stage.segment_bytes = SEGMENT_BYTES
        done: list[str] = []
        for number, deaths in enumerate(chosen, 1):
            what = ", ".join(f"{death.point} #{death.nth}" for death in deaths)
            done.append(what)
            for _ in range(ATTEMPTS):
                if await _die_through(stage, figures, deaths, what):
                    break
            else:
                figures.missed.append(what)
            if number % every == 0 or number == len(chosen):
                await judge(stage, figures, "; ".join(done))
                done.clear()
        await account(stage, figures)
    figures.seconds = time.monotonic() - began
    return figures


async def _die_through(stage: Stage, figures: Figures, deaths: Sequence[Death], what: str) -> bool:
    """Go through a sequence; False where the market did not lead the node to its last point."""
    for number, death in enumerate(deaths):
        recovering = number > 0
        # Who opens nothing takes a lonely leg back; hedging it is for a node that trades on.
        settles = recovering and "hedge" not in death.point
        child = await stage.start(death=death, task="settle" if settles else "trade")
        status = await child.wait(DEATH_LIMIT_S)
        if status == 0:
            return False
        if status != -signal.SIGKILL:
            figures.violations.append(f"{what}: exit code {status}: {child.words()[-2000:]}")
            return True
        figures.kills += 1
        figures.points[f"{death.point}{' in recovery' if recovering else ''}"] += 1
    return True


# --- the command ---------------------------------------------------------------------------------


async def _run(given: argparse.Namespace) -> Figures:
    with contextlib.ExitStack() as stack:
        directory: Path = given.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="perpbot-kills-"))
        )
        async with Nursery(directory) as nursery:
            if given.points:
                chosen = sequences(given.points)
                parts = [chosen[job :: given.jobs] for job in range(given.jobs)]
                work = [
                    enumerated_kills(
                        nursery, directory / f"points-{job}", part, seed=job, every=given.every
                    )
                    for job, part in enumerate(parts)
                ]
            else:
                shares = [
                    given.count // given.jobs + (job < given.count % given.jobs)
                    for job in range(given.jobs)
                ]
                work = [
                    random_kills(nursery, directory, count=share, seed=given.seed + 1_000 * job)
                    for job, share in enumerate(shares)
                ]
            return merge(await asyncio.gather(*work))


def merge(parts: Sequence[Figures]) -> Figures:
    """Return the sum of figures that were measured beside each other."""
    total = Figures()
    for part in parts:
        total.points.update(part.points)
        for name in ("kills", "recoveries", "records", "lost", "orders", "executions"):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        for name in ("missed", "ready_s", "settled_s", "violations"):
            getattr(total, name).extend(getattr(part, name))
        total.seconds = max(total.seconds, part.seconds)
    return total


def main() -> int:
    """Read the arguments, kill, say what held."""
    parser = argparse.ArgumentParser(prog="python -m tests.processes.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="random kills")
    parser.add_argument(
        "--points", type=int, default=0, metavar="N", help="each enumerated point instead, N deep"
    )
    parser.add_argument("--every", type=int, default=1, help="points between two judgements")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="nodes beside each other")
    parser.add_argument("--keep", type=Path, help="directory for what the nodes leave behind")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = asyncio.run(_run(given))
    summary = figures.summary()
    if given.json:
        sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    else:
        for name, value in summary.items():
            sys.stdout.write(f"{name:<12} {value}\n")
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main())
