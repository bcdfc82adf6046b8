"""What the venue says of one account: orders, fills, positions, balances, funding.

The same shapes come by REST and by stream. Wire units become base coins and USDC here; numbers are
read as exact decimals. Fills and payments of coins that are not perpetuals of this universe (spot,
builder markets) are not ours to account for and are left out; their orders are told as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ONE, ZERO, decimal_of
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    PositionReport,
)
from perpbot.domain.sides import Liquidity, OrderState, Side
from perpbot.kernel.ids import decode_order_id
from perpbot.venues.hyperliquid.universe import SETTLE, VENUE, Universe
from perpbot.venues.wire.decoding import ns_of_ms

WireSide = Literal["A", "B"]
"""`A` (ask) sells, `B` (bid) buys."""

ORDER_STATES: dict[str, OrderState] = {
    "open": OrderState.ACCEPTED,
    "triggered": OrderState.ACCEPTED,
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELLED,
    "marginCanceled": OrderState.CANCELLED,
    "vaultWithdrawalCanceled": OrderState.CANCELLED,
    "openInterestCapCanceled": OrderState.CANCELLED,
    "selfTradeCanceled": OrderState.CANCELLED,
    "reduceOnlyCanceled": OrderState.CANCELLED,
    "siblingFilledCanceled": OrderState.CANCELLED,
    "delistedCanceled": OrderState.CANCELLED,
    "liquidatedCanceled": OrderState.CANCELLED,
    "scheduledCancel": OrderState.CANCELLED,
    "rejected": OrderState.REJECTED,
    "tickRejected": OrderState.REJECTED,
    "minTradeNtlRejected": OrderState.REJECTED,
    "perpMarginRejected": OrderState.REJECTED,
    "perpMaxPositionRejected": OrderState.REJECTED,
    "reduceOnlyRejected": OrderState.REJECTED,
    "badAloPxRejected": OrderState.REJECTED,
    "iocCancelRejected": OrderState.REJECTED,
    "badTriggerPxRejected": OrderState.REJECTED,
    "marketOrderNoLiquidityRejected": OrderState.REJECTED,
    "positionIncreaseAtOpenInterestCapRejected": OrderState.REJECTED,
    "positionFlipAtOpenInterestCapRejected": OrderState.REJECTED,
    "tooAggressiveAtOpenInterestCapRejected": OrderState.REJECTED,
    "openInterestIncreaseRejected": OrderState.REJECTED,
    "insufficientSpotBalanceRejected": OrderState.REJECTED,
    "oracleRejected": OrderState.REJECTED,
}
"""Every status we know; any other is reported as UNKNOWN with its name, never guessed."""


class WireOrder(msgspec.Struct, frozen=True, rename="camel"):
    """An order as streams and queries tell it; `sz` is what remains."""

    coin: str
    side: WireSide
    limit_px: str
    sz: str
    oid: int
    orig_sz: str
    timestamp: int = 0
    cloid: str | None = None
    reduce_only: bool | None = None
    is_trigger: bool | None = None
    trigger_px: str | None = None


class OrderUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """An order and its status, as `orderUpdates` and `orderStatus` tell it."""

    order: WireOrder
    status: str
    status_timestamp: int = 0


class OrderAnswer(msgspec.Struct, frozen=True):
    """The answer to `orderStatus`: `order` is absent when the id is not known."""

    status: str
    order: OrderUpdate | None = None


class WireFill(msgspec.Struct, frozen=True, rename="camel"):
    """One execution; `crossed` is the taker's, a positive fee was paid."""

    coin: str
    px: str
    sz: str
    side: WireSide
    time: int
    oid: int
    crossed: bool
    fee: str
    tid: int
    fee_token: str = SETTLE
    cloid: str | None = None


class WirePosition(msgspec.Struct, frozen=True, rename="camel"):
    """One position, one-way: `szi` is signed."""

    coin: str
    szi: str
    entry_px: str | None = None
    position_value: str = "0"
    unrealized_pnl: str = "0"
    liquidation_px: str | None = None


