"""The private channels of OKX: orders, positions, account and balances of one account.

`orders` has no snapshot on subscription; the others have one, and positions and account are also
pushed each five seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perpbot.simulation.model import (
    AccountUpdate,
    BalanceView,
    ExchangeView,
    OrderStatus,
    OrderUpdate,
    PositionView,
)
from perpbot.simulation.wire.okx import rows
from perpbot.simulation.wire.okx.desk import Desk
from perpbot.simulation.wire.okx.ledger import UID, Ledger
from perpbot.simulation.wire.okx.market import Market
from perpbot.simulation.wire.okx.rows import Row
from perpbot.simulation.wire.server import Client, Topics, encode, text_of

REPEAT_NS = 5_000_000_000
_CHANNELS = {
    "private": ("orders", "positions", "account", "balance_and_position"),
    "business": ("orders-algo",),
}
_CAUSES = {"order": "filled", "funding": "funding_fee", "transfer": "transferred"}


class PrivateStreams:
    """Turns account news into frames for subscribers."""

    def __init__(
        self,
        exchange: ExchangeView,
        account: str,
        market: Market,
        ledger: Ledger,
        desk: Desk,
        topics: Topics,
        clock_ns: Callable[[], int],
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._market = market
        self._ledger = ledger
        self._desk = desk
        self._topics = topics
        self._clock_ns = clock_ns
        self._args: dict[str, Row] = {}
        self._repeat_ns = 0

    @staticmethod
    def serves(kind: str, channel: str) -> bool:
        """Whether a channel belongs to the account and to this path."""
        return channel in _CHANNELS.get(kind, ())

    def topic(self, arg: Row) -> str | None:
        """Return the topic of a subscription; None when it names what does not exist."""
        channel = arg["channel"]
        if channel in ("orders", "positions", "orders-algo"):
            if arg.get("instType") not in ("SWAP", "ANY"):
                return None
            name = arg.get("instId")
            if name and name not in self._market.contracts:
                return None
        picked = [str(arg.get(name) or "") for name in ("instType", "instFamily", "instId", "ccy")]
        return "|".join([channel, *picked])

    def subscribe(self, arg: Row, client: Client) -> None:
        """Let a client listen and send the first value where the channel has one."""
        topic = self.topic(arg)
        if topic is None:
            return
        self._args[topic] = {k: v for k, v in arg.items() if k != "extraParams"} | {"uid": UID}
        self._topics.join(topic, client)
        channel = arg["channel"]
        if channel == "positions":
            client.send(self._frame(topic, self._position_rows(topic, None)))
        elif channel == "account":
            client.send(self._frame(topic, self._ledger.balance(_currency(arg))))
        elif channel == "balance_and_position":
            balances = self._exchange.balances(self._account)
            legs = self._exchange.positions(self._account)
            client.send(self._frame(topic, [self._both("snapshot", balances, legs)]))

    def on_order(self, news: OrderUpdate) -> None:
        """Push an order to `orders`, and one with a trigger to `orders-algo`."""
        order = news.order
        contract = self._market.contracts[order.ticket.symbol]
        lever = self._exchange.leverage(self._account, contract.symbol)
        has_trigger = order.ticket.trigger_price is not None
        if has_trigger:
            self._push("orders-algo", contract.symbol, [rows.algo_row(contract, order, lever)])
        never_fired = has_trigger and not order.filled and order.status is not OrderStatus.NEW
        if order.status is OrderStatus.UNTRIGGERED or never_fired:
            return
        amended = order.order_id in self._desk.amending
        row = rows.order_row(
            contract,
            order,
            lever,
            news.execution,
            req_id=self._desk.amending.get(order.order_id, ""),
            amended=amended,
        )
        self._push("orders", contract.symbol, [row])

    def on_account(self, news: AccountUpdate) -> None:
        """Push balances and legs."""
        for topic in self._of("positions"):
            data = self._position_rows(topic, news.positions)
            if data:
                self._topics.send(topic, self._frame(topic, data))
        for topic in self._of("account"):
            arg = self._args[topic]
            self._topics.send(topic, self._frame(topic, self._ledger.balance(_currency(arg))))
        for topic in self._of("balance_and_position"):
            row = self._both(_CAUSES.get(news.cause, news.cause), news.balances, news.positions)
            self._topics.send(topic, self._frame(topic, [row]))

    def pump(self) -> None:
        """Repeat positions and account when it is time."""
        now = self._clock_ns()
        if now < self._repeat_ns:
            return
        self._repeat_ns = now + REPEAT_NS
        for topic in self._of("positions"):
            self._topics.send(topic, self._frame(topic, self._position_rows(topic, None)))
        for topic in self._of("account"):
            arg = self._args[topic]
            self._topics.send(topic, self._frame(topic, self._ledger.balance(_currency(arg))))

    # --- within ----------------------------------------------------------------------------------

    def _of(self, channel: str) -> list[str]:
        return [topic for topic in self._topics.topics() if topic.startswith(f"{channel}|")]

    def _push(self, channel: str, symbol: str, data: list[Row]) -> None:
        for topic in self._of(channel):
            if self._args[topic].get("instId", symbol) == symbol:
                self._topics.send(topic, self._frame(topic, data))

    def _position_rows(self, topic: str, legs: Sequence[PositionView] | None) -> list[Row]:
        wanted = self._args[topic].get("instId")
        now = self._clock_ns()
        if legs is None:
            legs = self._exchange.positions(self._account)
        return [
            rows.position_row(self._market.contracts[leg.symbol], leg, now)
            for leg in legs
            if wanted in (None, "", leg.symbol)
        ]

    def _both(
        self, cause: str, balances: Sequence[BalanceView], legs: Sequence[PositionView]
    ) -> Row:
        now = self._clock_ns()
        stamp = rows.ms(now)
        return {
            "pTime": stamp,
            "eventType": cause,
            "balData": [
                {"ccy": b.currency, "cashBal": text_of(b.wallet), "uTime": stamp} for b in balances
            ],
            "posData": [
                rows.position_row(self._market.contracts[leg.symbol], leg, now) for leg in legs
            ],
            "trades": [],
        }

    def _frame(self, topic: str, data: Sequence[Any]) -> bytes:
        return encode({"arg": self._args[topic], "data": data})


def _currency(arg: Row) -> dict[str, str]:
    return {"ccy": str(arg.get("ccy") or "")}
