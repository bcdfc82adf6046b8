"""What an account can set and ask of its rules: modes, leverage, fees, brackets."""

from __future__ import annotations

from perpbot.simulation.model import Contract, ExchangeRefusal
from perpbot.simulation.wire.binance import words
from perpbot.simulation.wire.binance.account import MAX_NOTIONAL
from perpbot.simulation.wire.binance.context import Context, Endpoint, Table
from perpbot.simulation.wire.binance.contracts import ORDERS_PER_10_S, ORDERS_PER_MINUTE
from perpbot.simulation.wire.binance.errors import Refused, in_words
from perpbot.simulation.wire.binance.requests import Params


class SettingsDesk:
    """Endpoints of settings and rules. Margin is always cross, assets are never pooled."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._exchange = context.exchange
        self._account = context.account
        self.granted = {
            "ipRestrict": False,
            "enableReading": True,
            "enableWithdrawals": False,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": True,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": False,
            "enablePortfolioMarginTrading": False,
        }
        """What the key may do; open to tests."""

    def endpoints(self) -> Table:
        """What is served where, with weights."""
        return {
            ("POST", "/fapi/v1/leverage"): Endpoint(handler=self.set_leverage),
            ("POST", "/fapi/v1/marginType"): Endpoint(handler=self.set_margin_type),
            ("GET", "/fapi/v1/positionSide/dual"): Endpoint(handler=self.mode, weight=30),
            ("POST", "/fapi/v1/positionSide/dual"): Endpoint(handler=self.set_mode),
            ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(handler=self.multi_assets, weight=30),
            ("POST", "/fapi/v1/multiAssetsMargin"): Endpoint(handler=self.set_multi_assets),
            ("GET", "/fapi/v1/commissionRate"): Endpoint(handler=self.commission, weight=20),
            ("GET", "/fapi/v1/symbolConfig"): Endpoint(handler=self.symbol_config, weight=5),
            ("GET", "/fapi/v1/accountConfig"): Endpoint(handler=self.account_config, weight=5),
            ("GET", "/fapi/v1/leverageBracket"): Endpoint(handler=self.brackets),
            ("GET", "/fapi/v1/rateLimit/order"): Endpoint(handler=self.order_limits),
            ("GET", "/sapi/v1/account/apiRestrictions"): Endpoint(handler=self.restrictions),
        }

    def restrictions(self, params: Params) -> dict[str, object]:
        """`GET /sapi/v1/account/apiRestrictions`; on Binance the host of the wallet serves it."""
        return {"createTime": 1_760_000_000_000, **self.granted}

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
            "maxNotionalValue": words.number(MAX_NOTIONAL),
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
                "maxNotionalValue": words.number(MAX_NOTIONAL),
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


def _bracket(contract: Contract) -> dict[str, object]:
    return {
        "bracket": 1,
        "initialLeverage": contract.max_leverage,
        "notionalCap": int(MAX_NOTIONAL),
        "notionalFloor": 0,
        "maintMarginRatio": float(contract.maintenance_ratio),
        "cum": 0.0,
    }
