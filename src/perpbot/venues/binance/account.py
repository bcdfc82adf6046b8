"""The account of Binance: the private stream, beside what REST answers (`reads.py`).

The stream tells wallets but neither equity nor free margin, and funding without its symbol, so
both are asked by REST when the stream says that they changed; so are transfers, of which it tells
an amount but no id. TRADE_LITE comes first but carries neither fee nor position side; fills are
booked once, by trade id, so it is not reported: the full event with the fee follows.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from perpbot.domain.errors import InvalidValue, ReadOnly, Unavailable, VenueError
from perpbot.domain.events import (
    AccountReported,
    ConnectionState,
    Event,
    FillReported,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.kernel.clock import SECOND, Clock
from perpbot.venues.binance.codec import UNREADABLE, AlgoEvent, Codec, OrderEvent, PositionEvent
from perpbot.venues.binance.errors import NO_LISTEN_KEY
from perpbot.venues.binance.reads import AccountReads
from perpbot.venues.binance.rest import WEIGHT, RestClient
from perpbot.venues.binance.session import ApiSession
from perpbot.venues.binance.universe import VENUE
from perpbot.venues.port import Publish
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.limits import Lane
from perpbot.venues.wire.websocket import Connection, WebSocketChannel

KEEPALIVE_S = 1_800.0
"""A listen key lives 60 minutes; the documents ask for a renewal each 30."""
_PRIVATE_SILENCE_S = 86_400.0
"""A quiet account says nothing for hours; pings watch the socket, and Binance cuts it daily."""
_PING_INTERVAL_S = 5.0
"""So that a half-open socket is found within ten seconds."""
_REFRESH_S = 1.0
"""Shortest time between two REST refreshes that the stream asked for."""
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


class BinanceAccount(AccountReads):
    """See `perpbot.venues.port.Account`: the reads, and the private stream."""

    def __init__(
        self,
        *,
        rest: RestClient,
        ws_url: str,
        codec: Codec,
        clock: Clock,
        rng: random.Random,
        dials: Dials,
        orders: ApiSession | None = None,
        keepalive_s: float = KEEPALIVE_S,
        refuse: Callable[[str, str], None] | None = None,
    ) -> None:
        super().__init__(rest, codec)
        self._ws_url = ws_url
        self._clock = clock
        self._orders = orders
        self._keepalive_s = keepalive_s
        self._refuse = refuse
        self.refused: dict[str, int] = {}
        """Private frames that could not be read, by reason."""
        self._balances_changed = asyncio.Event()
        self._funding_paid = asyncio.Event()
        self._money_moved = asyncio.Event()
        self._publish: Publish | None = None
        self._channel = WebSocketChannel(
            venue=VENUE,
            name="private",
            url=self._private_url,
            on_open=self._on_open,
            on_text=self.on_text,
            on_down=self._on_down,
            clock=clock,
            rng=rng,
            dials=dials,
            private=True,
            ping_interval_s=_PING_INTERVAL_S,
            silence_s=_PRIVATE_SILENCE_S,
        )

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
        self.remember(report)
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
            self.unheard()
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

    def _on_down(self, reason: str) -> None:
        self.unheard()
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
        transfers = tuple(await self.moved_lately())
        if transfers:
            self._emit(
                AccountReported(
                    venue=VENUE, transfers=transfers, source=VENUE, ts_ns=self._clock.now_ns()
                )
            )

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
