"""What the rooms of the Binance server share: the exchange, the client's account, the clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from perpbot.simulation.listing import Listing
from perpbot.simulation.model import Contract, ExchangeView, OrderView
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.requests import Params
from perpbot.simulation.wire.binance.words import milliseconds

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a path does and costs."""

    handler: Callable[[Params], Any]
    weight: int | Callable[[Params], int] = 1
    signed: bool = True
    keyed: bool = False
    """Wants the key header though nothing is signed (listen keys)."""
    counts_orders: Callable[[Params], int] | None = None
    writes: bool = False
    """Changes orders: the outcome can be left open on purpose."""

    def cost(self, params: Params) -> int:
        """The weight of one request."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)


Table = dict[tuple[str, str], Endpoint]
"""Endpoints by method and path."""


class Context:
    """The exchange as one client account sees it."""

    def __init__(
        self,
        exchange: ExchangeView,
        clock_ns: Callable[[], int],
        rng: random.Random,
        account: str,
    ) -> None:
        self.exchange = exchange
        self.clock_ns = clock_ns
        self.rng = rng
        self.account = account
        self.contracts = Listing(exchange)
        self.triggered: set[int] = set()
        """Conditional orders that became normal ones."""

    def now_ms(self) -> int:
        """UTC milliseconds."""
        return milliseconds(self.clock_ns())

    def contract(self, params: Params) -> Contract:
        """Read the mandatory `symbol`."""
        found = self.contracts.get(params.text("symbol"))
        if found is None:
            raise Refused(-1121, "Invalid symbol.")
        return found

    def symbol_if_any(self, params: Params) -> str | None:
        """Read `symbol` where it may be left out."""
        return self.contract(params).symbol if "symbol" in params else None

    def client_id(self) -> str:
        """Return an id for an order that was sent without one."""
        return "".join(self.rng.choices(_LETTERS, k=22))

    def find_order(self, params: Params) -> OrderView | None:
        """Find what `orderId` or `origClientOrderId` names; waiting conditionals are elsewhere."""
        symbol = self.contract(params).symbol
        if "orderId" in params:
            found = self.exchange.order(self.account, params.integer("orderId"))
        elif "origClientOrderId" in params:
            found = self.exchange.order_by_client_id(
                self.account, params.text("origClientOrderId")
            )
        else:
            raise Refused(
                -1102,
                "Mandatory parameter 'orderId' or 'origClientOrderId' was not sent, was "
                "empty/null, or malformed.",
            )
        if found is None or found.ticket.symbol != symbol or not self.is_listed(found):
            return None
        return found

    def is_listed(self, view: OrderView) -> bool:
        """Whether order endpoints know an order.

        They do not know stops that wait or ended without having met their trigger, nor
        fill-or-kill orders that were killed: those were refused.
        """
        if view.ticket.trigger_price is not None and view.order_id not in self.triggered:
            return False
        return view.cause != "fok"


def since(params: Params, *, default_limit: int, max_limit: int) -> tuple[int, int, int]:
    """Read `startTime`, `endTime` and `limit`."""
    limit = params.integer("limit", default_limit)
    if not 0 < limit <= max_limit:
        raise Refused(-1130, "Data sent for parameter 'limit' is not valid.")
    return params.integer("startTime", 0), params.integer("endTime", 2**62), limit


def ratio_text(value: Decimal) -> str:
    """A ratio with eight decimals, as rates are told."""
    return format(value, ".8f")
