"""Protective stops that rest at OKX: conditional algo orders, by REST.

Beyond the port of venues. A stop without a quantity closes the whole leg (`closeFraction` 1), so
it stays right when the position changes. It triggers on the mark price and leaves as a market
order. The dead man's switch does not remove it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.errors import ProtocolViolation, RateLimited, Rejected, Unavailable
from perpbot.domain.money import plain
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState
from perpbot.venues.okx.budgets import Budgets
from perpbot.venues.okx.catalogue import VENUE, Catalogue
from perpbot.venues.okx.codec import ItemResult, StopRow
from perpbot.venues.okx.orders import PositionMode, check, position_side
from perpbot.venues.okx.reports import Reports
from perpbot.venues.okx.rest import RestClient, result_of
from perpbot.venues.wire.limits import Lane

_PLACE = "/api/v5/trade/order-algo"
_CANCEL = "/api/v5/trade/cancel-algos"
_PENDING = "/api/v5/trade/orders-algo-pending"
PAGE = 100


class OkxStops:
    """Stops of one account."""

    def __init__(
        self,
        *,
        rest: RestClient,
        catalogue: Catalogue,
        budgets: Budgets,
        account: str,
        venue: str = VENUE,
    ) -> None:
        self._rest = rest
        self._catalogue = catalogue
        self._budgets = budgets
        self._account = account
        self._venue = venue
        self._reports = Reports(venue=venue, account=account)

    async def submit(
        self,
        order: OrderRequest,
        trigger_price: Decimal,
        sent: Callable[[], None],
        *,
        mode: PositionMode,
        whole_leg: bool,
    ) -> OrderReport:
        """Place a stop that only reduces; `order.side` is the side that closes."""
        instrument = self._catalogue.require(order.symbol)
        if not order.reduce_only:
            raise Rejected(self._venue, "a stop here only reduces", code="invalid_order")
        check(order, instrument)
        leg = position_side(order, mode)
        terms: dict[str, object] = {
            "instId": order.symbol,
            "tdMode": "cross",
            "side": order.side.value,
            "ordType": "conditional",
            "algoClOrdId": order.client_id,
            "slTriggerPx": plain(trigger_price),
            "slTriggerPxType": "mark",
            "slOrdPx": "-1",
        }
        if whole_leg:
            terms["closeFraction"] = "1"
        else:
            terms["sz"] = plain(order.quantity / instrument.contract_size)
        if mode is PositionMode.NET:
            terms["reduceOnly"] = True
        else:
            terms["posSide"] = leg.value
        result = await self._write(_PLACE, terms, sent)
        return OrderReport(
            venue=self._venue,
            account=self._account,
            client_id=order.client_id,
            venue_order_id=result.algo_id,
            symbol=order.symbol,
            state=OrderState.ACCEPTED,
            side=order.side,
            quantity=None if whole_leg else order.quantity,
            price=trigger_price,
            reduce_only=True,
            position_side=leg,
            reason="stop",
        )

    async def cancel(self, symbol: str, algo_id: str) -> None:
        """Cancel one stop by the venue's id."""
        await self._write(_CANCEL, [{"instId": symbol, "algoId": algo_id}])

    async def pending(self) -> Sequence[OrderReport]:
        """Return every waiting conditional order of the account; raise `Unavailable`."""
        rows: list[StopRow] = []
        after: dict[str, str] = {}
        while True:
            page = await self._rest.read(
                _PENDING,
                StopRow,
                {"ordType": "conditional", "instType": "SWAP", "limit": str(PAGE), **after},
            )
            rows += page
            if len(page) < PAGE:
                break
            if after.get("after") == page[-1].algo_id:
                raise Unavailable(self._venue, f"{_PENDING}: the next page cannot be asked for")
            after = {"after": page[-1].algo_id}
        known = [(row, self._catalogue.get(row.inst_id)) for row in rows]
        try:
            return [self._reports.stop(row, one) for row, one in known if one is not None]
        except ProtocolViolation as error:
            raise Unavailable(self._venue, error.message) from error

    async def _write(
        self, path: str, terms: object, sent: Callable[[], None] | None = None
    ) -> ItemResult:
        await self._budgets.endpoint(path, Lane.REDUCE)
        try:
            answer = await self._rest.write(path, msgspec.json.encode(terms), sent=sent)
            return result_of(self._venue, answer.code, answer.msg, answer.data)
        except RateLimited as limited:
            self._budgets.penalise_endpoint(path, limited.retry_after_s)
            raise
