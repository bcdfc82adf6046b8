"""What OKX says we own and owe: REST reads, and the private stream.

A read answers completely or raises `Unavailable`; lists are read to their last page. Rows of
instruments that this adapter does not trade (inverse swaps) are left out and counted; a row of a
linear swap that is not known yet makes it ask for the instruments again first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Protocol, TypeVar

from perpbot.domain.errors import ProtocolViolation, ReadOnly, Unavailable
from perpbot.domain.events import (
    AccountReported,
    ConnectionState,
    FillReported,
    OrderReported,
    VenueConnectionChanged,
)
from perpbot.domain.instruments import Instrument
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
from perpbot.venues.okx.catalogue import SETTLE_CURRENCIES, VENUE, Catalogue
from perpbot.venues.okx.codec import (
    BalanceRow,
    BillRow,
    FillRow,
    Frame,
    OrderRow,
    PositionRow,
    rows_of,
)
from perpbot.venues.okx.errors import NO_SUCH_ORDER
from perpbot.venues.okx.reports import Reports
from perpbot.venues.okx.rest import RestClient
from perpbot.venues.okx.session import PrivateSession
from perpbot.venues.port import Publish

PAGE = 100
MAX_PAGES = 200
"""No list may go on for ever; 20 000 rows is more than any account has between two reads."""
_RECENT_FILLS_NS = (3 * 24 - 1) * 3_600 * SECOND
"""trade/fills goes back 3 days, an hour less for safety; fills-history goes back 3 months."""
_RECENT_BILLS_NS = (7 * 24 - 1) * 3_600 * SECOND
"""account/bills goes back 7 days, bills-archive 3 months."""
_FUNDING_BILL = "8"
_TRANSFER_BILL = "1"


class _OfInstrument(Protocol):
    @property
    def inst_id(self) -> str: ...


Row = TypeVar("Row", bound=_OfInstrument)
Report = TypeVar("Report")


class OkxAccount:
    """Reads of one account. Without a session (no credentials) every read is refused."""

    def __init__(
        self,
        *,
        rest: RestClient,
        session: PrivateSession | None,
        catalogue: Catalogue,
        refresh: Callable[[], Awaitable[object]],
        clock: Clock,
        account: str,
        venue: str = VENUE,
    ) -> None:
        self._rest = rest
        self._session = session
        self._catalogue = catalogue
        self._refresh = refresh
        self._clock = clock
        self._venue = venue
        self._reports = Reports(venue=venue, account=account)
        self._currencies = frozenset(SETTLE_CURRENCIES)
        self.refused: Counter[str] = Counter()
        """Private frames and rows that were left out, by reason."""

    async def order(self, order: OrderRequest, venue_order_id: str) -> OrderReport | None:
        """Return the order's state; None when OKX does not know it (code 51603)."""
        identity = {"clOrdId": order.client_id} if order.client_id else {"ordId": venue_order_id}
        try:
            rows = await self._rest.read(
                "/api/v5/trade/order", OrderRow, {"instId": order.symbol, **identity}
            )
        except Unavailable as error:
            if error.code == NO_SUCH_ORDER:
                return None
            raise
        if len(rows) != 1:
            raise Unavailable(self._venue, f"one order was asked for, {len(rows)} came")
        return self._readable(lambda: self._reports.order(rows[0], self._known(rows[0].inst_id)))

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return all open swap orders of the account."""
        pages = self._pages(
            "/api/v5/trade/orders-pending", OrderRow, {"instType": "SWAP"}, lambda row: row.ord_id
        )
        return await self._all_converted(pages, self._reports.order)

    async def fills(self, since_ns: int) -> Sequence[FillReport]:
        """Return executions since a UTC time, oldest first."""
        recent = self._clock.now_ns() - since_ns < _RECENT_FILLS_NS
        pages = self._pages(
            "/api/v5/trade/fills" if recent else "/api/v5/trade/fills-history",
            FillRow,
            {"instType": "SWAP", "begin": str(max(since_ns // MS - 1, 0))},
            lambda row: row.bill_id,
        )
        found = await self._all_converted(pages, self._reports.fill)
        kept = (fill for fill in found if fill.venue_ns >= since_ns // MS * MS)
        return sorted(kept, key=lambda fill: fill.venue_ns)

    async def positions(self) -> Sequence[PositionReport]:
        """Return all non-zero legs."""
        rows = await self._rest.read(
            "/api/v5/account/positions", PositionRow, {"instType": "SWAP"}
        )
        found = await self._converted(rows, self._reports.position)
        return [one for one in found if one.quantity != ZERO]

    async def balances(self) -> Sequence[BalanceReport]:
        """Return the USDT and USDC of the account."""
        rows = await self._rest.read("/api/v5/account/balance", BalanceRow)
        if not rows:
            raise Unavailable(self._venue, "the balance came without an account")
        return self._readable(lambda: self._reports.balances(rows[0], self._currencies))

    async def funding(self, since_ns: int) -> Sequence[FundingReport]:
        """Return funding payments since a UTC time, oldest first."""
        pages = self._bills(_FUNDING_BILL, since_ns, {"instType": "SWAP"})
        found = await self._all_converted(pages, self._reports.funding)
        kept = (payment for payment in found if payment.venue_ns >= since_ns // MS * MS)
        return sorted(kept, key=lambda payment: payment.venue_ns)

    async def transfers(self, since_ns: int) -> Sequence[TransferReport]:
        """Return transfers of the collateral since a UTC time, oldest first.

        Deposits and withdrawals go through the funding account, so what moves the trading account
        is a transfer between the two, or with a sub-account: type 1. Its bills have no instType.
        """
        async with aclosing(self._bills(_TRANSFER_BILL, since_ns, {})) as pages:
            ours = [row async for page in pages for row in page if row.ccy in self._currencies]
        found = self._readable(lambda: [self._reports.transfer(row) for row in ours])
        kept = (one for one in found if one.venue_ns >= since_ns // MS * MS)
        return sorted(kept, key=lambda one: (one.venue_ns, one.transfer_id))

    def _bills(
        self, kind: str, since_ns: int, parameters: Mapping[str, str]
    ) -> AsyncGenerator[list[BillRow], None]:
        recent = self._clock.now_ns() - since_ns < _RECENT_BILLS_NS
        return self._pages(
            "/api/v5/account/bills" if recent else "/api/v5/account/bills-archive",
            BillRow,
            {**parameters, "type": kind, "begin": str(max(since_ns // MS - 1, 0))},
            lambda row: row.bill_id,
        )

    async def run(self, publish: Publish) -> None:
        """Stream reports until cancelled; channel "private" says when to reconcile."""
        session = self._session
        if session is None:
            raise ReadOnly(self._venue)

        def on_change(up: bool, reason: str) -> None:  # noqa: FBT001 - the session's callback
            publish(
                VenueConnectionChanged(
                    ts_ns=self._clock.now_ns(),
                    source=self._venue,
                    venue=self._venue,
                    channel="private",
                    state=ConnectionState.LIVE if up else ConnectionState.DOWN,
                    reason=reason,
                )
            )

        def refuse(reason: str) -> None:
            self.refused[reason] += 1

        await session.run(
            on_push=lambda frame: self._push(frame, publish), on_change=on_change, refuse=refuse
        )

    # --- pushes ---

    def _push(self, frame: Frame, publish: Publish) -> None:
        assert frame.arg is not None
        channel = frame.arg.channel
        if channel == "orders":
            for row in rows_of(self._venue, frame.data, list[OrderRow]):
                self._push_order(row, publish)
        elif channel == "positions":
            positions = [
                self._reports.position(row, instrument)
                for row, instrument in self._traded(
                    rows_of(self._venue, frame.data, list[PositionRow])
                )
            ]
            if positions:
                self._publish_account(publish, positions=tuple(positions))
        elif channel == "account":
            for row in rows_of(self._venue, frame.data, list[BalanceRow]):
                balances = self._reports.balances(row, self._currencies)
                if balances:
                    self._publish_account(publish, balances=balances)
        else:
            self.refused["unknown_channel"] += 1

    def _push_order(self, row: OrderRow, publish: Publish) -> None:
        for known, instrument in self._traded([row]):
            now_ns = self._clock.now_ns()
            # The fill first: what the report says of the total is then explained already.
            fill = self._reports.fill_of_order(known, instrument)
            if fill is not None:
                publish(FillReported(ts_ns=now_ns, source=self._venue, report=fill))
            report = self._reports.order(known, instrument)
            publish(OrderReported(ts_ns=now_ns, source=self._venue, report=report))

    def _publish_account(
        self,
        publish: Publish,
        *,
        balances: tuple[BalanceReport, ...] = (),
        positions: tuple[PositionReport, ...] = (),
    ) -> None:
        publish(
            AccountReported(
                ts_ns=self._clock.now_ns(),
                source=self._venue,
                venue=self._venue,
                balances=balances,
                positions=positions,
            )
        )

    # --- rows ---

    async def _pages(
        self,
        path: str,
        kind: type[Row],
        parameters: Mapping[str, str],
        key: Callable[[Row], str],
    ) -> AsyncGenerator[list[Row], None]:
        """Read newest to oldest until a page is not full."""
        after: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = await self._rest.read(path, kind, {**parameters, "limit": str(PAGE), **after})
            yield page
            if len(page) < PAGE:
                return
            last = key(page[-1])
            if not last or after.get("after") == last:
                raise Unavailable(self._venue, f"{path}: the next page cannot be asked for")
            after = {"after": last}
        raise Unavailable(self._venue, f"{path}: more than {MAX_PAGES * PAGE} rows")

    async def _all_converted(
        self, pages: AsyncGenerator[list[Row], None], convert: Callable[[Row, Instrument], Report]
    ) -> list[Report]:
        """Convert each page when it comes: thousands of rows are never there at once."""
        async with aclosing(pages):
            return [one async for rows in pages for one in await self._converted(rows, convert)]

    async def _converted(
        self, rows: Sequence[Row], convert: Callable[[Row, Instrument], Report]
    ) -> list[Report]:
        await self._know(row.inst_id for row in rows)
        return self._readable(partial(_each, convert, self._traded(rows)))

    async def _know(self, symbols: Iterable[str]) -> None:
        """See to it that each symbol is known; raise `Unavailable` for one that is not listed."""
        unknown = [symbol for symbol in symbols if self._is_unknown(symbol)]
        if unknown:
            await self._refresh()
        for symbol in unknown:
            if self._is_unknown(symbol):
                raise Unavailable(self._venue, f"instrument {symbol!r} is not known")

    def _traded(self, rows: Iterable[Row]) -> list[tuple[Row, Instrument]]:
        found = []
        for row in rows:
            instrument = self._catalogue.get(row.inst_id)
            if instrument is None:
                self.refused["not_traded"] += 1
            else:
                found.append((row, instrument))
        return found

    def _is_unknown(self, symbol: str) -> bool:
        return self._catalogue.get(symbol) is None and not self._catalogue.is_foreign(symbol)

    def _known(self, symbol: str) -> Instrument:
        found = self._catalogue.get(symbol)
        if found is None:
            raise ProtocolViolation(self._venue, f"instrument {symbol!r} is not known")
        return found

    def _readable(self, convert: Callable[[], Report]) -> Report:
        try:
            return convert()
        except ProtocolViolation as error:
            raise Unavailable(self._venue, error.message) from error


def _each(
    convert: Callable[[Row, Instrument], Report], rows: Sequence[tuple[Row, Instrument]]
) -> list[Report]:
    return [convert(row, instrument) for row, instrument in rows]