class AssetPosition(msgspec.Struct, frozen=True):
    """The wrapper of a position."""

    position: WirePosition


class MarginSummary(msgspec.Struct, frozen=True, rename="camel"):
    """Of the whole account; `account_value` includes unrealised profit."""

    account_value: str


class ClearinghouseState(msgspec.Struct, frozen=True, rename="camel"):
    """Positions and margin of one account."""

    asset_positions: tuple[AssetPosition, ...]
    withdrawable: str
    margin_summary: MarginSummary | None = None
    cross_margin_summary: MarginSummary | None = None
    time: int = 0


class WireFunding(msgspec.Struct, frozen=True, rename="camel"):
    """One funding payment; positive `usdc` was received."""

    coin: str
    usdc: str
    funding_rate: str = "0"
    time: int = 0


class FundingRow(msgspec.Struct, frozen=True):
    """One row of the REST answer to `userFunding`."""

    time: int
    delta: WireFunding


class AddressBudget(msgspec.Struct, frozen=True, rename="camel"):
    """Requests that the address has used and may use, by volume traded (USD)."""

    cum_vlm: str
    n_requests_used: int
    n_requests_cap: int
    n_requests_surplus: int = 0

    @property
    def left(self) -> int:
        """Requests left before the address is slowed to one in 10 s."""
        return self.n_requests_cap + self.n_requests_surplus - self.n_requests_used


def client_id_of(cloid: str | None) -> str:
    """Return the canonical id of a wire id; "" where the order is not one of ours."""
    if cloid is None or not cloid.startswith("0x"):
        return ""
    client_id = cloid[2:]
    return client_id if decode_order_id(client_id) is not None else ""


def cloid_of(client_id: str) -> str:
    """Return the wire id of a canonical id."""
    return "0x" + client_id


def _side(side: WireSide) -> Side:
    return Side.BUY if side == "B" else Side.SELL


