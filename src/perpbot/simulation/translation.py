"""Between the exchange's views and the node's reports; both in base coins, settle currency."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    OrderRequest,
    PositionReport,
    TransferReport,
)
from perpbot.domain.sides import OrderState
from perpbot.simulation.model import (
    BalanceView,
    Contract,
    Execution,
    FundingPayment,
    MoneyTransfer,
    OrderStatus,
    OrderView,
    PositionView,
    Ticket,
)

_STATES = {
    OrderStatus.NEW: OrderState.ACCEPTED,
    OrderStatus.UNTRIGGERED: OrderState.ACCEPTED,
    OrderStatus.PARTIALLY_FILLED: OrderState.PARTIALLY_FILLED,
    OrderStatus.FILLED: OrderState.FILLED,
    OrderStatus.CANCELLED: OrderState.CANCELLED,
    OrderStatus.EXPIRED: OrderState.EXPIRED,
}


def ticket_of(order: OrderRequest) -> Ticket:
    """The order as the exchange takes it."""
    return Ticket(
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        quantity=order.quantity,
        price=order.price,
        time_in_force=order.time_in_force,
        client_id=order.client_id,
        reduce_only=order.reduce_only,
        position_side=order.position_side,
        expires_ns=order.expires_ns,
    )


def instrument_of(venue: str, contract: Contract) -> Instrument:
    """The contract as strategies and gates know it."""
    return Instrument(
        venue=venue,
        asset=contract.asset,
        symbol=contract.symbol,
        base=contract.base,
        settle=contract.settle,
        tick_size=contract.tick_size,
        quantity_step=contract.quantity_step,
        min_quantity=contract.min_quantity,
        min_notional=contract.min_notional,
        price_digits=contract.price_digits,
        contract_size=contract.contract_size,
        price_multiplier=contract.price_multiplier,
        wire_code=contract.wire_code,
        funding_interval_s=contract.funding_interval_s,
        max_leverage=contract.max_leverage,
    )


class Reporter:
    """Writes reports for one account of one venue."""

    def __init__(self, venue: str, account: str, contracts: dict[str, Contract]) -> None:
        self.venue = venue
        self.account = account
        self._contracts = contracts

    def order(self, view: OrderView) -> OrderReport:
        """An order's state."""
        ticket = view.ticket
        return OrderReport(
            venue=self.venue,
            account=self.account,
            client_id=ticket.client_id,
            venue_order_id=str(view.order_id),
            symbol=ticket.symbol,
            state=_STATES[view.status],
            filled=view.filled,
            average_price=view.average_price if view.filled else None,
            side=ticket.side,
            quantity=ticket.quantity,
            price=ticket.price,
            reduce_only=ticket.reduce_only,
            position_side=ticket.position_side,
            reason=view.cause,
            venue_ns=view.updated_ns,
        )

    def request(
        self, order: OrderRequest, state: OrderState, *, reason: str = "", code: str = ""
    ) -> OrderReport:
        """What is said of an order that the exchange did not take, or not yet."""
        return OrderReport(
            venue=self.venue,
            account=order.account,
            client_id=order.client_id,
            venue_order_id="",
            symbol=order.symbol,
            state=state,
            filled=Decimal(0) if state is OrderState.REJECTED else None,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            reduce_only=order.reduce_only,
            position_side=order.position_side,
            reason=reason,
            code=code,
        )

    def fill(self, execution: Execution) -> FillReport:
        """One execution."""
        contract = self._contracts[execution.symbol]
        return FillReport(
            venue=self.venue,
            account=self.account,
            trade_id=str(execution.trade_id),
            client_id=execution.client_id,
            venue_order_id=str(execution.order_id),
            symbol=execution.symbol,
            asset=contract.asset,
            side=execution.side,
            price=execution.price,
            quantity=execution.quantity,
            fee=execution.fee,
            fee_currency=contract.settle,
            liquidity=execution.liquidity,
            position_side=execution.position_side,
            venue_ns=execution.ts_ns,
        )

    def position(self, view: PositionView, venue_ns: int) -> PositionReport:
        """One leg; a flat one says so."""
        return PositionReport(
            venue=self.venue,
            account=self.account,
            symbol=view.symbol,
            asset=self._contracts[view.symbol].asset,
            quantity=view.quantity,
            entry_price=view.entry_price,
            mark_price=view.mark_price,
            unrealized_pnl=view.unrealized_pnl,
            liquidation_price=view.liquidation_price,
            position_side=view.position_side,
            venue_ns=venue_ns,
        )

    def balance(self, view: BalanceView, venue_ns: int) -> BalanceReport:
        """One currency."""
        return BalanceReport(
            venue=self.venue,
            account=self.account,
            currency=view.currency,
            equity=view.equity,
            wallet=view.wallet,
            free=view.free,
            venue_ns=venue_ns,
        )

    def funding(self, payment: FundingPayment) -> FundingReport:
        """One funding payment."""
        contract = self._contracts[payment.symbol]
        return FundingReport(
            venue=self.venue,
            account=self.account,
            payment_id=str(payment.payment_id),
            symbol=payment.symbol,
            asset=contract.asset,
            amount=payment.amount,
            currency=contract.settle,
            rate=payment.rate,
            venue_ns=payment.ts_ns,
        )

    def transfer(self, moved: MoneyTransfer) -> TransferReport:
        """Money that came in or went out."""
        return TransferReport(
            venue=self.venue,
            account=self.account,
            transfer_id=str(moved.transfer_id),
            currency=moved.currency,
            amount=moved.amount,
            kind="deposit" if moved.amount > 0 else "withdrawal",
            venue_ns=moved.ts_ns,
        )
