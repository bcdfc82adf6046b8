"""What `/exchange` does: actions become calls of the exchange, refusals the venue's sentences.

Refusals of single orders come inside an answer whose status is ok. A modification takes the old
order away and enters a new one with a new id and the same client id; which of the two is told
first changes from one modification to the next, as it does at the venue.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from perpbot.domain.money import ZERO, plain
from perpbot.domain.sides import OrderType, Side, TimeInForce
from perpbot.simulation.model import (
    Contract,
    ExchangeRefusal,
    ExchangeView,
    OrderStatus,
    OrderView,
    Refusal,
    Ticket,
)
from perpbot.simulation.wire.hyperliquid import requests
from perpbot.simulation.wire.hyperliquid.contracts import MIN_VALUE
from perpbot.simulation.wire.hyperliquid.gate import Gate, Malformed, Refused
from perpbot.simulation.wire.hyperliquid.rows import Row, number
from perpbot.simulation.wire.hyperliquid.streams import Streams

_CLOID = re.compile(r"0x[0-9a-f]{32}")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_TIF = {
    "Gtc": TimeInForce.GTC,
    "Ioc": TimeInForce.IOC,
    "FrontendMarket": TimeInForce.IOC,
    "Alo": TimeInForce.POST_ONLY,
}
_MISSING = "Order was never placed, already canceled, or filled."
_NO_MATCH = "Order could not immediately match against any resting orders."
_WORDS = {
    Refusal.UNKNOWN_SYMBOL: "Asset is not listed.",
    Refusal.BAD_PRICE: "Price must be divisible by tick size.",
    Refusal.BAD_QUANTITY: "Order has invalid size.",
    Refusal.MIN_NOTIONAL: f"Order must have minimum value of ${MIN_VALUE}.",
    Refusal.PRICE_BAND: "Order price cannot be more than 80% away from the reference price",
    Refusal.INSUFFICIENT_MARGIN: "Insufficient margin to place order.",
    Refusal.REDUCE_ONLY: "Reduce only order would increase position.",
    Refusal.POST_ONLY_WOULD_TAKE: "Post only order would have immediately matched",
    Refusal.DUPLICATE_CLIENT_ID: "An open order has this client order id.",
    Refusal.UNKNOWN_ORDER: _MISSING,
    Refusal.POSITION_SIDE: "Hedge mode does not exist.",
    Refusal.POSITION_MODE: "Hedge mode does not exist.",
    Refusal.EXPIRED_REQUEST: "Action expired",
    Refusal.WOULD_TRIGGER: "Invalid TP/SL price.",
    Refusal.FOK_NOT_FILLED: _NO_MATCH,
    Refusal.UNKNOWN_ACCOUNT: "Must deposit before performing actions.",
    Refusal.HALTED: "Trading is halted.",
}
_OK: Row = {"type": "default"}
_NEEDS_NOTHING = frozenset(
    {"noop", "setReferrer", "approveBuilderFee", "agentSetAbstraction", "reserveRequestWeight"}
)
Shape = TypeVar("Shape")


class _ItemError(Exception):
    """Why one order or cancel of a batch was refused."""


class Actions:
    """Performs admitted actions for the master's account."""

    def __init__(
        self,
        exchange: ExchangeView,
        account: str,
        clock_ns: Callable[[], int],
        gate: Gate,
        streams: Streams,
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._clock_ns = clock_ns
        self._gate = gate
        self._streams = streams
        self._contracts = {contract.wire_code: contract for contract in exchange.contracts()}
        self._modified = 0
        self._verbs: dict[str, Callable[[Row, str], Row]] = {
            "order": self._order,
            "cancel": self._cancel,
            "cancelByCloid": self._cancel_by_cloid,
            "modify": self._modify,
            "batchModify": self._batch_modify,
            "updateLeverage": self._update_leverage,
            "updateIsolatedMargin": self._update_isolated_margin,
            "scheduleCancel": self._schedule_cancel,
            "approveAgent": self._approve_agent,
        }

    def perform(self, body: Any) -> Row:
        """Return the answer to a posted envelope; raise `Malformed`."""
        envelope = _shaped(body, requests.Envelope)
        kind = envelope.action.get("type")
        if not isinstance(kind, str) or not 0 <= envelope.nonce < 1 << 63:
            raise Malformed("an action needs its type and a nonce")
        try:
            signer = self._gate.admit(envelope, self._clock_ns() // 1_000_000)
            if kind in _NEEDS_NOTHING:
                return {"status": "ok", "response": _OK}
            verb = self._verbs.get(kind)
            if verb is None:
                raise Refused(f"Unknown action type: {kind}")
            return {"status": "ok", "response": verb(envelope.action, signer)}
        except Refused as refused:
            return {"status": "err", "response": str(refused)}

    # --- orders ----------------------------------------------------------------------------------

    def _order(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.OrderAction)
        if wire.grouping == "normalTpsl":
            raise Refused("Grouping normalTpsl is not served here; send the orders one by one.")
        self._gate.count(len(wire.orders), cancels=False)
        is_position = wire.grouping == "positionTpsl"
        statuses = [
            _item(self._place_waiting if is_position else self._place, order)
            for order in wire.orders
        ]
        return {"type": "order", "data": {"statuses": statuses}}

    def _place_waiting(self, wire: requests.OrderWire) -> Row | str:
        outcome = self._place(wire)
        return "waitingForTrigger" if "resting" in outcome and wire.t.trigger else outcome

    def _place(self, wire: requests.OrderWire) -> Row:
        contract = self._contract(wire.a)
        ticket = _ticket(contract, wire)
        try:
            order = self._exchange.submit(self._account, ticket)
        except ExchangeRefusal as refusal:
            raise _ItemError(self._sentence(refusal, contract)) from refusal
        cloid: Row = {"cloid": wire.c} if wire.c else {}
        if order.is_open:
            return {"resting": {"oid": order.order_id} | cloid}
        if order.filled:
            filled = {"totalSz": plain(order.filled), "avgPx": plain(order.average_price)}
            return {"filled": filled | {"oid": order.order_id} | cloid}
        if order.status is OrderStatus.CANCELLED:
            return {"resting": {"oid": order.order_id} | cloid}
        raise _ItemError(f"{_NO_MATCH} asset={contract.wire_code}")

    def _sentence(self, refusal: ExchangeRefusal, contract: Contract) -> str:
        text = _WORDS[refusal.refusal]
        if refusal.refusal is Refusal.POST_ONLY_WOULD_TAKE:
            book = self._exchange.book(contract.symbol, 1)
            best = [number(side[0][0]) if side else "0.0" for side in (book.bids, book.asks)]
            text = f"{text}, bbo was {best[0]}@{best[1]}."
        return f"{text} asset={contract.wire_code}"

    def _contract(self, asset: int) -> Contract:
        contract = self._contracts.get(asset)
        if contract is None:
            raise _ItemError(f"Asset is not listed. asset={asset}")
        return contract

    # --- cancels ---------------------------------------------------------------------------------

    def _cancel(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.CancelAction)
        self._gate.count(len(wire.cancels), cancels=True)
        return _cancelled(_item(self._cancel_one, one) for one in wire.cancels)

    def _cancel_by_cloid(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.CancelByCloidAction)
        self._gate.count(len(wire.cancels), cancels=True)
        return _cancelled(_item(self._cancel_one_by_cloid, one) for one in wire.cancels)

    def _cancel_one(self, wire: requests.CancelWire) -> str:
        return self._take_away(wire.a, self._exchange.order(self._account, wire.o))

    def _cancel_one_by_cloid(self, wire: requests.CancelByCloidWire) -> str:
        order = self._exchange.order_by_client_id(self._account, wire.cloid)
        return self._take_away(wire.asset, order)

    def _take_away(self, asset: int, order: OrderView | None) -> str:
        contract = self._contract(asset)
        if order is None or order.ticket.symbol != contract.symbol or not order.is_open:
            raise _ItemError(f"{_MISSING} asset={asset}")
        self._exchange.cancel(self._account, contract.symbol, order.order_id)
        return "success"

    # --- modifications ---------------------------------------------------------------------------

    def _modify(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.ModifyWire)
        self._gate.count(1, cancels=False)
        outcome = _item(self._replace, wire)
        if isinstance(outcome, dict) and "error" in outcome:
            raise Refused(outcome["error"])
        return _OK

    def _batch_modify(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.BatchModifyAction)
        self._gate.count(len(wire.modifies), cancels=False)
        statuses = [_item(self._replace, one) for one in wire.modifies]
        return {"type": "order", "data": {"statuses": statuses}}

    def _replace(self, wire: requests.ModifyWire) -> Row:
        contract = self._contract(wire.order.a)
        old = (
            self._exchange.order(self._account, wire.oid)
            if isinstance(wire.oid, int)
            else self._exchange.order_by_client_id(self._account, wire.oid)
        )
        if old is None or not old.is_open or old.ticket.symbol != contract.symbol:
            raise _ItemError("Cannot modify canceled or filled order")
        _ticket(contract, wire.order)
        if wire.order.c is None and old.ticket.client_id:
            wire = msgspec.structs.replace(
                wire, order=msgspec.structs.replace(wire.order, c=old.ticket.client_id)
            )
        self._modified += 1
        with self._streams.held_orders(new_first=self._modified % 2 == 1):
            self._exchange.cancel(self._account, contract.symbol, old.order_id)
            return self._place(wire.order)

    # --- settings --------------------------------------------------------------------------------

    def _update_leverage(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.LeverageAction)
        contract = self._contracts.get(wire.asset)
        if contract is None:
            raise Refused(f"Asset is not listed. asset={wire.asset}")
        if not wire.is_cross:
            raise Refused("Isolated margin is not served here; this exchange margins across.")
        if not 1 <= wire.leverage <= contract.max_leverage:
            raise Refused("Invalid leverage value")
        try:
            self._exchange.set_leverage(self._account, contract.symbol, wire.leverage)
        except ExchangeRefusal as refusal:
            raise Refused(_WORDS[refusal.refusal]) from refusal
        return _OK

    def _update_isolated_margin(self, action: Row, signer: str) -> Row:
        _shaped(action, requests.MarginAction)
        raise Refused("Cannot change the margin of a cross position.")

    def _schedule_cancel(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.ScheduleCancelAction)
        now_ms = self._clock_ns() // 1_000_000
        if wire.time is not None and wire.time < now_ms + 5_000:
            raise Refused("Scheduled cancel time must be at least 5 seconds from now.")
        self._exchange.arm_dead_man(self._account, None, (wire.time or 0) * 1_000_000)
        return _OK

    def _approve_agent(self, action: Row, signer: str) -> Row:
        wire = _shaped(action, requests.ApproveAgentAction)
        agent = wire.agent_address.lower()
        if not _ADDRESS.fullmatch(agent):
            raise Malformed("agentAddress is not an address")
        if signer != self._gate.master:
            raise Refused(f"User or API Wallet {signer} does not exist.")
        self._gate.agents.add(agent)
        return _OK


def _ticket(contract: Contract, wire: requests.OrderWire) -> Ticket:
    """Return what the wire order asks for; raise `_ItemError` or `Malformed`."""
    if (wire.t.limit is None) is (wire.t.trigger is None):
        raise Malformed("an order is either limit or trigger")
    if wire.c is not None and not _CLOID.fullmatch(wire.c):
        raise Malformed("cloid was not 0x and 32 hex digits")
    price, size = _decimal(wire.p), _decimal(wire.s)
    trigger = wire.t.trigger
    closes = trigger is not None and size == ZERO
    if size == ZERO and not closes:
        raise _ItemError(f"Order has zero size. asset={contract.wire_code}")
    side = Side.BUY if wire.b else Side.SELL
    time_in_force = _TIF[wire.t.limit.tif] if wire.t.limit else TimeInForce.GTC
    if trigger is not None and trigger.is_market:
        # A market trigger carries the worst price that it may take.
        time_in_force = TimeInForce.IOC
    return Ticket(
        symbol=contract.symbol,
        side=side,
        order_type=OrderType.LIMIT,
        quantity=size,
        price=price,
        time_in_force=time_in_force,
        client_id=wire.c or "",
        reduce_only=wire.r,
        trigger_price=None if trigger is None else _decimal(trigger.trigger_px),
        trigger_above=trigger is not None and (trigger.tpsl == "sl") is (side is Side.BUY),
        close_position=closes,
        self_trade="cancel_maker",
    )


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Malformed(f"{text!r} is not a number") from None
    if not value.is_finite() or value < 0:
        raise Malformed(f"{text!r} is not a number above zero")
    return value


def _item(act: Callable[[Shape], Row | str], wire: Shape) -> Row | str:
    try:
        return act(wire)
    except _ItemError as error:
        return {"error": str(error)}


def _cancelled(statuses: Iterable[Row | str]) -> Row:
    return {"type": "cancel", "data": {"statuses": list(statuses)}}


def _shaped(value: Any, shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as problem:
        raise Malformed(str(problem)) from problem
