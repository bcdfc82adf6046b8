"""The summary: its keys, and that each broken invariant is seen."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from perpbot.app.summary import TrueBooks, percentiles, profit_of, summarise
from perpbot.app.tally import RunTally
from perpbot.domain.events import PositionAdjusted
from perpbot.domain.sides import PositionSide
from tests.unit.execution.stand import ASSET, LONG, Stand, d


class Run:
    """A node with one hedged pair, its tally, and the books that an accountant has."""

    def __init__(self) -> None:
        self.stand = Stand()
        self.tally = RunTally(self.stand.core.bus)
        self.stand.run(2_500)
        self.stand.open()
        self.stand.run(1_000)

    def books(self) -> TrueBooks:
        true = self.stand.accountant.summary()
        return TrueBooks(
            net=profit_of(self.stand.core).net,
            positions={(row[0], row[2]): row[3] for row in true["positions"]},
            executions_per_client_id=true["executions_per_client_id"],
        )

    def close(self) -> None:
        self.stand.close()
        self.stand.settle()

    def summary(self, books: TrueBooks | None = None) -> dict[str, Any]:
        return summarise(
            self.stand.core,
            self.tally,
            books or self.books(),
            mode="replay",
            seed=1,
            seconds=1.23456,
        )

    def adjust(self, quantity: str, asset: str = ASSET) -> None:
        """Our books take something for true that is not."""
        self.stand.core.bus.publish(
            PositionAdjusted(
                ts_ns=self.stand.time.now_ns(),
                venue=LONG,
                account="main",
                asset=asset,
                position_side=PositionSide.NET,
                delta=d(quantity),
                price=d(100),
                reason="test",
            )
        )


def test_clean_run() -> None:
    """A closed pair: flat, no violation, money as decimal strings that add up."""
    run = Run()
    run.close()
    summary = json.loads(json.dumps(run.summary()))
    assert summary["positions"] == summary["dust"] == summary["violations"] == []
    assert (summary["pairs_opened"], summary["pairs_closed"], summary["orders"]) == (1, 1, 4)
    assert (summary["fills"], summary["open_orders"], summary["reserved"]) == (4, 0, "0")
    money = {key: Decimal(value) for key, value in summary["pnl"].items()}
    assert money["price"] + money["fees"] + money["funding"] == money["net"]
    assert money["fees"] < 0
    assert summary["seconds"] == 1.235
    assert summary["worst_unhedged_ms"] == 0


def test_what_is_held_is_listed() -> None:
    """An open pair: two legs, its capital, and still no violation."""
    summary = Run().summary()
    assert {row["quantity"] for row in summary["positions"]} == {"2", "-2"}
    assert summary["violations"] == []
    assert Decimal(summary["reserved"]) > 0


def test_what_lies_below_a_step_is_dust() -> None:
    """Dust is listed apart from positions."""
    run = Run()
    run.close()
    run.adjust("0.0005")
    summary = run.summary()
    assert summary["positions"] == []
    assert [row["quantity"] for row in summary["dust"]] == ["0.0005"]


@pytest.mark.parametrize("positions", [{}, {(LONG, ASSET): d(2)}], ids=["missing", "other"])
def test_positions_that_differ(positions: dict[tuple[str, str], Decimal]) -> None:
    """Ours against the exchange's, either way round."""
    run = Run()
    books = run.books()
    found = run.summary(TrueBooks(books.net, positions, books.executions_per_client_id))
    assert any("our position" in text for text in found["violations"])


def test_profit_that_differs() -> None:
    """A cent is a violation, less is not."""
    run = Run()
    books = run.books()
    for difference, violated in (("0.01", True), ("-0.01", True), ("0.009", False)):
        other = TrueBooks(
            books.net + d(difference), books.positions, books.executions_per_client_id
        )
        texts = run.summary(other)["violations"]
        assert any("our profit" in text for text in texts) == violated


def test_executions_that_differ() -> None:
    """The exchanges executed more or less often than we booked."""
    run = Run()
    books = run.books()
    other = TrueBooks(books.net, books.positions, {**books.executions_per_client_id, "x": 1})
    assert any(
        "executed 3 times for us, we booked 2" in t for t in run.summary(other)["violations"]
    )


def test_halted_bus() -> None:
    """A core that stopped is a violation."""
    run = Run()
    run.stand.core.bus._halt = ZeroDivisionError("half a state")
    assert "the bus halted: half a state" in run.summary()["violations"]


def test_overfilled_orders() -> None:
    """An order that filled beyond its quantity."""
    run = Run()
    run.stand.core.folds.orders.overfills = 2
    assert "2 orders filled beyond their quantity" in run.summary()["violations"]


def test_capital_that_stays_reserved() -> None:
    """All is flat and capital is not free."""
    run = Run()
    run.stand.core.folds.pairs._pairs.clear()
    assert any("stay reserved" in text for text in run.summary()["violations"])


def test_position_without_a_mark() -> None:
    """No price is invented: it counts at its cost and is named."""
    run = Run()
    run.adjust("1", asset="XXX-PERP")
    summary = run.summary()
    assert any("XXX-PERP: held without a mark" in text for text in summary["violations"])
    assert len(summary["positions"]) == 3


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], (None, None, None)),
        ([2.0], (2.0, 2.0, 2.0)),
        ([float(n) for n in range(100, 0, -1)], (51.0, 100.0, 100.0)),
        ([1.23456], (1.235, 1.235, 1.235)),
    ],
    ids=["none", "one", "hundred", "rounded"],
)
def test_percentiles(values: list[float], expected: tuple[float | None, ...]) -> None:
    """p50, p99 and max; nothing where there is nothing."""
    assert tuple(percentiles(values).values()) == expected
