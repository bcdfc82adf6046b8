"""Account events: what the private stream tells of orders, fills, balances and stops."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO
from perpbot.domain.sides import TimeInForce
from perpbot.simulation.model import (
    AccountUpdate,
    Execution,
    OrderStatus,
    OrderUpdate,
    OrderView,
)
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.algo import ALGO_IDS_FROM, AlgoDesk
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table
from perpbot.simulation.wire.binance.errors import Refused
from perpbot.simulation.wire.binance.requests import Params

LISTEN_KEY_LIFE_NS = 3_600 * 1_000_000_000
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_REASONS = {"order": "ORDER", "funding": "FUNDING_FEE", "liquidation": "ORDER", "adl": "ORDER"}
_EXPIRY_REASONS = {"self_trade": "5", "ioc": "4", "market": "4", "fok": "4", "post_only": "4"}


class ListenKeys:
    """The one listen key of the account: made, kept alive, expired."""

    def __init__(
        self, clock_ns: Callable[[], int], rng: random.Random, tell: Callable[[str, Any], None]
    ) -> None:
        self._clock_ns = clock_ns
        self._rng = rng
        self._tell = tell
        self.key = ""
        self._until_ns = 0

    def endpoints(self) -> Table:
        """What is served where: the key header only, no signature."""
        path = "/fapi/v1/listenKey"
        return {
            ("POST", path): Endpoint(handler=self.start, signed=False, keyed=True),
            ("PUT", path): Endpoint(handler=self.keep, signed=False, keyed=True),
            ("DELETE", path): Endpoint(handler=self.close, signed=False, keyed=True),
        }

    def start(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/listenKey`: the running key with a new hour, or a new one."""
        if not self.key:
            self.key = "".join(self._rng.choices(_LETTERS, k=64))
        self._until_ns = self._clock_ns() + LISTEN_KEY_LIFE_NS
        return {"listenKey": self.key}

    def keep(self, params: Params) -> dict[str, object]:
        """`PUT /fapi/v1/listenKey`: another hour."""
        if not self.key:
            raise Refused(-1125, "This listenKey does not exist.")
        return self.start(params)

    def close(self, params: Params) -> dict[str, object]:
        """`DELETE /fapi/v1/listenKey`."""
        self.key = ""
        return {}

    def pump(self) -> None:
        """Expire a key whose hour is over."""
        if self.key and self._clock_ns() >= self._until_ns:
            self.expire()

    def expire(self) -> None:
        """End the key and tell so; its stream stays open and silent."""
        key, self.key = self.key, ""
        now_ms = words.milliseconds(self._clock_ns())
        self._tell(key, {"e": "listenKeyExpired", "E": now_ms, "listenKey": key})


