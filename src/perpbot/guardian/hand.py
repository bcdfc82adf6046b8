"""What the guardian does at one venue: look, take back, shrink, and ask what became of it.

It speaks through the venue's own adapter, `Trading` and `Account` only. Every order is
reduce-only by the venue's word, immediate-or-cancel, expires where the venue knows that, and is in
the record before it is sent. What has no clear answer is asked for, and nothing else is sent for
its instrument before it is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.errors import (
    AuthFailed,
    InvalidValue,
    NonceClash,
    RateLimited,
    Rejected,
    VenueError,
)
from perpbot.domain.instruments import Instrument
from perpbot.domain.orders import OrderReport, OrderRequest, PositionReport
from perpbot.domain.sides import OrderType, Purpose, Side, TimeInForce
from perpbot.guardian.plan import Reduction, is_ours, sized
from perpbot.guardian.record import Fact, GuardianRecord
from perpbot.guardian.status import HandStatus
from perpbot.kernel.clock import SECOND, Clock
from perpbot.kernel.ids import IdMaker
from perpbot.venues.port import Venue

STRATEGY = "guardian"
EXPIRY_NS = 2 * SECOND
EXPIRY_MARGIN_NS = SECOND
"""Beyond it an order that the venue does not know can no longer arrive."""
ABSENT_AFTER_NS = 30 * SECOND
"""The same where the venue's requests do not expire."""
_DEFINITE = (Rejected, RateLimited, AuthFailed, NonceClash, InvalidValue)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue said at one time."""

    orders: tuple[OrderReport, ...]
    """Open ones of ours that are to be taken back."""
    positions: tuple[PositionReport, ...]


class Hand:
    """See the module."""

    def __init__(
        self,
        venue: Venue,
        record: GuardianRecord,
        clock: Clock,
        *,
        slippage_bps: float,
        flattens: bool,
        why_not: str = "",
    ) -> None:
        """`flattens` is False where it may only take back orders; `why_not` says why."""
        self.venue = venue
        self.flattens = flattens
        self._why_not = why_not
        self._record = record
        self._clock = clock
        self._slippage_bps = Decimal(str(slippage_bps))
        self._ids = IdMaker(epoch=0)
        self._has_word: Callable[[], bool] = lambda: True
        self._instruments: dict[str, Instrument] = {}
        self._unresolved = _unresolved(venue.name, record.earlier)
        """Sent, with when; what became of it is not known."""
        self._refused: dict[str, str] = {}
        self._problem = "not tried yet"

    @property
    def name(self) -> str:
        """The venue's."""
        return self.venue.name

    @property
    def status(self) -> HandStatus:
        """How it stands here."""
        return HandStatus(
            ready=not self._problem,
            flattens=self.flattens,
            problem=self._problem or self._why_not,
        )

    def begin(self, epoch: int, has_word: Callable[[], bool] = lambda: True) -> None:
        """Use ids of this epoch from now on; none of an earlier one comes again.

        `has_word()` tells whether no node is back: beside one that is nothing is sent.
        """
        self._ids = IdMaker(epoch=epoch)
        self._has_word = has_word

    # --- being able to ---

    async def prepare(self) -> bool:
        """Learn what the venue lists and whether the key works; return whether it does.

        What cannot be done when it is tried is said now, not when it is needed.
        """
        try:
            if not self._instruments:
                listed = await self.venue.market_data.instruments()
                await self.venue.open(listed)
                self._instruments = {found.symbol: found for found in listed}
            await self.venue.account.open_orders()
        except VenueError as error:
            self._trouble(str(error))
            return False
        self._trouble("")
        return True

    def _trouble(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._record.write("hand", venue=self.name, ready=not problem, problem=problem)

    # --- looking ---

    async def look(self) -> Look | None:
        """Ask for our open orders and every position; None where the venue does not say."""
        if not self._instruments and not await self.prepare():
            return None
        account = self.venue.account
        try:
            orders, positions = await asyncio.gather(account.open_orders(), account.positions())
        except VenueError as error:
            self._trouble(str(error))
            return None
        self._trouble("")
        ours = tuple(found for found in orders if is_ours(found, self.venue.account_name))
        return Look(orders=ours, positions=tuple(positions))

    # --- taking back ---

    async def take_back(self, orders: Sequence[OrderReport]) -> None:
        """Cancel each once; whether it worked is what the next look says."""
        await asyncio.gather(*map(self._cancel, orders))

    async def _cancel(self, report: OrderReport) -> None:
        self._record.write("cancel", venue=self.name, order=report.client_id, symbol=report.symbol)
        try:
            await self.venue.trading.cancel(self._request_of(report), report.venue_order_id)
        except VenueError as error:
            self._record.write(
                "cancel_failed", venue=self.name, order=report.client_id, error=str(error)
            )

    def _request_of(self, report: OrderReport) -> OrderRequest:
        """Return as much of the request as a cancel needs."""
        price = report.price or Decimal(0)
        return OrderRequest(
            client_id=report.client_id,
            venue=self.name,
            account=self.venue.account_name,
            asset=found.asset if (found := self._instruments.get(report.symbol)) else "",
            symbol=report.symbol,
            side=report.side or Side.BUY,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            quantity=report.quantity or Decimal(0),
            price=price,
            reference_price=price,
            purpose=Purpose.REDUCE,
            position_side=report.position_side,
        )

    # --- shrinking ---

    @property
    def unresolved(self) -> frozenset[str]:
        """Symbols with an order of ours of which it is not known what became of it."""
        return frozenset(order.symbol for order, _ in self._unresolved.values())

    async def shrink(self, reductions: Sequence[Reduction]) -> int:
        """Send one order for each; return how many could be sent at all."""
        if not self._has_word():
            return 0
        orders = [order for found in reductions if (order := self._order(found)) is not None]
        await asyncio.gather(*map(self._submit, orders))
        return len(orders)

    def _order(self, reduction: Reduction) -> OrderRequest | None:
        instrument = self._instruments.get(reduction.symbol)
        if not self.venue.capabilities.reduce_only:
            refusal = "the venue enforces no reduce-only"
        elif instrument is None:
            refusal = "the venue does not list it"
        else:
            size = sized(reduction, instrument, self._slippage_bps)
            if not isinstance(size, str):
                self._refused.pop(reduction.symbol, None)
                return self._request(reduction, *size)
            refusal = size
        if self._refused.get(reduction.symbol) != refusal:
            self._refused[reduction.symbol] = refusal
            self._record.write(
                "left",
                venue=self.name,
                symbol=reduction.symbol,
                quantity=str(reduction.quantity),
                side=reduction.side,
                why=refusal,
            )
        return None

    def _request(self, reduction: Reduction, quantity: Decimal, price: Decimal) -> OrderRequest:
        expires = self.venue.capabilities.request_expiry
        return OrderRequest(
            client_id=self._ids.order_id(
                account=self.venue.account_name,
                strategy=STRATEGY,
                purpose=Purpose.REDUCE,
                leg=0,
                attempt=0,
            ),
            venue=self.name,
            account=self.venue.account_name,
            asset=reduction.asset,
            symbol=reduction.symbol,
            side=reduction.side,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
            quantity=quantity,
            price=price,
            reference_price=reduction.mark,
            purpose=Purpose.REDUCE,
            reduce_only=True,
            position_side=reduction.position_side,
            owner=STRATEGY,
            expires_ns=self._clock.now_ns() + EXPIRY_NS if expires else 0,
        )

    async def _submit(self, order: OrderRequest) -> None:
        self._record.write("submit", venue=self.name, order=order)
        self._unresolved[order.client_id] = (order, self._clock.now_ns())
        try:
            report = await self.venue.trading.submit(order, lambda: None)
        except _DEFINITE as refusal:
            self._settle(order, "refused", reason=str(refusal))
        except VenueError as silence:
            self._record.write(
                "unknown", venue=self.name, order=order.client_id, error=str(silence)
            )
        else:
            self._heard(order, report)

    async def resolve(self) -> None:
        """Ask what became of orders whose outcome is not known."""
        asked = tuple(self._unresolved.values())
        await asyncio.gather(*(self._ask(order, sent_ns) for order, sent_ns in asked))

    async def _ask(self, order: OrderRequest, sent_ns: int) -> None:
        if not self._instruments:
            return
        try:
            report = await self.venue.account.order(order, "")
        except VenueError:
            return  # still not known: asked again
        if report is not None:
            self._heard(order, report)
        else:
            expires_ns = order.expires_ns
            until_ns = expires_ns + EXPIRY_MARGIN_NS if expires_ns else sent_ns + ABSENT_AFTER_NS
            if self._clock.now_ns() > until_ns:
                self._settle(order, "absent")

    def _heard(self, order: OrderRequest, report: OrderReport) -> None:
        if report.state.is_end:
            self._settle(order, report.state, filled=report.filled, price=report.average_price)

    def _settle(self, order: OrderRequest, outcome: str, **more: object) -> None:
        self._unresolved.pop(order.client_id, None)
        self._record.write(
            "settled", venue=self.name, order=order.client_id, outcome=outcome, **more
        )


def _unresolved(venue: str, facts: Sequence[Fact]) -> dict[str, tuple[OrderRequest, int]]:
    """Return what an earlier guardian sent and never heard of."""
    found: dict[str, tuple[OrderRequest, int]] = {}
    for fact in facts:
        if fact["kind"] == "submit" and fact["venue"] == venue:
            order = msgspec.convert(fact["order"], OrderRequest)
            found[order.client_id] = (order, fact["ts_ns"])
        elif fact["kind"] == "settled":
            found.pop(fact["order"], None)
    return found
