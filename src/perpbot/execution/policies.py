"""Which kind of order comes next, and when a request may be tried again.

Both are tables: the fallback profile decides how legs enter, and each further try of a hedge or a
reduction gives away more, up to the loss budget. Unknown outcomes are never tried again here; they
are resolved by asking (`perpbot.execution.watch`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from perpbot.domain.capabilities import Capabilities
from perpbot.domain.money import ONE
from perpbot.domain.sides import OrderType, TimeInForce
from perpbot.execution.settings import ExecutionSettings, FallbackProfile
from perpbot.kernel.clock import MS, SECOND

FIRST_SLIP_BPS = Decimal(5)
MARKET_AFTER = 6
"""Tries of a reduction after which it goes at market, where the venue has market orders."""


class OrderStyle(msgspec.Struct, frozen=True):
    """How an order is sent."""

    order_type: OrderType
    time_in_force: TimeInForce
    slip_bps: Decimal
    """How far beyond the touch its limit lies."""


class MarketCondition(msgspec.Struct, frozen=True):
    """What the market is like when a pair enters."""

    high_volatility: bool = False
    low_liquidity: bool = False


class Patience(msgspec.Struct, frozen=True):
    """How long a pair waits."""

    hedge_after_ns: int
    """From the first fill of a leg until the other one is cancelled and the rest hedged."""
    wait_limit_ns: int
    """Absolute limit of opening, and of waiting for a venue that is silent."""
    maker_timeout_ns: int
    """How long a maker order may rest before the fallback."""

    @classmethod
    def strictest(cls, settings: Iterable[ExecutionSettings]) -> Patience:
        """Return the shortest of each time (a pair spans two venues)."""
        each = list(settings)
        return cls(
            hedge_after_ns=min(one.hedge_after_ms for one in each) * MS,
            wait_limit_ns=int(min(one.wait_fill_limit_s for one in each) * SECOND),
            maker_timeout_ns=min(one.maker_timeout_ms for one in each) * MS,
        )


class FallbackPolicy:
    """How legs enter, and what follows an order that did not fill."""

    def __init__(self, settings: ExecutionSettings) -> None:
        self._profile = settings.fallback
        self._budget_bps = Decimal(str(settings.unwind_loss_budget_bps))

    def entry(self, condition: MarketCondition, slip_bps: Decimal) -> OrderStyle:
        """Return how a leg enters (spec d.4 decide): limit, or market in a fast market."""
        if self._profile is FallbackProfile.AGGRESSIVE and condition.high_volatility:
            return OrderStyle(OrderType.MARKET, TimeInForce.IOC, self._budget_bps)
        return OrderStyle(OrderType.LIMIT, TimeInForce.IOC, slip_bps)

    @property
    def maker_first(self) -> bool:
        """Whether the thinner leg enters post-only and the other one follows its fills."""
        return self._profile is FallbackProfile.BALANCED

    def entry_share(self, condition: MarketCondition) -> Decimal:
        """Return the share of the planned size to enter with: less where liquidity is low."""
        return Decimal("0.5") if condition.low_liquidity else ONE

    def hedge(self, attempt: int) -> OrderStyle:
        """Return how try number `attempt` (from 0) of a hedge goes: at a limit, within budget."""
        return OrderStyle(OrderType.LIMIT, TimeInForce.IOC, self._slip(attempt))

    def reduction(self, attempt: int, capabilities: Capabilities) -> OrderStyle:
        """Return how try number `attempt` (from 0) of a reduction goes: it must get done."""
        if attempt >= MARKET_AFTER and capabilities.market_orders:
            return OrderStyle(OrderType.MARKET, TimeInForce.IOC, self._budget_bps)
        return OrderStyle(OrderType.LIMIT, TimeInForce.IOC, self._slip(attempt))

    def _slip(self, attempt: int) -> Decimal:
        return min(FIRST_SLIP_BPS * Decimal(2 ** min(attempt, 10)), self._budget_bps)


class RetryPolicy:
    """Delays between tries that were definitely refused or did not fill: full jitter, bounded."""

    def __init__(self, settings: ExecutionSettings, rng: random.Random) -> None:
        self._base_ns = settings.retry_base_ms * MS
        self._cap_ns = settings.retry_max_ms * MS
        self._attempts = settings.retry_attempts
        self._rng = rng

    def delay_ns(self, attempt: int) -> int:
        """Return how long to wait before try `attempt` (from 1)."""
        ceiling = min(self._base_ns * 2 ** min(attempt - 1, 20), self._cap_ns)
        return int(self._rng.uniform(0, ceiling))

    def exhausted(self, attempt: int) -> bool:
        """Whether a hedge has had all its tries; reductions never are."""
        return attempt >= self._attempts
