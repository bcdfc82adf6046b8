"""Hyperliquid, put together."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

from perpbot.domain.capabilities import Capabilities, ClientIdScope, DeadManScope, Lookup
from perpbot.domain.errors import ReadOnly
from perpbot.domain.instruments import Instrument
from perpbot.domain.permissions import KeyPermissions
from perpbot.kernel.clock import Clock
from perpbot.venues.hyperliquid.account import HyperliquidAccount
from perpbot.venues.hyperliquid.credentials import HyperliquidCredentials
from perpbot.venues.hyperliquid.info import InfoClient
from perpbot.venues.hyperliquid.limits import DIALS, rate_budget
from perpbot.venues.hyperliquid.market_data import HyperliquidMarketData
from perpbot.venues.hyperliquid.permissions import UserRole
from perpbot.venues.hyperliquid.replies import OFF_GRID
from perpbot.venues.hyperliquid.signing import ActionSigner, address_bytes
from perpbot.venues.hyperliquid.trading import HyperliquidTrading
from perpbot.venues.hyperliquid.universe import FUNDING_INTERVAL_S, VENUE, Universe
from perpbot.venues.hyperliquid.user_socket import UserSocket
from perpbot.venues.options import VenueConnection
from perpbot.venues.wire.dials import Dials
from perpbot.venues.wire.http import HttpClient
from perpbot.venues.wire.limits import RateBudget
from perpbot.venues.wire.nonces import NonceSource

_REST_URL = {False: "https://api.hyperliquid.xyz", True: "https://api.hyperliquid-testnet.xyz"}
_WS_URL = {False: "wss://api.hyperliquid.xyz", True: "wss://api.hyperliquid-testnet.xyz"}

CAPABILITIES = Capabilities(
    venue=VENUE,
    operator="hyperliquid",
    # The venue does not say how long a cloid stays taken; ours are never used twice anyway.
    client_id_scope=ClientIdScope.OPEN_ORDERS,
    lookup=Lookup.FULL,
    instrument_refusals=OFF_GRID,
    request_expiry=True,
    dead_man=DeadManScope.ACCOUNT,
    dead_man_removes_stops=True,
    post_only=True,
    ioc=True,
    reduce_only=True,
    self_trade_prevention=True,
    orders_by_websocket=True,
    has_testnet=True,
    # bbo comes on change, at most once a block (0.07 to 0.2 s). Recorded gaps of liquid coins:
    # p50 0.1 s, p99.9 1.4 s. Quiet ones are asked for again after 4 s.
    quote_interval_s=5.0,
    # Recorded receive time minus block time: p50 0.39 s, p99 0.95 to 1.14 s.
    lag_floor_ms=1_000.0,
    funding_interval_s=FUNDING_INTERVAL_S,
    maker_fee_bps=Decimal("1.5"),
    taker_fee_bps=Decimal("4.5"),
    fees_as_of="2026-06-30",
    # 1200 weight a minute and address, shared with questions.
    order_rate_per_s=10.0,
    reconcile_interval_s=10.0,
)


class Hyperliquid:
    """`Venue` of the port. `budget` and `trading.nonces` are open to whoever watches them."""

    name = VENUE

    def __init__(
        self,
        *,
        account_name: str,
        market_data: HyperliquidMarketData,
        trading: HyperliquidTrading,
        account: HyperliquidAccount,
        budget: RateBudget,
        http: HttpClient,
        leverage: int | None,
        role: Callable[[], Awaitable[KeyPermissions]] | None,
    ) -> None:
        """`role` asks what the signer may do; None without a signer."""
        self.account_name = account_name
        self.capabilities = CAPABILITIES
        self.market_data = market_data
        self.trading = trading
        self.account = account
        self.budget = budget
        self._http = http
        self._leverage = leverage
        self._role = role
        self._can_trade = role is not None

    @property
    def can_trade(self) -> bool:
        """Whether credentials are present."""
        return self._can_trade

    @property
    def hedge_mode(self) -> bool:
        """Never: positions are netted by coin."""
        return False

    async def open(self, instruments: Sequence[Instrument]) -> None:
        """Know the universe and set the leverage of the instruments that will be used."""
        await self.market_data.prepare()
        if not self._can_trade or self._leverage is None:
            return
        for instrument in instruments:
            leverage = min(self._leverage, instrument.max_leverage)
            await self.trading.set_leverage(instrument, leverage)

    async def key_permissions(self) -> KeyPermissions:
        """See `perpbot.venues.port.TellsPermissions`."""
        if self._role is None:
            raise ReadOnly(VENUE)
        return await self._role()

    async def close(self) -> None:
        """Close what is not a task; streams end with the tasks that run them."""
        await self._http.close()


def create(
    *,
    settings: VenueConnection,
    credentials: HyperliquidCredentials | None,
    clock: Clock,
    rng: random.Random,
    books: bool = False,
    trades: bool = True,
    leverage: int | None = 1,
) -> Hyperliquid:
    """Put the venue together; nothing is connected yet.

    `leverage` is set for each instrument at `open`; None leaves the account's own. Signatures are
    for mainnet unless `settings.testnet` says otherwise, whatever the addresses are. Raises
    `InvalidValue` for credentials that cannot be right.
    """
    signer = _signer(credentials, mainnet=not settings.testnet)
    user = _user(credentials, signer)
    account_name, timeout_s = settings.account_name, settings.request_timeout_s
    ws_url = (settings.ws_url or _WS_URL[settings.testnet]).rstrip("/") + "/ws"
    rest_url = settings.rest_url or _REST_URL[settings.testnet]
    http = HttpClient(venue=VENUE, base_url=rest_url, clock=clock, timeout_s=timeout_s)
    budget = rate_budget(clock)
    dials = Dials(settings.dials or DIALS, clock=clock)
    info = InfoClient(http, budget, clock=clock, user=user)
    universe = Universe()
    socket = None
    if signer is not None:
        socket = UserSocket(ws_url=ws_url, user=user, clock=clock, rng=rng, dials=dials)
    return Hyperliquid(
        account_name=account_name,
        market_data=HyperliquidMarketData(
            info=info,
            universe=universe,
            ws_url=ws_url,
            clock=clock,
            rng=rng,
            dials=dials,
            books=books,
            trades=trades,
        ),
        trading=HyperliquidTrading(
            signer=signer,
            vault_address=credentials.vault_address.lower() if credentials else "",
            universe=universe,
            socket=socket,
            http=http,
            budget=budget,
            nonces=NonceSource(clock, venue=VENUE),
            account_name=account_name,
            clock=clock,
            timeout_s=timeout_s,
        ),
        account=HyperliquidAccount(
            info=info, universe=universe, socket=socket, account_name=account_name, clock=clock
        ),
        budget=budget,
        http=http,
        leverage=leverage,
        role=_role_of(info, signer, credentials),
    )


def _role_of(
    info: InfoClient, signer: ActionSigner | None, credentials: HyperliquidCredentials | None
) -> Callable[[], Awaitable[KeyPermissions]] | None:
    if signer is None or credentials is None:
        return None
    address, owner = signer.address, credentials.account_address

    async def ask() -> KeyPermissions:
        return (await info.ask(UserRole, "userRole", user=address)).permissions(owner)

    return ask


def _signer(credentials: HyperliquidCredentials | None, *, mainnet: bool) -> ActionSigner | None:
    if credentials is None:
        return None
    return ActionSigner(
        credentials.private_key, mainnet=mainnet, vault_address=credentials.vault_address
    )


def _user(credentials: HyperliquidCredentials | None, signer: ActionSigner | None) -> str:
    """Return the address that owns: the vault, the master, or the signer itself."""
    if credentials is None or signer is None:
        return ""
    for field in ("vault_address", "account_address"):
        address = str(getattr(credentials, field))
        if address:
            address_bytes(address, field)
            return address.lower()
    return signer.address
