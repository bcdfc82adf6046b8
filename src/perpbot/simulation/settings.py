"""What our own exchanges let people set: paper trading, the demo and the simulator."""

from __future__ import annotations

from decimal import Decimal

from perpbot.settings import SettingsModel, setting


class PaperSettings(SettingsModel):
    """Simulated fills on real public data."""

    latency_ms: float = setting(
        20.0,
        "Time from sending an order until it meets the book; takers fill against the book then.",
        ge=0,
        le=10_000,
    )
    balance_usd: Decimal = setting(
        Decimal(10_000),
        "Balance of each venue when its account is new; later runs go on with what is left.",
        gt=0,
        le=1_000_000_000,
    )


class SimulationSettings(SettingsModel):
    """Exchanges of our own: their market and where they listen (loopback only)."""

    seed: int = setting(1, "Seed of the market and of every other chance.", ge=0, le=2**63 - 1)
    seconds: float = setting(
        30.0, "Length of a demo before it stops opening.", unit="s", ge=1, le=86_400
    )
    port_base: int = setting(0, "First port of the servers; 0 takes free ones.", ge=0, le=65_000)
    balance_usd: Decimal = setting(
        Decimal(10_000), "Balance of each venue at the start.", gt=0, le=1_000_000_000
    )
