"""The private REST room of OKX: account queries, order queries and settings of one account.

Lists are newest first and page by id: `after` gives older rows, `before` newer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from perpbot.domain.money import plain
from perpbot.simulation.model import (
    ExchangeRefusal,
    ExchangeView,
    OrderStatus,
    OrderView,
    PositionView,
)
from perpbot.simulation.wire.okx import rows
from perpbot.simulation.wire.okx.desk import Desk, Wrong, number_of, wrong_of
from perpbot.simulation.wire.okx.market import Market, Query
from perpbot.simulation.wire.okx.rows import Row

_PAGE = 100
_TRANSFERS, _TRADES, _FUNDING = "1", "2", "8"
"""Types of bills."""
UID = "44705892343619584"


class Ledger:
    """Answers for one account."""

    def __init__(
        self,
        exchange: ExchangeView,
        account: str,
        clock_ns: Callable[[], int],
        market: Market,
        desk: Desk,
    ) -> None:
        self._exchange = exchange
        self._account = account
        self._clock_ns = clock_ns
        self._market = market
        self._contracts = market.contracts
        self._desk = desk
        self.perm = "read_only,trade"
        self.ip = ""
        """What the key may do, and from where; open to tests."""

    # --- account ---------------------------------------------------------------------------------

    def balance(self, query: Query) -> list[Row]:
        """`account/balance`, of the currencies of `ccy` where given."""
        wanted = [name for name in query.get("ccy", "").split(",") if name]
        balances = [
            balance
            for balance in self._exchange.balances(self._account)
            if not wanted or balance.currency in wanted
        ]
        legs = [(self._contracts[leg.symbol], leg) for leg in self._legs()]
        return [rows.balance_row(balances, legs, self._clock_ns())]

    def positions(self, query: Query) -> list[Row]:
        """`account/positions`."""
        if query.get("instType", "SWAP") not in ("SWAP", "ANY"):
            return []
        wanted = [name for name in query.get("instId", "").split(",") if name]
        now = self._clock_ns()
        return [
            rows.position_row(self._contracts[leg.symbol], leg, now)
            for leg in self._legs()
            if not wanted or leg.symbol in wanted
        ]

    def config(self, query: Query) -> list[Row]:
        """`account/config`."""
        is_hedge = self._exchange.hedge_mode(self._account)
        return [
            {
                "uid": UID,
                "mainUid": UID,
                "acctLv": "2",
                "posMode": "long_short_mode" if is_hedge else "net_mode",
                "autoLoan": False,
                "ctIsoMode": "automatic",
                "mgnIsoMode": "automatic",
                "greeksType": "PA",
                "level": "Lv1",
                "levelTmp": "",
                "label": "perpbot",
                "perm": self.perm,
                "kycLv": "2",
                "ip": self.ip,
                "acctStpMode": "cancel_maker",
                "type": "0",
            }
        ]

    def leverage_info(self, query: Query) -> list[Row]:
        """`account/leverage-info`."""
        names = query.get("instId", "").split(",")
        found = [self._market.contract({"instId": name}) for name in names]
        sides = ("long", "short") if self._exchange.hedge_mode(self._account) else ("net",)
        return [
            {
                "instId": contract.symbol,
                "ccy": "",
                "mgnMode": query.get("mgnMode", "cross"),
                "posSide": side,
                "lever": str(self._exchange.leverage(self._account, contract.symbol)),
            }
            for contract in found
            for side in sides
        ]

    def set_leverage(self, body: Row) -> list[Row]:
        """`account/set-leverage`."""
        contract = self._market.contract(body)
        lever = number_of(body, "lever")
        if body.get("mgnMode") != "cross":
            raise Wrong("51000", "Parameter mgnMode error: this exchange margins across")
        if lever != lever.to_integral_value() or lever > contract.max_leverage:
            raise Wrong("59102", f"Leverage exceeds the maximum limit {contract.max_leverage}.")
        try:
            self._exchange.set_leverage(self._account, contract.symbol, int(lever))
        except ExchangeRefusal as refusal:
            raise wrong_of(refusal) from refusal
        side = str(body.get("posSide") or "net")
        row = {"instId": contract.symbol, "lever": plain(lever), "mgnMode": "cross"}
        return [row | {"posSide": side}]

    def set_position_mode(self, body: Row) -> list[Row]:
        """`account/set-position-mode`."""
        mode = body.get("posMode")
        if mode not in ("long_short_mode", "net_mode"):
            raise Wrong("51000", "Parameter posMode error")
        try:
            self._exchange.set_hedge_mode(self._account, enabled=mode == "long_short_mode")
        except ExchangeRefusal:
            raise Wrong(
                "59000", "Setting failed. Cancel any open orders and close positions first."
            ) from None
        return [{"posMode": mode}]

    def trade_fee(self, query: Query) -> list[Row]:
        """`account/trade-fee`."""
        return [rows.fee_row(self._exchange.profile, self._clock_ns())]

    def bills(self, query: Query) -> list[Row]:
        """`account/bills`: transfers (type 1), fills (type 2) and funding (type 8)."""
        kind = query.get("type", "")
        found: list[Row] = []
        if kind in ("", _TRADES):
            fills = self._exchange.executions(self._account)
            found += [rows.trade_bill_row(self._contracts[fill.symbol], fill) for fill in fills]
        if kind in ("", _FUNDING):
            payments = self._exchange.funding_payments(self._account)
            found += [rows.funding_bill_row(self._contracts[p.symbol], p) for p in payments]
        if kind in ("", _TRANSFERS):
            found += [rows.transfer_bill_row(m) for m in self._exchange.transfers(self._account)]
        found.sort(key=lambda row: (int(row["ts"]), row["billId"]))
        return _page(_matching(reversed(found), query), query, "billId")

    # --- orders ----------------------------------------------------------------------------------

    def order(self, query: Query) -> list[Row]:
        """`trade/order`: one order, open or ended, by `ordId` or `clOrdId`."""
        contract = self._market.contract(query)
        if not query.get("ordId") and not query.get("clOrdId"):
            raise Wrong("51000", "Either parameter ordId or clOrdId is required")
        found = self._desk.find(query)
        if found is None or found.ticket.symbol != contract.symbol or _is_waiting(found):
            raise Wrong("51603", "Order does not exist")
        return self._rows([found])

    def pending(self, query: Query) -> list[Row]:
        """`trade/orders-pending`."""
        orders = self._exchange.open_orders(self._account, query.get("instId") or None)
        found = [order for order in orders if not _is_waiting(order)]
        return _page(_matching(reversed(self._rows(found)), query), query, "ordId")

    def history(self, query: Query) -> list[Row]:
        """`trade/orders-history` and its archive: ended orders."""
        found = [
            order for order in self._exchange.order_history(self._account) if not order.is_open
        ]
        return _page(_matching(reversed(self._rows(found)), query), query, "ordId")

    def fills(self, query: Query) -> list[Row]:
        """`trade/fills` and `trade/fills-history`.

        Rows are made for one page: an account may have traded for weeks.
        """
        begin, after = query.get("begin", ""), query.get("after", "")
        since_ns = int(begin) * 1_000_000 if begin.isdigit() else 0
        newest = reversed(self._exchange.executions(self._account, since_ns))
        found = (
            rows.fill_row(self._contracts[fill.symbol], fill)
            for fill in newest
            if not after.isdigit() or int(rows.bill_id(fill)) < int(after)
        )
        return _page(_matching(found, query), query, "billId")

    def algo_pending(self, query: Query) -> list[Row]:
        """`trade/orders-algo-pending`."""
        orders = self._exchange.open_orders(self._account, query.get("instId") or None)
        found = self._algo_rows([o for o in orders if _is_waiting(o)], query)
        return _page(reversed(found), query, "algoId")

    def algo_history(self, query: Query) -> list[Row]:
        """`trade/orders-algo-history`: fired and cancelled ones."""
        orders = [
            order
            for order in self._exchange.order_history(self._account)
            if order.ticket.trigger_price is not None and not _is_waiting(order)
        ]
        found = self._algo_rows(orders, query)
        state = query.get("state", "")
        return _page((r for r in reversed(found) if state in ("", r["state"])), query, "algoId")

    def algo(self, query: Query) -> list[Row]:
        """`trade/order-algo` (GET): one order with a trigger."""
        name = {"ordId": query.get("algoId"), "clOrdId": query.get("algoClOrdId")}
        order = self._desk.find(name)
        if order is None or order.ticket.trigger_price is None:
            raise Wrong("51603", "Order does not exist")
        return self._algo_rows([order], {})

    def cancel_all_after(self, body: Row) -> list[Row]:
        """`trade/cancel-all-after`: 0 disarms, 10 to 120 seconds arm."""
        text = str(body.get("timeOut", ""))
        if not text.isdigit() or not (int(text) == 0 or 10 <= int(text) <= 120):
            raise Wrong("51000", "Parameter timeOut error")
        now = self._clock_ns()
        at_ns = now + int(text) * 1_000_000_000 if int(text) else 0
        self._exchange.arm_dead_man(self._account, None, at_ns)
        tag = str(body.get("tag") or "")
        return [{"triggerTime": rows.ms(at_ns), "tag": tag, "ts": rows.ms(now)}]

    # --- rows ------------------------------------------------------------------------------------

    def _legs(self) -> Sequence[PositionView]:
        return self._exchange.positions(self._account)

    def _rows(self, orders: Sequence[OrderView]) -> list[Row]:
        shown = {order.order_id for order in orders}
        last = {
            fill.order_id: fill
            for fill in self._exchange.executions(self._account)
            if fill.order_id in shown
        }
        return [
            rows.order_row(
                self._contracts[order.ticket.symbol],
                order,
                self._exchange.leverage(self._account, order.ticket.symbol),
                last=last.get(order.order_id),
            )
            for order in orders
        ]

    def _algo_rows(self, orders: Sequence[OrderView], query: Query) -> list[Row]:
        found = [
            rows.algo_row(
                self._contracts[order.ticket.symbol],
                order,
                self._exchange.leverage(self._account, order.ticket.symbol),
            )
            for order in orders
        ]
        kinds = [kind for kind in query.get("ordType", "").split(",") if kind]
        return [row for row in found if not kinds or row["ordType"] in kinds]


def _is_waiting(order: OrderView) -> bool:
    return order.status is OrderStatus.UNTRIGGERED


def _matching(found: Iterable[Row], query: Query) -> Iterator[Row]:
    fields = [
        name for name in ("instType", "instId", "ordType", "state", "ordId") if query.get(name)
    ]
    begin, end = query.get("begin", ""), query.get("end", "")
    for row in found:
        at_ms = int(row["ts"] if "ts" in row else row["cTime"])
        if (
            all(row.get(name) == query[name] for name in fields)
            and (not begin.isdigit() or at_ms >= int(begin))
            and (not end.isdigit() or at_ms <= int(end))
        ):
            yield row


def _page(newest: Iterable[Row], query: Query, key: str) -> list[Row]:
    """Return one page of rows given newest first."""
    after, before, limit = query.get("after", ""), query.get("before", ""), query.get("limit", "")
    found = (
        row
        for row in newest
        if (not after.isdigit() or int(row[key]) < int(after))
        and (not before.isdigit() or int(row[key]) > int(before))
    )
    return list(islice(found, min(int(limit), _PAGE) if limit.isdigit() else _PAGE))
