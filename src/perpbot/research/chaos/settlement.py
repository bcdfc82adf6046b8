"""The end of a seed, in both tiers: by when all must be flat, and what must agree then.

The journal folds to the state of the node, wallets agree with the accountant, our profit is the
accountant's, and every transfer is in our books once.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perpbot.app.core import Core
from perpbot.app.folds import Folds
from perpbot.domain.money import ZERO
from perpbot.kernel.clock import SECOND
from perpbot.kernel.journal.record import Record
from perpbot.research.chaos.money import Purse, Unit
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.accountant import Accountant

CLOSE_AFTER_NS = 4 * SECOND
"""After healing: how long pairs may go on before all are asked to close."""
CONVERGE_NS = 60 * SECOND
"""After healing: by when all must be flat."""
WALLET_NEAR = Decimal("0.0001")
"""USD by which a wallet may differ from the accountant."""


def check_snapshot(witness: Witness, records: Iterable[Record]) -> None:
    """V1: the journal folds, and a snapshot gives the state that it was taken of."""
    first, second = Folds().state(), Folds().state()
    first.replay(records)
    second.load(first.dump())
    if first.digest() != second.digest():
        witness.violate("V1 a snapshot does not give the state that it was taken of")


def check_recovery(witness: Witness, records: Iterable[Record], core: Core) -> None:
    """V1: a node that began now would know what this one knows."""
    folded = Folds().state()
    folded.replay(records)
    if folded.digest() != core.state.digest():
        witness.violate("V1 the journal does not fold to the state of the node")


def check_wallets(witness: Witness, purses: Iterable[Purse], accountant: Accountant) -> None:
    """M1: wallets of the exchanges agree with the accountant."""
    for purse in purses:
        told = sum((view.equity for view in purse.exchange.balances(purse.account)), ZERO)
        true = accountant.equity(*purse.key)
        if abs(told - true) > WALLET_NEAR:
            witness.violate(f"M1 equity of {purse.venue} is {told}, the accountant has {true}")


def check_profit(witness: Witness, core: Core, accountant: Accountant, near: Decimal) -> None:
    """M2: once all is flat, the profit of our books is the accountant's, but for `near` USD."""
    if any(witness.truth.positions.values()) or any(witness.books.positions.values()):
        return
    ours, net = core.folds.positions.profit({}).net, accountant.summary()["net"]
    if abs(ours - net) > near:
        witness.violate(f"M2 our profit is {ours}, the accountant has {net}")


def unbooked(core: Core, purses: Iterable[Purse], began: Decimal) -> list[str]:
    """M6: return the venues whose transfers are not booked once each, or an empty list."""
    found: list[str] = []
    for purse in purses:
        moves = [moved.amount for moved in purse.exchange.transfers(purse.account)]
        found += Unit.unbooked(core, purse.venue, began, moves)
    return found
