"""Makes the requests of a pair's orders: ids, prices on the grid, expiry, the venue's flags."""

from __future__ import annotations

from decimal import Decimal

from perpbot.domain.instruments import Instrument
from perpbot.domain.money import ONE_BP, decimal_of_float
from perpbot.domain.orders import OrderRequest
from perpbot.domain.pairs import PairPlan
from perpbot.domain.sides import OrderType, Purpose, Side
from perpbot.execution.policies import OrderStyle
from perpbot.execution.surroundings import Surroundings
from perpbot.kernel.clock import MS, Clock
from perpbot.kernel.ids import IdMaker

# An enum's attribute costs more than a name.
_BUY, _SELL, _LIMIT, _OPEN = Side.BUY, Side.SELL, OrderType.LIMIT, Purpose.OPEN
_SHRINKING = frozenset({Purpose.REDUCE, Purpose.PROTECT})


class OrderMaker:
    """See the module. Raises `InvalidValue` for numbers that the venue would refuse."""

    def __init__(
        self, clock: Clock, ids: IdMaker, around: Surroundings, *, expiry_ms: int
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._around = around
        self._expiry_ns = expiry_ms * MS

    def order(
        self,
        plan: PairPlan,
        *,
        leg: int,
        side: Side,
        quantity: Decimal,
        purpose: Purpose,
        style: OrderStyle,
        reference: Decimal,
        limit: Decimal | None = None,
        attempt: int = 0,
        replaces: str = "",
    ) -> OrderRequest:
        """Return a request for one leg.

        The limit is `limit` where given, else `reference` moved by the style's slip. A market
        order has none; `reference` is what it is measured against.
        """
        venue = plan.short_venue if leg else plan.long_venue
        account = plan.account_short if leg else plan.account_long
        instrument = self._around.instrument(venue, plan.asset)
        capabilities = self._around.capabilities[venue]
        price: Decimal | None = None
        if style.order_type is _LIMIT:
            raw = limit if limit is not None else slipped(reference, side, style.slip_bps)
            price = instrument.round_price(raw, side)
        quantity = instrument.round_quantity(quantity)
        shrinks = purpose in _SHRINKING
        enforced = shrinks and capabilities.reduce_only
        instrument.check_order(price, quantity, reduce_only=enforced)
        return OrderRequest(
            client_id=self._ids.order_id(
                account=account,
                strategy=plan.strategy,
                purpose=purpose,
                leg=leg,
                attempt=attempt,
            ),
            venue=venue,
            account=account,
            asset=plan.asset,
            symbol=instrument.symbol,
            side=side,
            order_type=style.order_type,
            time_in_force=style.time_in_force,
            quantity=quantity,
            price=price,
            reference_price=reference,
            purpose=purpose,
            reduce_only=enforced,
            position_side=self._around.position_side(venue, leg),
            owner=plan.pair_id,
            leg=leg,
            reservation_id=plan.reservation_id,
            replaces=replaces,
            expires_ns=(
                self._clock.now_ns() + self._expiry_ns if capabilities.request_expiry else 0
            ),
        )

    def entry(
        self,
        plan: PairPlan,
        leg: int,
        instrument: Instrument,
        style: OrderStyle,
        reference: Decimal,
    ) -> OrderRequest:
        """Return the taker's order of a leg: size and price of the plan, on the grid already.

        The same as `order` gives for them, on the way where it counts.
        """
        if leg:
            venue, account, side = plan.short_venue, plan.account_short, _SELL
            price, position_side = plan.short_price, plan.side_short
        else:
            venue, account, side = plan.long_venue, plan.account_long, _BUY
            price, position_side = plan.long_price, plan.side_long
        instrument.check_order(price, plan.quantity, reduce_only=False)
        expires = self._around.capabilities[venue].request_expiry
        return OrderRequest(
            client_id=self._ids.order_id(
                account=account, strategy=plan.strategy, purpose=_OPEN, leg=leg, attempt=leg
            ),
            venue=venue,
            account=account,
            asset=plan.asset,
            symbol=instrument.symbol,
            side=side,
            order_type=style.order_type,
            time_in_force=style.time_in_force,
            quantity=plan.quantity,
            price=price if style.order_type is _LIMIT else None,
            reference_price=reference,
            purpose=_OPEN,
            position_side=position_side,
            owner=plan.pair_id,
            leg=leg,
            reservation_id=plan.reservation_id,
            expires_ns=self._clock.now_ns() + self._expiry_ns if expires else 0,
        )

    def touch(self, venue: str, asset: str, side: Side, fallback: Decimal) -> Decimal:
        """Return the price that `side` would take: of the newest quote, else `fallback`.

        For hedges and reductions only: they are never blocked by a stale quote.
        """
        touch = self._around.market.touch(venue, asset)
        if touch is None:
            return fallback
        bid, ask = touch
        return decimal_of_float(ask if side is _BUY else bid)


def slipped(reference: Decimal, side: Side, slip_bps: Decimal) -> Decimal:
    """Return a price that is worse than `reference` by `slip_bps` for the one who trades."""
    slip = reference * slip_bps * ONE_BP
    return reference + slip if side is _BUY else reference - slip
