"""The account: balances, positions, income."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import PositionSide
from perpbot.simulation.model import (
    BalanceView,
    MoneyTransfer,
    PositionView,
)
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table, since
from perpbot.simulation.wire.binance.requests import Params

MAX_NOTIONAL = Decimal(50_000_000)


class AccountDesk:
    """Account endpoints."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._exchange = context.exchange
        self._account = context.account

    def endpoints(self) -> Table:
        """What is served where, with weights."""
        return {
            ("GET", "/fapi/v2/balance"): Endpoint(handler=self.balance, weight=5),
            ("GET", "/fapi/v3/balance"): Endpoint(handler=self.balance, weight=5),
            ("GET", "/fapi/v2/account"): Endpoint(handler=self.account_v2, weight=5),
            ("GET", "/fapi/v3/account"): Endpoint(handler=self.account_v3, weight=5),
            ("GET", "/fapi/v2/positionRisk"): Endpoint(handler=self.positions_v2, weight=5),
            ("GET", "/fapi/v3/positionRisk"): Endpoint(handler=self.positions_v3, weight=5),
            ("GET", "/fapi/v1/income"): Endpoint(handler=self.income, weight=30),
        }

    # --- money -----------------------------------------------------------------------------------

    def balance(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v2|v3/balance`."""
        return [
            {
                "accountAlias": self._account,
                "asset": view.currency,
                "balance": words.number(view.wallet),
                "crossWalletBalance": words.number(view.wallet),
                "crossUnPnl": words.number(view.equity - view.wallet),
                "availableBalance": words.number(view.free),
                "maxWithdrawAmount": words.number(view.free),
                "marginAvailable": True,
                "updateTime": self._context.now_ms(),
            }
            for view in self._exchange.balances(self._account)
        ]

    def account_v2(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v2/account`: with flags, and a position for each symbol."""
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "updateTime": 0,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
            **self._totals(),
            "assets": [self._asset(view) for view in self._exchange.balances(self._account)],
            "positions": [
                {
                    **self._account_position(view),
                    "leverage": str(view.leverage),
                    "isolated": False,
                    "entryPrice": words.number(view.entry_price),
                    "maxNotional": words.number(MAX_NOTIONAL),
                    "positionInitialMargin": words.number(_initial(view)),
                    "openOrderInitialMargin": "0",
                }
                for view in self._all_positions()
            ],
        }

    def account_v3(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v3/account`: only symbols with a position."""
        return {
            **self._totals(),
            "assets": [self._asset(view) for view in self._exchange.balances(self._account)],
            "positions": [
                self._account_position(view) for view in self._exchange.positions(self._account)
            ],
        }

    def income(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/income`: profit, commission, funding and transfers, oldest first."""
        start_ms, end_ms, limit = since(params, default_limit=100, max_limit=1000)
        kind = params.text("incomeType", "")
        symbol = self._context.symbol_if_any(params)
        rows: list[dict[str, object]] = []
        for fill in self._exchange.executions(self._account, start_ms * 1_000_000):
            rows.append(
                self._income("COMMISSION", fill.symbol, -fill.fee, fill.ts_ns, fill.trade_id)
            )
            if fill.realized_pnl:
                rows.append(
                    self._income(
                        "REALIZED_PNL", fill.symbol, fill.realized_pnl, fill.ts_ns, fill.trade_id
                    )
                )
        rows.extend(
            self._income("FUNDING_FEE", paid.symbol, paid.amount, paid.ts_ns, paid.payment_id)
            for paid in self._exchange.funding_payments(self._account)
        )
        rows.extend(_transfer(moved) for moved in self._exchange.transfers(self._account))
        kept = [
            row
            for row in rows
            if kind in {"", row["incomeType"]}
            and symbol in {None, row["symbol"]}
            and start_ms <= int(str(row["time"])) <= end_ms
        ]
        kept.sort(key=lambda row: int(str(row["time"])))
        return kept[:limit] if start_ms else kept[-limit:]

    # --- positions -------------------------------------------------------------------------------

    def positions_v2(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v2/positionRisk`: each symbol, with leverage and margin type."""
        symbol = self._context.symbol_if_any(params)
        return [
            {
                **self._risk(view),
                "leverage": str(view.leverage),
                "maxNotionalValue": words.number(MAX_NOTIONAL),
                "marginType": "cross",
                "isAutoAddMargin": "false",
            }
            for view in self._all_positions()
            if symbol in {None, view.symbol}
        ]

    def positions_v3(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v3/positionRisk`: only symbols with a position."""
        symbol = self._context.symbol_if_any(params)
        return [
            self._risk(view)
            for view in self._exchange.positions(self._account)
            if symbol in {None, view.symbol}
        ]

    # --- within ----------------------------------------------------------------------------------

    def _all_positions(self) -> list[PositionView]:
        held: dict[str, list[PositionView]] = {}
        for view in self._exchange.positions(self._account):
            held.setdefault(view.symbol, []).append(view)
        sides = (
            (PositionSide.LONG, PositionSide.SHORT)
            if self._exchange.hedge_mode(self._account)
            else (PositionSide.NET,)
        )
        found: list[PositionView] = []
        for symbol in self._context.contracts:
            legs = {view.position_side: view for view in held.get(symbol, ())}
            found.extend(legs.get(side) or self._flat(symbol, side) for side in sides)
        return found

    def _flat(self, symbol: str, side: PositionSide) -> PositionView:
        return PositionView(
            account=self._account,
            symbol=symbol,
            position_side=side,
            quantity=ZERO,
            entry_price=ZERO,
            mark_price=self._exchange.mark(symbol).mark_price,
            unrealized_pnl=ZERO,
            liquidation_price=None,
            leverage=self._exchange.leverage(self._account, symbol),
        )

    def _risk(self, view: PositionView) -> dict[str, object]:
        contract = self._context.contracts[view.symbol]
        notional = view.quantity * view.mark_price
        return {
            "symbol": view.symbol,
            "positionSide": words.position_word(view.position_side),
            "positionAmt": words.number(view.quantity),
            "entryPrice": words.number(view.entry_price),
            "breakEvenPrice": words.number(view.entry_price),
            "markPrice": words.number(view.mark_price),
            "unRealizedProfit": words.number(view.unrealized_pnl),
            "liquidationPrice": words.number(view.liquidation_price),
            "isolatedMargin": "0",
            "notional": words.number(notional),
            "marginAsset": contract.settle,
            "isolatedWallet": "0",
            "initialMargin": words.number(_initial(view)),
            "maintMargin": words.number(abs(notional) * contract.maintenance_ratio),
            "positionInitialMargin": words.number(_initial(view)),
            "openOrderInitialMargin": "0",
            "adl": 1,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": self._context.now_ms(),
        }

    def _account_position(self, view: PositionView) -> dict[str, object]:
        risk = self._risk(view)
        return {
            "symbol": risk["symbol"],
            "positionSide": risk["positionSide"],
            "positionAmt": risk["positionAmt"],
            "unrealizedProfit": risk["unRealizedProfit"],
            "isolatedMargin": "0",
            "notional": risk["notional"],
            "isolatedWallet": "0",
            "initialMargin": risk["initialMargin"],
            "maintMargin": risk["maintMargin"],
            "updateTime": risk["updateTime"],
        }

    def _maintenance(self) -> Decimal:
        return sum(
            (
                abs(view.quantity)
                * view.mark_price
                * self._context.contracts[view.symbol].maintenance_ratio
                for view in self._exchange.positions(self._account)
            ),
            ZERO,
        )

    def _totals(self) -> dict[str, object]:
        views = self._exchange.balances(self._account)
        wallet = sum((view.wallet for view in views), ZERO)
        equity = sum((view.equity for view in views), ZERO)
        used = sum((view.used_margin for view in views), ZERO)
        free = sum((view.free for view in views), ZERO)
        held = sum((_initial(view) for view in self._exchange.positions(self._account)), ZERO)
        return {
            "totalInitialMargin": words.number(used),
            "totalMaintMargin": words.number(self._maintenance()),
            "totalWalletBalance": words.number(wallet),
            "totalUnrealizedProfit": words.number(equity - wallet),
            "totalMarginBalance": words.number(equity),
            "totalPositionInitialMargin": words.number(held),
            "totalOpenOrderInitialMargin": words.number(max(used - held, ZERO)),
            "totalCrossWalletBalance": words.number(wallet),
            "totalCrossUnPnl": words.number(equity - wallet),
            "availableBalance": words.number(free),
            "maxWithdrawAmount": words.number(free),
        }

    def _asset(self, view: BalanceView) -> dict[str, object]:
        return {
            "asset": view.currency,
            "walletBalance": words.number(view.wallet),
            "unrealizedProfit": words.number(view.equity - view.wallet),
            "marginBalance": words.number(view.equity),
            "maintMargin": words.number(self._maintenance()),
            "initialMargin": words.number(view.used_margin),
            "positionInitialMargin": words.number(view.used_margin),
            "openOrderInitialMargin": "0",
            "crossWalletBalance": words.number(view.wallet),
            "crossUnPnl": words.number(view.equity - view.wallet),
            "availableBalance": words.number(view.free),
            "maxWithdrawAmount": words.number(view.free),
            "marginAvailable": True,
            "updateTime": self._context.now_ms(),
        }

    def _income(
        self, kind: str, symbol: str, amount: Decimal, ts_ns: int, number: int
    ) -> dict[str, object]:
        return {
            "symbol": symbol,
            "incomeType": kind,
            "income": words.number(amount),
            "asset": self._context.contracts[symbol].settle,
            "info": kind,
            "time": words.milliseconds(ts_ns),
            "tranId": number,
            "tradeId": str(number) if kind != "FUNDING_FEE" else "",
        }


def _transfer(moved: MoneyTransfer) -> dict[str, object]:
    """A transfer is of no symbol and no trade."""
    return {
        "symbol": "",
        "incomeType": "TRANSFER",
        "income": words.number(moved.amount),
        "asset": moved.currency,
        "info": "TRANSFER",
        "time": words.milliseconds(moved.ts_ns),
        "tranId": moved.transfer_id,
        "tradeId": "",
    }


def _initial(view: PositionView) -> Decimal:
    return abs(view.quantity) * view.mark_price / view.leverage
