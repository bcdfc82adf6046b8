"""What the witness of a seed objects to, and what it lets pass."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from perpbot.domain.orders import OrderRequest
from perpbot.domain.sides import Liquidity, OrderType, PositionSide, Purpose, Side, TimeInForce
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.research.chaos.plan import START_NS, draw
from perpbot.research.chaos.witness import Witness
from perpbot.simulation.model import Execution

D = Decimal
SEED = 4
"""Of two venues that both have reduce-only orders."""
VENUE, OTHER, ASSET = "binance", "okx", "BTC-PERP"
ENTRY = OrderRequest(
    client_id="a",
    venue=VENUE,
    account="main",
    asset=ASSET,
    symbol="BTCUSDT",
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    time_in_force=TimeInForce.IOC,
    quantity=D(1),
    price=D(100),
    reference_price=D(100),
    purpose=Purpose.OPEN,
    owner="p1",
)


def fill(client_id: str) -> Any:
    """Return the record of an execution of one coin."""
    return SimpleNamespace(
        kind="ORDER_FILLED",
        client_id=client_id,
        venue=VENUE,
        asset=ASSET,
        side=Side.BUY,
        trade_id="1",
        quantity=D(1),
        owner="p1",
    )


class Court:
    """A witness that was told everything an opening needs, and what it has to say."""

    def __init__(self) -> None:
        self.time = VirtualTime(START_NS)
        self.witness = Witness(draw(SEED), self.time)
        for channel in ("public", "private"):
            self.witness.told.channel(VENUE, channel, live=True)
        self.witness.told.compared(VENUE)
        self.witness.told.good_quote(VENUE, ASSET)

    def record(self, kind: str, **fields: Any) -> None:
        """A record was written."""
        self.witness.journalled(SimpleNamespace(kind=kind, **fields))

    def intend(self, *orders: OrderRequest) -> None:
        """A record of orders was written."""
        self.record("SUBMIT_ORDERS", orders=orders)

    def send(self, **changes: Any) -> OrderRequest:
        """An order is journalled, then sent."""
        order = msgspec.structs.replace(ENTRY, **changes)
        self.intend(order)
        self.witness.sent(order)
        return order

    def execute(
        self, client_id: str, quantity: str = "1", side: Side = Side.BUY, venue: str = VENUE
    ) -> None:
        """The exchange executes something on our account."""
        execution = Execution(
            trade_id=1,
            account="main",
            symbol="BTCUSDT",
            order_id=1,
            client_id=client_id,
            side=side,
            position_side=PositionSide.NET,
            price=D(100),
            quantity=D(quantity),
            fee=D(0),
            liquidity=Liquidity.TAKER,
            realized_pnl=D(0),
            ts_ns=self.time.now_ns(),
        )
        self.witness.executed(execution, venue, ASSET)

    def book(self, client_id: str) -> None:
        """A fill of one coin was journalled."""
        self.witness.journalled(fill(client_id))

    def plan(self) -> None:
        """A pair of the two venues was planned."""
        plan = SimpleNamespace(
            pair_id="p1", asset=ASSET, long_venue=VENUE, short_venue=OTHER, notional_usd=D(100)
        )
        self.record("PAIR_PLANNED", orders=(), plan=plan)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.time.run_until(self.time.now_ns() + int(seconds * SECOND))

    def says(self) -> list[str]:
        """What was violated, by the mark of each invariant."""
        return [line.split(": ", 1)[1].split(" ", 1)[0] for line in self.witness.violations]


@pytest.fixture
def court() -> Court:
    """A court that has seen nothing wrong."""
    return Court()


def test_an_honest_order_is_let_pass(court: Court) -> None:
    """Journalled, sent once, executed and booked once."""
    court.send()
    court.execute("a")
    court.book("a")
    assert court.says() == []
    assert court.witness.books.disagreements() == []


def test_an_order_must_be_journalled_and_is_sent_once(court: Court) -> None:
    """O1 before the record, O2 when it goes again."""
    court.witness.sent(ENTRY)
    assert court.says() == ["O1"]
    court.intend(ENTRY)
    court.witness.sent(ENTRY)
    assert court.says() == ["O1", "O2"]


def test_numbers_are_finite_and_positive(court: Court) -> None:
    """O7 for a reference that is none."""
    court.send(reference_price=D("NaN"))
    assert court.says() == ["O7"]


def test_nothing_opens_on_what_the_node_cannot_know(court: Court) -> None:
    """R6 on an old quote, V3 on a channel that is down and on books from before it fell."""
    court.wait(60)
    court.send()
    assert court.says() == ["R6"]
    court.witness.told.good_quote(VENUE, ASSET)
    court.witness.told.channel(VENUE, "private", live=False)
    court.send(client_id="b")
    assert court.says() == ["R6", "V3", "V3"]


@pytest.mark.parametrize(
    ("switch", "state", "marks"),
    [
        ("killed", "", ["R5"]),
        ("killed", VENUE, ["R5"]),
        ("killed", OTHER, []),
        ("full_since_ns", 1, ["R2"]),
    ],
    ids=["of the node", "of the venue", "of another venue", "disk"],
)
def test_nothing_opens_where_a_person_or_the_disk_says_no(
    court: Court, switch: str, state: object, marks: list[str]
) -> None:
    """The kill switch, a full disk."""
    setattr(court.witness, switch, state)
    court.send()
    assert court.says() == marks


@pytest.mark.parametrize(
    ("killed", "level", "venues", "forgotten"),
    [
        (None, 0, {}, False),
        ("", 2, {}, False),
        ("", 0, {VENUE: 1}, True),
        (VENUE, 0, {VENUE: 1}, False),
        (VENUE, 2, {OTHER: 1}, True),
    ],
    ids=["off", "node", "node forgotten", "venue", "venue forgotten"],
)
def test_no_latch_is_forgotten(
    court: Court,
    killed: str | None,
    level: int,
    venues: dict[str, int],
    *,
    forgotten: bool,
) -> None:
    """That of the node, that of a venue."""
    court.witness.killed = killed
    court.witness.check_latches(SimpleNamespace(kill_level=level, venue_kills=venues))
    assert court.says() == (["R5"] if forgotten else [])


def test_an_order_never_executes_more_than_it_asked_for(court: Court) -> None:
    """O2 beyond its quantity and after its absence, O1 where it never left."""
    court.send()
    court.execute("a", "2")
    assert court.says() == ["O2"]
    court.execute("nobody's")
    assert court.says() == ["O2", "O1"]
    court.send(client_id="b")
    court.record("ORDER_PROVEN_ABSENT", client_id="b")
    court.execute("b")
    assert court.says() == ["O2", "O1", "O2"]


def test_nothing_covers_again_what_an_unknown_order_may_have_covered(court: Court) -> None:
    """O2 while one is unknown; once it is resolved the next may go."""
    court.plan()
    court.send()
    court.book("a")
    first = court.send(client_id="h1", purpose=Purpose.HEDGE, side=Side.SELL, leg=1)
    court.record("ORDER_UNKNOWN", client_id="h1")
    second = msgspec.structs.replace(first, client_id="h2")
    court.intend(second)
    court.witness.sent(second)
    assert court.says() == ["O2"]
    court.record("ORDER_EXPIRED", client_id="h1")
    court.send(client_id="h3", purpose=Purpose.HEDGE, side=Side.SELL, leg=1)
    assert court.says() == ["O2"]


def test_a_hedge_shrinks_the_net_of_its_pair(court: Court) -> None:
    """P4 when it goes beyond."""
    court.plan()
    court.send()
    court.book("a")
    court.send(client_id="h", purpose=Purpose.HEDGE, side=Side.SELL, quantity=D(2), leg=1)
    assert court.says() == ["P4"]


def test_a_reduction_says_so_and_never_grows_a_position(court: Court) -> None:
    """O8 without the flag where the venue has it, O8 when the position grew."""
    court.send(client_id="r", purpose=Purpose.REDUCE, reduce_only=False)
    court.execute("r")
    assert court.says() == ["O8", "O8"]


def test_an_execution_is_booked_once(court: Court) -> None:
    """M3 when it is booked again."""
    court.send()
    court.execute("a")
    court.book("a")
    court.book("a")
    assert court.says() == ["M3"]
    assert court.witness.books.disagreements() == ["P2 binance/BTC-PERP: books 2, exchange 1"]


def test_books_are_adjusted_for_what_others_did_only(court: Court) -> None:
    """P2 without a cause."""
    court.record("POSITION_ADJUSTED", venue=VENUE, asset=ASSET, delta=D(1))
    assert court.says() == ["P2"]
    court.execute("", venue=OTHER)
    court.record("POSITION_ADJUSTED", venue=OTHER, asset=ASSET, delta=D(1))
    assert court.says() == ["P2"]


def test_what_the_power_took_is_learned_anew_without_a_word(court: Court) -> None:
    """Records that are told once more are no second booking."""
    court.send()
    court.execute("a")
    court.book("a")
    court.witness.relearn([fill("a")])
    assert court.says() == []
    court.book("a")
    assert court.says() == ["M3"]


def test_a_spell_lasts_from_the_opening_to_the_cover(court: Court) -> None:
    """And names the venues of its pair."""
    court.plan()
    court.send()
    court.execute("a")
    court.wait(2)
    assert court.witness.exposure.unhedged() == ["P4 BTC-PERP is unhedged by 1"]
    court.send(client_id="b", venue=VENUE, side=Side.SELL)
    court.execute("b", side=Side.SELL, venue=OTHER)
    (spell,) = court.witness.exposure.spells
    assert spell.lasted_ns == court.witness.exposure.worst_ns == 2 * SECOND
    assert (spell.venues, spell.in_doubt) == (frozenset({VENUE, OTHER}), False)
    assert court.witness.exposure.unhedged() == []


def test_a_spell_is_in_doubt_while_an_order_is_unknown(court: Court) -> None:
    """Also when it became known within the spell; and the end of the seed ends a spell."""
    court.send()
    court.execute("a")
    court.wait(1)
    court.record("ORDER_UNKNOWN", client_id="a")
    court.book("a")
    court.witness.exposure.close()
    (spell,) = court.witness.exposure.spells
    assert (spell.lasted_ns, spell.in_doubt) == (SECOND, True)


def test_dust_that_was_declared_is_no_exposure(court: Court) -> None:
    """A pair that completed said what it left."""
    court.send()
    court.execute("a")
    court.record("TRADE_COMPLETED", pair_id="p1", asset=ASSET, dust_long=D(1), dust_short=D(0))
    assert court.witness.exposure.unhedged() == []


def test_reservations_have_a_pair_and_fit_the_pool(court: Court) -> None:
    """C2 for an owner that is no pair and for more than was reserved, C1 beyond the pool."""
    plan = draw(SEED)
    pool = plan.balance * len(plan.venues) * D("0.3")
    node = _node(legs={VENUE: pool}, used={VENUE: pool}, pair=object())
    court.witness.capital.inspect(node)
    assert court.says() == []
    court.witness.capital.inspect(_node(legs={VENUE: D(1)}, used={VENUE: D(2)}, pair=object()))
    court.witness.capital.inspect(_node(legs={VENUE: D(1)}, used={}, pair=None))
    court.witness.capital.inspect(_node(legs={VENUE: pool + 1}, used={}, pair=object()))
    assert court.says() == ["C2", "C2", "C1"]
    court.witness.capital.transferred(D(1_000))
    court.witness.capital.inspect(_node(legs={VENUE: pool + 300}, used={}, pair=object()))
    assert court.says() == ["C2", "C2", "C1"]


def test_a_violation_is_noted_once(court: Court) -> None:
    """However often it happens."""
    court.witness.violate("X1 the same")
    court.wait(1)
    court.witness.violate("X1 the same")
    assert court.witness.violations == ["0.00 s: X1 the same"]


def _node(*, legs: dict[str, Decimal], used: dict[str, Decimal], pair: object) -> Any:
    """What the witness looks at of a node with one reservation."""
    reservation = SimpleNamespace(legs=legs, used=used, owner="p1")
    pairs = SimpleNamespace(get=lambda _: pair)
    return SimpleNamespace(folds=SimpleNamespace(reservations=[reservation], pairs=pairs))
