"""What a node process is told: where its exchanges are, what to do, and when to die."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from perpbot.configuration import Settings, load_configuration
from perpbot.settings import Flag
from perpbot.simulation.market import AssetModel, MarketModel
from perpbot.simulation.wire.process import ServerAddress

SYMBOLS = ("BTC-PERP", "ETH-PERP", "SOL-PERP")

LIVELY = MarketModel(
    assets=(
        AssetModel("BTC", 97_400.0, 0.2, 300.0, 0.025, 0.5),
        AssetModel("ETH", 3_350.0, 0.3, 120.0, 0.032, 0.5),
        AssetModel("SOL", 188.0, 0.8, 120.0, 0.042, 0.5),
    ),
    quotes_per_s=(15.0, 25.0),
    fast_move_every_s=1e9,
    dislocation_first_s=0.0,
    dislocation_every_s=0.05,
    dislocation_bps=(40.0, 90.0),
    dislocation_rise_s=0.03,
    dislocation_stay_s=(0.1, 0.4),
    dislocation_closes_s=(0.5, 1.5),
)
"""A market in which a node trades within its first tenths of a second, and legs fill in parts."""

EAGER: dict[str, Any] = {
    "mode": "demo",
    "market.symbols": list(SYMBOLS),
    "market.basis_sample_interval_ms": 10,
    "market.basis_warmup_s": 0.05,
    "market.basis_window_s": 30.0,
    "market.max_price_jump_bps": 2_000.0,
    "market.price_band_bps": 2_000.0,
    "market.min_touch_notional_usd": 10,
    "arbitrage.min_edge_bps": 0.0,
    "arbitrage.take_profit_bps": 1.0,
    "arbitrage.pair_notional_max_usd": 400,
    "arbitrage.stop_loss_bps": 500.0,
    "arbitrage.max_hold_s": 1.0,
    "arbitrage.max_concurrent_pairs": 6,
    "arbitrage.max_pairs_per_venue": 6,
    "capital.snapshot_interval_s": 1.0,
    "execution.hedge_after_ms": 200,
    "execution.order_expiry_ms": 1_000,
    "execution.reconcile_quiet_s": 0.0,
    "risk.fast_market_move_bps": 2_000.0,
    "risk.max_consecutive_failures": 100,
    "risk.max_daily_loss_usd": 1_000_000,
    "risk.max_drawdown_ratio": 0.5,
    "risk.max_daily_loss_ratio": 0.5,
    "risk.max_slippage_bps": 200.0,
    "risk.symbol_cooldown_s": 0.0,
}
"""Settings of a node that takes whatever it sees: trading much matters here, earning does not."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """Die by SIGKILL when `point` is reached for the n-th time in this life."""

    point: str
    nth: int = 1


class NodePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a node."""

    servers: tuple[ServerAddress, ...]
    state: Path
    """Its state directory, which outlives every life."""
    acks: Path
    """What appends have acknowledged, kept apart from what is judged by it."""
    report: Path
    """Where it writes what it found, as JSON, when it settles or fails."""
    task: Literal["trade", "settle"] = "trade"
    """Trade until SIGTERM, then close everything; or open nothing, become flat, say so, end."""
    death: Death | None = None
    seed: int = 1
    settings: dict[str, Any] = {}
    """In place of `EAGER`, by dotted name."""
    flood: int = 0
    """Events that another thread publishes at once on SIGUSR2."""
    segment_bytes: int | None = None
    """Size at which a segment of the journal is full, smaller than the settings take."""
    file_limit: int | None = None
    """RLIMIT_FSIZE in bytes, once everything is open."""

    def effective(self) -> Settings:
        """Return the settings of this life."""
        chosen = {**EAGER, **self.settings}
        flags = tuple(Flag(name, "processes", value) for name, value in chosen.items())
        return load_configuration(environ={}, flags=flags).settings


def encode(plan: NodePlan) -> bytes:
    """Return the plan as one line of JSON."""
    return msgspec.json.encode(plan, enc_hook=str)


def decode(line: bytes) -> NodePlan:
    """Read what `encode` wrote."""
    return msgspec.json.decode(line, type=NodePlan, dec_hook=lambda kind, value: kind(value))


def through(servers: Sequence[ServerAddress], places: dict[str, str]) -> tuple[ServerAddress, ...]:
    """Return the servers as reached through other `host:port` places, by venue."""
    return tuple(
        msgspec.structs.replace(
            server,
            rest_url=f"http://{places[server.venue]}",
            ws_url=f"ws://{places[server.venue]}",
        )
        if server.venue in places
        else server
        for server in servers
    )
