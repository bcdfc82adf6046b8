"""Order entry: how orders come in, change and are taken away, by a client's word or the mark's.

Each call checks first and changes after: a refusal (`ExchangeRefusal`) leaves everything as it
was. The matcher does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import count

import msgspec

from perpbot.domain.sides import TimeInForce
from perpbot.simulation import admission
from perpbot.simulation.book import Order, reduces
from perpbot.simulation.ledger import Account
from perpbot.simulation.matching import Matcher
from perpbot.simulation.model import Contract, ExchangeRefusal, OrderStatus, Refusal, Ticket


class OrderEntry:
    """Numbers the orders and lets them into the matcher's books."""

    def __init__(self, core: Matcher, clock_ns: Callable[[], int]) -> None:
        self._core = core
        self._clock_ns = clock_ns
        self._order_ids = count(core.profile.first_id)
        self._halted: set[str] = set()

    def set_halted(self, symbol: str, *, halted: bool) -> None:
        """Stop or resume taking orders in a symbol; cancels still work."""
        (self._halted.add if halted else self._halted.discard)(symbol)

    def new_order(self, account: Account, ticket: Ticket) -> Order:
        """Number an order and remember it; it is in no book yet."""
        order = Order(next(self._order_ids), account.name, ticket, self._clock_ns())
        account.add(order)
        return order

    # --- by a client's word ----------------------------------------------------------------------

    def submit(self, account: Account, contract: Contract, ticket: Ticket) -> Order:
        """Match and rest an order, or keep a stop until its trigger."""
        core, profile = self._core, self._core.profile
        mark = core.marks[ticket.symbol]
        if ticket.symbol in self._halted:
            raise ExchangeRefusal(Refusal.HALTED, f"{ticket.symbol} does not trade now")
        if ticket.expires_ns and self._clock_ns() > ticket.expires_ns:
            raise ExchangeRefusal(Refusal.EXPIRED_REQUEST, "the request came after its expiry")
        admission.check_supported(profile, ticket)
        admission.check_client_id(account, ticket, profile.client_ids)
        admission.check_position_side(account, ticket)
        admission.check_numbers(contract, ticket, mark)
        with core.news:
            if ticket.trigger_price is not None:
                admission.check_trigger(ticket, mark)
                order = self.new_order(account, ticket)
                core.wait_for_trigger(order)
            else:
                quantity = self._admit(account, contract, ticket, ticket.quantity)
                order = self.new_order(account, ticket)
                if quantity != ticket.quantity:
                    order.resize(quantity)
                core.place(order)
                core.tell_book(ticket.symbol)
        return order

    def cancel(self, account: Account, symbol: str, order_id: int) -> Order:
        """Take an open order of a symbol away."""
        order = _open_order(account, order_id)
        if order.ticket.symbol != symbol:
            raise ExchangeRefusal(Refusal.UNKNOWN_ORDER, f"order {order_id} is not in {symbol}")
        with self._core.news:
            self._core.withdraw(order, "user")
            self._core.tell_book(symbol)
        return order

    def amend(
        self, account: Account, order_id: int, *, price: Decimal | None, quantity: Decimal | None
    ) -> Order:
        """Change price or total quantity of a resting order, as `ExchangeView.amend` says."""
        order = _open_order(account, order_id)
        if not order.arrival or order.ticket.price is None:
            raise ExchangeRefusal(Refusal.UNKNOWN_ORDER, f"order {order_id} does not rest")
        contract = self._core.contracts[order.ticket.symbol]
        new_price = order.ticket.price if price is None else price
        total = order.ticket.quantity if quantity is None else quantity
        wanted = msgspec.structs.replace(order.ticket, price=new_price, quantity=total)
        admission.check_numbers(contract, wanted, new_price)
        with self._core.news:
            if total <= order.filled:
                self._core.withdraw(order, "amend")
            elif new_price == order.ticket.price and total <= order.ticket.quantity:
                self._core.shrink(order, total)
            else:
                self._replace(account, contract, order, new_price, total)
            self._core.tell_book(contract.symbol)
        return order

    def cancel_resting(self, account: Account, symbol: str | None, cause: str) -> Sequence[Order]:
        """Take all resting orders (of a symbol) away; return them, oldest first."""
        with self._core.news:
            orders = self._core.resting(account, symbol)
            for order in orders:
                self._core.withdraw(order, cause)
            for touched in dict.fromkeys(order.ticket.symbol for order in orders):
                self._core.tell_book(touched)
        return orders

    def cancel_stops(self, account: Account, symbol: str | None, cause: str) -> None:
        """Take all stops (of a symbol) away that wait for their trigger."""
        with self._core.news:
            for order in list(account.open.values()):
                if not order.arrival and symbol in (None, order.ticket.symbol):
                    self._core.withdraw(order, cause)

    def _admit(
        self, account: Account, contract: Contract, ticket: Ticket, quantity: Decimal
    ) -> Decimal:
        """Check what depends on the market; return the quantity that may enter."""
        core, profile = self._core, self._core.profile
        book = core.books[contract.symbol]
        admission.check_band(ticket, core.marks[contract.symbol], profile.band_ratio)
        if (
            ticket.time_in_force is TimeInForce.POST_ONLY
            and profile.post_only_refuses
            and ticket.price is not None
            and book.would_take(ticket.side, ticket.price)
        ):
            raise ExchangeRefusal(Refusal.POST_ONLY_WOULD_TAKE, "the order would take")
        if reduces(ticket):
            return admission.reducible_quantity(account, ticket, quantity)
        admission.check_margin(
            account, contract, ticket, quantity=quantity, market=core.market, book=book
        )
        return quantity

    def _replace(
        self, account: Account, contract: Contract, order: Order, price: Decimal, total: Decimal
    ) -> None:
        """Take a resting order out and enter it anew with its id, or leave all as it was."""
        before = order.ticket
        remaining = total - order.filled
        book_side = self._core.books[contract.symbol].side(before.side)
        book_side.remove(order)
        account.open.pop(order.order_id)
        arrival, order.arrival = order.arrival, 0
        self._core.reprice(order, price, total)
        try:
            remaining = self._admit(account, contract, order.ticket, remaining)
        except ExchangeRefusal:
            order.ticket = before
            order.resize(before.quantity)
            order.arrival = arrival
            book_side.restore(order)
            account.restore_open(order)
            raise
        order.resize(order.filled + remaining)
        self._core.place(order)

    # --- by the mark -----------------------------------------------------------------------------

    def trigger_stops(self, account: Account, symbol: str, mark: Decimal) -> None:
        """Turn every stop that the mark reaches into a live order."""
        waiting = [
            order
            for order in account.open.values()
            if order.status is OrderStatus.UNTRIGGERED
            and order.ticket.symbol == symbol
            and admission.is_triggered(order.ticket, mark)
        ]
        for order in waiting:
            # One stop's fills may have ended the next one.
            if order.status is OrderStatus.UNTRIGGERED:
                self._activate(account, order)
        if waiting:
            self._core.tell_book(symbol)

    def _activate(self, account: Account, order: Order) -> None:
        """Turn a stop into a live order; one that cannot enter now expires with the reason."""
        ticket = order.ticket
        wanted = ticket.quantity
        if ticket.close_position:
            wanted = account.reducible(ticket.symbol, ticket.position_side, ticket.side)
        try:
            quantity = self._admit(account, self._core.contracts[ticket.symbol], ticket, wanted)
        except ExchangeRefusal as refusal:
            self._core.end(order, OrderStatus.EXPIRED, refusal.refusal.value)
            return
        order.resize(quantity)
        order.status = OrderStatus.NEW
        order.updated_ns = self._clock_ns()
        self._core.place(order)


def _open_order(account: Account, order_id: int) -> Order:
    found = account.open.get(order_id)
    if found is None:
        raise ExchangeRefusal(Refusal.UNKNOWN_ORDER, f"order {order_id} is not open")
    return found
