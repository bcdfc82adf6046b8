"""Order requests in OKX's words: read, check, act on the exchange, answer one result an item.

REST names instruments by `instId`; websocket orders by `instIdCode` alone (since 2026-03 an
`instId` there is ignored). Every item gets `sCode` and `sMsg`; nothing raises past this room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from perpbot.domain.money import ZERO, on_grid
from perpbot.domain.sides import OrderType, PositionSide, Side, TimeInForce
from perpbot.simulation.model import (
    Contract,
    ExchangeRefusal,
    ExchangeView,
    OrderStatus,
    OrderView,
    Refusal,
    Ticket,
)
from perpbot.simulation.wire.okx.rows import Row, contracts_of, ms

MAX_BATCH = 20
_CLIENT_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_TAG = re.compile(r"[A-Za-z0-9]{0,16}")
_SELF_TRADE = ("cancel_maker", "cancel_taker", "cancel_both")
_KINDS = {
    "market": (OrderType.MARKET, TimeInForce.IOC),
    "optimal_limit_ioc": (OrderType.MARKET, TimeInForce.IOC),
    "limit": (OrderType.LIMIT, TimeInForce.GTC),
    "post_only": (OrderType.LIMIT, TimeInForce.POST_ONLY),
    "ioc": (OrderType.LIMIT, TimeInForce.IOC),
    "fok": (OrderType.LIMIT, TimeInForce.FOK),
}
_REFUSALS = {
    Refusal.UNKNOWN_SYMBOL: "51001",
    Refusal.BAD_PRICE: "51000",
    Refusal.BAD_QUANTITY: "51121",
    Refusal.MIN_NOTIONAL: "51020",
    Refusal.PRICE_BAND: "51006",
    Refusal.INSUFFICIENT_MARGIN: "51008",
    Refusal.REDUCE_ONLY: "51205",
    Refusal.POST_ONLY_WOULD_TAKE: "51511",
    Refusal.DUPLICATE_CLIENT_ID: "51016",
    Refusal.UNKNOWN_ORDER: "51603",
    Refusal.POSITION_SIDE: "51000",
    Refusal.POSITION_MODE: "59000",
    Refusal.EXPIRED_REQUEST: "50036",
    Refusal.WOULD_TRIGGER: "51280",
    Refusal.FOK_NOT_FILLED: "51000",
    Refusal.UNKNOWN_ACCOUNT: "50111",
    Refusal.HALTED: "50001",
}


class Wrong(Exception):
    """A definite refusal with OKX's code and words."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def wrong_of(refusal: ExchangeRefusal) -> Wrong:
    """Return the exchange's refusal in OKX's codes."""
    return Wrong(_REFUSALS[refusal.refusal], refusal.text)


def number_of(row: Mapping[str, Any], field: str) -> Decimal:
    """Return a positive number of `row`; `Wrong` names the field otherwise."""
    try:
        value = Decimal(str(row.get(field, "")))
    except InvalidOperation:
        raise Wrong("51000", f"Parameter {field} error") from None
    if not value.is_finite() or value <= 0:
        raise Wrong("51000", f"Parameter {field} error")
    return value


def flag_of(row: Mapping[str, Any], field: str) -> bool:
    """Return a flag that clients write as a boolean or as a word."""
    return str(row.get(field, "false")).lower() == "true"


