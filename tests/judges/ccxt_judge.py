"""Drives a venue's loopback server with ccxt, through its unified calls only.

Runs inside a virtual environment of its own: `python ccxt_judge.py ADDRESS`, where ADDRESS is the
JSON object that `perpbot simulate` prints for the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import ccxt.pro
from ccxt.base.errors import AuthenticationError, InvalidOrder, OrderNotFound

from tests.judges.verdict import attempts, refused, run_checks

ORDER_USD = 600.0
BALANCE = 100_000.0


class Setup(NamedTuple):
    """How ccxt is pointed at a venue's server."""

    name: str
    symbol: str
    settle: str
    keys: dict[str, str]
    """ccxt's names of the credentials and ours."""
    point: Callable[[Any, dict[str, Any]], None]
    market_needs_price: bool = False
    post_only_refuses: bool = True
    stops: tuple[tuple[str, object], ...] = (("trigger", True),)
    """How ccxt is told that a request is about stops."""
    without: tuple[str, ...] = ()
    """Checks that do not apply."""


def _point_binance(exchange: Any, address: dict[str, Any]) -> None:
    rest, ws = address["rest_url"], address["ws_url"]
    api = exchange.urls["api"]
    for name, url in api.items():
        if isinstance(url, str):
            path = url.split("://", 1)[1].partition("/")[2]
            api[name] = f"{rest}/{path}"
    api["ws"] = {"linear": f"{ws}/ws", "ws-api": {"linear": f"{ws}/ws-fapi/v1"}}
    exchange.has["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = {"types": ["linear"]}


def _point_okx(exchange: Any, address: dict[str, Any]) -> None:
    exchange.urls["api"] = {"rest": address["rest_url"], "ws": address["ws_url"] + "/ws/v5"}
    exchange.has["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = {"types": ["swap"]}


def _point_hyperliquid(exchange: Any, address: dict[str, Any]) -> None:
    rest, ws = address["rest_url"], address["ws_url"]
    exchange.urls["api"] = {"public": rest, "private": rest, "ws": {"public": f"{ws}/ws"}}
    exchange.has["fetchCurrencies"] = False
    exchange.options["fetchMarkets"] = {"types": ["swap"]}
    # Otherwise the first order is preceded by actions in favour of a builder.
    exchange.options |= {"builderFee": False, "refSet": True, "approvedBuilderFee": True}


SETUPS = {
    "binance": Setup(
        "binanceusdm",
        "BTC/USDT:USDT",
        "USDT",
        {"apiKey": "api_key", "secret": "api_secret"},
        _point_binance,
    ),
    "okx": Setup(
        "okx",
        "BTC/USDT:USDT",
        "USDT",
        {"apiKey": "api_key", "secret": "api_secret", "password": "passphrase"},
        _point_okx,
        post_only_refuses=False,
        stops=(("trigger", True), ("ordType", "conditional")),
    ),
    "hyperliquid": Setup(
        "hyperliquid",
        "BTC/USDC:USDC",
        "USDC",
        {"walletAddress": "account_address", "privateKey": "private_key"},
        _point_hyperliquid,
        market_needs_price=True,
        without=("trades",),  # ccxt asks Hyperliquid for the user's own fills instead
    ),
}


class Judge:
    """The checks of one venue, in the order in which they are written."""

    def __init__(self, address: dict[str, Any]) -> None:
        self.address = address
        self.setup = SETUPS[address["venue"]]
        self.exchange = self.client()

    def client(self, **overrides: str) -> Any:
        """Return a new ccxt exchange pointed at the server."""
        credentials = self.address["credentials"]
        keys = {name: credentials[ours] for name, ours in self.setup.keys.items()}
        exchange = getattr(ccxt.pro, self.setup.name)({**keys, **overrides, "newUpdates": True})
        self.setup.point(exchange, self.address)
        return exchange

    @property
    def symbol(self) -> str:
        """The symbol that is traded."""
        return self.setup.symbol

    async def mid(self) -> float:
        """The middle of the book."""
        book = await self.exchange.fetch_order_book(self.symbol, 5)
        return float(book["bids"][0][0] + book["asks"][0][0]) / 2

    async def amount(self, usd: float = ORDER_USD) -> float:
        """So many contracts are worth `usd`."""
        market = self.exchange.market(self.symbol)
        contracts = usd / await self.mid() / market["contractSize"]
        return float(self.exchange.amount_to_precision(self.symbol, contracts))

    async def place(
        self, kind: str, side: str, amount: float, away: float = 0.0, **params: Any
    ) -> dict[str, Any]:
        """Place an order `away` (a ratio) from the middle, on the passive side."""
        distance = 1 - away if side == "buy" else 1 + away
        price = float(self.exchange.price_to_precision(self.symbol, await self.mid() * distance))
        wants_price = kind == "limit" or self.setup.market_needs_price
        order: dict[str, Any] = await self.exchange.create_order(
            self.symbol, kind, side, amount, price if wants_price else None, params
        )
        return order

    async def open_ids(self) -> set[str]:
        """Ids of open orders."""
        return {order["id"] for order in await self.exchange.fetch_open_orders(self.symbol)}

    async def contracts_held(self) -> float:
        """The signed position in contracts."""
        held = 0.0
        for position in await self.exchange.fetch_positions([self.symbol]):
            held += float(position["contracts"] or 0) * (1 if position["side"] == "long" else -1)
        return held

    @contextlib.asynccontextmanager
    async def watching_orders(self) -> AsyncIterator[Callable[[str, str], Awaitable[None]]]:
        """Collect order updates; yields what waits until an order is told in a state."""
        told: list[tuple[str, str]] = []
        news = asyncio.Event()

        async def watch() -> None:
            while True:
                orders = await self.exchange.watch_orders(self.symbol)
                told.extend((order["id"], order["status"]) for order in orders)
                news.set()

        async def wait_for(order_id: str, status: str) -> None:
            while (order_id, status) not in told:
                if task.done():
                    task.result()
                news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), 1)

        task = asyncio.create_task(watch())
        # The subscription has no acknowledgement in ccxt's interface.
        await asyncio.sleep(0.5)
        try:
            yield wait_for
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # --- checks ----------------------------------------------------------------------------------

    async def check_markets(self) -> None:
        """Ten linear swaps with steps."""
        markets = await self.exchange.load_markets()
        swaps = [
            row for row in markets.values() if row["swap"] and row["linear"] and row["active"]
        ]
        assert len(swaps) == 10, len(swaps)
        market = self.exchange.market(self.symbol)
        assert market["settle"] == self.setup.settle, market["settle"]
        assert all(market["precision"][name] for name in ("amount", "price")), market["precision"]

    async def check_order_book(self) -> None:
        """An ordered book with depth."""
        book = await self.exchange.fetch_order_book(self.symbol, 20)
        bids, asks = ([row[0] for row in book[side]] for side in ("bids", "asks"))
        assert min(len(bids), len(asks)) >= 5, (len(bids), len(asks))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]

    async def check_order_book_stream(self) -> None:
        """A maintained book stays ordered, moves, and agrees with a snapshot."""
        tops = set()
        for _ in range(30):
            book = await self.exchange.watch_order_book(self.symbol)
            assert book["bids"][0][0] < book["asks"][0][0], (book["bids"][0], book["asks"][0])
            tops.add((book["bids"][0][0], book["bids"][0][1]))
        assert len(tops) > 1, "the book does not move"
        middle = (book["bids"][0][0] + book["asks"][0][0]) / 2
        assert abs(middle / await self.mid() - 1) < 0.01

    async def check_trades(self) -> None:
        """Public trades can be asked for."""
        async for _ in attempts(20):
            trades = await self.exchange.fetch_trades(self.symbol, limit=10)
            if trades:
                break
        assert trades
        assert trades[-1]["price"] > 0
        assert trades[-1]["side"] in {"buy", "sell"}

    async def check_trades_stream(self) -> None:
        """Public trades are told."""
        trades = await self.exchange.watch_trades(self.symbol)
        assert trades[0]["amount"] > 0, trades
        assert trades[0]["side"] in {"buy", "sell"}, trades

    async def check_funding_rate(self) -> None:
        """The coming funding rate."""
        rate = await self.exchange.fetch_funding_rate(self.symbol)
        assert abs(rate["fundingRate"]) < 0.01, rate

    async def check_balance(self) -> None:
        """The account holds what it was given."""
        balance = await self.exchange.fetch_balance()
        assert balance["total"][self.setup.settle] == BALANCE, balance["total"]

    async def check_wrong_keys(self) -> None:
        """A wrong key is refused."""
        wrong = {"privateKey": "0x" + "17" * 32} if "privateKey" in self.setup.keys else {}
        stranger = self.client(**(wrong or {"secret": "wrong"}))
        try:
            await stranger.load_markets()
            with refused(AuthenticationError, ccxt.ExchangeError):
                price = float(stranger.price_to_precision(self.symbol, await self.mid() * 0.97))
                await stranger.create_order(
                    self.symbol, "limit", "buy", await self.amount(), price
                )
        finally:
            await stranger.close()

    async def check_place_and_cancel(self) -> None:
        """A passive order rests, is told, is listed, is cancelled, is told again."""
        async with self.watching_orders() as told:
            order = await self.place("limit", "buy", await self.amount(), 0.03, postOnly=True)
            await told(order["id"], "open")
            assert order["id"] in await self.open_ids()
            await self.exchange.cancel_order(order["id"], self.symbol)
            await told(order["id"], "canceled")
            assert order["id"] not in await self.open_ids()
        found = await self.exchange.fetch_order(order["id"], self.symbol)
        assert (found["status"], found["filled"]) == ("canceled", 0), found

    async def check_amend(self) -> None:
        """A resting order gets another price."""
        amount = await self.amount()
        order = await self.place("limit", "buy", amount, 0.03)
        price = float(self.exchange.price_to_precision(self.symbol, await self.mid() * 0.96))
        edited = await self.exchange.edit_order(
            order["id"], self.symbol, "limit", "buy", amount, price
        )
        [found] = await self.exchange.fetch_open_orders(self.symbol)
        assert found["price"] == price, found
        await self.exchange.cancel_order(found["id"] or edited["id"], self.symbol)

    async def check_websocket_orders(self) -> None:
        """Place and cancel over the websocket."""
        price = float(self.exchange.price_to_precision(self.symbol, await self.mid() * 0.97))
        order = await self.exchange.create_order_ws(
            self.symbol, "limit", "buy", await self.amount(), price
        )
        assert order["id"] in await self.open_ids()
        await self.exchange.cancel_order_ws(order["id"], self.symbol)
        assert order["id"] not in await self.open_ids()

    async def check_post_only(self) -> None:
        """A post-only order that would take never does."""
        amount = await self.amount()
        if self.setup.post_only_refuses:
            with refused(InvalidOrder):
                await self.place("limit", "buy", amount, -0.01, postOnly=True)
            return
        order = await self.place("limit", "buy", amount, -0.01, postOnly=True)
        found = await self.exchange.fetch_order(order["id"], self.symbol)
        assert (found["status"], found["filled"]) == ("canceled", 0), found

    async def check_unknown_order(self) -> None:
        """Cancelling what is not there is refused."""
        with refused(OrderNotFound):
            await self.exchange.cancel_order("123456789", self.symbol)

    async def check_position(self) -> None:
        """A market order opens a position, a reduce-only one closes it; both are told."""
        amount = await self.amount()
        async with self.watching_orders() as told:
            opened = await self.place("market", "buy", amount)
            await told(opened["id"], "closed")
            assert await self.contracts_held() == amount
            closed = await self.place("market", "sell", amount, reduceOnly=True)
            await told(closed["id"], "closed")
        assert await self.contracts_held() == 0
        fills = await self.exchange.fetch_my_trades(self.symbol)
        bought = sum(fill["amount"] for fill in fills if fill["order"] == opened["id"])
        assert abs(bought - amount) < 1e-9, (bought, amount)
        assert all(fill["fee"]["cost"] > 0 for fill in fills), fills
        balance = await self.exchange.fetch_balance()
        assert BALANCE - 10 < balance["total"][self.setup.settle] < BALANCE, balance["total"]

    async def check_reduce_only(self) -> None:
        """Reduce-only without a position is refused."""
        with refused(ccxt.ExchangeError):
            await self.place("market", "sell", await self.amount(), reduceOnly=True)

    async def check_leverage(self) -> None:
        """Leverage can be set."""
        params = {"marginMode": "cross"} if self.setup.name != "binanceusdm" else {}
        await self.exchange.set_leverage(5, self.symbol, params)

    async def check_stop(self) -> None:
        """A stop waits apart from orders and can be cancelled."""
        amount = await self.amount()
        await self.place("market", "buy", amount)
        trigger = float(self.exchange.price_to_precision(self.symbol, await self.mid() * 0.9))
        stop = await self.place("market", "sell", amount, stopLossPrice=trigger, reduceOnly=True)
        params = dict(self.setup.stops)
        found = await self.exchange.fetch_open_orders(self.symbol, params=params)
        assert stop["id"] in {order["id"] for order in found}, (stop["id"], found)
        await self.exchange.cancel_order(stop["id"], self.symbol, params)
        await self.place("market", "sell", amount, reduceOnly=True)
        assert await self.contracts_held() == 0


async def main() -> int:
    """Run all checks; return the exit code."""
    judge = Judge(json.loads(sys.argv[1]))
    try:
        return await run_checks(f"ccxt {judge.setup.name}", judge, judge.setup.without)
    finally:
        await judge.exchange.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
