"""Books of our own, from the records of the journal: positions, pairs and the dust of both."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpbot.domain.money import ZERO
from perpbot.research.chaos.testimony.truth import Place, Truth
from perpbot.research.chaos.testimony.verdict import Verdict


class Books:
    """M3, P1, P2: what fills and adjustments add up to, by place, by pair and by leg."""

    def __init__(self, verdict: Verdict, truth: Truth) -> None:
        self._verdict = verdict
        self._truth = truth
        self.positions: dict[Place, Decimal] = {}
        self.pair_net: dict[str, Decimal] = {}
        self.leg_net: dict[tuple[str, int], Decimal] = {}
        self.declared_dust: dict[str, Decimal] = {}
        """By asset: what the node has said stays as it is."""
        self.planned_usd = ZERO
        self.pair_venues: dict[str, frozenset[str]] = {}
        """By asset: where its newest pair trades."""
        self._trades: set[tuple[str, str, str, str]] = set()
        self._held_by_pairs: dict[tuple[str, int], Place] = {}
        """Venue and asset of each leg of a pair that has not ended."""
        self._stray = ("", ZERO)
        """The newest execution that the journal holds and that is no order of ours."""

    def forget(self) -> None:
        """Begin anew: the records that are left will be told once more."""
        for known in (
            self.positions,
            self.pair_net,
            self.leg_net,
            self.declared_dust,
            self._trades,
            self._held_by_pairs,
        ):
            known.clear()
        self.planned_usd, self._stray = ZERO, ("", ZERO)

    # --- records ---------------------------------------------------------------------------------

    def planned(self, event: Any) -> None:
        """A pair was planned: its legs belong to it until it completes."""
        plan = event.plan
        self.planned_usd += plan.notional_usd
        self.pair_venues[plan.asset] = frozenset({plan.long_venue, plan.short_venue})
        for leg, venue in enumerate((plan.long_venue, plan.short_venue)):
            self._held_by_pairs[plan.pair_id, leg] = (venue, plan.asset)

    def filled(self, event: Any, leg: int | None) -> None:
        """A fill was booked, on this leg of its owner where it has one."""
        trade = (event.venue, event.asset, str(event.side), event.trade_id)
        if trade in self._trades:
            self._verdict.violate(f"M3 trade {event.trade_id} of {event.venue} booked twice")
        self._trades.add(trade)
        place = (event.venue, event.asset)
        signed = event.quantity * event.side.sign
        self.positions[place] = self.positions.get(place, ZERO) + signed
        if not event.client_id:
            self._stray = (event.asset, event.quantity)
        if leg is None:
            self._moved(place, signed)
        else:
            self._credit(event.owner, leg, signed)

    def adjusted(self, event: Any) -> None:
        """A position was corrected: somebody else must have moved it."""
        place = (event.venue, event.asset)
        self.positions[place] = self.positions.get(place, ZERO) + event.delta
        if place not in self._truth.moved_by_others:
            self._verdict.violate(
                f"P2 books of {event.venue} adjusted by {event.delta} without cause"
            )
        self._moved(place, event.delta)
        if place not in self._held_by_pairs.values():
            # No pair holds that leg any more: it was told to a person, who closes it.
            self._declare(event.asset, abs(event.delta))

    def completed(self, event: Any) -> None:
        """A pair ended, and said what it left."""
        self._declare(event.asset, abs(event.dust_long) + abs(event.dust_short))
        for leg in (0, 1):
            self._held_by_pairs.pop((event.pair_id, leg), None)

    def alarmed(self, event: Any) -> None:
        """A person was told; of a stray fill that means that it stays."""
        if event.name == "stray_fill":
            self._declare(*self._stray)

    def _declare(self, asset: str, quantity: Decimal) -> None:
        self.declared_dust[asset] = self.declared_dust.get(asset, ZERO) + quantity

    def _moved(self, place: Place, signed: Decimal) -> None:
        """Somebody else moved a leg: it is the pair's that holds it."""
        for (owner, leg), held in self._held_by_pairs.items():
            if held == place:
                self._credit(owner, leg, signed)

    def _credit(self, owner: str, leg: int, signed: Decimal) -> None:
        self.pair_net[owner] = self.pair_net.get(owner, ZERO) + signed
        self.leg_net[owner, leg] = self.leg_net.get((owner, leg), ZERO) + signed

    # --- every step ------------------------------------------------------------------------------

    def inspect(self, core: Any) -> None:
        """The positions of a living node are the sums of the fills that it booked."""
        held: dict[Place, Decimal] = {}
        for key, position in core.folds.positions.items():
            place = (key[0], key[2])
            held[place] = held.get(place, ZERO) + position.quantity
        if held == self.positions:
            return
        for place in sorted(held.keys() | self.positions.keys()):
            mine, theirs = held.get(place, ZERO), self.positions.get(place, ZERO)
            if mine != theirs:
                self._verdict.violate(
                    f"P1 position {'/'.join(place)} is {mine}, its fills sum to {theirs}"
                )

    def disagreements(self) -> list[str]:
        """Return where our books are not what the exchanges executed."""
        found: list[str] = []
        for place in sorted(self._truth.positions.keys() | self.positions.keys()):
            mine = self.positions.get(place, ZERO)
            theirs = self._truth.positions.get(place, ZERO)
            if mine != theirs:
                found.append(f"P2 {'/'.join(place)}: books {mine}, exchange {theirs}")
        return found
