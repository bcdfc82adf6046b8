"""What an account of the exchange owns and owes: wallets, legs, orders and their history.

Profit is exact: a leg carries its cost, not an average price. When a part of it is closed, that
part's cost leaves with it (rounded to 1e-8); closing all takes all that is left, so over the life
of a position the realised profit is exactly what was received less what was paid.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import PositionSide, Side
from perpbot.simulation.book import Order
from perpbot.simulation.model import Execution, FundingPayment, MoneyTransfer

CENT_OF_MICRO = Decimal("0.00000001")
"""Fees, funding and realised profit are booked in whole units of this."""

_ENTRY = Context(prec=16)

LegKey = tuple[str, PositionSide]


def booked(amount: Decimal) -> Decimal:
    """Round an amount to what an exchange books."""
    return amount.quantize(CENT_OF_MICRO, rounding=ROUND_HALF_EVEN)


class Leg:
    """One position: signed base coins, and what they cost (negative for a short)."""

    __slots__ = ("cost", "quantity")

    def __init__(self) -> None:
        self.quantity = ZERO
        self.cost = ZERO

    @property
    def entry_price(self) -> Decimal:
        """Average price, rounded to 16 digits for show."""
        return _ENTRY.divide(self.cost, self.quantity) if self.quantity else ZERO

    def unrealized(self, mark: Decimal) -> Decimal:
        """Profit if closed at `mark`."""
        return self.quantity * mark - self.cost

    def trade(self, signed: Decimal, price: Decimal) -> Decimal:
        """Add `signed` base coins at `price`; return the profit that this realised."""
        if self.quantity * signed >= 0:
            self.quantity += signed
            self.cost += signed * price
            return ZERO
        if abs(signed) > abs(self.quantity):
            realized = self.unrealized(price)
            self.quantity += signed
            self.cost = self.quantity * price
            return realized
        leaving = self.cost
        if signed != -self.quantity:
            leaving = booked(self.cost * -signed / self.quantity)
        self.quantity += signed
        self.cost -= leaving
        return -signed * price - leaving


class Account:
    """One account; the exchange alone changes it."""

    def __init__(self, name: str, balances: dict[str, Decimal]) -> None:
        self.name = name
        self.wallets = dict(balances)
        self.legs: dict[LegKey, Leg] = {}
        self.leverages: dict[str, int] = {}
        self.hedge_mode = False
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        self.newest: dict[str, Order] = {}
        """The newest order of each client id."""
        self.executions: list[Execution] = []
        self.funding: list[FundingPayment] = []
        self.transfers: list[MoneyTransfer] = []
        """Since the account was opened; what it brought then is not among them."""
        self.dead_men: dict[str | None, int] = {}
        """Symbol (None: all) to the UTC ns at which its orders are cancelled."""

    def leg(self, symbol: str, position_side: PositionSide) -> Leg:
        """The leg, made when it is first asked for."""
        key = (symbol, position_side)
        found = self.legs.get(key)
        if found is None:
            found = self.legs[key] = Leg()
        return found

    def reducible(self, symbol: str, position_side: PositionSide, side: Side) -> Decimal:
        """How much an order of `side` can trade before the leg would grow or turn."""
        leg = self.legs.get((symbol, position_side))
        if leg is None:
            return ZERO
        return max(-leg.quantity * side.sign, ZERO)

    def add(self, order: Order) -> None:
        """Remember a new order."""
        self.orders[order.order_id] = order
        if order.ticket.client_id:
            self.newest[order.ticket.client_id] = order

    def restore_open(self, order: Order) -> None:
        """Put an order that was just taken out of `open` back in its old place."""
        self.open[order.order_id] = order
        self.open = dict(sorted(self.open.items()))

    def open_with_client_id(self, client_id: str) -> bool:
        """Whether an open order carries `client_id`."""
        newest = self.newest.get(client_id)
        return newest is not None and newest.is_open
