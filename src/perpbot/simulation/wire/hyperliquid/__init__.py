"""Hyperliquid perpetuals on loopback, in Hyperliquid's own protocol."""

from perpbot.simulation.wire.hyperliquid.contracts import CONTRACTS, PROFILE
from perpbot.simulation.wire.hyperliquid.server import Server

__all__ = ["CONTRACTS", "PROFILE", "Server"]
