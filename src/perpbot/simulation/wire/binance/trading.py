"""Orders: place, amend, cancel, ask; one by one and in batches.

Conditional types are refused here with -4120 (they live on the algo endpoints since 2025-12-09).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from perpbot.domain.sides import OrderType, Side, TimeInForce
from perpbot.simulation.model import Contract, ExchangeRefusal, OrderView, Refusal, Ticket
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table, since
from perpbot.simulation.wire.binance.errors import Refused, in_words
from perpbot.simulation.wire.binance.fields import (
    client_id_of,
    price_of,
    quantity_of,
    reduce_only_of,
)
from perpbot.simulation.wire.binance.requests import Params

_MAX_BATCH_PLACE = 5
_MAX_BATCH_CANCEL = 10
_PRICE_MATCH = re.compile(r"^(OPPONENT|QUEUE)(?:_(5|10|20))?$")


class TradingDesk:
    """Order endpoints of one account."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._exchange = context.exchange
        self._account = context.account

    def endpoints(self) -> Table:
        """What is served where, with weights and order counts."""
        order, batch = "/fapi/v1/order", "/fapi/v1/batchOrders"
        return {
            ("POST", order): Endpoint(
                handler=self.place, weight=0, counts_orders=_one, writes=True
            ),
            ("POST", "/fapi/v1/order/test"): Endpoint(handler=self.test, weight=0),
            ("PUT", order): Endpoint(
                handler=self.amend, weight=0, counts_orders=_one, writes=True
            ),
            ("DELETE", order): Endpoint(handler=self.cancel, writes=True),
            ("GET", order): Endpoint(handler=self.status),
            ("POST", batch): Endpoint(
                handler=self.place_batch, weight=5, counts_orders=_batch_size, writes=True
            ),
            ("PUT", batch): Endpoint(
                handler=self.amend_batch, weight=5, counts_orders=_batch_size, writes=True
            ),
            ("DELETE", batch): Endpoint(handler=self.cancel_batch, writes=True),
            ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(handler=self.cancel_all, writes=True),
            ("POST", "/fapi/v1/countdownCancelAll"): Endpoint(handler=self.countdown, weight=10),
            ("GET", "/fapi/v1/openOrder"): Endpoint(handler=self.open_order),
            ("GET", "/fapi/v1/openOrders"): Endpoint(
                handler=self.open_orders, weight=lambda params: 1 if "symbol" in params else 40
            ),
            ("GET", "/fapi/v1/allOrders"): Endpoint(handler=self.all_orders, weight=5),
            ("GET", "/fapi/v1/userTrades"): Endpoint(handler=self.trades, weight=5),
        }

    # --- one order -------------------------------------------------------------------------------

    def place(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/order`; ACK tells the order as it was taken, RESULT as it became."""
        kind = params.text("newOrderRespType", "ACK")
        if kind not in {"ACK", "RESULT"}:
            raise Refused(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
        ticket = self._ticket(params)
        view = self.submit(ticket)
        if view.cause == "fok":
            raise in_words(ExchangeRefusal(Refusal.FOK_NOT_FILLED, ""))
        row = words.order_row(view)
        if kind == "ACK":
            row |= {"status": "NEW", "executedQty": "0", "cumQty": "0"}
            row |= {"avgPrice": "0.00", "cumQuote": "0"}
        return row

    def test(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/order/test`: the parameters are checked, nothing is sent."""
        self._ticket(params)
        return {}

    def submit(self, ticket: Ticket) -> OrderView:
        """Hand a ticket to the exchange, in Binance's words when it refuses."""
        try:
            return self._exchange.submit(self._account, ticket)
        except ExchangeRefusal as refusal:
            raise in_words(refusal, ticket.side) from None

    def amend(self, params: Params) -> dict[str, object]:
        """`PUT /fapi/v1/order`: limit orders, price and quantity both, side as it was."""
        contract = self._context.contract(params)
        quantity = quantity_of(params, contract)
        price = price_of(params, contract)
        found = self._context.find_order(params)
        if found is None or not found.is_open:
            raise Refused(-2013, "Order does not exist.")
        if found.ticket.side is not words.side_of(params):
            raise Refused(-5025, "Only limit order of the same side is supported.")
        if (price, quantity) == (found.ticket.price, found.ticket.quantity):
            raise Refused(-5027, "No need to modify the order.")
        try:
            view = self._exchange.amend(
                self._account, found.order_id, price=price, quantity=quantity
            )
        except ExchangeRefusal as refusal:
            raise in_words(refusal, found.ticket.side) from None
        return words.order_row(view)

    def cancel(self, params: Params) -> dict[str, object]:
        """`DELETE /fapi/v1/order`; -2011 when the order is not open."""
        found = self._context.find_order(params)
        if found is None or not found.is_open:
            raise Refused(-2011, "Unknown order sent.")
        return words.order_row(
            self._exchange.cancel(self._account, found.ticket.symbol, found.order_id)
        )

    def status(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/order`; -2013 when there is none."""
        found = self._context.find_order(params)
        if found is None:
            raise Refused(-2013, "Order does not exist.")
        return words.order_row(found)

    def open_order(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/openOrder`; -2013 when it is not open."""
        found = self._context.find_order(params)
        if found is None or not found.is_open:
            raise Refused(-2013, "Order does not exist.")
        return words.order_row(found)

    # --- several ---------------------------------------------------------------------------------

    def place_batch(self, params: Params) -> list[dict[str, object]]:
        """`POST /fapi/v1/batchOrders`: each item with its own outcome, in order."""
        return [_outcome(self.place, item) for item in _batch(params)]

    def amend_batch(self, params: Params) -> list[dict[str, object]]:
        """`PUT /fapi/v1/batchOrders`."""
        return [_outcome(self.amend, item) for item in _batch(params)]

    def cancel_batch(self, params: Params) -> list[dict[str, object]]:
        """`DELETE /fapi/v1/batchOrders` by `orderIdList` or `origClientOrderIdList`."""
        symbol = self._context.contract(params).symbol
        by_id = "orderIdList" in params
        names = params.items("orderIdList" if by_id else "origClientOrderIdList")
        if not 0 < len(names) <= _MAX_BATCH_CANCEL:
            raise Refused(-4082, "Invalid number of batch place orders.")
        key = "orderId" if by_id else "origClientOrderId"
        return [
            _outcome(self.cancel, Params({"symbol": symbol, key: str(name)})) for name in names
        ]

    def cancel_all(self, params: Params) -> dict[str, object]:
        """`DELETE /fapi/v1/allOpenOrders` of a symbol; conditional orders stay."""
        symbol = self._context.contract(params).symbol
        for view in self._open(symbol):
            self._exchange.cancel(self._account, symbol, view.order_id)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def countdown(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/countdownCancelAll`: milliseconds from now; 0 disarms."""
        symbol = self._context.contract(params).symbol
        countdown_ms = params.integer("countdownTime")
        if countdown_ms < 0:
            raise Refused(-1130, "Data sent for parameter 'countdownTime' is not valid.")
        due = self._context.clock_ns() + countdown_ms * words.NS_PER_MS if countdown_ms else 0
        self._exchange.arm_dead_man(self._account, symbol, due)
        return {"symbol": symbol, "countdownTime": str(countdown_ms)}

    def open_orders(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/openOrders`, of a symbol or of all."""
        return [words.order_row(view) for view in self._open(self._context.symbol_if_any(params))]

    def all_orders(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/allOrders` of a symbol, oldest first; from `orderId` or by time."""
        symbol = self._context.contract(params).symbol
        start_ms, end_ms, limit = since(params, default_limit=500, max_limit=1000)
        first_id = params.integer("orderId", 0)
        found = [
            view
            for view in self._exchange.order_history(self._account)
            if view.ticket.symbol == symbol
            and view.order_id >= first_id
            and start_ms <= words.milliseconds(view.created_ns) <= end_ms
            and self._context.is_listed(view)
        ]
        kept = found[:limit] if first_id or start_ms else found[-limit:]
        return [words.order_row(view) for view in kept]

    def trades(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/userTrades` of a symbol, oldest first."""
        symbol = self._context.contract(params).symbol
        start_ms, end_ms, limit = since(params, default_limit=500, max_limit=1000)
        first_id = params.integer("fromId", 0)
        order_id = params.integer("orderId", 0)
        settle = self._context.contracts[symbol].settle
        found = [
            {
                "symbol": symbol,
                "id": fill.trade_id,
                "orderId": fill.order_id,
                "side": words.side_word(fill.side),
                "price": words.number(fill.price),
                "qty": words.number(fill.quantity),
                "realizedPnl": words.number(fill.realized_pnl),
                "quoteQty": words.number(fill.price * fill.quantity),
                "commission": words.number(fill.fee),
                "commissionAsset": settle,
                "time": words.milliseconds(fill.ts_ns),
                "positionSide": words.position_word(fill.position_side),
                "buyer": fill.side is Side.BUY,
                "maker": fill.liquidity == "maker",
            }
            for fill in self._exchange.executions(self._account, start_ms * 1_000_000)
            if fill.symbol == symbol
            and fill.trade_id >= first_id
            and order_id in {0, fill.order_id}
            and start_ms <= words.milliseconds(fill.ts_ns) <= end_ms
        ]
        return found[:limit] if first_id or start_ms else found[-limit:]

    # --- within ----------------------------------------------------------------------------------

    def _open(self, symbol: str | None) -> list[OrderView]:
        return [
            view
            for view in self._exchange.open_orders(self._account, symbol)
            if self._context.is_listed(view)
        ]

    def _ticket(self, params: Params) -> Ticket:
        contract = self._context.contract(params)
        side = words.side_of(params)
        kind = params.text("type")
        if kind in words.CONDITIONAL or kind == "TRAILING_STOP_MARKET":
            raise Refused(
                -4120,
                "Order type not supported for this endpoint. Please use the Algo Order API "
                "endpoints instead.",
            )
        if kind not in {"LIMIT", "MARKET"}:
            raise Refused(-1116, "Invalid orderType.")
        hedge_mode = self._exchange.hedge_mode(self._account)
        position_side = words.position_side_of(params, hedge_mode=hedge_mode)
        if kind == "MARKET":
            order_type, lifetime, price = OrderType.MARKET, TimeInForce.IOC, None
            if "price" in params or "timeInForce" in params:
                surplus = "price" if "price" in params else "timeInForce"
                raise Refused(-1106, f"Parameter '{surplus}' sent when not required.")
        else:
            order_type, lifetime = OrderType.LIMIT, words.lifetime_of(params)
            price = self._matched_price(params, contract, side) or price_of(params, contract)
        return Ticket(
            symbol=contract.symbol,
            side=side,
            order_type=order_type,
            quantity=quantity_of(params, contract),
            price=price,
            time_in_force=lifetime,
            client_id=client_id_of(params, "newClientOrderId") or self._context.client_id(),
            reduce_only=reduce_only_of(params, position_side),
            position_side=position_side,
            self_trade=words.self_trade_of(params),
            expires_ns=params.until_ms * words.NS_PER_MS,
        )

    def _matched_price(self, params: Params, contract: Contract, side: Side) -> Decimal | None:
        word = params.text("priceMatch", "NONE")
        if word == "NONE":
            return None
        match = _PRICE_MATCH.match(word)
        if match is None:
            raise Refused(-5037, "Invalid price match.")
        if "price" in params:
            raise Refused(-1106, "Parameter 'price' sent when not required.")
        depth = int(match[2] or 1)
        book = self._exchange.book(contract.symbol, depth)
        own, other = (book.bids, book.asks) if side is Side.BUY else (book.asks, book.bids)
        levels = other if match[1] == "OPPONENT" else own
        if len(levels) < depth:
            raise Refused(-5039, "No depth matches this BBO order.")
        return levels[depth - 1][0]


def _batch(params: Params) -> list[Params]:
    items = params.each("batchOrders")
    if not 0 < len(items) <= _MAX_BATCH_PLACE:
        raise Refused(-4082, "Invalid number of batch place orders.")
    return items


def _one(_params: Params) -> int:
    return 1


def _batch_size(params: Params) -> int:
    return len(_batch(params))


def _outcome(act: Callable[[Params], dict[str, object]], params: Params) -> dict[str, Any]:
    try:
        return act(params)
    except Refused as refused:
        return refused.body()