class Reader:
    """Turns wire statements into reports of one account. Raises `InvalidValue` for odd numbers."""

    def __init__(self, universe: Universe, *, account: str) -> None:
        self._universe = universe
        self._account = account

    def order(self, update: OrderUpdate) -> OrderReport:
        """Report one order with its status."""
        order = update.order
        instrument = self._universe.find(order.coin)
        size = instrument.contract_size if instrument else ONE
        scale = instrument.price_multiplier if instrument else ONE
        original = decimal_of(order.orig_sz, "origSz")
        remaining = decimal_of(order.sz, "sz")
        state, filled = _progress(update.status, original, remaining)
        return OrderReport(
            venue=VENUE,
            account=self._account,
            client_id=client_id_of(order.cloid),
            venue_order_id=str(order.oid),
            symbol=order.coin,
            state=state,
            filled=None if filled is None else filled * size,
            side=_side(order.side),
            quantity=original * size,
            price=decimal_of(order.limit_px, "limitPx") / scale,
            reduce_only=bool(order.reduce_only),
            reason=_reason(update.status, state),
            code="" if update.status in {"open", "filled"} else update.status,
            venue_ns=ns_of_ms(update.status_timestamp or order.timestamp),
        )

    def fill(self, fill: WireFill) -> FillReport | None:
        """Report one execution; None where it is not of a perpetual of this universe."""
        instrument = self._universe.find(fill.coin)
        if instrument is None:
            return None
        return FillReport(
            venue=VENUE,
            account=self._account,
            trade_id=str(fill.tid),
            client_id=client_id_of(fill.cloid),
            venue_order_id=str(fill.oid),
            symbol=fill.coin,
            asset=instrument.asset,
            side=_side(fill.side),
            price=decimal_of(fill.px, "px") / instrument.price_multiplier,
            quantity=decimal_of(fill.sz, "sz") * instrument.contract_size,
            fee=decimal_of(fill.fee, "fee"),
            fee_currency=fill.fee_token,
            liquidity=Liquidity.TAKER if fill.crossed else Liquidity.MAKER,
            venue_ns=ns_of_ms(fill.time),
        )

    def positions(self, state: ClearinghouseState) -> tuple[PositionReport, ...]:
        """Report every position that is not zero."""
        rows = (
            (row.position, decimal_of(row.position.szi, "szi")) for row in state.asset_positions
        )
        return tuple(
            self._position(position, signed, state.time) for position, signed in rows if signed
        )

    def _position(self, position: WirePosition, signed: Decimal, time_ms: int) -> PositionReport:
        instrument = self._universe.find(position.coin)
        size = instrument.contract_size if instrument else ONE
        scale = instrument.price_multiplier if instrument else ONE
        entry = decimal_of(position.entry_px, "entryPx") if position.entry_px else ZERO
        liquidation = position.liquidation_px
        quantity = signed * size
        return PositionReport(
            venue=VENUE,
            account=self._account,
            symbol=position.coin,
            asset=_asset(instrument, position.coin),
            quantity=quantity,
            entry_price=entry / scale,
            mark_price=decimal_of(position.position_value, "positionValue") / abs(quantity),
            unrealized_pnl=decimal_of(position.unrealized_pnl, "unrealizedPnl"),
            liquidation_price=(
                decimal_of(liquidation, "liquidationPx") / scale if liquidation else None
            ),
            venue_ns=ns_of_ms(time_ms),
        )

    def balances(self, state: ClearinghouseState) -> tuple[BalanceReport, ...]:
        """Report the one collateral currency; nothing where the state does not tell its value."""
        summary = state.margin_summary or state.cross_margin_summary
        if summary is None:
            return ()
        equity = decimal_of(summary.account_value, "accountValue")
        unrealized = sum(
            (
                decimal_of(row.position.unrealized_pnl, "unrealizedPnl")
                for row in state.asset_positions
            ),
            ZERO,
        )
        return (
            BalanceReport(
                venue=VENUE,
                account=self._account,
                currency=SETTLE,
                equity=equity,
                wallet=equity - unrealized,
                free=decimal_of(state.withdrawable, "withdrawable"),
                venue_ns=ns_of_ms(state.time),
            ),
        )

    def funding(self, payments: Sequence[WireFunding]) -> tuple[FundingReport, ...]:
        """Report funding payments; one coin pays once at one time, and that is its id."""
        reports: list[FundingReport] = []
        for payment in payments:
            instrument = self._universe.find(payment.coin)
            if instrument is None:
                continue
            reports.append(
                FundingReport(
                    venue=VENUE,
                    account=self._account,
                    payment_id=f"{payment.coin}-{payment.time}",
                    symbol=payment.coin,
                    asset=instrument.asset,
                    amount=decimal_of(payment.usdc, "usdc"),
                    currency=SETTLE,
                    rate=decimal_of(payment.funding_rate, "fundingRate"),
                    venue_ns=ns_of_ms(payment.time),
                )
            )
        return tuple(reports)


def _asset(instrument: Instrument | None, coin: str) -> str:
    return instrument.asset if instrument else coin


def _reason(status: str, state: OrderState) -> str:
    if state is OrderState.UNKNOWN:
        return f"unknown status {status}"
    return "" if status in {"open", "filled"} else status


def _progress(
    status: str, original: Decimal, remaining: Decimal
) -> tuple[OrderState, Decimal | None]:
    """Return state and filled size. A size that contradicts its status is 'does not say'."""
    state = ORDER_STATES.get(status, OrderState.UNKNOWN)
    filled = original - remaining
    if not ZERO <= remaining <= original:
        return state, None
    if state is OrderState.ACCEPTED:
        return (OrderState.PARTIALLY_FILLED if ZERO < filled < original else state), filled
    if state is OrderState.FILLED:
        if remaining == original:
            return state, None
        # An IOC that took a part ends as filled with a rest; the rest is gone.
        return (OrderState.CANCELLED if remaining else state), filled
    # Ended orders are sometimes told with nothing remaining although nothing was filled.
    return state, (filled if remaining else None)
