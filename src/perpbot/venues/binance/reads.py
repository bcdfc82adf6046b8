"""What Binance answers about an account by REST.

Every read raises `Unavailable` where it was not answered, or not in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from perpbot.domain.errors import InvalidValue, Rejected, Unavailable, VenueError
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    OrderRequest,
    PositionReport,
    TransferReport,
)
from perpbot.kernel.clock import MS, SECOND
from perpbot.venues.binance.codec import (
    ALGO_PREFIX,
    AlgoRow,
    BalanceRow,
    Codec,
    IncomeRow,
    OrderRow,
    PositionRow,
    TradeRow,
    client_id_from_wire,
    client_id_to_wire,
)
from perpbot.venues.binance.errors import NO_SUCH_ORDER
from perpbot.venues.binance.rest import RestClient
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.wire.limits import Lane

R = TypeVar("R")
T = TypeVar("T")

_PAGE = 1000
_WEEK_MS = 7 * 86_400_000
_STABLES = ("USDT", "USDC")
_TRANSFER = "TRANSFER"
_MOVED = frozenset(
    {
        _TRANSFER,
        "INTERNAL_TRANSFER",
        "CROSS_COLLATERAL_TRANSFER",
        "STRATEGY_UMFUTURES_TRANSFER",
        "COIN_SWAP_DEPOSIT",
        "COIN_SWAP_WITHDRAW",
        "AUTO_EXCHANGE",
        "WELCOME_BONUS",
    }
)
"""Kinds of income that move money and are no trade's result (documents, "Get Income History").
INSURANCE_CLEAR, fees and rebates are not among them: they are gains and losses."""
_LATELY_NS = 60 * SECOND
"""How far back the history of everything is asked for, of what the stream just told."""


class AccountReads:
    """The reads of `perpbot.venues.port.Account`; `symbols` are asked for their executions."""

    def __init__(self, rest: RestClient, codec: Codec) -> None:
        self._rest = rest
        self._codec = codec
        self.symbols: set[str] = set()
        self._client_ids: dict[tuple[str, str], str] = {}
        self._unheard_ns: int | None = 0
        """Since when (UTC) money may have moved that the stream did not tell of; None: not."""

    async def order(self, order: OrderRequest, venue_order_id: str) -> OrderReport | None:
        """Return the order's state; None when the venue definitely does not know it.

        Binance forgets orders that ended without a fill after some days.
        """
        query = f"symbol={order.symbol}&origClientOrderId={client_id_to_wire(order.client_id)}"
        try:
            row = await self._rest.ask("/fapi/v1/order", OrderRow, query, lane=Lane.HEDGE)
        except Rejected as refusal:
            if refusal.code == NO_SUCH_ORDER:
                return None
            raise Unavailable(VENUE, f"order: {refusal.message}", code=refusal.code) from refusal
        except Unavailable:
            raise
        except VenueError as error:
            raise Unavailable(VENUE, f"order: {error.message}", code=error.code) from error
        return self._reports(self._codec.order, [row])[0]

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return all open orders and all waiting conditional orders of the account."""
        rows = await self._rest.read("/fapi/v1/openOrders", list[OrderRow], weight=40)
        algos = await self._rest.read("/fapi/v1/openAlgoOrders", list[AlgoRow], weight=40)
        reports = self._reports(self._codec.order, rows)
        for report in reports:
            self.remember(report)
        return reports + self._reports(self._codec.algo, algos)

    async def fills(self, since_ns: int) -> Sequence[FillReport]:
        """Return executions of the prepared symbols since a UTC time, in order of time."""
        found: list[FillReport] = []
        for symbol in sorted(self.symbols):
            for row in await self._trades(symbol, since_ns // MS):
                client_id = await self._client_id(symbol, row.order_id)
                found += self._reports(partial(self._codec.trade, client_id=client_id), [row])
        return sorted(found, key=lambda fill: (fill.venue_ns, fill.trade_id))

    async def positions(self) -> Sequence[PositionReport]:
        """Return all legs that are not zero."""
        rows = await self._rest.read("/fapi/v3/positionRisk", list[PositionRow], weight=5)
        legs = self._reports(self._codec.position, rows)
        return [leg for leg in legs if leg.quantity]

    async def balances(self) -> Sequence[BalanceReport]:
        """Return the currencies that the account holds, and the stablecoins it settles in."""
        rows = await self._rest.read("/fapi/v3/balance", list[BalanceRow], weight=5)
        found = self._reports(self._codec.balance, rows)
        return [one for one in found if one.wallet or one.equity or one.currency in _STABLES]

    async def funding(self, since_ns: int) -> Sequence[FundingReport]:
        """Return funding payments since a UTC time, oldest first."""
        rows = await self._income("FUNDING_FEE", since_ns)
        return self._reports(self._codec.funding, rows)

    async def transfers(self, since_ns: int) -> Sequence[TransferReport]:
        """Return transfers since a UTC time, oldest first.

        A question costs the same weight for one kind of income as for all of them, and only one
        kind is usual. The others are looked for in the history of everything, for the time in
        which the stream was not heard, or when it told that money moved.
        """
        unheard_ns = self._unheard_ns
        found: dict[str, TransferReport] = {}
        if unheard_ns is None or unheard_ns > since_ns:
            found |= await self._moved(_TRANSFER, since_ns)
        if unheard_ns is not None:
            found |= await self._moved("", max(since_ns, unheard_ns))
            if self._unheard_ns == unheard_ns:
                self._unheard_ns = None
        return sorted(found.values(), key=lambda report: report.venue_ns)

    async def moved_lately(self) -> Sequence[TransferReport]:
        """Return transfers of every kind of the last minute, oldest first."""
        found = await self._moved("", self._rest.now_ns() - _LATELY_NS)
        return sorted(found.values(), key=lambda report: report.venue_ns)

    def unheard(self) -> None:
        """From about now on the stream may miss money that moves, or has told of some."""
        lately_ns = self._rest.now_ns() - _LATELY_NS
        self._unheard_ns = lately_ns if self._unheard_ns is None else self._unheard_ns

    async def _moved(self, kind: str, since_ns: int) -> dict[str, TransferReport]:
        rows = [row for row in await self._income(kind, since_ns) if row.income_type in _MOVED]
        return {one.transfer_id: one for one in self._reports(self._codec.transfer, rows)}

    async def _income(self, kind: str, since_ns: int) -> list[IncomeRow]:
        """Page through a kind of income ("": all); a page begins where one ended."""
        since_ms = since_ns // MS
        seen: dict[tuple[str, ...], IncomeRow] = {}
        chosen = f"incomeType={kind}&" if kind else ""
        while True:
            query = f"{chosen}startTime={since_ms}&limit={_PAGE}"
            rows = await self._rest.read("/fapi/v1/income", list[IncomeRow], query, weight=30)
            before = len(seen)
            seen.update((_income_key(row), row) for row in rows)
            if len(rows) < _PAGE or len(seen) == before:
                return list(seen.values())
            since_ms = max(row.time for row in rows)

    async def _trades(self, symbol: str, since_ms: int) -> list[TradeRow]:
        """Page through a symbol's executions: windows of at most a week, then by id."""
        found: list[TradeRow] = []
        now_ms = self._rest.server_ms()
        start_ms = since_ms
        while start_ms <= now_ms:
            end_ms = min(start_ms + _WEEK_MS - 1, now_ms)
            query = f"symbol={symbol}&startTime={start_ms}&endTime={end_ms}&limit={_PAGE}"
            rows = await self._trade_page(query)
            found += rows
            while len(rows) == _PAGE:
                rows = await self._trade_page(
                    f"symbol={symbol}&fromId={rows[-1].id + 1}&limit={_PAGE}"
                )
                rows = [row for row in rows if row.time <= end_ms]
                found += rows
            start_ms = end_ms + 1
        return found

    async def _trade_page(self, query: str) -> list[TradeRow]:
        return await self._rest.read("/fapi/v1/userTrades", list[TradeRow], query, weight=5)

    async def _client_id(self, symbol: str, order_id: int) -> str:
        """Return the client id of an order; executions by REST carry only the venue's id."""
        key = (symbol, str(order_id))
        if key not in self._client_ids:
            query = f"symbol={symbol}&orderId={order_id}"
            try:
                row = await self._rest.ask("/fapi/v1/order", OrderRow, query)
                self._client_ids[key] = client_id_from_wire(row.client_order_id)
            except Rejected as refusal:
                if refusal.code != NO_SUCH_ORDER:
                    raise Unavailable(VENUE, refusal.message, code=refusal.code) from refusal
                self._client_ids[key] = ""
            except Unavailable:
                raise
            except VenueError as error:
                raise Unavailable(VENUE, error.message, code=error.code) from error
        return self._client_ids[key]

    def remember(self, report: OrderReport) -> None:
        """Keep the client id of an order: executions by REST do not carry it."""
        if not report.venue_order_id.startswith(ALGO_PREFIX):
            self._client_ids[report.symbol, report.venue_order_id] = report.client_id

    def _reports(self, convert: Callable[[R], T], rows: Sequence[R]) -> list[T]:
        try:
            return [convert(row) for row in rows]
        except InvalidValue as error:
            raise Unavailable(VENUE, f"an answer could not be read: {error}") from error


def _income_key(row: IncomeRow) -> tuple[str, ...]:
    """Return what makes a row unique: an id is of one kind, and an exchange moves two assets."""
    return row.income_type, str(row.tran_id), row.symbol, row.asset
