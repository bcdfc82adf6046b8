"""What the venue says we own and owe: by question, and as it happens.

The stream tells orders, fills, funding, positions and balance. Fills are published as they come,
before or after the acknowledgement of their order. Where the venue does not push positions and
balance, they are asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from perpbot.domain.errors import InvalidValue, ReadOnly, Unavailable
from perpbot.domain.events import (
    AccountReported,
    ConnectionState,
    FillReported,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.domain.money import ZERO
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
from perpbot.venues.hyperliquid.info import InfoClient
from perpbot.venues.hyperliquid.ledger import LedgerRow, transfers_of
from perpbot.venues.hyperliquid.statement import (
    AddressBudget,
    ClearinghouseState,
    FundingRow,
    OrderAnswer,
    OrderUpdate,
    Reader,
    WireFill,
    WireFunding,
    WireOrder,
    cloid_of,
)
from perpbot.venues.hyperliquid.universe import VENUE, Meta, Universe
from perpbot.venues.hyperliquid.user_codec import (
    LedgerFrame,
    OrderUpdatesFrame,
    StateFrame,
    UserEventsFrame,
    UserFillsFrame,
    UserFrame,
    UserFundingsFrame,
    WebDataFrame,
)
from perpbot.venues.hyperliquid.user_socket import UserSocket
from perpbot.venues.port import Publish
from perpbot.venues.wire.decoding import ns_of_ms
from perpbot.venues.wire.limits import Lane

A = TypeVar("A")
R = TypeVar("R")

_UNIVERSE_RETRY_S = 1.0
_STATE_INTERVAL_S = 10.0
"""Without a push of positions and balance for so long, they are asked for."""
_TOLD_ONCE = frozenset(
    {"orderUpdates", "userFills", "userFundings", "userNonFundingLedgerUpdates", "user"}
)
"""Channels whose frames are not repeated by a later one."""


class AccountStatistics(msgspec.Struct, kw_only=True):
    """Counts since the start."""

    unreadable: dict[str, int]
    """Private frames that could not be read, by channel."""
    failed_polls: int = 0
    skipped_fills: int = 0
    """Fills of markets that are not perpetuals of this universe."""


class HyperliquidAccount:
    """`Account` of the port."""

    def __init__(
        self,
        *,
        info: InfoClient,
        universe: Universe,
        socket: UserSocket | None,
        account_name: str,
        clock: Clock,
        state_interval_s: float = _STATE_INTERVAL_S,
        universe_retry_s: float = _UNIVERSE_RETRY_S,
    ) -> None:
        self._info = info
        self._universe = universe
        self._socket = socket
        self._account_name = account_name
        self._reader = Reader(universe, account=account_name)
        self._clock = clock
        self._state_interval_s = state_interval_s
        self._universe_retry_s = universe_retry_s
        self._publish: Publish = lambda _event: None
        self._started_ms = self._history_ms = 0
        self._state_ns = 0
        self._held: set[str] = set()
        self.statistics = AccountStatistics(unreadable={})

    # --- questions -------------------------------------------------------------------------------

    async def order(self, order: OrderRequest, venue_order_id: str) -> OrderReport | None:
        """Return the order's state; None when the venue definitely does not know it."""
        await self._need_universe()
        oid = cloid_of(order.client_id) if order.client_id else _order_number(venue_order_id)
        # A leg may stand open until this is known: it goes with the hedges.
        answer = await self._info.ask_user(OrderAnswer, "orderStatus", lane=Lane.HEDGE, oid=oid)
        if answer.status == "unknownOid":
            return None
        if answer.order is None:
            raise Unavailable(VENUE, f"orderStatus: unexpected status {answer.status!r}")
        return self._read(self._reader.order, answer.order)

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return all open orders of the account, ours and others (client id "")."""
        await self._need_universe()
        rows = await self._info.ask_user(list[WireOrder], "frontendOpenOrders")
        return [
            self._read(self._reader.order, OrderUpdate(order=row, status="open")) for row in rows
        ]

    async def fills(self, since_ns: int) -> Sequence[FillReport]:
        """Return executions since a UTC time, complete."""
        await self._need_universe()
        rows = await self._info.all_rows(
            WireFill,
            "userFillsByTime",
            since_ms=since_ns // MS,
            key=lambda fill: (fill.coin, fill.tid, fill.oid),
            time_ms=lambda fill: fill.time,
        )
        reports = (self._read(self._reader.fill, row) for row in rows)
        return [report for report in reports if report is not None]

    async def positions(self) -> Sequence[PositionReport]:
        """Return all positions that are not zero."""
        await self._need_universe()
        state = await self._info.ask_user(ClearinghouseState, "clearinghouseState")
        return self._read(self._reader.positions, state)

    async def balances(self) -> Sequence[BalanceReport]:
        """Return the USDC of the account. Raises `Unavailable` where it is not told."""
        state = await self._info.ask_user(ClearinghouseState, "clearinghouseState")
        balances = self._read(self._reader.balances, state)
        if not balances:
            raise Unavailable(VENUE, "clearinghouseState: no account value was told")
        return balances

    async def funding(self, since_ns: int) -> Sequence[FundingReport]:
        """Return funding payments since a UTC time."""
        await self._need_universe()
        rows = await self._info.all_rows(
            FundingRow,
            "userFunding",
            since_ms=since_ns // MS,
            key=lambda row: (row.delta.coin, row.time),
            time_ms=lambda row: row.time,
        )
        payments = [msgspec.structs.replace(row.delta, time=row.time) for row in rows]
        return self._read(self._reader.funding, payments)

    async def transfers(self, since_ns: int) -> Sequence[TransferReport]:
        """Return what came to the perpetual account or left it since a UTC time."""
        rows = await self._info.all_rows(
            LedgerRow,
            "userNonFundingLedgerUpdates",
            since_ms=since_ns // MS,
            key=lambda row: row.transfer_id,
            time_ms=lambda row: row.time,
        )
        return self._read(self._transfers, rows)

    def _transfers(self, rows: Sequence[LedgerRow]) -> tuple[TransferReport, ...]:
        return transfers_of(rows, self._info.user, self._account_name)

    async def address_budget(self) -> AddressBudget:
        """Return how many requests the address has left (one a USD traded)."""
        return await self._info.ask_user(AddressBudget, "userRateLimit")

    # --- stream ----------------------------------------------------------------------------------

    async def run(self, publish: Publish) -> None:
        """Publish orders, fills, balances, positions, funding and transfers until cancelled."""
        if self._socket is None:
            raise ReadOnly(VENUE)
        self._publish = publish
        await self._until_universe()
        self._started_ms = self._history_ms = self._clock.now_ns() // MS
        self._state_ns = self._clock.monotonic_ns()
        self._socket.on_frame = self._on_frame
        self._socket.on_up = lambda: self._connection(ConnectionState.LIVE, "")
        self._socket.on_down = lambda reason: self._connection(ConnectionState.DOWN, reason)
        self._socket.on_unreadable = self._on_unreadable
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._socket.run(), name=f"{VENUE}.account")
            tasks.create_task(self._poll_state(), name=f"{VENUE}.account.state")

    def _connection(self, state: ConnectionState, reason: str) -> None:
        self._publish(
            VenueConnectionChanged(
                ts_ns=self._clock.now_ns(),
                source=VENUE,
                venue=VENUE,
                channel="private",
                state=state,
                reason=reason,
            )
        )

    def _on_unreadable(self, channel: str) -> None:
        """A private frame was lost on us: what it said is found out by a reconcile."""
        name = channel or "?"
        self.statistics.unreadable[name] = self.statistics.unreadable.get(name, 0) + 1
        if channel in _TOLD_ONCE:
            self._connection(ConnectionState.STALE, f"unreadable {channel} frame")
            self._connection(ConnectionState.LIVE, "reconcile")

    def _on_frame(self, frame: UserFrame) -> None:
        try:
            if isinstance(frame, OrderUpdatesFrame):
                for update in frame.data:
                    self._publish_order(update)
            elif isinstance(frame, UserFillsFrame):
                self._publish_fills(frame.data.fills, is_history=bool(frame.data.is_snapshot))
            elif isinstance(frame, UserEventsFrame):
                self._publish_fills(frame.data.fills, is_history=False)
            elif isinstance(frame, UserFundingsFrame):
                self._publish_funding(frame.data.fundings, is_history=bool(frame.data.is_snapshot))
            elif isinstance(frame, LedgerFrame):
                self._publish_transfers(
                    frame.data.non_funding_ledger_updates,
                    is_history=bool(frame.data.is_snapshot),
                )
            elif isinstance(frame, StateFrame | WebDataFrame):
                self._publish_state(frame.data.clearinghouse_state)
        except InvalidValue:
            self._on_unreadable("orderUpdates" if isinstance(frame, OrderUpdatesFrame) else "user")

    def _publish_order(self, update: OrderUpdate) -> None:
        report = self._reader.order(update)
        self._publish(OrderReported(ts_ns=self._clock.now_ns(), source=VENUE, report=report))

    def _publish_fills(self, fills: Sequence[WireFill], *, is_history: bool) -> None:
        """Publish executions; of a snapshot, those that an earlier connection may have missed."""
        floor_ms = self._history_ms
        for fill in fills:
            if is_history and fill.time < floor_ms:
                continue
            report = self._reader.fill(fill)
            if report is None:
                self.statistics.skipped_fills += 1
                continue
            self._history_ms = max(self._history_ms, fill.time)
            self._publish(FillReported(ts_ns=self._clock.now_ns(), source=VENUE, report=report))

    def _publish_funding(self, payments: Sequence[WireFunding], *, is_history: bool) -> None:
        floor_ms = self._started_ms if is_history else 0
        reports = self._reader.funding([one for one in payments if one.time >= floor_ms])
        if reports:
            self._report(AccountReported(venue=VENUE, funding=reports))

    def _publish_transfers(self, rows: Sequence[LedgerRow], *, is_history: bool) -> None:
        floor_ms = self._started_ms if is_history else 0
        reports = self._transfers([row for row in rows if row.time >= floor_ms])
        if reports:
            self._report(AccountReported(venue=VENUE, transfers=reports))

    def _publish_state(self, state: ClearinghouseState) -> None:
        self._state_ns = self._clock.monotonic_ns()
        positions = self._reader.positions(state)
        held = {position.symbol for position in positions}
        gone = sorted(self._held - held)
        self._held = held
        self._report(
            AccountReported(
                venue=VENUE,
                balances=self._reader.balances(state),
                positions=positions + tuple(self._flat(symbol, state) for symbol in gone),
            )
        )

    def _flat(self, symbol: str, state: ClearinghouseState) -> PositionReport:
        instrument = self._universe.find(symbol)
        return PositionReport(
            venue=VENUE,
            account=self._account_name,
            symbol=symbol,
            asset=instrument.asset if instrument else symbol,
            quantity=ZERO,
            venue_ns=ns_of_ms(state.time),
        )

    def _report(self, event: AccountReported) -> None:
        self._publish(msgspec.structs.replace(event, ts_ns=self._clock.now_ns(), source=VENUE))

    async def _poll_state(self) -> None:
        """Ask for positions and balance where they are not pushed."""
        while True:
            await asyncio.sleep(self._state_interval_s)
            silent_ns = self._clock.monotonic_ns() - self._state_ns
            if silent_ns < self._state_interval_s * SECOND:
                continue
            try:
                state = await self._info.ask_user(ClearinghouseState, "clearinghouseState")
                self._publish_state(state)
            except (Unavailable, InvalidValue):
                # Nothing is known; nothing is told. The next reconcile asks again and says why.
                self.statistics.failed_polls += 1

    # --- the universe ----------------------------------------------------------------------------

    async def _need_universe(self) -> None:
        """Units are needed to read anything. Raises `Unavailable`."""
        if not len(self._universe):
            meta = await self._info.ask(Meta, "meta")
            self._read(self._universe.replace, meta)

    async def _until_universe(self) -> None:
        delay_s = self._universe_retry_s
        while True:
            try:
                await self._need_universe()
                return
            except Unavailable as error:
                self._connection(ConnectionState.DOWN, error.message)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, 60.0)

    def _read(self, read: Callable[[A], R], what: A) -> R:
        try:
            return read(what)
        except InvalidValue as error:
            raise Unavailable(VENUE, f"unreadable answer: {error}") from error


def _order_number(venue_order_id: str) -> int:
    if not venue_order_id.isdecimal():
        raise InvalidValue(f"venue_order_id was {venue_order_id!r}, an order number was expected")
    return int(venue_order_id)
