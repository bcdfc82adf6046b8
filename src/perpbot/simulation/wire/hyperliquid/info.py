"""What `/info` answers: public market data, and the state of any address that is asked for.

Nothing is secret here: the address is the key. Addresses without an account (an agent's, for one)
get empty answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO
from perpbot.simulation.listing import Listing
from perpbot.simulation.model import (
    Contract,
    ExchangeView,
    Execution,
    Mark,
    OrderView,
    PositionView,
    PublicTrade,
)
from perpbot.simulation.wire.hyperliquid import rows
from perpbot.simulation.wire.hyperliquid.contracts import UNIVERSE
from perpbot.simulation.wire.hyperliquid.gate import Gate, Malformed
from perpbot.simulation.wire.hyperliquid.rows import Row

NOBODY = "0x" + "0" * 40
BOOK_LEVELS = 20
_PAGE = 2_000
_INTERVALS_S = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1_800,
    "1h": 3_600,
    "2h": 7_200,
    "4h": 14_400,
    "8h": 28_800,
    "12h": 43_200,
    "1d": 86_400,
}


class Info:
    """Answers queries, and remembers what queries ask for and the exchange does not keep."""

    def __init__(
        self, exchange: ExchangeView, account: str, clock_ns: Callable[[], int], gate: Gate
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._clock_ns = clock_ns
        self._gate = gate
        self._by_coin = Listing(exchange)
        self._positions: dict[str, Decimal] = {}
        self._fills: list[Row] = []
        self._settled: dict[str, list[Mark]] = {}
        self._last_mark: dict[str, Mark] = {}
        self._answers: dict[str, Callable[[Row], Any]] = {
            "meta": lambda _: rows.meta(self._by_coin),
            "allPerpMetas": lambda _: [rows.meta(self._by_coin)],
            "metaAndAssetCtxs": lambda _: [rows.meta(self._by_coin), self._contexts()],
            "spotMeta": lambda _: rows.spot_meta(),
            "spotMetaAndAssetCtxs": lambda _: [rows.spot_meta(), []],
            "perpDexs": lambda _: [None],
            "allMids": lambda _: self.all_mids(),
            "l2Book": lambda body: self.book(self.coin(body)),
            "recentTrades": self._recent_trades,
            "fundingHistory": self._funding_history,
            "predictedFundings": lambda _: self._predicted_fundings(),
            "candleSnapshot": lambda body: self.candles(_inner(body)),
            "exchangeStatus": lambda _: {"specialStatuses": None, "time": self._now_ms()},
            "clearinghouseState": lambda body: self.clearinghouse(_user(body)),
            "spotClearinghouseState": lambda body: self.spot_clearinghouse(_user(body)),
            "openOrders": lambda body: self.open_orders(_user(body)),
            "frontendOpenOrders": self._frontend_open_orders,
            "orderStatus": self._order_status,
            "historicalOrders": self._historical_orders,
            "userFills": lambda body: self.fills(_user(body))[::-1][:_PAGE],
            "userFillsByTime": self._fills_by_time,
            "userFunding": self._user_funding,
            "userFees": lambda _: rows.fees_row(exchange.profile),
            "userRateLimit": self._rate_limit,
            "userAbstraction": lambda _: "disabled",
            "userDexAbstraction": lambda _: False,
            "userRole": self._user_role,
            "extraAgents": self._extra_agents,
            "maxBuilderFee": lambda _: 0,
            "subAccounts": lambda _: None,
            "userNonFundingLedgerUpdates": lambda body: _within(
                self.ledger_updates(_user(body)), body
            ),
        }

    def answer(self, body: Any) -> Any:
        """Return the answer to a query; raise `Malformed` for one that does not exist."""
        if not isinstance(body, dict) or body.get("type") not in self._answers:
            raise Malformed("the query has no known type")
        if body.get("dex"):
            raise Malformed(f"there is no perp dex {body['dex']!r}")
        return self._answers[body["type"]](body)

    # --- what is remembered ----------------------------------------------------------------------

    def remember_fill(self, fill: Execution) -> Row:
        """Keep a fill of the account with the position before it; returns its row."""
        start = self._positions.get(fill.symbol, ZERO)
        row = rows.fill_row(fill, start, self._gate.master)
        self._positions[fill.symbol] = start + fill.quantity * fill.side.sign
        self._fills.append(row)
        return row

    def remember_mark(self, mark: Mark) -> None:
        """Notice settlements: the funding time moved on, so the last rate was the one paid."""
        last = self._last_mark.get(mark.symbol)
        if last is not None and mark.next_funding_ns > last.next_funding_ns > 0:
            self._settled.setdefault(mark.symbol, []).append(last)
        self._last_mark[mark.symbol] = mark

    # --- the market ------------------------------------------------------------------------------

    def coin(self, body: Mapping[str, Any]) -> str:
        """Return the coin of a query; raise `Malformed` for one that is not listed."""
        coin = body.get("coin")
        if coin not in self._by_coin:
            raise Malformed(f"coin {coin!r} is not listed")
        return str(coin)

    def book(self, coin: str) -> Row:
        """Return the whole book."""
        return rows.book_row(self._exchange.book(coin, BOOK_LEVELS))

    def all_mids(self) -> dict[str, str]:
        """Return the middles of all coins that have one."""
        mids = {coin: rows.mid_of(self._exchange.book(coin, 1)) for coin in self._by_coin}
        return {coin: rows.number(mid) for coin, mid in mids.items() if mid is not None}

    def context(self, coin: str) -> Row:
        """Return mark, oracle and funding of a coin."""
        trades = self._exchange.recent_trades(coin, 1_000)
        return rows.context_row(self._exchange.mark(coin), self._exchange.book(coin, 1), trades)

    def _contexts(self) -> list[Row]:
        return [
            rows.delisted_context() if slot.is_delisted else self.context(slot.name)
            for slot in UNIVERSE
        ]

    def trade(self, trade: PublicTrade) -> Row:
        """Return the row of a trade."""
        return rows.trade_row(trade, NOBODY, {self._account: self._gate.master})

    def recent_trades(self, coin: str, limit: int) -> list[Row]:
        """Return trades, newest first."""
        return [self.trade(trade) for trade in self._exchange.recent_trades(coin, limit)][::-1]

    def _recent_trades(self, body: Row) -> list[Row]:
        return self.recent_trades(self.coin(body), 10)

    def _funding_history(self, body: Row) -> list[Row]:
        coin = self.coin(body)
        found = [
            {
                "coin": coin,
                "fundingRate": rows.number(mark.funding_rate),
                "premium": rows.number(
                    round(mark.mark_price / mark.index_price - 1, 10) if mark.index_price else ZERO
                ),
                "time": rows.ms(mark.next_funding_ns),
            }
            for mark in self._settled.get(coin, [])
        ]
        return _within(found, body)

    def _predicted_fundings(self) -> list[Any]:
        marks = [self._exchange.mark(coin) for coin in self._by_coin]
        return [
            [
                mark.symbol,
                [
                    [
                        "HlPerp",
                        {
                            "fundingRate": rows.number(mark.funding_rate),
                            "nextFundingTime": rows.ms(mark.next_funding_ns),
                            "fundingIntervalHours": 1,
                        },
                    ]
                ],
            ]
            for mark in marks
        ]

    def candles(self, body: Row) -> list[Row]:
        """Return candles, oldest first, of the trades that the exchange remembers."""
        coin, interval = self.coin(body), body.get("interval")
        if interval not in _INTERVALS_S:
            raise Malformed(f"interval {interval!r} does not exist")
        length_ns = _INTERVALS_S[interval] * 1_000_000_000
        buckets: dict[int, list[PublicTrade]] = {}
        for trade in self._exchange.recent_trades(coin, 1_000):
            buckets.setdefault(trade.ts_ns // length_ns * length_ns, []).append(trade)
        found = [
            _candle(coin, interval, start, length_ns, trades)
            for start, trades in sorted(buckets.items())
        ]
        return _within(found, body, clock="t")

    # --- accounts --------------------------------------------------------------------------------

    def knows(self, user: str) -> bool:
        """Whether an address has an account here."""
        return user == self._gate.master

    def clearinghouse(self, user: str) -> Row:
        """Return the perpetual account of an address."""
        now = self._clock_ns()
        if not self.knows(user):
            return rows.clearinghouse_row(None, [], now)
        settle = self._exchange.profile.settle
        balances = self._exchange.balances(self._account)
        balance = next((b for b in balances if b.currency == settle), None)
        legs = self._exchange.positions(self._account)
        return rows.clearinghouse_row(balance, [self._leg(leg) for leg in legs], now)

    def _leg(self, leg: PositionView) -> tuple[Contract, PositionView, Decimal]:
        payments = self._exchange.funding_payments(self._account)
        paid = -sum((p.amount for p in payments if p.symbol == leg.symbol), ZERO)
        return self._by_coin[leg.symbol], leg, paid

    def spot_clearinghouse(self, user: str) -> Row:
        """Return the spot account: there is no spot here."""
        return {"balances": []}

    def _orders(self, user: str, orders: Sequence[OrderView]) -> Sequence[OrderView]:
        return orders if self.knows(user) else []

    def open_orders(self, user: str) -> list[Row]:
        """Return what rests or waits, oldest first."""
        orders = self._exchange.open_orders(self._account)
        return [rows.order_row(order) for order in self._orders(user, orders)]

    def _frontend_open_orders(self, body: Row) -> list[Row]:
        orders = self._exchange.open_orders(self._account)
        return [rows.frontend_row(order) for order in self._orders(_user(body), orders)]

    def _historical_orders(self, body: Row) -> list[Row]:
        orders = self._exchange.order_history(self._account)
        found = [rows.history_row(order) for order in self._orders(_user(body), orders)]
        return found[::-1][:_PAGE]

    def _order_status(self, body: Row) -> Row:
        name = body.get("oid")
        order: OrderView | None = None
        if not self.knows(_user(body)):
            pass
        elif isinstance(name, int):
            order = self._exchange.order(self._account, name)
        elif isinstance(name, str):
            order = self._exchange.order_by_client_id(self._account, name)
        else:
            raise Malformed("oid was neither a number nor a cloid")
        if order is None:
            return {"status": "unknownOid"}
        return {"status": "order", "order": rows.history_row(order)}

    def fills(self, user: str) -> list[Row]:
        """Return fills, oldest first."""
        return list(self._fills) if self.knows(user) else []

    def _fills_by_time(self, body: Row) -> list[Row]:
        return _within(self.fills(_user(body)), body)[:_PAGE]

    def fundings(self, user: str) -> list[Row]:
        """Return funding payments as streams show them, oldest first."""
        if not self.knows(user):
            return []
        payments = self._exchange.funding_payments(self._account)
        return [rows.funding_row(payment) for payment in payments]

    def _user_funding(self, body: Row) -> list[Row]:
        found = [
            {
                "time": row["time"],
                "hash": rows.hash_of(0),
                "delta": {"type": "funding"} | {k: v for k, v in row.items() if k != "time"},
            }
            for row in self.fundings(_user(body))
        ]
        return _within(found, body)

    def ledger_updates(self, user: str) -> list[Row]:
        """Return deposits and withdrawals, oldest first."""
        if not self.knows(user):
            return []
        return [rows.ledger_row(moved) for moved in self._exchange.transfers(self._account)]

    def _rate_limit(self, body: Row) -> Row:
        known = self.knows(_user(body))
        return {
            "cumVlm": rows.number(round(self._gate.volume, 2)) if known else "0.0",
            "nRequestsUsed": self._gate.requests if known else 0,
            "nRequestsCap": self._gate.request_cap if known else self._gate.request_buffer,
            "nRequestsSurplus": 0,
        }

    def _user_role(self, body: Row) -> Row:
        user = _user(body)
        if user in self._gate.agents:
            return {"role": "agent", "data": {"user": self._gate.master}}
        return {"role": "user" if self.knows(user) else "missing"}

    def _extra_agents(self, body: Row) -> list[Row]:
        if not self.knows(_user(body)):
            return []
        valid_until = self._now_ms() + 180 * 86_400_000
        return [
            {"name": f"agent{place}", "address": address, "validUntil": valid_until}
            for place, address in enumerate(sorted(self._gate.agents))
        ]

    def active_asset_data(self, user: str, coin: str) -> Row:
        """Return leverage and what an order in a coin may use."""
        mark = self._exchange.mark(coin).mark_price
        state = self.clearinghouse(user)
        leverage = self._exchange.leverage(self._account, coin) if self.knows(user) else 20
        free = Decimal(state["withdrawable"])
        step = self._by_coin[coin].quantity_step
        most = (free * leverage / mark // step * step) if mark else ZERO
        return {
            "user": user,
            "coin": coin,
            "leverage": {"type": "cross", "value": leverage},
            "maxTradeSzs": [rows.number(most)] * 2,
            "availableToTrade": [rows.number(free)] * 2,
            "markPx": rows.number(mark),
        }

    def web_data(self, user: str) -> Row:
        """Return the summary that the venue's own page listens to, the parts that exist here."""
        return {
            "clearinghouseState": self.clearinghouse(user),
            "openOrders": self._frontend_open_orders({"user": user}),
            "meta": rows.meta(self._by_coin),
            "assetCtxs": self._contexts(),
            "serverTime": self._now_ms(),
            "isVault": False,
            "user": user,
        }

    def _now_ms(self) -> int:
        return self._clock_ns() // 1_000_000


