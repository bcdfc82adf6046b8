"""OKX swaps on loopback, in OKX's own protocol (V5)."""

from perpbot.simulation.wire.okx.contracts import CONTRACTS, PROFILE
from perpbot.simulation.wire.okx.server import Server

__all__ = ["CONTRACTS", "PROFILE", "Server"]
