"""What the execution room lets people set: times, budgets, fallbacks, retries, reconciliation."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from perpbot.settings import SettingsModel, contradiction, demand, setting


class FallbackProfile(StrEnum):
    """What may follow a limit order that does not fill."""

    LIMIT_ONLY = "limit_only"
    """Nothing: the order is cancelled. The default, and right for a first live run."""
    BALANCED = "balanced"
    """Maker first, then taker for what remains."""
    AGGRESSIVE = "aggressive"
    """Taker at once, at market where the market is fast."""


class ExecutionSettings(SettingsModel):
    """How orders are sent, hedged, retried and compared with the venue."""

    fallback: FallbackProfile = setting(
        FallbackProfile.LIMIT_ONLY,
        "What may follow a limit order that does not fill.",
    )
    hedge_after_ms: int = setting(
        1_500,
        "Time from the first fill of one leg until the other leg is cancelled and the rest hedged"
        " or unwound.",
        ge=50,
        le=30_000,
        override=True,
    )
    unwind_loss_budget_bps: float = setting(
        100.0,
        "Most that a hedge or an unwind may give away of its notional before it works the order"
        " at a limit.",
        gt=0,
        le=1_000,
    )
    wait_fill_limit_s: float = setting(
        30.0, "Absolute limit for a pair to open.", ge=1, le=600, override=True
    )
    order_expiry_ms: int = setting(
        2_000,
        "Life of a request where the venue knows one: after it, absence is proof.",
        ge=200,
        le=60_000,
    )
    maker_timeout_ms: int = setting(
        3_000,
        "Time that a maker order waits before the fallback.",
        ge=50,
        le=600_000,
        override=True,
    )
    retry_attempts: int = setting(
        3,
        "Tries of a request that was definitely refused for a passing reason. Unknown outcomes are"
        " never retried.",
        unit="tries",
        ge=1,
        le=10,
    )
    retry_base_ms: int = setting(
        100, "Delay of the first retry, full jitter; each further one doubles.", ge=1, le=10_000
    )
    retry_max_ms: int = setting(5_000, "Longest delay of a retry.", ge=1, le=60_000)
    resolve_limit_s: float = setting(
        30.0,
        "Time after which an order of unknown outcome raises an alarm, counted while the venue can"
        " be reached.",
        ge=1,
        le=600,
    )
    reconcile_interval_s: float | None = setting(
        None,
        "Time between two comparisons with a venue. Nothing: the venue's declared.",
        ge=1,
        le=600,
        override=True,
    )
    reconcile_quiet_s: float = setting(
        5.0, "Objects touched within this time are compared next time.", ge=0, le=60
    )
    reconcile_confirmations: int = setting(
        2, "Times that a difference must be seen before it is acted on.", unit="times", ge=2, le=10
    )
    dead_man_timeout_s: float = setting(
        60.0,
        "Time without a sign of life after which a dedicated account cancels its resting orders.",
        ge=10,
        le=600,
        override=True,
    )

    rehearse_every_ms: int = setting(
        1,
        "Time between two rehearsals of an order, which keep the code of the next real one fast"
        " (about a tenth of a core at 1); 0: none.",
        ge=0,
        le=1_000,
    )

    @model_validator(mode="after")
    def _retries_grow(self) -> Self:
        return demand(self, "retry_base_ms", "at most", "retry_max_ms")

    @model_validator(mode="after")
    def _hedge_comes_before_the_limit(self) -> Self:
        if self.hedge_after_ms >= self.wait_fill_limit_s * 1_000:
            raise contradiction(
                f"was {self.hedge_after_ms} ms: below wait_fill_limit_s"
                f" ({self.wait_fill_limit_s:g} s) was expected",
                "hedge_after_ms",
                "wait_fill_limit_s",
            )
        return self