def _user(body: Mapping[str, Any]) -> str:
    user = body.get("user")
    if not isinstance(user, str) or len(user) != len(NOBODY) or not user.startswith("0x"):
        raise Malformed("user was not an address")
    return user.lower()


def _inner(body: Row) -> Row:
    inner = body.get("req")
    if not isinstance(inner, dict):
        raise Malformed("req was not an object")
    return inner


def _within(found: list[Row], body: Mapping[str, Any], clock: str = "time") -> list[Row]:
    start, end = body.get("startTime"), body.get("endTime")
    if isinstance(start, int):
        found = [row for row in found if row[clock] >= start]
    if isinstance(end, int):
        found = [row for row in found if row[clock] <= end]
    return found


def _candle(
    coin: str, interval: str, start_ns: int, length_ns: int, trades: Sequence[PublicTrade]
) -> Row:
    prices = [trade.price for trade in trades]
    return {
        "t": rows.ms(start_ns),
        "T": rows.ms(start_ns + length_ns) - 1,
        "s": coin,
        "i": interval,
        "o": rows.number(prices[0]),
        "c": rows.number(prices[-1]),
        "h": rows.number(max(prices)),
        "l": rows.number(min(prices)),
        "v": rows.number(sum((trade.quantity for trade in trades), ZERO)),
        "n": len(trades),
    }