class Desk:
    """Takes orders for one account."""

    def __init__(self, exchange: ExchangeView, account: str, clock_ns: Callable[[], int]) -> None:
        self._exchange = exchange
        self._account = account
        self._clock_ns = clock_ns
        self._by_id = {contract.symbol: contract for contract in exchange.contracts()}
        self._by_code = {contract.wire_code: contract for contract in exchange.contracts()}
        self.amending: dict[int, str] = {}
        """Request ids of the amendments under way, for the push that they cause."""

    # --- what may be asked ---------------------------------------------------------------------

    def place(self, row: Row, *, by_code: bool, expires_ns: int = 0) -> Row:
        """Submit one order."""
        answer = {"ordId": "", "clOrdId": str(row.get("clOrdId") or "")}
        answer |= {"tag": str(row.get("tag") or ""), "ts": ms(self._clock_ns())}

        def act() -> None:
            ticket = self._ticket(row, by_code=by_code, expires_ns=expires_ns)
            answer["ordId"] = str(self._exchange.submit(self._account, ticket).order_id)

        return _answered(answer, act, done="Order placed")

    def cancel(self, row: Row, *, by_code: bool, expires_ns: int = 0) -> Row:
        """Cancel one order by `ordId` or `clOrdId`."""
        answer = _named(row) | {"ts": ms(self._clock_ns())}

        def act() -> None:
            order = self._open_order(row, "51400", by_code=by_code)
            answer["ordId"] = str(order.order_id)
            answer["clOrdId"] = order.ticket.client_id
            self._exchange.cancel(self._account, order.ticket.symbol, order.order_id)

        return _answered(answer, act)

    def amend(self, row: Row, *, by_code: bool, expires_ns: int = 0) -> Row:
        """Change size (total, filled included) or price; the outcome comes on `orders` too."""
        answer = _named(row) | {"reqId": str(row.get("reqId") or ""), "ts": ms(self._clock_ns())}

        def act() -> None:
            order = self._open_order(row, "51503", by_code=by_code)
            answer["ordId"] = str(order.order_id)
            answer["clOrdId"] = order.ticket.client_id
            try:
                self._amend(order, row, expires_ns)
            except Wrong:
                if flag_of(row, "cxlOnFail"):
                    self._exchange.cancel(self._account, order.ticket.symbol, order.order_id)
                raise

        return _answered(answer, act)

    def place_algo(self, row: Row) -> Row:
        """Submit an order with a trigger; a refused one has an empty `algoId`."""
        answer = {"algoId": "", "algoClOrdId": str(row.get("algoClOrdId") or "")}
        answer |= {"clOrdId": "", "tag": str(row.get("tag") or "")}

        def act() -> None:
            ticket = self._algo_ticket(row)
            answer["algoId"] = str(self._exchange.submit(self._account, ticket).order_id)

        return _answered(answer, act)

    def cancel_algo(self, row: Row) -> Row:
        """Cancel a waiting order with a trigger by `algoId` or `algoClOrdId`."""
        answer = {"algoId": str(row.get("algoId") or "")}
        answer["algoClOrdId"] = str(row.get("algoClOrdId") or "")

        def act() -> None:
            order = self.find({"ordId": row.get("algoId"), "clOrdId": row.get("algoClOrdId")})
            if order is None or order.status is not OrderStatus.UNTRIGGERED:
                raise Wrong("51400", "Cancellation failed: the order does not exist or has ended.")
            answer["algoId"] = str(order.order_id)
            self._exchange.cancel(self._account, order.ticket.symbol, order.order_id)

        return _answered(answer, act)

    def close_position(self, row: Row) -> Row:
        """Close a leg at market. Raises `Wrong`."""
        contract = self._contract(row, by_code=False)
        side = self._position_side(row)
        for leg in self._exchange.positions(self._account):
            if leg.symbol == contract.symbol and leg.position_side is side:
                break
        else:
            raise Wrong("51023", "Position does not exist.")
        resting = [
            order
            for order in self._exchange.open_orders(self._account, contract.symbol)
            if order.ticket.reduce_only
        ]
        if resting and not flag_of(row, "autoCxl"):
            raise Wrong("51405", "Pending orders exist; cancel them or set autoCxl.")
        for order in resting:
            self._exchange.cancel(self._account, contract.symbol, order.order_id)
        ticket = Ticket(
            symbol=contract.symbol,
            side=Side.SELL if leg.quantity > 0 else Side.BUY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            quantity=abs(leg.quantity),
            client_id=str(row.get("clOrdId") or ""),
            reduce_only=True,
            position_side=side,
        )
        try:
            self._exchange.submit(self._account, ticket)
        except ExchangeRefusal as refusal:
            raise wrong_of(refusal) from refusal
        return {
            "instId": contract.symbol,
            "posSide": side.value,
            "clOrdId": ticket.client_id,
            "tag": str(row.get("tag") or ""),
        }

    def find(self, row: Mapping[str, Any]) -> OrderView | None:
        """Return the order that `ordId` or, failing that, `clOrdId` names."""
        order_id = str(row.get("ordId") or "")
        if order_id:
            if not (order_id.isascii() and order_id.isdigit()):
                return None
            return self._exchange.order(self._account, int(order_id))
        client_id = str(row.get("clOrdId") or "")
        return self._exchange.order_by_client_id(self._account, client_id) if client_id else None

    # --- reading requests ------------------------------------------------------------------------

    def _contract(self, row: Row, *, by_code: bool) -> Contract:
        if by_code:
            code = row.get("instIdCode")
            if code in (None, ""):
                raise Wrong("51000", "Parameter instIdCode can not be empty")
            contract = self._by_code.get(code) if isinstance(code, int) else None
        else:
            if not row.get("instId"):
                raise Wrong("51000", "Parameter instId can not be empty")
            contract = self._by_id.get(str(row["instId"]))
        if contract is None:
            raise Wrong("51001", "Instrument ID or spread ID doesn't exist.")
        return contract

    def _position_side(self, row: Row) -> PositionSide:
        text = str(row.get("posSide") or "")
        if self._exchange.hedge_mode(self._account):
            if text in ("long", "short"):
                return PositionSide(text)
        elif text in ("", "net"):
            return PositionSide.NET
        raise Wrong("51000", "Parameter posSide error")

    def _ticket(self, row: Row, *, by_code: bool, expires_ns: int) -> Ticket:
        contract = self._contract(row, by_code=by_code)
        _check_words(row)
        kind = _KINDS.get(str(row.get("ordType")))
        if kind is None:
            raise Wrong("51000", "Parameter ordType error")
        order_type, time_in_force = kind
        side = self._position_side(row)
        quantity = self._quantity(contract, row)
        price = None
        if order_type is OrderType.LIMIT:
            price = self._price(contract, row, "px")
        self_trade = str(row.get("stpMode") or "cancel_maker")
        if self_trade not in _SELF_TRADE:
            raise Wrong("51000", "Parameter stpMode error")
        return Ticket(
            symbol=contract.symbol,
            side=Side(row["side"]),
            order_type=order_type,
            quantity=quantity,
            price=price,
            time_in_force=time_in_force,
            client_id=str(row.get("clOrdId") or ""),
            reduce_only=side is PositionSide.NET and flag_of(row, "reduceOnly"),
            position_side=side,
            expires_ns=expires_ns,
            self_trade=self_trade,
        )

    def _algo_ticket(self, row: Row) -> Ticket:
        contract = self._contract(row, by_code=False)
        _check_words(row, client_id="algoClOrdId")
        trigger, price_field = _trigger_fields(row)
        closes = str(row.get("closeFraction") or "") == "1"
        side = self._position_side(row)
        if closes and side is PositionSide.NET and not flag_of(row, "reduceOnly"):
            raise Wrong("51000", "Parameter reduceOnly error: closeFraction needs it")
        market = str(row.get(price_field) or "-1") == "-1"
        trigger_price = self._price(contract, row, trigger)
        return Ticket(
            symbol=contract.symbol,
            side=Side(row["side"]),
            order_type=OrderType.MARKET if market else OrderType.LIMIT,
            time_in_force=TimeInForce.IOC if market else TimeInForce.GTC,
            quantity=ZERO if closes else self._quantity(contract, row),
            price=None if market else self._price(contract, row, price_field),
            client_id=str(row.get("algoClOrdId") or ""),
            reduce_only=side is PositionSide.NET and flag_of(row, "reduceOnly"),
            position_side=side,
            trigger_price=trigger_price,
            trigger_above=self._fires_above(contract, row, trigger, trigger_price),
            close_position=closes,
        )

    def _fires_above(self, contract: Contract, row: Row, trigger: str, price: Decimal) -> bool:
        is_buy: bool = row["side"] == "buy"
        if trigger == "slTriggerPx":
            return is_buy
        if trigger == "tpTriggerPx":
            return not is_buy
        return price > self._exchange.mark(contract.symbol).mark_price

    def _quantity(self, contract: Contract, row: Row, field: str = "sz") -> Decimal:
        quantity = number_of(row, field) * contract.contract_size
        if quantity < contract.min_quantity:
            least = contracts_of(contract, contract.min_quantity)
            raise Wrong(
                "51020", f"Your order should meet or exceed the minimum amount of {least}."
            )
        if not on_grid(quantity, contract.quantity_step):
            raise Wrong("51121", "Order quantity must be a multiple of the lot size.")
        return quantity

    @staticmethod
    def _price(contract: Contract, row: Row, field: str) -> Decimal:
        price = number_of(row, field)
        if not on_grid(price, contract.tick_size):
            raise Wrong("51000", f"Parameter {field} error: not a multiple of the tick size")
        return price

    def _open_order(self, row: Row, code: str, *, by_code: bool) -> OrderView:
        contract = self._contract(row, by_code=by_code)
        if not row.get("ordId") and not row.get("clOrdId"):
            raise Wrong("51000", "Either parameter ordId or clOrdId is required")
        order = self.find(row)
        known = order is not None and order.is_open and order.ticket.symbol == contract.symbol
        if order is None or not known or order.status is OrderStatus.UNTRIGGERED:
            raise Wrong(code, "The order has been filled, canceled or does not exist.")
        return order

    def _amend(self, order: OrderView, row: Row, expires_ns: int) -> None:
        if expires_ns and self._clock_ns() > expires_ns:
            raise Wrong("50036", "The expTime can't be earlier than the current system time.")
        contract = self._by_id[order.ticket.symbol]
        price = self._price(contract, row, "newPx") if row.get("newPx") else None
        quantity = self._quantity(contract, row, "newSz") if row.get("newSz") else None
        if price is None and quantity is None:
            raise Wrong("51000", "Either parameter newSz or newPx is required")
        self.amending[order.order_id] = str(row.get("reqId") or "")
        try:
            self._exchange.amend(self._account, order.order_id, price=price, quantity=quantity)
        except ExchangeRefusal as refusal:
            if refusal.refusal is Refusal.UNKNOWN_ORDER:
                raise Wrong("51503", refusal.text) from refusal
            raise wrong_of(refusal) from refusal
        finally:
            del self.amending[order.order_id]


