"""The worlds that a node can run in. The mode alone decides where orders go."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """One world. Orders, data and state of two modes never meet."""

    DEMO = "demo"
    """Our own exchanges on loopback: no keys, no network."""
    PAPER = "paper"
    """Real public data, simulated fills. The default."""
    TESTNET = "testnet"
    """The venues' own test networks, with keys made for them."""
    LIVE = "live"
    """Real money."""
    REPLAY = "replay"
    """A recorded tape in virtual time; only a command enters it, never a file."""

    @property
    def sends_orders_out(self) -> bool:
        """Whether orders leave this machine, and so whether credentials are read."""
        return self in {Mode.TESTNET, Mode.LIVE}

    @property
    def is_virtual(self) -> bool:
        """Whether the market itself is ours (demo and replay)."""
        return self in {Mode.DEMO, Mode.REPLAY}
