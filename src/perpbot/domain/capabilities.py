"""What a venue can do. Risk and execution read this; nobody asks for a venue by name."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec


class ClientIdScope(StrEnum):
    """How long a client order id stays unique at the venue."""

    NONE = "none"
    OPEN_ORDERS = "open_orders"
    FOREVER = "forever"


class Lookup(StrEnum):
    """Which orders a query by client id can find."""

    NONE = "none"
    OPEN_ONLY = "open_only"
    FULL = "full"


class DeadManScope(StrEnum):
    """What a dead man's switch cancels."""

    NONE = "none"
    SYMBOL = "symbol"
    ACCOUNT = "account"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """One venue, as its protocol sheet describes it. Defaults are the weakest case."""

    venue: str
    operator: str
    """Who runs it: two venues of one operator never form a pair."""
    client_id_scope: ClientIdScope = ClientIdScope.OPEN_ORDERS
    lookup: Lookup = Lookup.OPEN_ONLY
    request_expiry: bool = False
    """Whether a create can carry a time after which the venue must refuse it."""
    dead_man: DeadManScope = DeadManScope.NONE
    dead_man_removes_stops: bool = True
    post_only: bool = False
    ioc: bool = False
    fok: bool = False
    market_orders: bool = False
    """Whether the wire has market orders; where not, codecs send an aggressive IOC limit."""
    reduce_only: bool = False
    hedge_mode: bool = False
    self_trade_prevention: bool = False
    amend: bool = False
    """Whether our adapter can change a resting order; until the port has it, none does."""
    batch_size: int = 1
    """Orders that our adapter can send in one request; until the port has batches, one."""
    orders_by_websocket: bool = False
    has_testnet: bool = False
    quote_interval_s: float = 5.0
    """The longest silence of a healthy quote channel; beyond it quotes are stale."""
    lag_floor_ms: float = 1_000.0
    """Transport lag beyond the running minimum at which a quote is stale."""
    funding_interval_s: int = 28_800
    maker_fee_bps: Decimal
    taker_fee_bps: Decimal
    fees_as_of: str
    """Date of the fee figures, ISO form."""
    order_rate_per_s: float = 5.0
    reconcile_interval_s: float = 10.0
    instrument_refusals: frozenset[str] = frozenset()
    """Codes of refusals that say: what you know of this instrument does not hold (any more)."""
