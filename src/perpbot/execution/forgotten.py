"""Finds resting orders of ours that the journal has lost, and has them cancelled.

A power loss may take acknowledged intents with it. The ids of such orders still decode to our
account and to a run of ours before this one, and no record knows them. What they executed is
adopted as a stray execution, with an alarm; what still rests would open what nobody owns, so it is
taken back wherever it is seen, at the start first of all. Protective stops stay. An order of
another run that lives is not ours to cancel: `perpbot.portfolio.fence` judges those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal

from perpbot.domain.events import AlertFired, CancelForgotten, VenueSnapshot
from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ZERO
from perpbot.domain.orders import OrderReport, OrderRequest
from perpbot.domain.sides import OrderState, OrderType, Purpose, Side, TimeInForce
from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import Clock
from perpbot.kernel.ids import IdMaker, OrderIdentity, decode_order_id, stable_bits
from perpbot.portfolio.fence import CLOCKS_NS
from perpbot.portfolio.orders import OrderTable

_RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})


class ForgottenOrders:
    """See the module. Looks through every answer of open orders."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        orders: OrderTable,
        ids: IdMaker,
        instruments: Mapping[tuple[str, str], Instrument],
        account_of: Callable[[str], str],
        friends: Collection[str] = (),
    ) -> None:
        """`account_of(venue)` is our name for the account; `friends` are others' strategies."""
        self._bus = bus
        self._clock = clock
        self._orders = orders
        self._ids = ids
        self._instruments = instruments
        self._account_of = account_of
        self._friends = frozenset(stable_bits(name) for name in friends)
        self._began_ns = clock.now_ns()
        self._told: set[str] = set()
        bus.subscribe(VenueSnapshot, self._look_through)

    def _look_through(self, snapshot: VenueSnapshot) -> None:
        for report in snapshot.orders or ():
            identity = decode_order_id(report.client_id) if report.client_id else None
            if (
                identity is not None
                and report.state in _RESTING
                and self._orders.get(report.client_id) is None
                and self._is_forgotten(report, identity)
            ):
                self._take_back(report, identity)

    def _is_forgotten(self, report: OrderReport, identity: OrderIdentity) -> bool:
        return (
            identity.account == stable_bits(self._account_of(report.venue))
            and identity.strategy not in self._friends
            and identity.epoch < self._ids.epoch
            and identity.purpose is not Purpose.PROTECT
            and report.venue_ns <= self._began_ns + CLOCKS_NS
        )

    def _take_back(self, report: OrderReport, identity: OrderIdentity) -> None:
        asset = self._asset(report)
        lost = f"order {report.client_id} rests there and the journal has lost its intent"
        if asset is None or report.side is None or report.quantity is None:
            told = f"{lost}; it cannot be told what it is: cancel it there by hand"
        else:
            told = f"{lost} of {report.quantity} {asset}; it is cancelled"
            self._bus.publish(
                CancelForgotten(
                    ts_ns=self._clock.now_ns(),
                    order=_as_resting(report, identity, asset, report.side, report.quantity),
                    venue_order_id=report.venue_order_id,
                    reason=f"the journal has lost its intent of run {identity.epoch}",
                )
            )
        if report.client_id not in self._told:
            self._told.add(report.client_id)
            self._alarm(f"{report.venue}: {told}")

    def _asset(self, report: OrderReport) -> str | None:
        for known in self._instruments.values():
            if (known.venue, known.symbol) == (report.venue, report.symbol):
                return known.asset
        return None

    def _alarm(self, text: str) -> None:
        now_ns = self._clock.now_ns()
        self._bus.publish(
            AlertFired(ts_ns=now_ns, name="forgotten_order", severity="high", text=text)
        )


def _as_resting(
    report: OrderReport, identity: OrderIdentity, asset: str, side: Side, quantity: Decimal
) -> OrderRequest:
    """Return the request that a resting order must have come from, as far as it can be told."""
    return OrderRequest(
        client_id=report.client_id,
        venue=report.venue,
        account=report.account,
        asset=asset,
        symbol=report.symbol,
        side=side,
        order_type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        quantity=quantity,
        price=report.price,
        reference_price=ZERO if report.price is None else report.price,
        purpose=identity.purpose,
        reduce_only=report.reduce_only,
        position_side=report.position_side,
        owner="",
        leg=identity.leg,
    )
