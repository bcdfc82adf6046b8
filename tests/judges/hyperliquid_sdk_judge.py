"""Drives the Hyperliquid loopback server with the venue's own SDK: info, exchange, websocket.

Runs inside a virtual environment of its own: `python hyperliquid_sdk_judge.py ADDRESS`, where
ADDRESS is the JSON object that `perpbot simulate` prints for the server. Away from the main
address the SDK signs for the test network.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid

from tests.judges.verdict import attempts, run_checks

COIN = "BTC"
SIZE = 0.01
GTC: dict[str, Any] = {"limit": {"tif": "Gtc"}}
POST_ONLY: dict[str, Any] = {"limit": {"tif": "Alo"}}


class Judge:
    """The checks, in the order in which they are written."""

    def __init__(self, address: dict[str, Any]) -> None:
        keys = address["credentials"]
        self.url = address["rest_url"]
        self.user = keys["account_address"]
        self.info: Any = Info(self.url, skip_ws=False)
        self.exchange: Any = self._exchange(keys["private_key"])

    def _exchange(self, private_key: str) -> Any:
        wallet = Account.from_key(private_key)
        return Exchange(wallet, self.url, account_address=self.user)

    def mid(self) -> float:
        """The middle of the book."""
        return float(self.info.all_mids()[COIN])

    def held(self) -> float:
        """The signed position."""
        positions = self.info.user_state(self.user)["assetPositions"]
        return sum(
            float(row["position"]["szi"]) for row in positions if row["position"]["coin"] == COIN
        )

    def place(self, away: float = 0.03, kind: Any = None, **more: Any) -> dict[str, Any]:
        """Place a limit buy `away` below the middle; return the status of the order."""
        price = float(round(self.mid() * (1 - away)))
        return _status(self.exchange.order(COIN, True, SIZE, price, kind or GTC, **more))

    def open_ids(self) -> set[int]:
        """Ids of open orders."""
        return {row["oid"] for row in self.info.open_orders(self.user)}

    # --- public ----------------------------------------------------------------------------------

    async def check_universe(self) -> None:
        """Ten perpetuals that trade, and their contexts."""
        universe, contexts = self.info.meta_and_asset_ctxs()
        listed = [row for row in universe["universe"] if not row.get("isDelisted")]
        assert len(listed) == 10, len(listed)
        assert len(contexts) == len(universe["universe"])

    async def check_book(self) -> None:
        """An ordered book."""
        bids, asks = self.info.l2_snapshot(COIN)["levels"]
        assert float(bids[0]["px"]) < float(asks[0]["px"])

    async def check_public_streams(self) -> None:
        """Best prices, books and trades are told."""
        heard: dict[str, list[Any]] = {"bbo": [], "l2Book": [], "trades": []}
        for channel, frames in heard.items():
            self.info.subscribe({"type": channel, "coin": COIN}, frames.append)
        async for _ in attempts(20):
            if all(heard.values()):
                break
        assert all(heard.values()), {channel: len(frames) for channel, frames in heard.items()}

    # --- account ---------------------------------------------------------------------------------

    async def check_account(self) -> None:
        """The account holds what it was given."""
        state = self.info.user_state(self.user)
        assert float(state["marginSummary"]["accountValue"]) == 100_000.0, state["marginSummary"]

    async def check_wrong_key(self) -> None:
        """A stranger's signature is refused."""
        stranger = self._exchange("0x" + "17" * 32)
        reply = stranger.order(COIN, True, SIZE, float(round(self.mid() * 0.97)), GTC)
        assert reply["status"] == "err", reply

    async def check_leverage(self) -> None:
        """Leverage can be set."""
        assert self.exchange.update_leverage(5, COIN)["status"] == "ok"

    # --- orders ----------------------------------------------------------------------------------

    async def check_place_and_cancel(self) -> None:
        """An order rests, is told, is listed and is cancelled."""
        told: list[Any] = []
        self.info.subscribe({"type": "orderUpdates", "user": self.user}, told.append)
        await asyncio.sleep(0.5)
        number = self.place(kind=POST_ONLY)["resting"]["oid"]
        assert number in self.open_ids()
        assert self.exchange.cancel(COIN, number)["status"] == "ok"
        assert number not in self.open_ids()
        assert self.info.query_order_by_oid(self.user, number)["order"]["status"] == "canceled"
        states: set[str] = set()
        async for _ in attempts(5):
            updates = [row for frame in told for row in frame["data"]]
            states = {row["status"] for row in updates if row["order"]["oid"] == number}
            if {"open", "canceled"} <= states:
                return
        raise AssertionError(f"told {states}")

    async def check_client_ids(self) -> None:
        """Place, ask, amend and cancel by client id."""
        cloid = Cloid.from_int(4711)
        self.place(cloid=cloid)
        assert self.info.query_order_by_cloid(self.user, cloid)["status"] == "order"
        price = float(round(self.mid() * 0.96))
        changed = self.exchange.modify_order(cloid, COIN, True, SIZE, price, GTC, cloid=cloid)
        assert changed["status"] == "ok", changed
        [found] = self.info.open_orders(self.user)
        assert float(found["limitPx"]) == price, found
        assert self.exchange.cancel_by_cloid(COIN, cloid)["status"] == "ok"
        assert not self.open_ids()

    async def check_post_only(self) -> None:
        """A post-only order that would take is refused."""
        status = self.place(away=-0.01, kind=POST_ONLY)
        assert "error" in status, status
        assert not self.open_ids()

    async def check_refusals(self) -> None:
        """What is unknown or too small is refused."""
        status = _status(self.exchange.cancel(COIN, 987_654_321))
        assert "error" in status, status
        status = _status(self.exchange.order(COIN, True, 0.00001, float(round(self.mid())), GTC))
        assert "error" in status, status

    async def check_position(self) -> None:
        """Open and close a position, with its fills told."""
        fills: list[Any] = []
        self.info.subscribe({"type": "userFills", "user": self.user}, fills.append)
        await asyncio.sleep(0.5)
        opened = _status(self.exchange.market_open(COIN, True, SIZE, None, 0.02))["filled"]
        assert float(opened["totalSz"]) == SIZE, opened
        assert self.held() == SIZE
        closed = _status(self.exchange.market_close(COIN, slippage=0.02))["filled"]
        assert float(closed["totalSz"]) == SIZE
        assert self.held() == 0
        rows = self.info.user_fills(self.user)
        bought = sum(float(row["sz"]) for row in rows if row["oid"] == opened["oid"])
        assert abs(bought - SIZE) < 1e-9, rows
        async for _ in attempts(5):
            told = {row["oid"] for frame in fills for row in frame["data"]["fills"]}
            if {opened["oid"], closed["oid"]} <= told:
                return
        raise AssertionError(f"told fills of {told}")


def _status(reply: dict[str, Any]) -> dict[str, Any]:
    """The status of the only order of a reply; an error where the status is bare text."""
    assert reply["status"] == "ok", reply
    [status] = reply["response"]["data"]["statuses"]
    return status if isinstance(status, dict) else {"text": status}


async def main() -> int:
    """Run all checks; return the exit code."""
    judge = Judge(json.loads(sys.argv[1]))
    try:
        return await run_checks("hyperliquid sdk", judge)
    finally:
        judge.info.disconnect_websocket()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
