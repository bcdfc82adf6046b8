"""How often OKX may be asked: the windows of its documentation as upper bounds, by lane.

Placing and cancelling count for the user and the instrument (60 in 2 s each; websocket and REST
share them), new orders also for the sub-account (1000 in 2 s). Reads have one window an endpoint.
Limits of public endpoints and of new websockets count by address; one node is taken to be alone
on its address.
"""

from __future__ import annotations

from collections.abc import Mapping

from perpbot.kernel.clock import Clock
from perpbot.venues.wire.limits import Fare, Lane, RateBudget, Window, retry_after_s

ENDPOINTS: Mapping[str, tuple[int, float]] = {
    "/api/v5/public/instruments": (20, 2.0),
    "/api/v5/market/books": (40, 2.0),
    "/api/v5/market/tickers": (20, 2.0),
    "/api/v5/market/index-tickers": (20, 2.0),
    "/api/v5/account/balance": (10, 2.0),
    "/api/v5/account/bills": (5, 1.0),
    "/api/v5/account/bills-archive": (5, 2.0),
    "/api/v5/account/config": (5, 2.0),
    "/api/v5/account/positions": (10, 2.0),
    "/api/v5/account/set-leverage": (20, 2.0),
    "/api/v5/trade/cancel-algos": (20, 2.0),
    "/api/v5/trade/cancel-all-after": (1, 1.0),
    "/api/v5/trade/fills": (60, 2.0),
    "/api/v5/trade/fills-history": (10, 2.0),
    "/api/v5/trade/order": (60, 2.0),
    "/api/v5/trade/order-algo": (20, 2.0),
    "/api/v5/trade/orders-algo-pending": (20, 2.0),
    "/api/v5/trade/orders-pending": (60, 2.0),
}
"""Requests and seconds by path; `trade/order` is the query, placing has windows of its own."""

DIALS = Window(name="dials", limit=3, period_s=1.0)
"""Websockets that an address may open, public and private together (documents, "Connect")."""
_PLACE = Window(name="place", limit=60, period_s=2.0)
_CANCEL = Window(name="cancel", limit=60, period_s=2.0)
_ACCOUNT = Window(name="account_orders", limit=1_000, period_s=2.0)
_ONE_ORDER = {_PLACE.name: 1}
_ONE_OF_ALL = {_ACCOUNT.name: 1}


class Budgets:
    """The budgets of one account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._endpoints = {
            path: RateBudget([Window(name=path, limit=limit, period_s=period_s)], clock=clock)
            for path, (limit, period_s) in ENDPOINTS.items()
        }
        self._account = RateBudget([_ACCOUNT], clock=clock)
        self._instruments: dict[str, RateBudget] = {}
        self._orders: dict[tuple[str, Lane], tuple[RateBudget, Fare, Fare]] = {}

    async def endpoint(self, path: str, lane: Lane) -> None:
        """Wait for one request to `path`."""
        await self._endpoints[path].acquire(lane, {path: 1})

    async def place(self, symbol: str, lane: Lane) -> None:
        """Wait for one new order."""
        await self._account.acquire(lane, _ONE_OF_ALL)
        await self._of(symbol).acquire(lane, _ONE_ORDER)

    def try_place(self, symbol: str, lane: Lane) -> bool:
        """Take the leave for one new order if it is there now; False: wait by `place`."""
        order = self._orders.get((symbol, lane))
        if order is None:
            budget = self._of(symbol)
            order = budget, budget.fare(lane, _ONE_ORDER), self._account.fare(lane, _ONE_OF_ALL)
            self._orders[symbol, lane] = order
        budget, fare, of_all = order
        return budget.try_spend(fare) and self._account.try_spend(of_all)

    async def cancel(self, symbol: str, lane: Lane) -> None:
        """Wait for one cancel."""
        await self._of(symbol).acquire(lane, {_CANCEL.name: 1})

    def penalise_endpoint(self, path: str, retry_after_s: float) -> None:
        """The venue refused a request to `path` for its rate."""
        self._endpoints[path].penalise(retry_after_s)

    def penalise_orders(self, symbol: str, retry_after_s: float, *, account: bool) -> None:
        """The venue refused an order or a cancel for its rate, or the whole sub-account's."""
        budget = self._account if account else self._of(symbol)
        budget.penalise(retry_after_s)

    def pause_s(self, headers: Mapping[str, str]) -> float:
        """Return how long an answer asks to wait, 0 where it does not say."""
        return retry_after_s(headers, self._clock.now_ns())

    def _of(self, symbol: str) -> RateBudget:
        found = self._instruments.get(symbol)
        if found is None:
            found = RateBudget([_PLACE, _CANCEL], clock=self._clock)
            self._instruments[symbol] = found
        return found
