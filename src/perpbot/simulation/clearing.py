"""The clearing house: money in and out, funding, forced closing of accounts short of margin."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import count

from perpbot.domain.money import ZERO
from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.accountant import Accountant
from perpbot.simulation.book import Order
from perpbot.simulation.ledger import Account, booked
from perpbot.simulation.margin import equity, maintenance
from perpbot.simulation.matching import Matcher
from perpbot.simulation.model import (
    Contract,
    ExchangeRefusal,
    FundingPayment,
    Mark,
    MoneyTransfer,
    Refusal,
    Ticket,
)
from perpbot.simulation.views import account_update, balance_view


class Clearing:
    """Works on the matcher's accounts; `new_order` numbers and remembers a forced order."""

    def __init__(
        self,
        core: Matcher,
        clock_ns: Callable[[], int],
        accountant: Accountant,
        new_order: Callable[[Account, Ticket], Order],
    ) -> None:
        self._core = core
        self._clock_ns = clock_ns
        self._accountant = accountant
        self._new_order = new_order
        self._payment_ids = count(core.profile.first_id)
        self._transfer_ids = count(core.profile.first_id)

    def open_account(self, name: str, balances: dict[str, Decimal]) -> None:
        """Create an account; the accountant hears what it brings as a transfer."""
        self._core.accounts[name] = Account(name, balances)
        for currency, amount in balances.items():
            self._accountant.transferred(
                venue=self._core.profile.name, account=name, currency=currency, amount=amount
            )

    def transfer(self, account: Account, currency: str, amount: Decimal) -> None:
        """Move money in or out; out at most what is free (refused INSUFFICIENT_MARGIN)."""
        free = balance_view(account, currency, self._core.market).free
        if amount < ZERO and -amount > free:
            raise ExchangeRefusal(
                Refusal.INSUFFICIENT_MARGIN, f"{free} {currency} free, {-amount} asked for"
            )
        moved = MoneyTransfer(
            transfer_id=next(self._transfer_ids),
            account=account.name,
            currency=currency,
            amount=amount,
            ts_ns=self._clock_ns(),
        )
        account.transfers.append(moved)
        account.wallets[currency] = account.wallets.get(currency, ZERO) + amount
        self._accountant.transferred(
            venue=self._core.profile.name, account=account.name, currency=currency, amount=amount
        )
        update = account_update(
            account, "transfer", self._core.market, currency=currency, transfer=moved
        )
        self._core.news.put(update)

    def liquidate_if_short(self, account: Account, currency: str) -> None:
        """Below maintenance: cancel every order of the currency, then close every leg."""
        core = self._core
        needed = maintenance(account, currency, core.market)
        if not needed or equity(account, currency, core.market) >= needed:
            return
        for order in list(account.open.values()):
            if core.contracts[order.ticket.symbol].settle == currency:
                core.withdraw(order, "liquidation")
                core.tell_book(order.ticket.symbol)
        for (symbol, position_side), leg in list(account.legs.items()):
            if leg.quantity and core.contracts[symbol].settle == currency:
                self._close_out(account, symbol, position_side, leg.quantity)

    def _close_out(
        self, account: Account, symbol: str, position_side: PositionSide, quantity: Decimal
    ) -> None:
        """Close a leg at market; what the book cannot take within its band goes at the mark."""
        ticket = Ticket(
            symbol=symbol,
            side=Side.SELL if quantity > ZERO else Side.BUY,
            order_type=OrderType.MARKET,
            quantity=abs(quantity),
            time_in_force=TimeInForce.IOC,
            position_side=position_side,
            reduce_only=True,
        )
        self._core.liquidate(self._new_order(account, ticket))
        self._core.tell_book(symbol)

    def settle_funding(self, mark: Mark) -> None:
        """Pay funding on every leg of the mark's symbol: longs pay a positive rate."""
        contract = self._core.contracts[mark.symbol]
        for account in self._core.accounts.values():
            for (symbol, position_side), leg in account.legs.items():
                if symbol == mark.symbol and leg.quantity:
                    self._pay(account, contract, position_side, leg.quantity, mark)

    def _pay(
        self,
        account: Account,
        contract: Contract,
        position_side: PositionSide,
        quantity: Decimal,
        mark: Mark,
    ) -> None:
        amount = booked(-quantity * mark.mark_price * mark.funding_rate)
        payment = FundingPayment(
            payment_id=next(self._payment_ids),
            account=account.name,
            symbol=contract.symbol,
            rate=mark.funding_rate,
            amount=amount,
            quantity=quantity,
            ts_ns=self._clock_ns(),
        )
        account.funding.append(payment)
        account.wallets[contract.settle] = account.wallets.get(contract.settle, ZERO) + amount
        self._accountant.funded(
            venue=self._core.profile.name,
            account=account.name,
            asset=contract.asset,
            amount=amount,
        )
        key = (contract.symbol, position_side)
        self._core.news.put(
            account_update(
                account,
                "funding",
                self._core.market,
                currency=contract.settle,
                legs=(key,),
                funding=payment,
            )
        )
