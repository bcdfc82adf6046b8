"""Drives the Binance loopback server with the venue's own SDK: REST, streams, websocket API.

Runs inside a virtual environment of its own: `python binance_sdk_judge.py ADDRESS`, where ADDRESS
is the JSON object that `perpbot simulate` prints for the server. The SDK parses every reply into
its generated models, so a field of a wrong type is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, UnauthorizedError
from binance_sdk_derivatives_trading_usds_futures import DerivativesTradingUsdsFutures
from binance_sdk_derivatives_trading_usds_futures.rest_api.models import (
    NewAlgoOrderSideEnum,
    NewOrderNewOrderRespTypeEnum,
    NewOrderSideEnum,
    NewOrderTimeInForceEnum,
)
from binance_sdk_derivatives_trading_usds_futures.websocket_api import models as api_models

from tests.judges.verdict import attempts, refused, run_checks

SYMBOL = "BTCUSDT"
QUANTITY = 0.01
BUY, SELL = NewOrderSideEnum.BUY, NewOrderSideEnum.SELL
GTC, GTX = NewOrderTimeInForceEnum.GTC, NewOrderTimeInForceEnum.GTX


class Judge:
    """The checks, in the order in which they are written."""

    def __init__(self, address: dict[str, Any]) -> None:
        self.address = address
        keys = address["credentials"]
        self.client = self._client(keys["api_key"], keys["api_secret"])
        self.rest: Any = self.client.rest_api

    def _client(self, key: str, secret: str) -> Any:
        rest, ws = self.address["rest_url"], self.address["ws_url"]
        return DerivativesTradingUsdsFutures(
            config_rest_api=ConfigurationRestAPI(
                api_key=key, api_secret=secret, base_path=rest, retries=0
            ),
            config_ws_api=ConfigurationWebSocketAPI(
                api_key=key, api_secret=secret, stream_url=f"{ws}/ws-fapi/v1"
            ),
            config_ws_streams=ConfigurationWebSocketStreams(stream_url=ws),
        )

    def best(self) -> tuple[float, float]:
        """Best bid and ask."""
        ticker = self.rest.symbol_order_book_ticker(symbol=SYMBOL).data().actual_instance
        return float(ticker.bid_price), float(ticker.ask_price)

    def held(self) -> float:
        """The signed position."""
        rows = self.rest.position_information_v3(symbol=SYMBOL).data()
        return sum(float(row.position_amt) for row in rows)

    def place(self, side: Any, *, away: float = 0.03, **more: Any) -> Any:
        """Place a limit order `away` from the best price, on the passive side."""
        bid, ask = self.best()
        price = round(bid * (1 - away), 1) if side is BUY else round(ask * (1 + away), 1)
        more.setdefault("time_in_force", GTC)
        return self.rest.new_order(
            symbol=SYMBOL, side=side, type="LIMIT", quantity=QUANTITY, price=price, **more
        ).data()

    @contextlib.asynccontextmanager
    async def streams(self) -> AsyncIterator[Any]:
        """A connection for streams."""
        connection = await self.client.websocket_streams.create_connection()
        try:
            yield connection
        finally:
            await connection.close_connection(close_session=True)

    @contextlib.asynccontextmanager
    async def api(self) -> AsyncIterator[Any]:
        """A connection to the websocket API."""
        connection = await self.client.websocket_api.create_connection()
        try:
            yield connection
        finally:
            await connection.close_connection(close_session=True)

    # --- public ----------------------------------------------------------------------------------

    async def check_time_and_contracts(self) -> None:
        """Ten perpetuals, rate limits, a clock."""
        assert self.rest.check_server_time().data().server_time > 0
        info = self.rest.exchange_information().data()
        assert len(info.symbols) == 10, len(info.symbols)
        assert {row.rate_limit_type for row in info.rate_limits} == {"REQUEST_WEIGHT", "ORDERS"}

    async def check_book_and_tickers(self) -> None:
        """Book, best prices, mark, trades."""
        book = self.rest.order_book(symbol=SYMBOL, limit=5).data()
        assert len(book.bids) == 5
        assert float(book.bids[0][0]) < float(book.asks[0][0])
        bid, ask = self.best()
        assert 0 < bid < ask
        mark = self.rest.mark_price(symbol=SYMBOL).data().actual_instance
        assert abs(float(mark.mark_price) / bid - 1) < 0.05
        assert isinstance(self.rest.recent_trades_list(symbol=SYMBOL).data(), list)
        assert isinstance(self.rest.get_funding_rate_history(symbol=SYMBOL).data(), list)

    async def check_public_streams(self) -> None:
        """Book, best prices, trades and marks on their own routes."""
        heard: dict[str, list[Any]] = {}
        async with self.streams() as connection:
            for name, subscribe in {
                "bookTicker": connection.individual_symbol_book_ticker_streams,
                "depth": connection.diff_book_depth_streams,
                "mark": connection.mark_price_stream,
                "aggTrade": connection.aggregate_trade_streams,
            }.items():
                stream = await subscribe(symbol=SYMBOL.lower())
                stream.on("message", heard.setdefault(name, []).append)
            async for _ in attempts(20):
                if all(heard.values()) and len(heard["depth"]) > 3:
                    break
        assert all(heard.values()), {name: len(frames) for name, frames in heard.items()}
        chain = heard["depth"]
        assert all(frame.pu == before.u for before, frame in pairwise(chain))

    # --- account ---------------------------------------------------------------------------------

    async def check_account(self) -> None:
        """Balance, account, modes, fees, brackets."""
        [balance] = self.rest.futures_account_balance_v3().data()
        assert (balance.asset, float(balance.balance)) == ("USDT", 100_000.0), balance
        assert float(self.rest.account_information_v3().data().total_wallet_balance) == 100_000.0
        assert len(self.rest.account_information_v2().data().positions) == 10
        assert self.rest.get_current_position_mode().data().dual_side_position is False
        assert self.rest.get_current_multi_assets_mode().data().multi_assets_margin is False
        fees = self.rest.user_commission_rate(symbol=SYMBOL).data()
        assert float(fees.taker_commission_rate) == 0.0005
        assert self.rest.symbol_configuration(symbol=SYMBOL).data()[0].margin_type == "CROSSED"
        assert self.rest.futures_account_configuration().data().can_trade is True
        assert self.rest.notional_and_leverage_brackets().data() is not None

    async def check_wrong_keys(self) -> None:
        """A wrong key and a wrong secret are refused, each in its own way."""
        keys = self.address["credentials"]
        with refused(UnauthorizedError, saying="Invalid API-key"):
            self._client("wrong", keys["api_secret"]).rest_api.futures_account_balance_v3()
        with refused(BadRequestError, saying="Signature"):
            self._client(keys["api_key"], "wrong").rest_api.futures_account_balance_v3()

    async def check_leverage(self) -> None:
        """Leverage can be set."""
        reply = self.rest.change_initial_leverage(symbol=SYMBOL, leverage=10).data()
        assert reply.leverage == 10, reply

    # --- orders ----------------------------------------------------------------------------------

    async def check_place_query_cancel(self) -> None:
        """An order rests, is listed, amended, cancelled."""
        order = self.place(BUY, new_client_order_id="judge-1")
        assert (order.status, order.client_order_id) == ("NEW", "judge-1"), order
        [found] = self.rest.current_all_open_orders(symbol=SYMBOL).data()
        assert found.order_id == order.order_id
        price = round(self.best()[0] * 0.96, 1)
        amended = self.rest.modify_order(
            symbol=SYMBOL, side=BUY, quantity=QUANTITY, price=price, order_id=order.order_id
        ).data()
        assert float(amended.price) == price, amended
        with refused(BadRequestError, saying="duplicated"):
            self.place(BUY, new_client_order_id="judge-1")
        cancelled = self.rest.cancel_order(symbol=SYMBOL, orig_client_order_id="judge-1").data()
        assert cancelled.status == "CANCELED", cancelled
        with refused(BadRequestError, saying="Unknown order"):
            self.rest.cancel_order(symbol=SYMBOL, order_id=order.order_id)
        query = self.rest.query_order(symbol=SYMBOL, order_id=order.order_id).data()
        assert query.status == "CANCELED", query

    async def check_post_only(self) -> None:
        """A post-only order that would take is refused."""
        with refused(BadRequestError, saying="Post Only"):
            self.place(BUY, away=-0.01, time_in_force=GTX)

    async def check_market_orders(self) -> None:
        """Open and close a position, with its fills."""
        opened = self.rest.new_order(
            symbol=SYMBOL,
            side=BUY,
            type="MARKET",
            quantity=QUANTITY,
            new_order_resp_type=NewOrderNewOrderRespTypeEnum.RESULT,
        ).data()
        assert (opened.status, float(opened.executed_qty)) == ("FILLED", QUANTITY), opened
        assert self.held() == QUANTITY
        self.rest.new_order(
            symbol=SYMBOL, side=SELL, type="MARKET", quantity=QUANTITY, reduce_only="true"
        )
        assert self.held() == 0
        fills = self.rest.account_trade_list(symbol=SYMBOL).data()
        bought = sum(float(fill.qty) for fill in fills if fill.order_id == opened.order_id)
        assert abs(bought - QUANTITY) < 1e-9, fills
        assert self.rest.get_income_history(symbol=SYMBOL, income_type="COMMISSION").data()

    async def check_batch(self) -> None:
        """Several at once, each with its own outcome; then all cancelled."""
        price = str(round(self.best()[0] * 0.97, 1))
        good = {
            "symbol": SYMBOL,
            "side": "BUY",
            "type": "LIMIT",
            "quantity": str(QUANTITY),
            "price": price,
            "timeInForce": "GTC",
        }
        replies = self.rest.place_multiple_orders(
            batch_orders=[good, {**good, "quantity": "0"}]
        ).data()
        assert len(replies) == 2, replies
        assert len(self.rest.current_all_open_orders(symbol=SYMBOL).data()) == 1
        self.rest.cancel_all_open_orders(symbol=SYMBOL)
        assert self.rest.current_all_open_orders(symbol=SYMBOL).data() == []

    async def check_algo_orders(self) -> None:
        """A stop is refused as an order, taken as an algo order, cancelled."""
        trigger = round(self.best()[0] * 0.9, 1)
        with refused(BadRequestError, saying="Algo Order"):
            self.rest.new_order(symbol=SYMBOL, side=SELL, type="STOP_MARKET", quantity=QUANTITY)
        stop = self.rest.new_algo_order(
            algo_type="CONDITIONAL",
            symbol=SYMBOL,
            side=NewAlgoOrderSideEnum.SELL,
            type="STOP_MARKET",
            quantity=QUANTITY,
            trigger_price=trigger,
            client_algo_id="judge-stop",
        ).data()
        assert (stop.algo_status, float(stop.trigger_price)) == ("NEW", trigger), stop
        [found] = self.rest.current_all_algo_open_orders(symbol=SYMBOL).data()
        assert found.client_algo_id == "judge-stop"
        assert self.rest.current_all_open_orders(symbol=SYMBOL).data() == []
        self.rest.cancel_algo_order(algo_id=stop.algo_id)
        assert self.rest.query_algo_order(algo_id=stop.algo_id).data().algo_status == "CANCELED"

    async def check_countdown(self) -> None:
        """The dead man's switch cancels."""
        self.place(BUY)
        self.rest.auto_cancel_all_open_orders(symbol=SYMBOL, countdown_time=200)
        async for _ in attempts(5):
            if not self.rest.current_all_open_orders(symbol=SYMBOL).data():
                return
        raise AssertionError("the order is still open")

    async def check_user_data_stream(self) -> None:
        """Orders, fills and balances are told."""
        key = self.rest.start_user_data_stream().data().listen_key
        assert key
        heard: list[Any] = []
        async with self.streams() as connection:
            stream = await connection.user_data(key)
            stream.on("message", heard.append)
            await asyncio.sleep(0.5)
            for side in (BUY, SELL):
                await asyncio.to_thread(
                    self.rest.new_order,
                    symbol=SYMBOL,
                    side=side,
                    type="MARKET",
                    quantity=QUANTITY,
                )
            wanted = {"OrderTradeUpdate", "AccountUpdate", "TradeLite"}
            kinds: set[str] = set()
            async for _ in attempts(10):
                kinds = {type(event.actual_instance).__name__ for event in heard}
                if wanted <= kinds:
                    break
        assert wanted <= kinds, kinds
        self.rest.keepalive_user_data_stream()
        self.rest.close_user_data_stream()

    async def check_websocket_api(self) -> None:
        """Place, ask and cancel over the websocket API; balance and book too."""
        price = round(self.best()[0] * 0.97, 1)
        async with self.api() as connection:
            placed = await connection.new_order(
                symbol=SYMBOL,
                side=api_models.NewOrderSideEnum.BUY,
                type=api_models.NewOrderTypeEnum.LIMIT,
                time_in_force=api_models.NewOrderTimeInForceEnum.GTC,
                quantity=QUANTITY,
                price=price,
            )
            order = placed.data().result
            found = await connection.query_order(symbol=SYMBOL, order_id=order.order_id)
            assert found.data().result.status == "NEW"
            gone = await connection.cancel_order(symbol=SYMBOL, order_id=order.order_id)
            assert gone.data().result.status == "CANCELED"
            balance = await connection.futures_account_balance_v2()
            assert float(balance.data().result[0].balance) > 99_000
            book = await connection.order_book(symbol=SYMBOL, limit=5)
            assert book.data().result.last_update_id > 0


async def main() -> int:
    """Run all checks; return the exit code."""
    return await run_checks("binance sdk", Judge(json.loads(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
