"""A unit of all accounts, and what a node is held against."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from perpbot.domain.events import CapitalSnapshotUpdated, DayStarted, EquitySampled, Transfer
from perpbot.kernel.clock import VirtualTime
from perpbot.portfolio.equity import EquityBook
from perpbot.research.chaos.money import Unit
from perpbot.research.chaos.plan import draw
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.accountant import Accountant

D = Decimal


def unit(held: str = "1000") -> tuple[Unit, Accountant]:
    """Return the unit of one account."""
    books = Accountant()
    books.transferred(venue="okx", account="main", currency="USDT", amount=D(held))
    return Unit(books, [("okx", "main", "USDT")]), books


def lose(books: Accountant, usd: str) -> None:
    """Funding is the plainest loss."""
    books.funded(venue="okx", account="main", asset="BTC-PERP", amount=-D(usd))


def move(books: Accountant, of: Unit, usd: str) -> None:
    """Money comes or goes."""
    books.transferred(venue="okx", account="main", currency="USDT", amount=D(usd))
    of.moved(D(usd))


def core(sampled: str, peak: str = "1000", halts: tuple[str, ...] = ()) -> Any:
    """Return what the checker looks at of a node that once had `peak`."""
    book = EquityBook()
    for event in (
        EquitySampled(per_venue={"okx": D(peak)}, total_usd=D(peak)),
        DayStarted(day="d", equity_usd=D(peak)),
        EquitySampled(per_venue={"okx": D(sampled)}, total_usd=D(sampled)),
    ):
        book.folds()[type(event)](event)
    latches = SimpleNamespace(halts=dict.fromkeys(halts, "why"))
    return SimpleNamespace(folds=SimpleNamespace(equity=book, latches=latches))


def found(of: Unit, node: Any) -> list[str]:
    """Return what a witness has to say."""
    witness = Witness(draw(1), VirtualTime(0))
    of.inspect(node, witness)
    return [line.split(": ", 1)[1] for line in witness.violations]


def test_only_profit_and_loss_move_a_unit() -> None:
    """Five percent stay five percent, however many units are left."""
    of, books = unit()
    assert of.drawdown == 0
    lose(books, "50")
    assert of.drawdown == D("0.05")
    for usd in ("-475", "9525"):
        move(books, of, usd)
        assert abs(of.drawdown - D("0.05")) < D("1e-20")
    assert of.equity == D(10_000)


def test_a_node_that_is_right_is_left_alone() -> None:
    """Nothing sampled, nothing lost, and a true loss that halts."""
    of, books = unit()
    empty = SimpleNamespace(folds=SimpleNamespace(equity=EquityBook()))
    assert found(of, empty) == []
    assert found(of, core("1000")) == []
    lose(books, "100")
    assert found(of, core("900", halts=("drawdown", "daily_loss"))) == []


@pytest.mark.parametrize(
    ("sampled", "halts", "texts"),
    [
        (
            "900",
            ("drawdown",),
            [
                "M6 drawdown is 0.1000, by profit and loss alone 0.0000",
                "M6 the day lost 100.00 USD, the accountant says 0.00",
                "M6 drawdown halts the node, 0.00 USD are lost",
            ],
        ),
        ("1000", ("daily_loss",), ["M6 daily_loss halts the node, 0.00 USD are lost"]),
        ("1000", ("failures",), []),
    ],
    ids=["loss", "halt", "another_halt"],
)
def test_a_transfer_that_passes_for_a_loss_is_told(
    sampled: str, halts: tuple[str, ...], texts: list[str]
) -> None:
    """By what it does to the node."""
    of, _ = unit()
    assert found(of, core(sampled, halts=halts)) == texts


def test_a_loss_that_is_hidden_is_told() -> None:
    """The node thinks that nothing was lost."""
    of, books = unit()
    lose(books, "100")
    assert len(found(of, core("1000"))) == 2


def test_books_have_every_transfer_once() -> None:
    """What a venue held at first and what came since."""
    node = core("1000")
    book = node.folds.equity
    told = CapitalSnapshotUpdated(
        ts_ns=1,
        venue="okx",
        equity_usd=D(1000),
        free_usd=D(0),
        wallet_usd=D(0),
        from_stream=True,
    )
    moved = Transfer(venue="okx", account="main", amount_usd=D(-40), reference="t")
    for event in (told, moved):
        book.folds()[type(event)](event)

    assert Unit.unbooked(node, "okx", D(1000), [D(-40)]) == []
    wrong = Unit.unbooked(node, "okx", D(1000), [D(-40), D(5)])
    assert wrong == ["M6 okx began with 960 and its transfers, 965 were expected"]
