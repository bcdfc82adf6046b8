"""Exchanges that live on, a node that dies and comes back, and the judgement at the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from perpbot.simulation.market import MarketModel
from perpbot.simulation.wire.process import RunningServers, ServerAddress, launch
from tests.processes.check import lost, violations
from tests.processes.nursery import Child, Nursery
from tests.processes.plan import LIVELY, NodePlan

CENT = Decimal("0.01")
CLEAN: dict[str, Any] = {
    "ready": True,
    "flat": True,
    "agreed": True,
    "halted": None,
    "pairs": 0,
    "open_orders": 0,
    "reserved": "0",
    "overfills": 0,
    "positions": [],
}
"""What a settled node reports."""


class Stage:
    """One set of exchanges and one state directory; lives follow each other on it."""

    def __init__(self, exchanges: RunningServers, nursery: Nursery, directory: Path) -> None:
        self.exchanges = exchanges
        self.nursery = nursery
        self.directory = directory
        self.state = directory / "state"
        self.acks = directory / "acks.bin"
        self.root = Path("/")
        """Where the nodes' root directory is seen from here."""
        self.servers: Sequence[ServerAddress] = exchanges.servers
        self.segment_bytes: int | None = None
        self._lives = 0

    @property
    def journal(self) -> Path:
        """Where the journal of all lives is."""
        return self.root / self.state.relative_to("/") / "journal"

    def plan(self, **fields: Any) -> NodePlan:
        """Return a plan of the next life."""
        self._lives += 1
        return NodePlan(
            servers=tuple(self.servers),
            state=self.state,
            acks=self.acks,
            report=self.directory / f"report-{self._lives}.json",
            seed=self._lives,
            segment_bytes=self.segment_bytes,
            **fields,
        )

    async def start(self, **fields: Any) -> Child:
        """Begin a life; it trades unless told otherwise."""
        return await self.nursery.start(self.plan(**fields))

    async def settle(self, **fields: Any) -> dict[str, Any]:
        """Start the node without opening anything, wait until all is flat; return its report."""
        child = await self.start(task="settle", **fields)
        code = await child.wait()
        return {"exit": code, "said": child.words(), **report_of(child)}

    async def judge(self) -> tuple[list[str], dict[str, Any]]:
        """Recover twice; return what does not hold, and the first report."""
        found = lost(self.journal, self.acks)
        first = await self.settle()
        found += _unsettled(first)
        accountant = await self.exchanges.accountant()
        found += violations(self.journal, await self.exchanges.orders(), accountant)
        if "net" in first and abs(Decimal(first["net"]) - Decimal(accountant["net"])) >= CENT:
            found.append(f"our profit {first['net']}, the accountant's {accountant['net']}")
        taken = len(await self.exchanges.orders())
        second = await self.settle()
        found += [f"second recovery: {text}" for text in _unsettled(second)]
        if first.get("digests") != second.get("digests"):
            changed = [
                name
                for name, digest in first.get("digests", {}).items()
                if second.get("digests", {}).get(name) != digest
            ]
            found.append(f"the second recovery changed {', '.join(changed)}")
        if len(await self.exchanges.orders()) != taken:
            found.append("the second recovery sent orders")
        return found, first


def report_of(child: Child) -> dict[str, Any]:
    """Return what a node wrote at its end; empty where it died before."""
    with contextlib.suppress(FileNotFoundError):
        found: dict[str, Any] = msgspec.json.decode(child.plan.report.read_bytes())
        return found
    return {}


def _unsettled(report: dict[str, Any]) -> list[str]:
    """Return what keeps a report from being that of a clean, flat end."""
    if report["exit"] or "failed" in report:
        return [f"exit code {report['exit']}: {report.get('failed')} {report['said'][-2000:]}"]
    found = [
        f"{name} was {report[name]!r}" for name, wanted in CLEAN.items() if report[name] != wanted
    ]
    return [f"{text}; {report['refusals']}" for text in found]


@contextlib.asynccontextmanager
async def open_stage(
    directory: Path,
    nursery: Nursery,
    *,
    venues: Sequence[str] = ("binance", "okx"),
    seed: int = 1,
    model: MarketModel = LIVELY,
) -> AsyncIterator[Stage]:
    """Start exchanges of their own for a stage; they end with it."""
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a local directory
    exchanges = await launch(
        venues,
        seed=seed,
        model=model,
        balance=Decimal(100_000),
        program="tests.processes.servers",
    )
    try:
        yield Stage(exchanges, nursery, directory)
    finally:
        await exchanges.stop()


async def until(condition: Any, *, within_s: float, what: str) -> None:
    """Wait until `condition()` holds; raise `TimeoutError` that names what did not come."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not condition():
        if loop.time() > end:
            raise TimeoutError(f"{what} did not come within {within_s:g} s")
        await asyncio.sleep(0.01)
