"""Binance USD-M put together: addresses, capabilities, and the preparation of an account."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.capabilities import Capabilities, ClientIdScope, DeadManScope, Lookup
from perpbot.domain.errors import ReadOnly
from perpbot.domain.instruments import Instrument
from perpbot.domain.permissions import KeyPermissions
from perpbot.kernel.clock import Clock
from perpbot.venues.binance.account import BinanceAccount
from perpbot.venues.binance.codec import Codec
from perpbot.venues.binance.errors import OFF_GRID
from perpbot.venues.binance.market_data import BinanceMarketData
from perpbot.venues.binance.permissions import PATH, UNTOLD, WALLET_URL, Restrictions
from perpbot.venues.binance.rest import DIALS, WINDOWS, RestClient
from perpbot.venues.binance.session import API_PATH, ApiSession
from perpbot.venues.binance.signing import BinanceCredentials, Signer
from perpbot.venues.binance.stops import BinanceStops
from perpbot.venues.binance.trading import BinanceTrading
from perpbot.venues.binance.universe import VENUE, Universe
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.http import HttpClient
from perpbot.venues.wire.limits import RateBudget

REST_URL = "https://fapi.binance.com"
WS_URL = "wss://fstream.binance.com"
TESTNET_REST_URL = "https://testnet.binancefuture.com"
TESTNET_WS_URL = "wss://fstream.binancefuture.com"
API_URL = "wss://ws-fapi.binance.com"
TESTNET_API_URL = "wss://testnet.binancefuture.com"
"""Sheet section 1; the roots that stood before /public, /market and /private were retired."""

CAPABILITIES = Capabilities(
    venue=VENUE,
    operator="binance",
    client_id_scope=ClientIdScope.OPEN_ORDERS,
    lookup=Lookup.FULL,
    instrument_refusals=OFF_GRID,
    request_expiry=True,
    dead_man=DeadManScope.SYMBOL,
    # Whether the countdown spares conditional orders is not documented: assume the worse.
    dead_man_removes_stops=True,
    post_only=True,
    ioc=True,
    fok=True,
    market_orders=True,
    reduce_only=True,
    hedge_mode=True,
    self_trade_prevention=True,
    orders_by_websocket=True,
    has_testnet=True,
    quote_interval_s=5.0,
    lag_floor_ms=1_000.0,
    funding_interval_s=28_800,
    maker_fee_bps=Decimal(2),
    taker_fee_bps=Decimal(5),
    fees_as_of="2026-10-01",
    order_rate_per_s=10.0,
    reconcile_interval_s=10.0,
)


class PositionMode(msgspec.Struct, rename="camel"):
    """GET /fapi/v1/positionSide/dual."""

    dual_side_position: bool


class BinanceVenue:
    """See `perpbot.venues.port.Venue`; `stops` places protective stops beyond the port."""

    name = VENUE
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        settings: VenueConnection,
        credentials: BinanceCredentials | None,
        clock: Clock,
        rng: random.Random,
        books: bool = False,
        trades: bool = True,
        leverage: int | None = None,
    ) -> None:
        """`leverage` is set for each instrument at `open`; None leaves the account's own.

        `books` also subscribes to depth.
        """
        self.account_name = settings.account_name
        self._leverage = leverage
        self._settings = settings
        self._secrets = () if credentials is None else (credentials.api_key,)
        self._clock = clock
        ws_url, api_url = _sockets(settings)
        signer = None if credentials is None else Signer(credentials)
        self.rest = rest = RestClient(
            http=self._http(
                settings.rest_url or (TESTNET_REST_URL if settings.testnet else REST_URL)
            ),
            signer=signer,
            budget=RateBudget(WINDOWS, clock=clock),
            clock=clock,
        )
        dials = Dials(settings.dials or DIALS, clock=clock)
        self._universe = universe = Universe()
        codec = Codec(settings.account_name, universe)
        self.market_data = BinanceMarketData(
            rest=rest,
            ws_url=ws_url,
            universe=universe,
            clock=clock,
            rng=rng,
            dials=dials,
            books=books,
            trades=trades,
        )
        session = ApiSession(
            url=api_url,
            clock=clock,
            rng=rng,
            dials=dials,
            timeout_s=settings.request_timeout_s,
            on_counts=rest.count,
        )
        self.trading = BinanceTrading(
            rest=rest, session=session, signer=signer, codec=codec, universe=universe
        )
        self.account = BinanceAccount(
            rest=rest,
            ws_url=ws_url,
            codec=codec,
            clock=clock,
            rng=rng,
            dials=dials,
            orders=session,
        )
        self.stops = BinanceStops(
            rest=rest,
            codec=codec,
            universe=universe,
            hedge_mode=lambda: self.trading.hedge_mode,
        )

    def _http(self, base_url: str) -> HttpClient:
        return HttpClient(
            venue=VENUE,
            base_url=base_url,
            clock=self._clock,
            timeout_s=self._settings.request_timeout_s,
            secrets=self._secrets,
        )

    async def open(self, instruments: Sequence[Instrument]) -> None:
        """Measure the clock; with credentials, learn the position mode and set leverage."""
        self._universe.add(instruments)
        self.account.symbols.update(one.symbol for one in instruments)
        await self.rest.sync_clock()
        if self.can_trade:
            mode = await self.rest.read("/fapi/v1/positionSide/dual", PositionMode, weight=30)
            self.trading.hedge_mode = mode.dual_side_position
            if self._leverage is not None:
                for instrument in instruments:
                    await self.trading.set_leverage(instrument, self._leverage)

    async def key_permissions(self) -> KeyPermissions:
        """See `perpbot.venues.port.TellsPermissions`."""
        if not self.can_trade:
            raise ReadOnly(VENUE)
        # Whoever serves our futures from another address has to serve this there too.
        wallet_url = self._settings.rest_url or ("" if self._settings.testnet else WALLET_URL)
        if not wallet_url:
            return UNTOLD
        await self.rest.sync_clock()
        wallet = self.rest.at(self._http(wallet_url))
        try:
            return (await wallet.ask(PATH, Restrictions)).permissions()
        finally:
            await wallet.close()

    async def close(self) -> None:
        """Close every connection; orders are left as they are."""
        await self.rest.close()

    @property
    def can_trade(self) -> bool:
        """Whether credentials are present."""
        return self.rest.can_sign

    @property
    def hedge_mode(self) -> bool:
        """Whether the account keeps LONG and SHORT legs apart."""
        return self.trading.hedge_mode


def _sockets(settings: VenueConnection) -> tuple[str, str]:
    """Return where streams are, and the websocket API."""
    streams, api = (TESTNET_WS_URL, TESTNET_API_URL) if settings.testnet else (WS_URL, API_URL)
    # Whoever serves our streams from another address has to serve the API there too.
    return (
        (settings.ws_url or streams).rstrip("/"),
        (settings.ws_url or api).rstrip("/") + API_PATH,
    )


create = BinanceVenue
"""The name by which every venue is made."""