def _check_words(row: Row, client_id: str = "clOrdId") -> None:
    # Isolated margin would need an exchange that keeps margin a leg; ours margins across.
    if row.get("tdMode") != "cross":
        raise Wrong("51000", "Parameter tdMode error: this exchange margins across")
    if row.get("side") not in ("buy", "sell"):
        raise Wrong("51000", "Parameter side error")
    name = row.get(client_id)
    if name and not _CLIENT_ID.fullmatch(str(name)):
        raise Wrong("51000", f"Parameter {client_id} error")
    if not _TAG.fullmatch(str(row.get("tag") or "")):
        raise Wrong("51000", "Parameter tag error")


def _trigger_fields(row: Row) -> tuple[str, str]:
    """Return the names of the trigger price and of the price of the order that it places."""
    kind = str(row.get("ordType"))
    if kind == "trigger":
        price = "orderPx" if row.get("orderPx") else "ordPx"
        return "triggerPx", price
    if kind == "conditional":
        if row.get("slTriggerPx"):
            return "slTriggerPx", "slOrdPx"
        return "tpTriggerPx", "tpOrdPx"
    raise Wrong("51000", "Parameter ordType error: trigger and conditional orders are served")


def _named(row: Row) -> Row:
    return {"ordId": str(row.get("ordId") or ""), "clOrdId": str(row.get("clOrdId") or "")}


def _answered(answer: Row, act: Callable[[], None], done: str = "") -> Row:
    try:
        act()
    except Wrong as wrong:
        return answer | {"sCode": wrong.code, "sMsg": wrong.text, "subCode": ""}
    except ExchangeRefusal as refusal:
        code = _REFUSALS[refusal.refusal]
        return answer | {"sCode": code, "sMsg": refusal.text, "subCode": ""}
    return answer | {"sCode": "0", "sMsg": done, "subCode": ""}


def envelope_code(results: list[Row]) -> tuple[str, str]:
    """Return the code and text around per-item results: all well, all failed, partly."""
    failed = sum(1 for result in results if result["sCode"] != "0")
    if not failed:
        return "0", ""
    if failed == len(results):
        return "1", "All operations failed"
    return "2", "Bulk operation partially succeeded"
