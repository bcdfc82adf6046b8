"""What transfers must not do: pass for a loss, or hide one.

`Unit` is what a unit of all accounts is worth by the accountant's books: profit and loss change
it, money that comes or goes does not. The node's drawdown and its loss of the day are held against
it between any two steps, whatever the node was told and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.domain.money import ZERO
from perpbot.research.chaos.plan import Fault
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.exchange import Exchange

CENT = Decimal("0.01")
NEAR = Decimal("0.01")
"""How far the node may be off, of equity: it samples every few seconds, at marks of its own."""
LOSS_RULES = ("drawdown", "daily_loss")


class Purse(msgspec.Struct, frozen=True):
    """The node's account at one venue."""

    venue: str
    exchange: Exchange
    account: str
    currency: str

    @property
    def key(self) -> tuple[str, str, str]:
        """As the accountant knows it."""
        return self.venue, self.account, self.currency


def move_money(fault: Fault, purse: Purse, balance: Decimal) -> Decimal:
    """Bring up to `balance`, or take up to half of what is free; return what came (or went)."""
    share = Decimal(str(fault.intensity))
    amount = balance * share
    if fault.variant % 2:
        free = sum((view.free for view in purse.exchange.balances(purse.account)), ZERO)
        amount = -(free * share / 2).quantize(CENT)
    purse.exchange.transfer(purse.account, purse.currency, amount)
    return amount


class Unit:
    """See the module. `accounts` are (venue, account, currency)."""

    def __init__(self, accountant: Accountant, accounts: Iterable[tuple[str, str, str]]) -> None:
        self._accountant = accountant
        self._accounts = tuple(accounts)
        self._units = self.equity
        self._best = Decimal(1)

    @property
    def equity(self) -> Decimal:
        """What all accounts hold."""
        return sum((self._accountant.equity(*account) for account in self._accounts), ZERO)

    @property
    def drawdown(self) -> Decimal:
        """The loss of a unit since it was worth most."""
        worth = self.equity / self._units
        self._best = max(self._best, worth)
        return 1 - worth / self._best

    def moved(self, amount: Decimal) -> None:
        """Money came or went just now: as many more or fewer units."""
        after = self.equity
        self._units *= after / (after - amount)

    def inspect(self, core: Any, witness: Witness) -> None:
        """Hold a living node against it."""
        true = self.drawdown
        book = core.folds.equity
        loss = book.daily_loss()
        if loss is None:
            return
        ours = book.drawdown()
        if abs(ours - true) > NEAR:
            witness.violate(f"M6 drawdown is {ours:.4f}, by profit and loss alone {true:.4f}")
        lost = max(-self._accountant.summary()["net"], ZERO)
        if abs(loss - lost) > NEAR * self.equity:
            witness.violate(f"M6 the day lost {loss:.2f} USD, the accountant says {lost:.2f}")
        latched = [rule for rule in LOSS_RULES if rule in core.folds.latches.halts]
        if latched and lost < NEAR * self.equity:
            witness.violate(f"M6 {latched[0]} halts the node, {lost:.2f} USD are lost")

    @staticmethod
    def unbooked(core: Any, venue: str, began: Decimal, moves: Iterable[Decimal]) -> list[str]:
        """Return what is wrong with the transfers of a venue in our books, or nothing.

        They have every transfer once, or began after it.
        """
        expected = began + sum(moves, ZERO)
        opening = core.folds.equity.opening(venue)
        if opening == expected:
            return []
        return [f"M6 {venue} began with {opening} and its transfers, {expected} were expected"]