class UserEvents:
    """Turns the exchange's news of one account into events, in the order of the news."""

    def __init__(self, context: Context, algo: AlgoDesk) -> None:
        self._context = context
        self._algo = algo
        self._announced: set[int] = set()

    def of_order(self, update: OrderUpdate) -> list[dict[str, Any]]:
        """Return the events of a change of an order."""
        view = update.order
        events: list[dict[str, Any]] = []
        if view.ticket.trigger_price is not None:
            if view.status is OrderStatus.NEW:
                self._context.triggered.add(view.order_id)
            if view.order_id not in self._context.triggered or view.status in {
                OrderStatus.NEW,
                OrderStatus.FILLED,
                OrderStatus.CANCELLED,
                OrderStatus.EXPIRED,
            }:
                events.append(self._algo_event(view))
            if view.order_id not in self._context.triggered:
                return events
        if view.ticket.time_in_force is TimeInForce.FOK and not view.filled:
            # Refused with -5021 when it cannot fill whole; such an order was never there.
            return events
        if view.order_id not in self._announced:
            self._announced.add(view.order_id)
            events.append(self._order_event(view, None, "NEW"))
            if update.execution is None and view.status is OrderStatus.NEW:
                return events
        if update.execution is not None:
            events.append(self._lite_event(view, update.execution))
        events.append(self._order_event(view, update.execution, _kind_of(update)))
        return events

    def of_account(self, update: AccountUpdate) -> dict[str, Any]:
        """Return the event of changed balances and legs."""
        now_ms = self._context.now_ms()
        cause = update.funding or update.transfer
        change = ZERO if cause is None else cause.amount
        reason = _REASONS.get(update.cause, "WITHDRAW" if change < ZERO else "DEPOSIT")
        # A funding fee of crossed positions tells the balance only.
        legs = () if update.funding is not None else update.positions
        return {
            "e": "ACCOUNT_UPDATE",
            "E": now_ms,
            "T": now_ms,
            "a": {
                "m": reason,
                "B": [
                    {
                        "a": view.currency,
                        "wb": words.number(view.wallet),
                        "cw": words.number(view.wallet),
                        "bc": words.number(change),
                    }
                    for view in update.balances
                ],
                "P": [
                    {
                        "s": leg.symbol,
                        "pa": words.number(leg.quantity),
                        "ep": words.number(leg.entry_price),
                        "bep": words.number(leg.entry_price),
                        "cr": "0",
                        "up": words.number(leg.unrealized_pnl),
                        "mt": "cross",
                        "iw": "0",
                        "ps": words.position_word(leg.position_side),
                        "ma": self._context.contracts[leg.symbol].settle,
                    }
                    for leg in legs
                ],
            },
        }

    def _order_event(
        self, view: OrderView, execution: Execution | None, kind: str
    ) -> dict[str, Any]:
        ticket = view.ticket
        now_ms = self._context.now_ms()
        fresh = kind == "NEW"
        changed_ms = words.milliseconds(view.created_ns if fresh else view.updated_ns)
        filled = ZERO if fresh else view.filled
        order: dict[str, Any] = {
            "s": ticket.symbol,
            "c": ticket.client_id or f"autoclose-{view.order_id}",
            "S": words.side_word(ticket.side),
            "o": ticket.order_type.value.upper(),
            "f": words.lifetime_word(ticket),
            "q": words.number(ticket.quantity),
            "p": words.number(ticket.price),
            "ap": words.number(ZERO if fresh else view.average_price),
            "sp": words.number(ticket.trigger_price),
            "x": kind,
            "X": "NEW" if fresh else words.status_word(view),
            "i": view.order_id,
            "l": words.number(execution.quantity if execution else ZERO),
            "z": words.number(filled),
            "L": words.number(execution.price if execution else ZERO),
            "T": changed_ms,
            "t": execution.trade_id if execution else 0,
            "b": "0",
            "a": "0",
            "m": execution is not None and execution.liquidity == "maker",
            "R": ticket.reduce_only,
            "wt": "MARK_PRICE" if ticket.trigger_price is not None else "CONTRACT_PRICE",
            "ot": words.type_word(ticket),
            "ps": words.position_word(ticket.position_side),
            "cp": ticket.close_position,
            "rp": words.number(execution.realized_pnl if execution else ZERO),
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": words.self_trade_word(ticket),
            "pm": "NONE",
            "gtd": 0,
            "er": "0" if fresh else _EXPIRY_REASONS.get(view.cause, "0"),
        }
        if execution is not None:
            order["N"] = self._context.contracts[ticket.symbol].settle
            order["n"] = words.number(execution.fee)
        return {"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": changed_ms, "o": order}

    def _lite_event(self, view: OrderView, execution: Execution) -> dict[str, Any]:
        return {
            "e": "TRADE_LITE",
            "E": self._context.now_ms(),
            "T": words.milliseconds(execution.ts_ns),
            "s": execution.symbol,
            "q": words.number(view.ticket.quantity),
            "p": words.number(view.ticket.price),
            "m": execution.liquidity == "maker",
            "c": execution.client_id,
            "S": words.side_word(execution.side),
            "L": words.number(execution.price),
            "l": words.number(execution.quantity),
            "t": execution.trade_id,
            "i": execution.order_id,
        }

    def _algo_event(self, view: OrderView) -> dict[str, Any]:
        ticket = view.ticket
        triggered = view.order_id in self._context.triggered
        average: Decimal = view.average_price
        changed_ms = words.milliseconds(view.updated_ns)
        return {
            "e": "ALGO_UPDATE",
            "T": changed_ms,
            "E": self._context.now_ms(),
            "o": {
                "caid": ticket.client_id,
                "aid": view.order_id + ALGO_IDS_FROM,
                "at": "CONDITIONAL",
                "o": words.type_word(ticket),
                "s": ticket.symbol,
                "S": words.side_word(ticket.side),
                "ps": words.position_word(ticket.position_side),
                "f": words.lifetime_word(ticket),
                "q": words.number(ticket.quantity),
                "X": self._algo.state_word(view),
                "ai": str(view.order_id) if triggered else "",
                "ap": words.number(average),
                "aq": words.number(view.filled),
                "act": "0",
                "tp": words.number(ticket.trigger_price),
                "p": words.number(ticket.price),
                "V": words.self_trade_word(ticket),
                "wt": "MARK_PRICE",
                "pm": "NONE",
                "cp": ticket.close_position,
                "pP": False,
                "R": ticket.reduce_only,
                "tt": changed_ms if triggered else 0,
                "gtd": 0,
                "rm": view.cause if view.status is OrderStatus.EXPIRED and not triggered else "",
            },
        }


def _kind_of(update: OrderUpdate) -> str:
    """The execution type of an event."""
    if update.execution is not None:
        return "CALCULATED" if update.execution.cause else "TRADE"
    return {
        OrderStatus.CANCELLED: "CANCELED",
        OrderStatus.EXPIRED: "EXPIRED",
    }.get(update.order.status, "AMENDMENT")
