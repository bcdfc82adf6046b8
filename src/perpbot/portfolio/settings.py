"""What the portfolio room lets people set: the pools, and when a venue is protected."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

from pydantic import model_validator

from perpbot.settings import SettingsModel, demand, demand_whole, setting

_SHARES = ("volume_share_ratio", "arbitrage_share_ratio", "reserve_share_ratio")


class CapitalSettings(SettingsModel):
    """How equity is divided into pools, reserved, and protected from drawdown.

    The share of a pool that is off is shown as unallocated; nobody else gets it.
    """

    volume_share_ratio: Decimal = setting(
        Decimal("0.7"), "Share of equity of the volume pool.", ge=0, le=1
    )
    arbitrage_share_ratio: Decimal = setting(
        Decimal("0.2"), "Share of equity of the arbitrage pool.", ge=0, le=1
    )
    reserve_share_ratio: Decimal = setting(
        Decimal("0.1"), "Share of equity kept for hedges and for topping up arbitrage.", ge=0, le=1
    )
    volume_enabled: bool = setting(default=False, description="Whether the volume pool is on.")
    arbitrage_enabled: bool = setting(
        default=True, description="Whether the arbitrage pool is on."
    )
    reserve_enabled: bool = setting(default=True, description="Whether the reserve pool is on.")
    reserve_top_up_ratio: Decimal = setting(
        Decimal("0.5"), "Use of the arbitrage pool above which the reserve tops it up.", ge=0, le=1
    )
    leverage: Decimal = setting(
        Decimal(1),
        "Margin is notional divided by this; set at the venue before the first order.",
        unit="times",
        ge=1,
        le=20,
        override=True,
    )
    snapshot_interval_s: float = setting(
        5.0, "Time between two readings of all balances.", ge=1, le=300
    )
    snapshot_max_age_s: float = setting(
        15.0, "Balances older than this open nothing.", ge=1, le=600
    )
    reservation_ttl_s: float = setting(
        60.0, "Life of a reservation whose orders were never sent.", ge=1, le=3_600
    )
    unexplained_wait_s: float = setting(
        60.0,
        "How long money may be missing on a venue, with no fill, fee, funding or transfer that"
        " explains it, before it counts as a loss; nothing opens meanwhile.",
        ge=5,
        le=600,
    )
    unexplained_ratio: Decimal = setting(
        Decimal("0.005"),
        "Share of a venue's equity above which such money keeps everything from opening.",
        gt=0,
        le=Decimal("0.1"),
    )
    safe_mode_enter_ratio: Decimal = setting(
        Decimal("0.05"),
        "Drawdown of one venue (positive, from the peak) that turns its arbitrage off.",
        gt=0,
        le=Decimal("0.5"),
        override=True,
    )
    safe_mode_exit_ratio: Decimal = setting(
        Decimal("0.04"),
        "Drawdown below which safe mode may end.",
        ge=0,
        le=Decimal("0.5"),
        override=True,
    )
    safe_mode_min_s: float = setting(
        300.0, "Shortest time in safe mode.", ge=0, le=86_400, override=True
    )
    max_margin_ratio: Decimal = setting(
        Decimal("0.5"),
        "Margin in use over equity of a venue above which nothing opens there and an alarm is"
        " raised: a hedged leg can be liquidated though the pair loses nothing.",
        gt=0,
        le=1,
        override=True,
    )

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Self:
        return demand_whole(self, *_SHARES)

    @model_validator(mode="after")
    def _safe_mode_has_hysteresis(self) -> Self:
        return demand(self, "safe_mode_exit_ratio", "below", "safe_mode_enter_ratio")

    @model_validator(mode="after")
    def _snapshots_come_in_time(self) -> Self:
        # Balances that are always too old would never open anything.
        return demand(self, "snapshot_max_age_s", "at least", "snapshot_interval_s")
