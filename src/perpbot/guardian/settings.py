"""What the guardian lets people set: when it acts, and how far."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from perpbot.settings import SettingsModel, contradiction, demand, setting


class Flatten(StrEnum):
    """What the guardian closes once the silence has lasted."""

    NONE = "none"
    """Nothing: it takes back resting orders, and that is all."""
    UNHEDGED = "unhedged"
    """What the legs of an asset do not hedge of each other; hedged pairs stay as they are."""
    ALL = "all"
    """Every position."""


class GuardianSettings(SettingsModel):
    """The process that acts when the node has gone silent (`perpbot guardian`)."""

    enabled: bool = setting(
        default=False,
        description="Whether a guardian is meant to watch this node: the node then says so while"
        " none is there.",
    )
    credentials: str = setting(
        "guardian",
        "Name of the guardian's own set of credentials: `guardian` reads"
        " `OKX__GUARDIAN__API_KEY`.",
        pattern=r"^[a-z0-9]{1,16}$",
    )
    heartbeat_interval_s: float = setting(
        0.5, "Time between two heartbeats of the node.", ge=0.05, le=10
    )
    silence_s: float = setting(
        10.0,
        "Silence of the node after which the guardian takes over and cancels its orders.",
        ge=1,
        le=600,
    )
    flatten: Flatten = setting(Flatten.UNHEDGED, "What it closes once the silence has lasted.")
    flatten_after_s: float = setting(30.0, "Silence after which it closes that.", ge=1, le=3_600)
    slippage_bps: float = setting(
        100.0,
        "Most that one of its orders may give away against the mark price; the next one follows"
        " the market.",
        gt=0,
        le=1_000,
    )

    @property
    def lease_s(self) -> float:
        """Seconds after a heartbeat in which the node sends without looking at the epoch file."""
        return self.silence_s / 2

    @model_validator(mode="after")
    def _times_are_ordered(self) -> Self:
        if self.heartbeat_interval_s * 4 > self.silence_s:
            raise contradiction(
                f"was {self.heartbeat_interval_s:g} s: at most a quarter of silence_s"
                f" ({self.silence_s:g} s) was expected",
                "heartbeat_interval_s",
                "silence_s",
            )
        return demand(self, "flatten_after_s", "at least", "silence_s")
