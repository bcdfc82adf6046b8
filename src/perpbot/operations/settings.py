"""What keeping it alive lets people set: bus, journal, health, metrics."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from perpbot.settings import SettingsModel, demand, demand_whole, setting


class SyncPolicy(StrEnum):
    """When the journal waits for the disk. A record is written before it is acted on anyway."""

    WRITE = "write"
    """Only where a run begins: other records survive the process, not the machine."""
    INTENTS = "intents"
    """Before orders go out, and with what stops them: a power cut cannot hide a sent order."""
    EVERY = "every"
    """After each record."""


class BusSettings(SettingsModel):
    """How much may wait in the event bus. Nothing durable is ever dropped."""

    high_water_events: int = setting(
        10_000,
        "Waiting events above which nothing opens.",
        unit="events",
        ge=100,
        le=10_000_000,
    )
    hard_limit_events: int = setting(
        100_000, "Waiting events at which the node halts.", unit="events", ge=200, le=100_000_000
    )

    @model_validator(mode="after")
    def _marks_are_ordered(self) -> Self:
        return demand(self, "high_water_events", "below", "hard_limit_events")


class JournalSettings(SettingsModel):
    """The memory of the node."""

    sync: SyncPolicy = setting(SyncPolicy.WRITE, "When the journal waits for the disk.")
    snapshot_every_records: int = setting(
        10_000, "Records between two snapshots.", unit="records", ge=100, le=10_000_000
    )
    segment_max_mb: int = setting(64, "Size at which a new segment file starts.", ge=1, le=4_096)
    min_free_disk_mb: int = setting(
        1_024, "Free space on the disk below which nothing opens.", ge=16, le=1_000_000
    )


class HealthWeights(SettingsModel):
    """Weights of the components in the overall score; they sum to 1."""

    capital: float = setting(0.2, "Balances arrive in time.", unit="ratio", ge=0, le=1)
    exposure: float = setting(0.2, "Positions are updated in time.", unit="ratio", ge=0, le=1)
    execution: float = setting(0.2, "Orders succeed.", unit="ratio", ge=0, le=1)
    quote: float = setting(0.15, "Quotes arrive.", unit="ratio", ge=0, le=1)
    scanner: float = setting(0.15, "The scanner evaluates pairs.", unit="ratio", ge=0, le=1)
    latency: float = setting(0.1, "Quotes are young.", unit="ratio", ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        return demand_whole(self, *type(self).model_fields)


class HealthSettings(SettingsModel):
    """How health is measured and when it is bad."""

    interval_s: float = setting(5.0, "Time between two checks.", ge=1, le=300)
    window_s: float = setting(10.0, "Time that a check looks back.", ge=1, le=600)
    min_sample: int = setting(
        10, "Orders below which the success rate is unknown.", unit="orders", ge=1, le=10_000
    )
    weights: HealthWeights = setting(HealthWeights(), "Weights of the components.")
    warning_score: float = setting(
        90.0, "Score below which health is a warning.", unit="points", ge=0, le=100
    )
    critical_score: float = setting(
        70.0, "Score below which health is critical.", unit="points", ge=0, le=100
    )
    quote_age_critical_s: float = setting(
        10.0, "Age of the newest quote of a venue that is critical.", gt=0, le=600
    )
    loop_lag_warning_ms: float = setting(
        50.0, "Lag of the event loop that is a warning.", gt=0, le=60_000
    )
    memory_soft_mb: int = setting(
        1_500, "Memory held by the node above which nothing opens.", ge=16, le=1_000_000
    )
    memory_hard_mb: int = setting(
        3_000,
        "Memory held by the node above which it ends in order, to be started anew.",
        ge=16,
        le=1_000_000,
    )

    @model_validator(mode="after")
    def _grades_are_ordered(self) -> Self:
        demand(self, "critical_score", "at most", "warning_score")
        return demand(self, "memory_soft_mb", "at most", "memory_hard_mb")


class MetricsSettings(SettingsModel):
    """Numbers for Prometheus, served by the console under `/metrics`."""

    enabled: bool = setting(default=True, description="Whether metrics are collected and served.")
