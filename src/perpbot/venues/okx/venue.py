"""OKX, put together: the public side always, the private one with keys.

Addresses: https://www.okx.com and wss://ws.okx.com:8443; demo trading uses the same REST host with
the header `x-simulated-trading: 1`, and wss://wspap.okx.com:8443.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.capabilities import Capabilities, ClientIdScope, DeadManScope, Lookup
from perpbot.domain.errors import ProtocolViolation, Rejected, Unavailable
from perpbot.domain.instruments import Instrument
from perpbot.domain.permissions import KeyPermissions
from perpbot.kernel.clock import Clock
from perpbot.venues.okx.account import OkxAccount
from perpbot.venues.okx.budgets import DIALS, Budgets
from perpbot.venues.okx.catalogue import VENUE, Catalogue
from perpbot.venues.okx.codec import ConfigRow
from perpbot.venues.okx.errors import OFF_GRID
from perpbot.venues.okx.market_data import OkxMarketData
from perpbot.venues.okx.orders import PositionMode
from perpbot.venues.okx.permissions import PATH, KeyRow
from perpbot.venues.okx.rest import RestClient
from perpbot.venues.okx.session import PrivateSession
from perpbot.venues.okx.signing import OkxCredentials, Signer
from perpbot.venues.okx.stops import OkxStops
from perpbot.venues.okx.trading import OkxTrading
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.http import HttpClient
from perpbot.venues.wire.limits import Lane

REST_URL = "https://www.okx.com"
WS_URL = "wss://ws.okx.com:8443"
DEMO_WS_URL = "wss://wspap.okx.com:8443"

CAPABILITIES = Capabilities(
    venue=VENUE,
    operator="okx",
    # OKX checks a client id against open orders and, for how long is not documented, ended ones.
    client_id_scope=ClientIdScope.OPEN_ORDERS,
    lookup=Lookup.FULL,
    request_expiry=True,
    dead_man=DeadManScope.ACCOUNT,
    dead_man_removes_stops=False,
    post_only=True,
    ioc=True,
    fok=True,
    market_orders=True,
    reduce_only=True,
    hedge_mode=True,
    self_trade_prevention=True,
    orders_by_websocket=True,
    instrument_refusals=OFF_GRID,
    has_testnet=True,
    # bbo-tbt pushes on change only and has no heartbeat (the ping is the connection's, not the
    # channel's). A liquid swap changes many times a second: 10 s of silence is a stalled channel,
    # and a market that really stands still for longer is not one to open in.
    quote_interval_s=10.0,
    lag_floor_ms=1_000.0,
    funding_interval_s=28_800,
    maker_fee_bps=Decimal(2),
    taker_fee_bps=Decimal(5),
    fees_as_of="2026-10-01",
    order_rate_per_s=30.0,
    reconcile_interval_s=10.0,
)
_SPOT_ONLY = "1"
"""acctLv of an account that cannot hold swaps."""


class OkxVenue:
    """One account of OKX; see `perpbot.venues.port.Venue`."""

    name = VENUE
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        settings: VenueConnection,
        credentials: OkxCredentials | None,
        clock: Clock,
        rng: random.Random,
        books: bool = False,
        trades: bool = True,
        leverage: int | None = None,
    ) -> None:
        """`leverage` is set for each instrument at `open`; None leaves the account's own.

        `books` also subscribes to the 400 levels of each instrument.
        """
        self.account_name = account = settings.account_name
        self._leverage = leverage
        self._http = _http(settings, credentials, clock)
        url = _ws_url(settings)
        signer = None if credentials is None else Signer(credentials, clock)
        dials = Dials(settings.dials or DIALS, clock=clock)
        session = None if signer is None else _session(settings, url, signer, clock, rng, dials)
        self._session = session
        budgets = Budgets(clock)
        self._rest = rest = RestClient(
            venue=VENUE,
            http=self._http,
            signer=signer,
            budgets=budgets,
            simulated=settings.testnet,
        )
        self.catalogue = catalogue = Catalogue()
        self.market_data = OkxMarketData(
            rest=rest,
            catalogue=catalogue,
            url=url,
            clock=clock,
            rng=rng,
            dials=dials,
            books=books,
            trades=trades,
        )
        self.account = OkxAccount(
            rest=rest,
            session=session,
            catalogue=catalogue,
            refresh=self.market_data.instruments,
            clock=clock,
            account=account,
        )
        stops = OkxStops(rest=rest, catalogue=catalogue, budgets=budgets, account=account)
        self.trading = OkxTrading(
            rest=rest,
            session=session,
            catalogue=catalogue,
            budgets=budgets,
            stops=stops,
            clock=clock,
            account=account,
        )

    @property
    def can_trade(self) -> bool:
        """Whether credentials are present."""
        return self._session is not None

    @property
    def hedge_mode(self) -> bool:
        """Whether the account keeps LONG and SHORT legs apart."""
        return self.trading.mode is PositionMode.LONG_SHORT

    async def open(self, instruments: Sequence[Instrument]) -> None:
        """Learn the position mode of the account and set leverage; raise what OKX refuses."""
        self.catalogue.add(instruments)
        if not self.can_trade:
            return
        await self._learn_mode()
        if self._leverage is not None:
            for instrument in instruments:
                await self._set_leverage(instrument, self._leverage)

    async def close(self) -> None:
        """Close every connection that is not a running stream; orders are left as they are."""
        await self._http.close()

    async def key_permissions(self) -> KeyPermissions:
        """See `perpbot.venues.port.TellsPermissions`."""
        rows = await self._rest.ask(PATH, KeyRow)
        if len(rows) != 1:
            raise Unavailable(VENUE, f"account/config came with {len(rows)} accounts")
        return rows[0].permissions()

    async def _learn_mode(self) -> None:
        rows = await self._rest.ask("/api/v5/account/config", ConfigRow)
        if len(rows) != 1:
            raise ProtocolViolation(VENUE, f"account/config came with {len(rows)} accounts")
        if rows[0].acct_lv == _SPOT_ONLY:
            raise Rejected(
                VENUE,
                "the account is in spot mode; choose futures mode on OKX to trade swaps",
                code="account_level",
            )
        try:
            mode = PositionMode(rows[0].pos_mode)
        except ValueError:
            raise ProtocolViolation(VENUE, f"posMode was {rows[0].pos_mode!r}") from None
        self.trading.mode = mode

    async def _set_leverage(self, instrument: Instrument, leverage: int) -> None:
        body = {"instId": instrument.symbol, "lever": str(leverage), "mgnMode": "cross"}
        await self._rest.change(
            "/api/v5/account/set-leverage", msgspec.json.encode(body), Lane.READ
        )


def _http(
    settings: VenueConnection, credentials: OkxCredentials | None, clock: Clock
) -> HttpClient:
    return HttpClient(
        venue=VENUE,
        base_url=settings.rest_url or REST_URL,
        clock=clock,
        timeout_s=settings.request_timeout_s,
        secrets=() if credentials is None else (credentials.api_key, credentials.passphrase),
    )


def _ws_url(settings: VenueConnection) -> str:
    default = DEMO_WS_URL if settings.testnet else WS_URL
    return (settings.ws_url or default).rstrip("/")


def _session(
    settings: VenueConnection,
    url: str,
    signer: Signer,
    clock: Clock,
    rng: random.Random,
    dials: Dials,
) -> PrivateSession:
    return PrivateSession(
        venue=VENUE,
        url=url,
        signer=signer,
        clock=clock,
        rng=rng,
        dials=dials,
        timeout_s=settings.request_timeout_s,
    )


create = OkxVenue
"""The name by which every venue is made."""
