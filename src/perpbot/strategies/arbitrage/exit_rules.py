"""When a hedged pair leaves: convergence, take profit, stop, longest life, funding turned.

`decide` is pure. Convergence and take profit need usable quotes on both sides: what is not known
to be there cannot be taken. The stop also works by the last known marks, and the longest life by
the clock alone.
"""

from __future__ import annotations

import math

import msgspec


class ExitRules(msgspec.Struct, frozen=True, kw_only=True):
    """When one pair leaves; from its plan and the settings."""

    convergence_bps: float
    """Allowance over the usual exit cost."""
    take_profit_bps: float
    stop_bps: float
    max_hold_ns: int
    exit_on_funding_turn: bool
    closing_cost_bps: float
    """Exit fees of both legs and slippage."""
    counted_funding_bps: float
    """What funding was expected to bring when the pair was planned."""


class PairNow(msgspec.Struct, frozen=True, kw_only=True):
    """A hedged pair at present; NaN where something is not known."""

    held_ns: int
    exit_cost_bps: float
    """ask_S - bid_L, of usable quotes."""
    expected_exit_bps: float
    profit_bps: float
    """After fees paid and to pay, funding included, if it closed at usable quotes."""
    marked_profit_bps: float
    """The same at the last known marks."""
    funding_bps: float
    """What funding brings over the expected hold, at present rates."""


class Exit(msgspec.Struct, frozen=True):
    """Leave, for `reason`: `measured` against `limit`."""

    reason: str
    measured: float
    limit: float


def decide(rules: ExitRules, now: PairNow) -> Exit | None:
    """Return why a pair should leave now, or None. What is not known decides nothing."""
    profit = now.marked_profit_bps if math.isnan(now.profit_bps) else now.profit_bps
    if profit <= -rules.stop_bps:
        return Exit("stop", profit, -rules.stop_bps)
    if now.profit_bps >= rules.take_profit_bps:
        return Exit("take_profit", now.profit_bps, rules.take_profit_bps)
    usual = now.expected_exit_bps + rules.convergence_bps
    if now.exit_cost_bps <= usual:
        return Exit("convergence", now.exit_cost_bps, usual)
    if now.held_ns >= rules.max_hold_ns:
        return Exit("max_hold", now.held_ns / 1e9, rules.max_hold_ns / 1e9)
    if rules.exit_on_funding_turn:
        # Against the pair, and by more than leaving costs compared with what was counted on.
        least = min(0.0, rules.counted_funding_bps - rules.closing_cost_bps)
        if now.funding_bps < least:
            return Exit("funding", now.funding_bps, least)
    return None
