"""Private rows of OKX as reports: contracts to base coins, signs, states, identities.

Fees come negative when charged and leave as a positive cost. A trade id is unique only together
with its order (both sides of a self-trade carry the same), so the key of a fill joins the two.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.errors import InvalidValue, ProtocolViolation
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ZERO, decimal_of
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    PositionReport,
    TransferReport,
)
from perpbot.domain.sides import Liquidity, OrderState, PositionSide, Side
from perpbot.kernel.ids import decode_order_id
from perpbot.venues.okx.codec import (
    BalanceRow,
    BillRow,
    FillRow,
    OrderRow,
    PositionRow,
    StopRow,
)
from perpbot.venues.wire.decoding import ns_of_text

STATES: dict[str, OrderState] = {
    "live": OrderState.ACCEPTED,
    "partially_filled": OrderState.PARTIALLY_FILLED,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "mmp_canceled": OrderState.CANCELLED,
}
POST_ONLY_WOULD_TAKE = "31"
"""cancelSource of a post-only order that was accepted and then would have crossed."""
BY_OWNER = "1"
"""cancelSource of a cancel request."""

_ENDS_BY_ITSELF = frozenset({"ioc", "fok", "optimal_limit_ioc", "market"})
_POSITION_SIDES = {
    "": PositionSide.NET,
    "net": PositionSide.NET,
    "long": PositionSide.LONG,
    "short": PositionSide.SHORT,
}
_TRANSFER_KINDS = {"11": "transfer in", "12": "transfer out"}
"""subType of bills of type 1 (OKX v5 documents, "Bill types")."""
_LIQUIDITY = {"M": Liquidity.MAKER, "T": Liquidity.TAKER}


class Reports:
    """Makes reports for one account. Raises `ProtocolViolation` for values that make no sense."""

    def __init__(self, *, venue: str, account: str) -> None:
        self._venue = venue
        self._account = account

    def order(self, row: OrderRow, instrument: Instrument) -> OrderReport:
        """Return what an order row says; a row that was only a fill says the same."""
        state = self._state(row)
        size = instrument.contract_size
        filled = self._optional(row.acc_fill_sz, "accFillSz")
        quantity = self._optional(row.sz, "sz")
        return OrderReport(
            venue=self._venue,
            account=self._account,
            client_id=own_id(row.cl_ord_id),
            venue_order_id=row.ord_id,
            symbol=row.inst_id,
            state=state,
            filled=None if filled is None else filled * size,
            average_price=self._optional(row.avg_px, "avgPx") or None,
            side=self._side(row.side),
            quantity=None if quantity is None else quantity * size,
            price=self._optional(row.px, "px"),
            reduce_only=row.reduce_only in {True, "true"},
            position_side=self._position_side(row.pos_side),
            reason=_reason(row),
            code=row.code if row.code != "0" else "",
            venue_ns=self._time(row.u_time or row.c_time),
        )

    def fill_of_order(self, row: OrderRow, instrument: Instrument) -> FillReport | None:
        """Return the execution that an order row carries, or None when it carries none."""
        if not row.trade_id:
            return None
        return self._fill(
            FillRow(
                inst_id=row.inst_id,
                trade_id=row.trade_id,
                ord_id=row.ord_id,
                cl_ord_id=row.cl_ord_id,
                side=row.side,
                pos_side=row.pos_side,
                fill_px=row.fill_px,
                fill_sz=row.fill_sz,
                # `fee` adds up over the order; `fillFee` is this execution's.
                fee=row.fill_fee if row.fill_fee_ccy else self._only_fee(row),
                fee_ccy=row.fill_fee_ccy or row.fee_ccy,
                exec_type=row.exec_type,
                ts=row.fill_time or row.u_time,
            ),
            instrument,
        )

    def fill(self, row: FillRow, instrument: Instrument) -> FillReport:
        """Return what a row of `trade/fills` says."""
        return self._fill(row, instrument)

    def position(self, row: PositionRow, instrument: Instrument) -> PositionReport:
        """Return one leg, signed: positive is long in either position mode."""
        side = self._position_side(row.pos_side)
        contracts = self._optional(row.pos, "pos") or ZERO
        sign = -1 if side is PositionSide.SHORT else 1
        return PositionReport(
            venue=self._venue,
            account=self._account,
            symbol=row.inst_id,
            asset=instrument.asset,
            quantity=sign * contracts * instrument.contract_size,
            entry_price=self._optional(row.avg_px, "avgPx") or ZERO,
            mark_price=self._optional(row.mark_px, "markPx") or ZERO,
            unrealized_pnl=self._optional(row.upl, "upl") or ZERO,
            liquidation_price=self._optional(row.liq_px, "liqPx"),
            position_side=side,
            venue_ns=self._time(row.u_time),
        )

    def balances(self, row: BalanceRow, currencies: frozenset[str]) -> tuple[BalanceReport, ...]:
        """Return the currencies of an account that are in `currencies`."""
        return tuple(
            BalanceReport(
                venue=self._venue,
                account=self._account,
                currency=detail.ccy,
                equity=self._number(detail.eq, "eq"),
                wallet=self._number(detail.cash_bal, "cashBal"),
                free=self._number(detail.avail_eq or detail.avail_bal, "availEq"),
                venue_ns=self._time(detail.u_time or row.u_time),
            )
            for detail in row.details
            if detail.ccy in currencies
        )

    def funding(self, row: BillRow, instrument: Instrument) -> FundingReport:
        """Return one funding payment: what changed the balance, or the leg's margin (`pnl`)."""
        change = self._optional(row.bal_chg, "balChg")
        return FundingReport(
            venue=self._venue,
            account=self._account,
            payment_id=row.bill_id,
            symbol=row.inst_id,
            asset=instrument.asset,
            amount=change or self._number(row.pnl, "pnl"),
            currency=row.ccy,
            venue_ns=self._time(row.ts),
        )

    def transfer(self, row: BillRow) -> TransferReport:
        """Return one transfer between the trading account and any other: `balChg` has its sign."""
        return TransferReport(
            venue=self._venue,
            account=self._account,
            transfer_id=row.bill_id,
            currency=row.ccy,
            amount=self._number(row.bal_chg, "balChg"),
            kind=_TRANSFER_KINDS.get(row.sub_type, f"transfer {row.sub_type}".strip()),
            venue_ns=self._time(row.ts),
        )

    def stop(self, row: StopRow, instrument: Instrument) -> OrderReport:
        """Return a waiting stop as an order whose price is its trigger."""
        contracts = self._optional(row.sz, "sz")
        return OrderReport(
            venue=self._venue,
            account=self._account,
            client_id=own_id(row.algo_cl_ord_id),
            venue_order_id=row.algo_id,
            symbol=row.inst_id,
            state=OrderState.ACCEPTED,
            side=self._side(row.side),
            quantity=None if contracts is None else contracts * instrument.contract_size,
            price=self._optional(row.sl_trigger_px, "slTriggerPx"),
            reduce_only=row.reduce_only in {True, "true"} or row.close_fraction == "1",
            position_side=self._position_side(row.pos_side),
            reason="stop",
            venue_ns=self._time(row.u_time or row.c_time),
        )

    def _fill(self, row: FillRow, instrument: Instrument) -> FillReport:
        return FillReport(
            venue=self._venue,
            account=self._account,
            trade_id=f"{row.trade_id}-{row.ord_id}",
            client_id=own_id(row.cl_ord_id),
            venue_order_id=row.ord_id,
            symbol=instrument.symbol,
            asset=instrument.asset,
            side=self._side(row.side),
            price=self._number(row.fill_px, "fillPx"),
            quantity=self._number(row.fill_sz, "fillSz") * instrument.contract_size,
            fee=-self._number(row.fee, "fee"),
            fee_currency=row.fee_ccy,
            liquidity=_LIQUIDITY.get(row.exec_type, Liquidity.UNKNOWN),
            position_side=self._position_side(row.pos_side),
            venue_ns=self._time(row.ts),
        )

    def _only_fee(self, row: OrderRow) -> str:
        # Without fillFee the order's fee is this execution's only when there was no other.
        if self._optional(row.acc_fill_sz, "accFillSz") != self._number(row.fill_sz, "fillSz"):
            raise ProtocolViolation(self._venue, f"fill {row.trade_id} came without its fee")
        return row.fee

    def _state(self, row: OrderRow) -> OrderState:
        state = STATES.get(row.state)
        if state is None:
            raise ProtocolViolation(self._venue, f"order state was {row.state!r}")
        if state is not OrderState.CANCELLED or row.cancel_source == BY_OWNER:
            return state
        if row.cancel_source == POST_ONLY_WOULD_TAKE or row.ord_type in _ENDS_BY_ITSELF:
            return OrderState.EXPIRED  # ended by its own terms: nobody asked for it
        return state

    def _side(self, text: str) -> Side:
        try:
            return Side(text)
        except ValueError:
            raise ProtocolViolation(self._venue, f"side was {text!r}") from None

    def _position_side(self, text: str) -> PositionSide:
        side = _POSITION_SIDES.get(text)
        if side is None:
            raise ProtocolViolation(self._venue, f"posSide was {text!r}")
        return side

    def _number(self, text: str, field: str) -> Decimal:
        try:
            return decimal_of(text, field)
        except InvalidValue as error:
            raise ProtocolViolation(self._venue, str(error)) from None

    def _optional(self, text: str, field: str) -> Decimal | None:
        return self._number(text, field) if text else None

    def _time(self, text: str) -> int:
        try:
            return ns_of_text(text)
        except InvalidValue as error:
            raise ProtocolViolation(self._venue, str(error)) from None


def own_id(client_id: str) -> str:
    """Return a canonical id of ours as it is, "" for anybody else's."""
    if client_id == client_id.lower() and decode_order_id(client_id) is not None:
        return client_id
    return ""


def _reason(row: OrderRow) -> str:
    if row.category not in {"", "normal"}:
        return row.category  # full_liquidation, partial_liquidation, adl, delivery
    if row.state not in {"canceled", "mmp_canceled"}:
        return ""
    if row.cancel_source == POST_ONLY_WOULD_TAKE:
        return "post_only_would_take"
    if row.cancel_source_reason:
        return row.cancel_source_reason
    if row.cancel_source not in {"", BY_OWNER}:
        return f"cancel_source_{row.cancel_source}"
    return row.state if row.state == "mmp_canceled" else ""
