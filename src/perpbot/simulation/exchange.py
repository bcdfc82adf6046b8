"""An exchange of our own: one front for its order entry, its matcher and its clearing house.

Synchronous and single threaded; the caller's clock is its only time. It implements
`perpbot.simulation.model.ExchangeView`: wire servers and the in-process venue stand in front of
it, a market driver (synthetic or a tape) behind it. All amounts are exact. A refused request
changes nothing; news is delivered before a call returns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import Side
from perpbot.simulation import account_terms
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.clearing import Clearing
from perpbot.simulation.ledger import Account
from perpbot.simulation.margin import leverage_of
from perpbot.simulation.matching import Matcher
from perpbot.simulation.model import (
    BalanceView,
    BookView,
    Contract,
    ExchangeNews,
    ExchangeRefusal,
    Execution,
    FundingPayment,
    Listener,
    Mark,
    MoneyTransfer,
    OrderView,
    PositionView,
    Profile,
    PublicTrade,
    Refusal,
    Ticket,
)
from perpbot.simulation.order_entry import OrderEntry
from perpbot.simulation.views import balance_view, position_view

Levels = Sequence[tuple[Decimal, Decimal]]


class Exchange:
    """A venue's matching engine and clearing house; see `ExchangeView` for what each call does."""

    def __init__(
        self,
        profile: Profile,
        contracts: Sequence[Contract],
        clock_ns: Callable[[], int],
        accountant: Accountant,
    ) -> None:
        self.profile = profile
        self._contracts = tuple(contracts)
        self._clock_ns = clock_ns
        self._accountant = accountant
        self._core = Matcher(profile, contracts, clock_ns, accountant)
        self._news = self._core.news
        self._accounts = self._core.accounts
        self._entry = OrderEntry(self._core, clock_ns)
        self._clearing = Clearing(self._core, clock_ns, accountant, self._entry.new_order)
        self._told_marks: dict[str, Mark] = {}

    # --- the market ------------------------------------------------------------------------------

    def contracts(self) -> Sequence[Contract]:
        """All listed contracts."""
        return self._contracts

    def contract(self, symbol: str) -> Contract:
        """The terms of a listed contract now."""
        return self._contract(symbol)

    def relist(self, contract: Contract) -> None:
        """Trade a listed symbol by other steps and minima from now on; what rests stays."""
        self._contract(contract.symbol)
        self._core.contracts[contract.symbol] = contract
        self._contracts = tuple(
            contract if one.symbol == contract.symbol else one for one in self._contracts
        )

    def listen(
        self, listener: Listener, kinds: frozenset[type[ExchangeNews]] | None = None
    ) -> Callable[[], None]:
        """Deliver news to `listener`, all or of these kinds; returns what stops it."""
        return self._news.listen(listener, kinds)

    def quote(self, symbol: str, bids: Levels, asks: Levels) -> None:
        """Replace the market makers' depth (best first); what crosses client orders trades.

        Raises `InvalidValue` for levels that are crossed, out of order or not positive.
        """
        book = self._core.books[symbol]
        with self._news:
            book.replace(bids, asks)
            if self.has_resting(symbol):
                self._core.meet_background(symbol)
            if symbol not in self._told_marks:
                # Until somebody tells marks, they follow the middle.
                self._core.marks[symbol] = book.mid or self._core.marks[symbol]
            self._core.tell_book(symbol)

    def take(
        self, symbol: str, side: Side, quantity: Decimal, limit: Decimal | None = None
    ) -> Decimal:
        """Let an outsider without an account take from the book; returns what was filled."""
        with self._news:
            filled = self._core.outside_taker(symbol, side, quantity, limit)
            self._core.tell_book(symbol)
        return filled

    def set_mark(
        self, symbol: str, mark: Decimal, index: Decimal, funding_rate: Decimal, next_ns: int
    ) -> None:
        """Move the mark; triggers stops, then liquidates what is short of maintenance."""
        told = Mark(
            symbol=symbol,
            mark_price=mark,
            index_price=index,
            funding_rate=funding_rate,
            next_funding_ns=next_ns,
            ts_ns=self._clock_ns(),
        )
        contract = self._contract(symbol)
        with self._news:
            self._told_marks[symbol] = told
            self._core.marks[symbol] = mark
            self._accountant.marked(
                venue=self.profile.name, asset=contract.asset, price=mark, ts_ns=told.ts_ns
            )
            if self._news.wanted(Mark):
                self._news.put(told)
            for account in self._accounts.values():
                self._entry.trigger_stops(account, symbol, mark)
            for account in self._accounts.values():
                self._clearing.liquidate_if_short(account, contract.settle)

    def settle_funding(self, symbol: str) -> None:
        """Pay funding on all positions at the current rate and mark: longs pay a positive rate."""
        mark = self.mark(symbol)
        with self._news:
            self._clearing.settle_funding(mark)

    def book(self, symbol: str, depth: int = 20) -> BookView:
        """The book now."""
        self._contract(symbol)
        book = self._core.books[symbol]
        return BookView(
            symbol=symbol,
            bids=book.bids.levels(depth),
            asks=book.asks.levels(depth),
            sequence=book.sequence,
            ts_ns=self._clock_ns(),
        )

    def mid(self, symbol: str) -> Decimal | None:
        """Middle of the best prices, None while one side is empty."""
        self._contract(symbol)
        return self._core.books[symbol].mid

    def mark(self, symbol: str) -> Mark:
        """Mark, index and funding now."""
        contract = self._contract(symbol)
        told = self._told_marks.get(symbol)
        if told is not None:
            return told
        mid = self._core.marks[symbol]
        now = self._clock_ns()
        interval = contract.funding_interval_s * 1_000_000_000
        return Mark(
            symbol=symbol,
            mark_price=mid,
            index_price=mid,
            funding_rate=ZERO,
            next_funding_ns=(now // interval + 1) * interval,
            ts_ns=now,
        )

    def recent_trades(self, symbol: str, limit: int = 100) -> Sequence[PublicTrade]:
        """Newest last."""
        self._contract(symbol)
        trades = list(self._core.trades[symbol])
        return trades[max(len(trades) - limit, 0) :]

    def has_resting(self, symbol: str) -> bool:
        """Whether any client order rests in the book of `symbol`."""
        book = self._core.books[symbol]
        return book.bids.best_client is not None or book.asks.best_client is not None

    def set_halted(self, symbol: str, *, halted: bool) -> None:
        """Stop or resume taking orders in a symbol; cancels still work."""
        self._contract(symbol)
        self._entry.set_halted(symbol, halted=halted)

    # --- orders ----------------------------------------------------------------------------------

    def submit(self, account: str, ticket: Ticket) -> OrderView:
        """Match and rest; returns the order after all immediate fills. Raises ExchangeRefusal."""
        holder = self._account(account)
        return self._entry.submit(holder, self._contract(ticket.symbol), ticket).view()

    def cancel(self, account: str, symbol: str, order_id: int) -> OrderView:
        """Take an open order away. Raises ExchangeRefusal(UNKNOWN_ORDER) when not open."""
        return self._entry.cancel(self._account(account), symbol, order_id).view()

    def cancel_all(self, account: str, symbol: str | None = None) -> Sequence[OrderView]:
        """Take all resting orders away (not untriggered ones)."""
        cancelled = self._entry.cancel_resting(self._account(account), symbol, "user")
        return [order.view() for order in cancelled]

    def amend(
        self, account: str, order_id: int, *, price: Decimal | None, quantity: Decimal | None
    ) -> OrderView:
        """Change price or total quantity of a resting order; keeps the order id.

        Loses its place in the queue unless only the quantity became smaller. A total at or below
        what is filled cancels the order. A refusal leaves the order as it was.
        """
        holder = self._account(account)
        return self._entry.amend(holder, order_id, price=price, quantity=quantity).view()

    def order(self, account: str, order_id: int) -> OrderView | None:
        """Any order of the account, open or ended."""
        found = self._account(account).orders.get(order_id)
        return None if found is None else found.view()

    def order_by_client_id(self, account: str, client_id: str) -> OrderView | None:
        """The newest order with that client id."""
        found = self._account(account).newest.get(client_id)
        return None if found is None else found.view()

    def open_orders(self, account: str, symbol: str | None = None) -> Sequence[OrderView]:
        """Resting and untriggered orders, oldest first."""
        return [
            order.view()
            for order in self._account(account).open.values()
            if symbol is None or order.ticket.symbol == symbol
        ]

    def order_history(self, account: str, since_ns: int = 0) -> Sequence[OrderView]:
        """All orders of the account that changed since a time, oldest first."""
        orders = self._account(account).orders.values()
        return [order.view() for order in orders if order.updated_ns >= since_ns]

    def executions(self, account: str, since_ns: int = 0) -> Sequence[Execution]:
        """Fills of the account, oldest first."""
        return [fill for fill in self._account(account).executions if fill.ts_ns >= since_ns]

    # --- accounts --------------------------------------------------------------------------------

    def open_account(self, account: str, balances: dict[str, Decimal]) -> None:
        """Create an account with wallet balances by currency; what it brings is a transfer."""
        self._clearing.open_account(account, balances)

    def positions(self, account: str) -> Sequence[PositionView]:
        """Non-zero legs."""
        holder = self._account(account)
        return [
            position_view(holder, key, self._core.market)
            for key, leg in holder.legs.items()
            if leg.quantity
        ]

    def balances(self, account: str) -> Sequence[BalanceView]:
        """All currencies of the account."""
        holder = self._account(account)
        return [balance_view(holder, currency, self._core.market) for currency in holder.wallets]

    def funding_payments(self, account: str, since_ns: int = 0) -> Sequence[FundingPayment]:
        """Payments of the account, oldest first."""
        return [paid for paid in self._account(account).funding if paid.ts_ns >= since_ns]

    def transfers(self, account: str, since_ns: int = 0) -> Sequence[MoneyTransfer]:
        """What came in or went out since the account was opened, oldest first."""
        return [moved for moved in self._account(account).transfers if moved.ts_ns >= since_ns]

    def leverage(self, account: str, symbol: str) -> int:
        """Leverage of a symbol."""
        return leverage_of(self._account(account), self._contract(symbol))

    def set_leverage(self, account: str, symbol: str, leverage: int) -> None:
        """Set initial leverage: 1 up to the contract's maximum, and only if margin covers it."""
        holder, contract = self._account(account), self._contract(symbol)
        account_terms.set_leverage(holder, contract, leverage, self._core.market)

    def hedge_mode(self, account: str) -> bool:
        """Whether the account holds LONG and SHORT legs apart."""
        return self._account(account).hedge_mode

    def set_hedge_mode(self, account: str, enabled: bool) -> None:  # noqa: FBT001
        """Refused (POSITION_MODE) with open orders or positions, or where the venue has none."""
        account_terms.set_hedge_mode(self._account(account), self.profile, enabled=enabled)

    def transfer(self, account: str, currency: str, amount: Decimal) -> None:
        """Move money in or out; out at most what is free (refused INSUFFICIENT_MARGIN)."""
        holder = self._account(account)
        with self._news:
            self._clearing.transfer(holder, currency, amount)

    def arm_dead_man(self, account: str, symbol: str | None, at_ns: int) -> None:
        """Cancel all (of a symbol) at a time; 0 disarms. Driven by `advance`."""
        dead_men = self._account(account).dead_men
        if at_ns:
            dead_men[symbol] = at_ns
        else:
            dead_men.pop(symbol, None)

    def advance(self) -> None:
        """Do what is due by the clock (dead man's switches)."""
        now = self._clock_ns()
        with self._news:
            for account in self._accounts.values():
                due = [symbol for symbol, at_ns in account.dead_men.items() if at_ns <= now]
                for symbol in due:
                    del account.dead_men[symbol]
                    self._entry.cancel_resting(account, symbol, "dead_man")
                    if self.profile.dead_man_removes_stops:
                        self._entry.cancel_stops(account, symbol, "dead_man")

    # --- within ----------------------------------------------------------------------------------

    def _account(self, name: str) -> Account:
        found = self._accounts.get(name)
        if found is None:
            raise ExchangeRefusal(Refusal.UNKNOWN_ACCOUNT, f"account {name!r} does not exist")
        return found

    def _contract(self, symbol: str) -> Contract:
        found = self._core.contracts.get(symbol)
        if found is None:
            raise ExchangeRefusal(Refusal.UNKNOWN_SYMBOL, f"symbol {symbol!r} is not listed")
        return found
