"""The account of Binance: what REST answers, and the private stream.

The stream tells wallets but neither equity nor free margin, and funding without its symbol, so
both are asked by REST when the stream says that they changed; so are transfers, of which it tells
an amount but no id. TRADE_LITE comes first but carries
neither fee nor position side; fills are booked once, by trade id, so it is not reported: the full
event with the fee follows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from perpbot.domain.errors import InvalidValue, ReadOnly, Rejected, Unavailable, VenueError
from perpbot.domain.events import (
    AccountReported,
    ConnectionState,
    Event,
    FillReported,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.domain.orders import (
    BalanceReport,
    FillReport,
    FundingReport,
    OrderReport,
    OrderRequest,
    PositionReport,
    TransferReport,
)
from perpbot.kernel.clock import MS, SECOND, Clock
from perpbot.venues.binance.codec import (
    ALGO_PREFIX,
    UNREADABLE,
    AlgoEvent,
    AlgoRow,
    BalanceRow,
    Codec,
    IncomeRow,
    OrderEvent,
    OrderRow,
    PositionEvent,
    PositionRow,
    TradeRow,
    client_id_from_wire,
    client_id_to_wire,
)
from perpbot.venues.binance.errors import NO_LISTEN_KEY, NO_SUCH_ORDER
from perpbot.venues.binance.rest import WEIGHT, RestClient
from perpbot.venues.binance.session import ApiSession
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.port import Publish
from perpbot.venues.wire.limits import Lane
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

R = TypeVar("R")
T = TypeVar("T")

KEEPALIVE_S = 1_800.0
"""A listen key lives 60 minutes; the documents ask for a renewal each 30."""
_PRIVATE_SILENCE_S = 86_400.0
"""A quiet account says nothing for hours; pings watch the socket, and Binance cuts it daily."""
_PING_INTERVAL_S = 5.0
"""So that a half-open socket is found within ten seconds."""
_REFRESH_S = 1.0
"""Shortest time between two REST refreshes that the stream asked for."""
_MOVED_LATELY_NS = 60 * SECOND
"""How far back transfers are asked for that the stream just told of."""
_PAGE = 1000
_WEEK_MS = 7 * 86_400_000
_STABLES = ("USDT", "USDC")
_OFTEN_MOVED = ("TRANSFER",)
_ALL_MOVED = (
    *_OFTEN_MOVED,
    "INTERNAL_TRANSFER",
    "CROSS_COLLATERAL_TRANSFER",
    "STRATEGY_UMFUTURES_TRANSFER",
    "COIN_SWAP_DEPOSIT",
    "COIN_SWAP_WITHDRAW",
    "AUTO_EXCHANGE",
    "WELCOME_BONUS",
)
"""Kinds of income that move money and are no trade's result (documents, "Get Income History").
Each costs a question of weight 30, so the seldom ones are asked for after a connect and when the
stream tells a balance that neither an order nor funding changed. INSURANCE_CLEAR, fees and
rebates are not among them: they are gains and losses."""
_BY_TRADING = frozenset({"ORDER", "FUNDING_FEE", "MARGIN_TYPE_CHANGE", "INSURANCE_CLEAR"})
"""Reasons (`m`) of ACCOUNT_UPDATE behind which no transfer stands; DEPOSIT, WITHDRAW,
ADMIN_DEPOSIT, ASSET_TRANSFER, COIN_SWAP_DEPOSIT and whatever comes new may be one (documents,
"Event: Balance and Position Update")."""
_KNOWN_QUIET = frozenset(
    {
        "TRADE_LITE",
        "ACCOUNT_CONFIG_UPDATE",
        "STRATEGY_UPDATE",
        "GRID_UPDATE",
        "CONDITIONAL_ORDER_TRIGGER_REJECT",
    }
)


class ListenKey(msgspec.Struct, rename="camel"):
    """POST and PUT /fapi/v1/listenKey; a PUT may answer without the key."""

    listen_key: str = ""


class BalanceEvent(msgspec.Struct):
    """A currency of ACCOUNT_UPDATE: wallet balance only."""

    a: str
    wb: str


class AccountChange(msgspec.Struct):
    """The `a` of ACCOUNT_UPDATE: reason, balances, positions."""

    m: str
    B: list[BalanceEvent] = []
    P: list[PositionEvent] = []


class PrivateMessage(msgspec.Struct):
    """Any message of the private stream; `o` and `a` are read by kind."""

    e: str
    E: int = 0
    T: int = 0
    o: msgspec.Raw = msgspec.Raw()
    a: msgspec.Raw = msgspec.Raw()


_decode_event = msgspec.json.Decoder(PrivateMessage).decode
_decode_order = msgspec.json.Decoder(OrderEvent).decode
_decode_algo = msgspec.json.Decoder(AlgoEvent).decode
_decode_change = msgspec.json.Decoder(AccountChange).decode


class BinanceAccount:
    """See `perpbot.venues.port.Account`. `symbols` are those whose executions are asked for."""

    def __init__(
        self,
        *,
        rest: RestClient,
        ws_url: str,
        codec: Codec,
        clock: Clock,
        rng: random.Random,
        orders: ApiSession | None = None,
        keepalive_s: float = KEEPALIVE_S,
        refuse: Callable[[str, str], None] | None = None,
    ) -> None:
        self._rest = rest
        self._ws_url = ws_url
        self._codec = codec
        self._clock = clock
        self._orders = orders
        self._keepalive_s = keepalive_s
        self._refuse = refuse
        self.refused: dict[str, int] = {}
        """Private frames that could not be read, by reason."""
        self.symbols: set[str] = set()
        self._client_ids: dict[tuple[str, str], str] = {}
        self._balances_changed = asyncio.Event()
        self._funding_paid = asyncio.Event()
        self._money_moved = asyncio.Event()
        self._seldom_due = True
        """Whether the seldom kinds of transfers have to be asked for, too."""
        self._publish: Publish | None = None
        self._expired = ""
        self._channel = WebSocketChannel(
            venue=VENUE,
            name="private",
            url=self._private_url,
            on_open=self._on_open,
            on_text=self.on_text,
            on_down=self._on_down,
            clock=clock,
            rng=rng,
            ping_interval_s=_PING_INTERVAL_S,
            silence_s=_PRIVATE_SILENCE_S,
        )

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
            self._remember(report)
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
        """Return transfers since a UTC time, oldest first; the seldom kinds only when due."""
        seldom_due, self._seldom_due = self._seldom_due, False
        try:
            return await self._moved(_ALL_MOVED if seldom_due else _OFTEN_MOVED, since_ns)
        except Unavailable:
            self._seldom_due = self._seldom_due or seldom_due
            raise

    async def _moved(self, kinds: Sequence[str], since_ns: int) -> list[TransferReport]:
        rows = [row for kind in kinds for row in await self._income(kind, since_ns)]
        found = self._reports(self._codec.transfer, rows)
        return sorted(found, key=lambda report: report.venue_ns)

    async def _income(self, kind: str, since_ns: int) -> list[IncomeRow]:
        """Page through one kind of income, without repeats: a page begins where one ended."""
        since_ms = since_ns // MS
        seen: dict[tuple[str, str, str], IncomeRow] = {}
        while True:
            query = f"incomeType={kind}&startTime={since_ms}&limit={_PAGE}"
            rows = await self._rest.read("/fapi/v1/income", list[IncomeRow], query, weight=30)
            before = len(seen)
            seen.update(((str(row.tran_id), row.symbol, row.asset), row) for row in rows)
            if len(rows) < _PAGE or len(seen) == before:
                return list(seen.values())
            since_ms = max(row.time for row in rows)

    async def run(self, publish: Publish) -> None:
        """Stream reports until cancelled; a new listen key for each connection.

        Keeps the socket of orders open besides; where that is down, orders go by REST.

        Raises `ReadOnly` without credentials.
        """
        if not self._rest.can_sign:
            raise ReadOnly(VENUE)
        self._publish = publish
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._channel.run())
            if self._orders is not None:
                tasks.create_task(self._orders.run())
            tasks.create_task(self._keep_alive())
            tasks.create_task(self._follow(self._balances_changed, self._ask_balances))
            tasks.create_task(self._follow(self._funding_paid, self._ask_funding))
            tasks.create_task(self._follow(self._money_moved, self._ask_transfers))

    def on_text(self, payload: memoryview, recv_ns: int) -> None:
        """Read one frame of the private stream.

        Raises `InvalidValue` for what cannot be read: the channel reconnects and a reconcile
        follows, so that nothing is lost in silence.
        """
        try:
            event = _decode_event(payload)
            self._on_event(event)
        except UNREADABLE as error:
            self._count("unreadable private frame")
            raise InvalidValue(f"private frame could not be read: {error}") from error

    def _on_event(self, event: PrivateMessage) -> None:
        if event.e == "ORDER_TRADE_UPDATE":
            self._on_order(_decode_order(event.o))
        elif event.e == "ACCOUNT_UPDATE":
            self._on_account(event, _decode_change(event.a))
        elif event.e == "ALGO_UPDATE":
            report = self._codec.algo_event(_decode_algo(event.o), event.T or event.E)
            self._emit(OrderReported(report=report, source=VENUE, ts_ns=self._clock.now_ns()))
        elif event.e == "listenKeyExpired":
            self._channel.reconnect("the listen key expired")
        elif event.e == "MARGIN_CALL":
            self._count("margin call")
            self._balances_changed.set()
        elif event.e not in _KNOWN_QUIET:
            self._count(f"unknown private event {event.e}")

    def _on_order(self, order: OrderEvent) -> None:
        fill = self._codec.fill_event(order)
        report = self._codec.order_event(order)
        self._remember(report)
        now_ns = self._clock.now_ns()
        if fill is not None:
            self._emit(FillReported(report=fill, source=VENUE, ts_ns=now_ns))
        self._emit(OrderReported(report=report, source=VENUE, ts_ns=now_ns))

    def _on_account(self, event: PrivateMessage, change: AccountChange) -> None:
        if change.B:
            self._balances_changed.set()
        if change.m == "FUNDING_FEE":
            self._funding_paid.set()
        elif change.B and change.m not in _BY_TRADING:
            self._seldom_due = True
            self._money_moved.set()
        if change.P:
            event_ms = event.T or event.E
            legs = tuple(self._codec.position_event(leg, event_ms) for leg in change.P)
            self._emit(
                AccountReported(
                    venue=VENUE, positions=legs, source=VENUE, ts_ns=self._clock.now_ns()
                )
            )

    async def _private_url(self) -> str:
        key = await self._listen_key("POST")
        return f"{self._ws_url}/private/ws?listenKey={key}"

    async def _listen_key(self, method: str) -> str:
        answer = await self._rest.write(
            method,
            "/fapi/v1/listenKey",
            ListenKey,
            costs={WEIGHT: 1},
            lane=Lane.HEDGE,
            signed=False,
        )
        return answer.listen_key

    async def _on_open(self, connection: Connection) -> None:
        # What was missed is the reconcile's business, which this event starts; balances are soft.
        self._emit_state(ConnectionState.LIVE, "")
        self._balances_changed.set()
        self._seldom_due = True

    def _on_down(self, reason: str) -> None:
        self._emit_state(ConnectionState.DOWN, reason)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._keepalive_s)
            if not self._channel.is_up:
                continue
            try:
                await self._listen_key("PUT")
            except VenueError as error:
                self._count("listen key not renewed")
                if error.code == NO_LISTEN_KEY:
                    self._channel.reconnect("the listen key is gone")

    async def _follow(self, changed: asyncio.Event, ask: Callable[[], Awaitable[None]]) -> None:
        """Ask by REST whenever the stream said that something changed, with a pause between."""
        while True:
            await changed.wait()
            changed.clear()
            try:
                await ask()
            except Unavailable:
                self._count("refresh failed")
                changed.set()
            await asyncio.sleep(_REFRESH_S)

    async def _ask_balances(self) -> None:
        balances = tuple(await self.balances())
        self._emit(
            AccountReported(
                venue=VENUE, balances=balances, source=VENUE, ts_ns=self._clock.now_ns()
            )
        )

    async def _ask_funding(self) -> None:
        since_ns = self._clock.now_ns() - 3_600 * SECOND
        funding = tuple(await self.funding(since_ns))
        if funding:
            self._emit(
                AccountReported(
                    venue=VENUE, funding=funding, source=VENUE, ts_ns=self._clock.now_ns()
                )
            )

    async def _ask_transfers(self) -> None:
        since_ns = self._clock.now_ns() - _MOVED_LATELY_NS
        transfers = tuple(await self._moved(_ALL_MOVED, since_ns))
        if transfers:
            self._emit(
                AccountReported(
                    venue=VENUE, transfers=transfers, source=VENUE, ts_ns=self._clock.now_ns()
                )
            )

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

    def _remember(self, report: OrderReport) -> None:
        if not report.venue_order_id.startswith(ALGO_PREFIX):
            self._client_ids[report.symbol, report.venue_order_id] = report.client_id

    def _reports(self, convert: Callable[[R], T], rows: Sequence[R]) -> list[T]:
        try:
            return [convert(row) for row in rows]
        except InvalidValue as error:
            raise Unavailable(VENUE, f"an answer could not be read: {error}") from error

    def _emit_state(self, state: ConnectionState, reason: str) -> None:
        self._emit(
            VenueConnectionChanged(
                venue=VENUE,
                channel="private",
                state=state,
                reason=reason,
                source=VENUE,
                ts_ns=self._clock.now_ns(),
            )
        )

    def _emit(self, event: Event) -> None:
        assert self._publish is not None, "run() gives the place to publish to"
        self._publish(event)

    def _count(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if self._refuse is not None:
            self._refuse(VENUE, reason)
