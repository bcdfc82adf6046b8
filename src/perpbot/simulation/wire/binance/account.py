"""The account: balances, positions, modes, leverage, fees, income, listen keys."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.money import ZERO
from perpbot.domain.sides import PositionSide
from perpbot.simulation.model import (
    BalanceView,
    Contract,
    ExchangeRefusal,
    PositionView,
)
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table, since
from perpbot.simulation.wire.binance.contracts import ORDERS_PER_10_S, ORDERS_PER_MINUTE
from perpbot.simulation.wire.binance.errors import Refused, in_words
from perpbot.simulation.wire.binance.requests import Params

_MAX_NOTIONAL = Decimal(50_000_000)


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
            ("POST", "/fapi/v1/leverage"): Endpoint(handler=self.set_leverage),
            ("POST", "/fapi/v1/marginType"): Endpoint(handler=self.set_margin_type),
            ("GET", "/fapi/v1/positionSide/dual"): Endpoint(handler=self.mode, weight=30),
            ("POST", "/fapi/v1/positionSide/dual"): Endpoint(handler=self.set_mode),
            ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(handler=self.multi_assets, weight=30),
            ("POST", "/fapi/v1/multiAssetsMargin"): Endpoint(handler=self.set_multi_assets),
            ("GET", "/fapi/v1/commissionRate"): Endpoint(handler=self.commission, weight=20),
            ("GET", "/fapi/v1/symbolConfig"): Endpoint(handler=self.symbol_config, weight=5),
            ("GET", "/fapi/v1/accountConfig"): Endpoint(handler=self.account_config, weight=5),
            ("GET", "/fapi/v1/income"): Endpoint(handler=self.income, weight=30),
            ("GET", "/fapi/v1/leverageBracket"): Endpoint(handler=self.brackets),
            ("GET", "/fapi/v1/rateLimit/order"): Endpoint(handler=self.order_limits),
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
                    "maxNotional": words.number(_MAX_NOTIONAL),
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
        """`GET /fapi/v1/income`: profit, commission and funding, oldest first."""
        start_ms, end_ms, limit = since(params, default_limit=100, max_limit=1000)
        kind = params.text("incomeType", "")
        symbol = self._context.symbol_if_any(params)
        rows: list[dict[str, object]] = []
        for fill in self._exchange.executions(self._account):
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
                "maxNotionalValue": words.number(_MAX_NOTIONAL),
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

    # --- settings --------------------------------------------------------------------------------

    def set_leverage(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/leverage`."""
        contract = self._context.contract(params)
        leverage = params.integer("leverage")
        if not 1 <= leverage <= contract.max_leverage:
            raise Refused(-4028, f"Leverage {leverage} is not valid")
        try:
            self._exchange.set_leverage(self._account, contract.symbol, leverage)
        except ExchangeRefusal as refusal:
            raise in_words(refusal) from None
        return {
            "symbol": contract.symbol,
            "leverage": leverage,
            "maxNotionalValue": words.number(_MAX_NOTIONAL),
        }

    def set_margin_type(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/marginType`: this exchange has cross margin only."""
        self._context.contract(params)
        kind = params.text("marginType")
        if kind == "CROSSED":
            raise Refused(-4046, "No need to change margin type.")
        if kind == "ISOLATED":
            raise Refused(-4168, "Unable to adjust to isolated-margin mode on this account.")
        raise Refused(-1130, "Data sent for parameter 'marginType' is not valid.")

    def mode(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/positionSide/dual`."""
        return {"dualSidePosition": self._exchange.hedge_mode(self._account)}

    def set_mode(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/positionSide/dual`."""
        wanted = params.flag("dualSidePosition", None)
        if wanted is self._exchange.hedge_mode(self._account):
            raise Refused(-4059, "No need to change position side.")
        if self._exchange.open_orders(self._account):
            raise Refused(-4067, "Position side cannot be changed if there exists open orders.")
        try:
            self._exchange.set_hedge_mode(self._account, wanted)
        except ExchangeRefusal as refusal:
            raise in_words(refusal) from None
        return {"code": 200, "msg": "success"}

    def multi_assets(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/multiAssetsMargin`."""
        return {"multiAssetsMargin": False}

    def set_multi_assets(self, params: Params) -> dict[str, object]:
        """`POST /fapi/v1/multiAssetsMargin`: this exchange has single-asset mode only."""
        if params.flag("multiAssetsMargin", None):
            raise Refused(-4171, "Multi-Assets mode is not available for this account.")
        raise Refused(-4171, "No need to change margin mode.")

    def commission(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/commissionRate`."""
        profile = self._exchange.profile
        return {
            "symbol": self._context.contract(params).symbol,
            "makerCommissionRate": words.number(profile.maker_fee),
            "takerCommissionRate": words.number(profile.taker_fee),
            "rpiCommissionRate": words.number(profile.maker_fee),
        }

    def symbol_config(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/symbolConfig`."""
        symbol = self._context.symbol_if_any(params)
        return [
            {
                "symbol": contract.symbol,
                "marginType": "CROSSED",
                "isAutoAddMargin": False,
                "leverage": self._exchange.leverage(self._account, contract.symbol),
                "maxNotionalValue": words.number(_MAX_NOTIONAL),
            }
            for contract in self._context.contracts.values()
            if symbol in {None, contract.symbol}
        ]

    def account_config(self, params: Params) -> dict[str, object]:
        """`GET /fapi/v1/accountConfig`."""
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "dualSidePosition": self._exchange.hedge_mode(self._account),
            "updateTime": 0,
            "multiAssetsMargin": False,
            "tradeGroupId": -1,
        }

    def brackets(self, params: Params) -> object:
        """`GET /fapi/v1/leverageBracket`: one bracket a symbol."""
        symbol = self._context.symbol_if_any(params)
        return [
            {"symbol": contract.symbol, "notionalCoef": 1.0, "brackets": [_bracket(contract)]}
            for contract in self._context.contracts.values()
            if symbol in {None, contract.symbol}
        ]

    def order_limits(self, params: Params) -> list[dict[str, object]]:
        """`GET /fapi/v1/rateLimit/order`."""
        return [
            {
                "rateLimitType": "ORDERS",
                "interval": interval,
                "intervalNum": number,
                "limit": limit,
            }
            for interval, number, limit in (
                ("SECOND", 10, ORDERS_PER_10_S),
                ("MINUTE", 1, ORDERS_PER_MINUTE),
            )
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


def _initial(view: PositionView) -> Decimal:
    return abs(view.quantity) * view.mark_price / view.leverage


def _bracket(contract: Contract) -> dict[str, object]:
    return {
        "bracket": 1,
        "initialLeverage": contract.max_leverage,
        "notionalCap": int(_MAX_NOTIONAL),
        "notionalFloor": 0,
        "maintMarginRatio": float(contract.maintenance_ratio),
        "cum": 0.0,
    }
