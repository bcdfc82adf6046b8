# ruff: noqa: ARG001, ARG005, TID251 - a replacement takes what it replaces; one reads a clock
"""Safeguards that only wires need, taken away one at a time; those of tier A that show here."""

from __future__ import annotations

import time
from typing import Any

from perpbot.kernel.supervisor import Supervisor
from perpbot.portfolio.readiness import Readiness
from perpbot.research.chaos import mutants as tier_a
from perpbot.research.chaos.mutants import Patch
from perpbot.venues.okx.books import SequencedBook
from perpbot.venues.wire.limits import RateBudget
from perpbot.venues.wire.nonces import NonceSource
from perpbot.venues.wire.websocket import WebSocketChannel

_NEVER_S = 86_400.0


def _gap_unnoticed(old: Any) -> Any:
    """Updates of a book are taken in whatever they follow."""
    return lambda self, row: True


def _retry_after_ignored(old: Any) -> Any:
    """A refusal for rate stops nothing."""
    return lambda self, retry_after_s: None


def _login_storm(old: Any) -> Any:
    """The words of a refusal count as a connection that proved itself."""

    async def open_socket(self: Any, socket: Any) -> bool:
        opened: bool = await old(self, socket)
        self._opened, self._refused = True, False
        return opened

    return open_socket


def _half_open_undetected(old: Any) -> Any:
    """Sockets are neither pinged nor watched."""

    def init(self: Any, **options: Any) -> None:
        old(self, **options | {"silence_s": _NEVER_S, "ping_interval_s": _NEVER_S})

    return init


def _channels_ignored(old: Any) -> Any:
    """Venues are ready once they were compared, whatever their channels do."""
    return lambda self, venue: "" if self._agreed.get(venue) else old(self, venue)


def _tasks_left_behind(old: Any) -> Any:
    """The end of the node waits for nobody."""

    async def close(self: Any, timeout_s: float = 5.0) -> None:
        """Nothing."""

    return close


def _waiters_spin(old: Any) -> Any:
    """Who waits behind another is woken at once, again and again."""

    def arm(self: Any) -> None:
        old(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._timers.call_later(1, self._pump)

    return arm


def _real_clock_read(old: Any) -> Any:
    """Nonces come from the machine's clock."""
    return lambda self: int(time.time() * 1_000)


PATCHES: dict[str, tuple[Patch, ...]] = {
    "channels_ignored": ((Readiness, "refusal", _channels_ignored),),
    "gap_unnoticed": ((SequencedBook, "_follows", _gap_unnoticed),),
    "half_open_undetected": ((WebSocketChannel, "__init__", _half_open_undetected),),
    "logins_storm": ((WebSocketChannel, "_open", _login_storm),),
    "real_clock_read": ((NonceSource, "next_ms", _real_clock_read),),
    "retry_after_ignored": ((RateBudget, "penalise", _retry_after_ignored),),
    "tasks_left_behind": ((Supervisor, "close", _tasks_left_behind),),
    "waiters_spin": ((RateBudget, "_arm", _waiters_spin),),
    **{
        name: tuple(tier_a.PATCHES[name])
        for name in (
            "adjust_on_first_sight",
            "hedge_never_sent",
            "opens_before_reconcile",
            "reduce_without_reduce_only",
            "release_before_hedged",
            "retry_without_proof",
            "transfers_unheard",
        )
    },
}
MUTANTS = tuple(sorted(PATCHES))
