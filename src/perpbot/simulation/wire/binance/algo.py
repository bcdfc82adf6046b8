"""Conditional orders: the algo endpoints, where stops live since 2025-12-09.

An algo order has an id of its own. When the mark meets its trigger it becomes a normal order,
which is listed and cancelled like any other; the algo order then tells that order's id.
"""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.model import OrderStatus, OrderView, Ticket
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table, since
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.fields import (
    client_id_of,
    price_of,
    quantity_of,
    reduce_only_of,
)
from perpbot.simulation.wire.binance.requests import Params
from perpbot.simulation.wire.binance.trading import TradingDesk

ALGO_IDS_FROM = 1_000_000_000
"""Algo ids are order ids above this."""


class AlgoDesk:
    """Algo endpoints of one account."""

    def __init__(self, context: Context, trading: TradingDesk) -> None:
        self._context = context
        self._exchange = context.exchange
        self._account = context.account
        self._trading = trading

    def endpoints(self) -> Table:
        """What is served where."""
        path = "/fapi/v1/algoOrder"
        return {
            ("POST", path): Endpoint(handler=self.place, counts_orders=lambda _: 1, writes=True),
            ("DELETE", path): Endpoint(handler=self.cancel, writes=True),
            ("GET", path): Endpoint(handler=self.status),
            ("DELETE", "/fapi/v1/algoOpenOrders"): Endpoint(handler=self.cancel_all, writes=True),
            ("GET", "/fapi/v1/openAlgoOrders"): Endpoint(
                handler=self.open_orders, weight=lambda params: 1 if "symbol" in params else 40
            ),
            ("GET", "/fapi/v1/allAlgoOrders"): Endpoint(handler=self.all_orders, weight=5),
        }

    def place(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/algoOrder`."""
        if params.text("algoType") != "CONDITIONAL":
            raise Refused(-4500, "Invalid algoType.")
        return self.row(self._trading.submit(self._ticket(params)))

    def cancel(self, params: Params) -> dict[str, object]:
        """`DELETE /fapi/v1/algoOrder` by `algoId` or `clientAlgoId`."""
        found = self._find(params)
        if found is None or found.status is not OrderStatus.UNTRIGGERED:
            raise Refused(-2011, "Unknown order sent.")
        self._exchange.cancel(self._account, found.ticket.symbol, found.order_id)
        return {
            "algoId": found.order_id + ALGO_IDS_FROM,
            "clientAlgoId": found.ticket.client_id,
            "code": "200",
            "msg": "success",
        }

    def status(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/algoOrder`."""
        found = self._find(params)
        if found is None:
            raise Refused(-2013, "Order does not exist.")
        return self.row(found)

    def cancel_all(self, params: Params) -> dict[str, object]:
        """`DELETE /fapi/v1/algoOpenOrders` of a symbol."""
        symbol = self._context.contract(params).symbol
        for view in self._waiting(symbol):
            self._exchange.cancel(self._account, symbol, view.order_id)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def open_orders(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/openAlgoOrders`, of a symbol or of all."""
        return [self.row(view) for view in self._waiting(self._context.symbol_if_any(params))]

    def all_orders(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/allAlgoOrders` of a symbol, oldest first."""
        symbol = self._context.contract(params).symbol
        start_ms, end_ms, limit = since(params, default_limit=500, max_limit=1000)
        found = [
            self.row(view)
            for view in self._exchange.order_history(self._account)
            if view.ticket.trigger_price is not None
            and view.ticket.symbol == symbol
            and start_ms <= words.milliseconds(view.created_ns) <= end_ms
        ]
        return found[-limit:]

    def state_word(self, view: OrderView) -> str:
        """The state of an algo order: what became of its trigger, not of the order it made."""
        if view.order_id in self._context.triggered:
            return "TRIGGERED" if view.is_open else "FINISHED"
        return {
            OrderStatus.UNTRIGGERED: "NEW",
            OrderStatus.CANCELLED: "CANCELED",
        }.get(view.status, "REJECTED")

    def row(self, view: OrderView) -> dict[str, object]:
        """Return an algo order as REST and the websocket API tell it."""
        ticket = view.ticket
        has_order = view.order_id in self._context.triggered
        return {
            "algoId": view.order_id + ALGO_IDS_FROM,
            "clientAlgoId": ticket.client_id,
            "algoType": "CONDITIONAL",
            "orderType": words.type_word(ticket),
            "symbol": ticket.symbol,
            "side": words.side_word(ticket.side),
            "positionSide": words.position_word(ticket.position_side),
            "timeInForce": words.lifetime_word(ticket),
            "quantity": words.number(ticket.quantity),
            "algoStatus": self.state_word(view),
            "actualOrderId": str(view.order_id) if has_order else "",
            "actualPrice": words.number(view.average_price),
            "triggerPrice": words.number(ticket.trigger_price),
            "price": words.number(ticket.price),
            "icebergQuantity": None,
            "selfTradePreventionMode": words.self_trade_word(ticket),
            "workingType": "MARK_PRICE",
            "priceMatch": "NONE",
            "closePosition": ticket.close_position,
            "priceProtect": False,
            "reduceOnly": ticket.reduce_only,
            "createTime": words.milliseconds(view.created_ns),
            "updateTime": words.milliseconds(view.updated_ns),
            "triggerTime": words.milliseconds(view.updated_ns) if has_order else 0,
            "goodTillDate": 0,
        }

    def _waiting(self, symbol: str | None) -> list[OrderView]:
        return [
            view
            for view in self._exchange.open_orders(self._account, symbol)
            if view.status is OrderStatus.UNTRIGGERED
        ]

    def _find(self, params: Params) -> OrderView | None:
        if "algoId" in params:
            number = params.integer("algoId") - ALGO_IDS_FROM
            found = self._exchange.order(self._account, number)
        elif "clientAlgoId" in params:
            found = self._exchange.order_by_client_id(self._account, params.text("clientAlgoId"))
        else:
            raise Refused(
                -1102,
                "Mandatory parameter 'algoId' or 'clientAlgoId' was not sent, was empty/null, "
                "or malformed.",
            )
        return found if found is not None and found.ticket.trigger_price is not None else None

    def _ticket(self, params: Params) -> Ticket:
        contract = self._context.contract(params)
        side = words.side_of(params)
        kind = params.text("type")
        order_type = words.CONDITIONAL.get(kind)
        if order_type is None:
            raise Refused(-1116, "Invalid orderType.")
        hedge_mode = self._exchange.hedge_mode(self._account)
        position_side = words.position_side_of(params, hedge_mode=hedge_mode)
        closes = params.flag("closePosition")
        if closes:
            _check_close(params, side, position_side, order_type)
        price: Decimal | None = None
        lifetime = TimeInForce.IOC
        if order_type is OrderType.LIMIT:
            price = price_of(params, contract)
            lifetime = words.lifetime_of(params, "GTC")
        if "triggerPrice" not in params:
            raise Refused(-1102, "Mandatory parameter 'triggerPrice' was not sent.")
        if params.text("workingType", "CONTRACT_PRICE") not in {"MARK_PRICE", "CONTRACT_PRICE"}:
            raise Refused(-1130, "Data sent for parameter 'workingType' is not valid.")
        return Ticket(
            symbol=contract.symbol,
            side=side,
            order_type=order_type,
            quantity=ZERO if closes else quantity_of(params, contract),
            price=price,
            time_in_force=lifetime,
            client_id=client_id_of(params, "clientAlgoId") or self._context.client_id(),
            reduce_only=reduce_only_of(params, position_side),
            position_side=position_side,
            trigger_price=price_of(params, contract, "triggerPrice"),
            trigger_above=kind.startswith("STOP") is (side is Side.BUY),
            close_position=closes,
            self_trade=words.self_trade_of(params),
        )


def _check_close(
    params: Params, side: Side, position_side: PositionSide, order_type: OrderType
) -> None:
    if order_type is not OrderType.MARKET:
        raise Refused(-4136, "Target strategy invalid for orderType,closePosition.")
    if "quantity" in params:
        raise Refused(-4137, "Quantity must be zero with closePosition equals true.")
    if "reduceOnly" in params:
        raise Refused(-1106, "Parameter 'reduceonly' sent when not required.")
    wrong = {PositionSide.LONG: Side.BUY, PositionSide.SHORT: Side.SELL}.get(position_side)
    if side is wrong:
        raise Refused(-4061, "Order's position side does not match user's setting.")
