"""The channels of Hyperliquid's websocket: built only for who listens, encoded once, fanned out.

`l2Book` is always the whole book, at least half a second apart; there are no sequence numbers.
Frames of `orderUpdates` and `user` name no user. Private channels need no login: the address in
the subscription is the key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from perpbot.kernel.clock import MS
from perpbot.simulation.model import (
    AccountUpdate,
    BookChange,
    ExchangeView,
    Mark,
    OrderUpdate,
    PublicTrade,
)
from perpbot.simulation.wire.hyperliquid import rows
from perpbot.simulation.wire.hyperliquid.gate import Malformed
from perpbot.simulation.wire.hyperliquid.info import Info
from perpbot.simulation.wire.hyperliquid.rows import Row
from perpbot.simulation.wire.server import Client, Topics, encode

REPEAT_NS = 2_000 * MS
_INTERVALS_NS = {
    "bbo": 50 * MS,
    "l2Book": 500 * MS,
    "activeAssetCtx": 500 * MS,
    "allMids": 500 * MS,
    "candle": 1_000 * MS,
    "clearinghouseState": 100 * MS,
    "openOrders": 100 * MS,
    "activeAssetData": 500 * MS,
    "webData2": 500 * MS,
    "spotState": 500 * MS,
}
"""Of channels that send their present value after it changed."""
_OF_COIN = frozenset({"bbo", "l2Book", "trades", "activeAssetCtx", "candle", "activeAssetData"})
_LEDGER = "userNonFundingLedgerUpdates"
_OF_USER = frozenset(
    {
        "orderUpdates",
        "userFills",
        "userEvents",
        "userFundings",
        _LEDGER,
        "clearinghouseState",
        "openOrders",
        "activeAssetData",
        "webData2",
        "spotState",
        "notification",
    }
)
_STATE = ("clearinghouseState", "openOrders", "activeAssetData", "webData2")
_CHANNELS = _OF_COIN | _OF_USER | {"allMids"}


class Streams:
    """Turns news into frames for subscribers."""

    def __init__(
        self,
        exchange: ExchangeView,
        info: Info,
        topics: Topics,
        master: str,
        clock_ns: Callable[[], int],
    ) -> None:
        self._exchange = exchange
        self._info = info
        self._topics = topics
        self._master = master
        self._clock_ns = clock_ns
        self._wanted: dict[str, Row] = {}
        self._by_subject: dict[tuple[str, str], set[str]] = {}
        self._dirty: set[str] = set()
        self._next_ns: dict[str, int] = {}
        self._best: dict[str, object] = {}
        self._stalled: set[str] = set()
        self._held: list[OrderUpdate] | None = None
        self._repeat_ns = 0

    # --- subscriptions ---------------------------------------------------------------------------

    def topic(self, wanted: Any) -> str | None:
        """Return the topic of a subscription; None when it names what does not exist."""
        if not isinstance(wanted, dict) or wanted.get("type") not in _CHANNELS:
            return None
        kind = wanted["type"]
        picked = [kind]
        try:
            if kind in _OF_COIN:
                picked.append(self._info.coin(wanted))
        except Malformed:
            return None
        if kind == "l2Book" and (wanted.get("nSigFigs") or wanted.get("mantissa")):
            # Only books in full precision are served.
            return None
        if kind == "candle":
            picked.append(str(wanted.get("interval")))
        if kind in _OF_USER:
            user = wanted.get("user")
            if not isinstance(user, str) or not user.startswith("0x"):
                return None
            picked.append(user.lower())
        return "|".join(picked)

    def subscribe(self, wanted: Row, topic: str, client: Client) -> None:
        """Let a client listen and send it the first value where the channel has one."""
        if topic not in self._topics:
            self._best.pop(topic, None)
        elif topic in self._dirty:
            self._flush(topic, self._clock_ns())
        self._wanted[topic] = wanted
        self._topics.join(topic, client)
        for subject in (wanted.get("coin"), self._user(wanted)):
            if subject:
                self._by_subject.setdefault((wanted["type"], subject), set()).add(topic)
        first = self._first(wanted)
        if first is not None:
            client.send(first)
            if wanted["type"] == "bbo":
                self._best_changed(topic, wanted["coin"])

    def stall(self, kind: str, coin: str = "", *, stalled: bool = True) -> None:
        """Stop or resume a stream without closing anything, as a stuck feed does."""
        (self._stalled.add if stalled else self._stalled.discard)(f"{kind}|{coin}".rstrip("|"))

    # --- news ------------------------------------------------------------------------------------

    def on_book(self, news: BookChange) -> None:
        """Note what a change of the book makes due."""
        for kind in ("bbo", "l2Book"):
            self._touch(kind, news.symbol)
        self._touch_topic("allMids")

    def on_mark(self, news: Mark) -> None:
        """Note what a new mark makes due."""
        self._touch("activeAssetCtx", news.symbol)

    def on_trade(self, news: PublicTrade) -> None:
        """Send a trade."""
        topic = f"trades|{news.symbol}"
        if topic in self._topics and topic not in self._stalled:
            self._topics.send(topic, _frame("trades", [self._info.trade(news)]))
        self._touch("candle", news.symbol)

    def on_order(self, news: OrderUpdate) -> None:
        """Send an order's new state and its fill."""
        fill = news.execution
        if fill is not None:
            row = self._info.remember_fill(fill)
            data = {"user": self._master, "fills": [row]}
            self._tell("userFills", lambda: _frame("userFills", data))
            self._tell("userEvents", lambda: _frame("user", {"fills": [row]}))
        if self._held is not None:
            self._held.append(news)
        else:
            self._tell_order(news)
        self._touch("openOrders", self._master)

    def on_account(self, news: AccountUpdate) -> None:
        """Send a funding payment or a transfer; note what a changed account makes due."""
        paid = news.funding
        if paid is not None:
            row = rows.funding_row(paid)
            self._tell("userEvents", lambda: _frame("user", {"funding": row}))
            data = {"user": self._master, "fundings": [row]}
            self._tell("userFundings", lambda: _frame("userFundings", data))
        moved = news.transfer
        if moved is not None:
            self._tell(_LEDGER, lambda: _ledger(self._master, [rows.ledger_row(moved)]))
        for kind in _STATE:
            self._touch(kind, self._master)

    @contextlib.contextmanager
    def held_orders(self, *, new_first: bool) -> Iterator[None]:
        """Hold back order states while a modification runs; tell the new order first or last."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            # The first news is the old order's end.
            for news in [*held[1:], *held[:1]] if new_first else held:
                self._tell_order(news)

    def pump(self) -> None:
        """Send what is due by the clock."""
        now = self._clock_ns()
        if now >= self._repeat_ns:
            self._repeat_ns = now + REPEAT_NS
            for kind in ("clearinghouseState", "webData2"):
                self._touch(kind, self._master)
        for topic in sorted(self._dirty):
            if now >= self._next_ns.get(topic, 0):
                self._flush(topic, now)

    # --- within ----------------------------------------------------------------------------------

    @staticmethod
    def _user(wanted: Row) -> str:
        return str(wanted.get("user") or "").lower()

    def _tell_order(self, news: OrderUpdate) -> None:
        row = rows.update_row(news.order)
        self._tell("orderUpdates", lambda: _frame("orderUpdates", [row]))

    def _tell(self, kind: str, build: Callable[[], bytes]) -> None:
        topic = f"{kind}|{self._master}"
        if topic in self._topics and topic not in self._stalled:
            self._topics.send(topic, build())

    def _touch(self, kind: str, subject: str) -> None:
        for topic in self._by_subject.get((kind, subject), ()):
            self._touch_topic(topic)

    def _touch_topic(self, topic: str) -> None:
        if topic not in self._topics:
            return
        now = self._clock_ns()
        if now >= self._next_ns.get(topic, 0):
            self._flush(topic, now)
        else:
            self._dirty.add(topic)

    def _flush(self, topic: str, now: int) -> None:
        self._dirty.discard(topic)
        if topic not in self._topics or topic in self._stalled:
            return
        wanted = self._wanted[topic]
        kind = wanted["type"]
        if kind == "bbo" and not self._best_changed(topic, wanted["coin"]):
            return
        self._next_ns[topic] = now + _INTERVALS_NS[kind]
        frame = self._value(wanted)
        if frame is not None:
            self._topics.send(topic, frame)

    def _best_changed(self, topic: str, coin: str) -> bool:
        book = self._exchange.book(coin, 1)
        best = (book.bids, book.asks)
        if self._best.get(topic) == best:
            return False
        self._best[topic] = best
        return True

    def _first(self, wanted: Row) -> bytes | None:
        kind, user = wanted["type"], self._user(wanted)
        if kind == "trades":
            return _frame("trades", self._info.recent_trades(wanted["coin"], 10))
        if kind == "userFills":
            fills = self._info.fills(user)[::-1]
            return _frame(kind, {"isSnapshot": True, "user": user, "fills": fills})
        if kind == "userFundings":
            fundings = self._info.fundings(user)
            return _frame(kind, {"isSnapshot": True, "user": user, "fundings": fundings})
        if kind == _LEDGER:
            return _ledger(user, self._info.ledger_updates(user), is_snapshot=True)
        return self._value(wanted) if kind in _INTERVALS_NS else None

    def _value(self, wanted: Row) -> bytes | None:
        kind, user, coin = wanted["type"], self._user(wanted), str(wanted.get("coin"))
        if kind == "bbo":
            return _frame(kind, rows.bbo_row(self._exchange.book(coin, 1)))
        if kind == "l2Book":
            return _frame(kind, self._info.book(coin))
        if kind == "allMids":
            return _frame(kind, {"mids": self._info.all_mids()})
        if kind == "activeAssetCtx":
            return _frame(kind, {"coin": coin, "ctx": self._info.context(coin)})
        if kind == "candle":
            candles = self._info.candles(wanted)
            return _frame(kind, candles[-1]) if candles else None
        if kind == "activeAssetData":
            return _frame(kind, self._info.active_asset_data(user, coin))
        if kind == "webData2":
            return _frame(kind, self._info.web_data(user))
        data: Row = {"dex": "", "user": user}
        if kind == "openOrders":
            data["orders"] = self._info.open_orders(user)
        elif kind == "spotState":
            data = {"user": user, "spotState": self._info.spot_clearinghouse(user)}
        else:
            data["clearinghouseState"] = self._info.clearinghouse(user)
        return _frame(kind, data)


def _frame(channel: str, data: Any) -> bytes:
    return encode({"channel": channel, "data": data})


def _ledger(user: str, updates: list[Row], *, is_snapshot: bool = False) -> bytes:
    told: Row = {"isSnapshot": True} if is_snapshot else {}
    return _frame(_LEDGER, told | {"user": user, "nonFundingLedgerUpdates": updates})
