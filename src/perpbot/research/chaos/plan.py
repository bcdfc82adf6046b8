"""What a seed breaks: a random subset of the fault matrix, each row with its own windows.

`draw(seed)` is pure. Rows carry the numbers of the fault matrix (docs/reliability.md); `kill` and
`jump` stand beside it. A `Fault` is a window in virtual time on one venue; faults that happen at
one moment use its start. The profiles of the exchanges (the weakest included) are drawn too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from perpbot.domain.capabilities import Capabilities, ClientIdScope, Lookup
from perpbot.kernel.clock import MS, SECOND
from perpbot.research.chaos.reaper import Death, Place
from perpbot.simulation.model import ClientIdRule, Contract, Profile

VENUES = ("binance", "okx", "hyperliquid")
ASSETS = ("BTC-PERP", "ETH-PERP")
START_NS = 1_780_000_000 * SECOND
TAKER_BPS = Decimal(1)
QUOTE_INTERVAL_S = 1.0

ROWS: dict[str, str] = {
    "1": "public stream down, and said so",
    "2": "private stream down, and said so",
    "3": "half-open: a stream is silent and nobody says so",
    "6": "request lost or very late, or answer lost after execution",
    "7": "5xx or reset after the exchange took the order",
    "8": "definite refusal at the door",
    "9": "429: every request is refused for a while",
    "10": "thin books and partial fills",
    "11": "hedges and reductions refused",
    "12": "cancel lost or late, order filled meanwhile",
    "13": "both legs unknown",
    "14": "venue down",
    "15": "reports told twice",
    "16": "an execution told again under another id",
    "17": "reports out of order",
    "18": "fill before the acknowledgement",
    "19": "clock of a venue steps",
    "21": "the node dies before or after a journal append, a send or a receive",
    "22": "the power fails: what was journalled after the newest intent is gone",
    "23": "the disk is full, or has only its reserve",
    "28": "the queues of the bus are tiny",
    "33": "NaN, negative, zero, ten times, a tenth",
    "34": "crossed quotes",
    "35": "symbol halted, or its tick, step and minimum change",
    "36": "funding flips sign and is settled",
    "37": "the venue itself closes a leg",
    "40": "the operator closes a leg by hand",
    "41": "old fills told again, positions read from a replica that lags",
    "hidden": "a leg is closed, and nothing but the position says so",
    "jump": "the market jumps",
    "kill": "kill switch engaged, later cleared by a person",
    "transfer": "money is brought or taken away",
}
"""Every row that tier A expresses."""

BLOCKING = frozenset(
    {"hidden", "33", "34", "2", "3", "6", "7", "8", "9", "11", "12", "13", "14", "35", "19"}
) | {*("16", "20", "32", "38", "42", "drip")}
"""Rows that may keep a hedge from being sent or known (nothing is sent at a price that nobody
knows); their windows bound unhedged time. So do
the times without a node (row 21). The second part is tier B's."""

KILL_POINTS: tuple[tuple[Place, str], ...] = (
    *((Place.SEND, purpose) for purpose in ("open", "hedge", "reduce")),
    *(
        (Place.RECEIVE, kind)
        for kind in (
            "ACCOUNT_REPORTED",
            "FILL_REPORTED",
            "INSTRUMENTS_LISTED",
            "ORDER_CANCEL_FAILED",
            "ORDER_REPORTED",
            "VENUE_SNAPSHOT",
        )
    ),
    *(
        (Place.APPEND, kind)
        for kind in (
            "ALERT_FIRED",
            "BUS_OVERFLOW",
            "CANCEL_ORDERS",
            "CAPITAL_RELEASED",
            "CAPITAL_SNAPSHOT_UPDATE",
            "CLOSE_PAIR",
            "COOLDOWN_STARTED",
            "DAY_STARTED",
            "EQUITY_SAMPLED",
            "FOREIGN_ORDER_SEEN",
            "FUNDING_PAID",
            "HEDGE_REQUIRED",
            "INSTRUMENT_CHANGED",
            "KILL_SWITCH",
            "KILL_SWITCH_CLEARED",
            "LEASE_RELEASED",
            "ORDER_CANCELLED",
            "ORDER_CANCEL_FAILED",
            "ORDER_EXPIRED",
            "ORDER_FAILED",
            "ORDER_FILLED",
            "ORDER_PLACED",
            "ORDER_PROVEN_ABSENT",
            "ORDER_SENT",
            "ORDER_UNKNOWN",
            "PAIR_PLANNED",
            "PAIR_STATE_CHANGED",
            "POSITION_ADJUSTED",
            "POSITION_UPDATED",
            "RISK_REJECTED",
            "RUN_STARTED",
            "SUBMIT_ORDERS",
            "TRADE_COMPLETED",
            "VENUE_RECONCILED",
        )
    ),
)
"""Every place where a node of tier A can die, by what it does there; each before and after."""
TRANSFER_POINT = (Place.APPEND, "TRANSFER")
"""One more, where money moves."""
_MADE_BY = {
    "ALERT_FIRED": "16",
    "BUS_OVERFLOW": "28",
    "CANCEL_ORDERS": "12",
    "FOREIGN_ORDER_SEEN": "40",
    "FUNDING_PAID": "36",
    "INSTRUMENT_CHANGED": "35",
    "KILL_SWITCH": "kill",
    "KILL_SWITCH_CLEARED": "kill",
    "ORDER_CANCELLED": "12",
    "ORDER_CANCEL_FAILED": "12",
    "ORDER_FAILED": "8",
    "ORDER_PROVEN_ABSENT": "6",
    "ORDER_UNKNOWN": "6",
    "POSITION_ADJUSTED": "hidden",
}
"""Rows without which a kind of record or report is rare."""


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong. `intensity` is a probability or a share; `variant` a flavour."""

    row: str
    venue: str
    asset: str
    start_ns: int
    stop_ns: int
    intensity: float
    variant: int
    numbers: tuple[int, ...] = ()
    deaths: tuple[Death, ...] = ()
    """Of the node: the first one, then those in its recoveries."""

    def active(self, now_ns: int) -> bool:
        """Whether the window is open."""
        return self.start_ns <= now_ns < self.stop_ns

    def __str__(self) -> str:
        begins_s, ends_s = ((ns - START_NS) / SECOND for ns in (self.start_ns, self.stop_ns))
        return f"row {self.row} {self.venue} {self.asset} {begins_s:.1f} to {ends_s:.1f} s"


class Quirks(msgspec.Struct, frozen=True):
    """What is unusual about the node itself, so that rare paths are taken often."""

    pace: str = "usual"
    """Which settings of time it has: usual, hasty or patient."""
    timeout_ns: int = 2 * SECOND
    """When its transport gives up waiting for an answer."""
    snapshot_every: int = 0
    """Records between two snapshots that a recovery begins with; 0: it folds all records."""
    high_water: int = 0
    """Waiting events above which nothing opens; 0: as in life."""
    hard_limit: int = 0
    """Waiting events at which the first node halts; 0: as in life."""


class VenuePlan(msgspec.Struct, frozen=True):
    """One exchange and how far it is."""

    profile: Profile
    capabilities: Capabilities
    latency_ns: int


class Plan(msgspec.Struct, frozen=True):
    """Everything that a seed decides before the first step."""

    seed: int
    venues: dict[str, VenuePlan]
    assets: tuple[str, ...]
    contracts: dict[str, tuple[Contract, ...]]
    chaos_ns: int
    faults: tuple[Fault, ...]
    fallback: str
    balance: Decimal
    quirks: Quirks = Quirks()

    @property
    def rows(self) -> frozenset[str]:
        """The rows that were chosen."""
        return frozenset(fault.row for fault in self.faults)

    @property
    def heal_ns(self) -> int:
        """When everything works again (UTC ns)."""
        return START_NS + self.chaos_ns


def draw(seed: int, row: str | None = None) -> Plan:
    """Return the plan of a seed; `row` is always among its rows where given."""
    rng = random.Random(f"chaos plan {seed}")
    names = VENUES[: rng.choice((2, 2, 3))]
    assets = ASSETS[: rng.choice((1, 1, 2))]
    chaos_ns = rng.randrange(60, 76) * SECOND
    chosen = rng.sample(sorted(ROWS.keys() - {"transfer"}), rng.randrange(1, 9))
    if rng.random() < 0.2 and "21" not in chosen:
        # Deaths are many: every kind of place, before and after it.
        chosen.append("21")
    aims = [rng.choice(KILL_POINTS) for _ in range(2)]
    if not {"21", "22"}.isdisjoint(chosen):
        if "hidden" in chosen:
            aims[0] = (Place.APPEND, "POSITION_ADJUSTED")
        needed = sorted({_MADE_BY[kind] for _, kind in aims if kind in _MADE_BY})
        chosen += [name for name in needed if name not in chosen]
    if row is not None and row not in {*chosen, "transfer"}:
        chosen.append(row)
    faults = [
        fault
        for name in chosen
        for _ in range(1 if name == "kill" else rng.randrange(1, 4))
        for fault in (_fault(rng, name, names, assets, chaos_ns, aims),)
    ]
    faults += _moves(seed, names, assets, chaos_ns, always=row == "transfer")
    return Plan(
        seed=seed,
        venues={name: _venue(rng, name) for name in names},
        assets=assets,
        contracts={name: tuple(_contract(rng, asset) for asset in assets) for name in names},
        chaos_ns=chaos_ns,
        faults=tuple(sorted(faults, key=lambda fault: fault.start_ns)),
        fallback="balanced" if rng.random() < 0.25 or "12" in chosen else "limit_only",
        balance=Decimal(10_000),
        quirks=_quirks(rng, chosen),
    )


def _moves(
    seed: int, venues: tuple[str, ...], assets: tuple[str, ...], chaos_ns: int, *, always: bool
) -> list[Fault]:
    """Return the transfers of a seed, and deaths that wait for their records.

    They are drawn apart: they go on beside whatever else breaks, and change none of it.
    """
    rng = random.Random(f"chaos moves {seed}")
    if not always and rng.random() >= 0.3:
        return []
    aims = (TRANSFER_POINT,)
    moves = [_fault(rng, "transfer", venues, assets, chaos_ns, aims) for _ in range(3)]
    if rng.random() < 0.4:
        moves.append(_fault(rng, "21", venues, assets, chaos_ns, aims))
    return moves[rng.randrange(3) :]


def _quirks(rng: random.Random, chosen: Sequence[str]) -> Quirks:
    tiny = "28" in chosen
    return Quirks(
        pace=rng.choice(("usual", "usual", "usual", "hasty", "patient")),
        timeout_ns=rng.choice((200 * MS, 2 * SECOND, 2 * SECOND, 2 * SECOND, 20 * SECOND)),
        snapshot_every=rng.choice((0, 0, 0, 0, 50, 50, 7, 7, 7, 1)),
        high_water=rng.randrange(1, 5) if tiny else 0,
        hard_limit=rng.randrange(6, 14) if tiny and rng.random() < 0.3 else 0,
    )


def _fault(
    rng: random.Random,
    row: str,
    venues: tuple[str, ...],
    assets: tuple[str, ...],
    chaos_ns: int,
    aims: Sequence[tuple[Place, str]],
) -> Fault:
    start_ns = START_NS + rng.randrange(6 * SECOND, chaos_ns - 8 * SECOND)
    longest = min(START_NS + chaos_ns - start_ns, 12 * SECOND)
    venue, asset = rng.choice(venues), rng.choice(assets)
    lasts_ns = rng.randrange(SECOND, longest)
    if row == "kill":
        # A person takes longer than a fault; deaths of the node fall into it.
        lasts_ns = min(START_NS + chaos_ns - start_ns, 25 * SECOND)
    deaths = _deaths(rng, aims) if row in {"21", "22"} else ()
    if row == "hidden":
        # Seen twice while nothing moves the leg, it is still before everything heals.
        start_ns = START_NS + rng.randrange(6 * SECOND, chaos_ns // 2)
    if deaths and deaths[0].kind:
        # It waits for what it aims at; a day is started in the first moment of the first life.
        start_ns = START_NS + (
            0 if deaths[0].kind == "DAY_STARTED" else rng.randrange(15 * SECOND)
        )
    return Fault(
        row=row,
        venue=venue,
        asset=asset,
        start_ns=start_ns,
        stop_ns=start_ns + lasts_ns,
        intensity=rng.choice((0.2, 0.5, 0.8, 1.0)),
        variant=rng.randrange(6),
        deaths=deaths,
    )


def _deaths(rng: random.Random, aims: Sequence[tuple[Place, str]]) -> tuple[Death, ...]:
    """Return where the node dies: anywhere, or at a kind of place that is hit seldom by chance."""
    if rng.random() < 0.3:
        first = Death(Place.APPEND, after=rng.random() < 0.5, count=rng.randrange(1, 40))
    else:
        place, kind = rng.choice(aims)
        count = 1 if kind == "POSITION_ADJUSTED" else rng.randrange(1, 3)
        first = Death(place, after=rng.random() < 0.5, count=count, kind=kind)
    nested = (
        Death(
            rng.choice((Place.APPEND, Place.APPEND, Place.SEND, Place.RECEIVE)),
            after=rng.random() < 0.5,
            count=rng.randrange(1, 20),
        )
        for _ in range(rng.choice((0, 0, 1, 2)))
    )
    return (first, *nested)


def _venue(rng: random.Random, name: str) -> VenuePlan:
    """Return a profile: any mixture of strong and weak."""
    weak = rng.random() < 0.25
    scope = ClientIdScope.NONE if weak else rng.choice(tuple(ClientIdScope))
    lookup = Lookup.OPEN_ONLY if weak else rng.choice((Lookup.FULL, Lookup.FULL, Lookup.OPEN_ONLY))
    reduce_only = not weak and rng.random() < 0.75
    rules = {
        ClientIdScope.NONE: ClientIdRule.NEVER,
        ClientIdScope.OPEN_ORDERS: ClientIdRule.OPEN_ORDERS,
        ClientIdScope.FOREVER: ClientIdRule.FOREVER,
    }
    return VenuePlan(
        profile=Profile(
            name=name,
            maker_fee=Decimal(0),
            taker_fee=TAKER_BPS / 10_000,
            client_ids=rules[scope],
            reduce_only=reduce_only,
            band_ratio=Decimal("0.05"),
        ),
        capabilities=Capabilities(
            venue=name,
            operator=name,
            client_id_scope=scope,
            lookup=lookup,
            request_expiry=not weak and rng.random() < 0.7,
            post_only=True,
            ioc=True,
            market_orders=True,
            reduce_only=reduce_only,
            quote_interval_s=QUOTE_INTERVAL_S,
            maker_fee_bps=Decimal(0),
            taker_fee_bps=TAKER_BPS,
            fees_as_of="2026-01-01",
            reconcile_interval_s=rng.choice((4.0, 8.0)),
            instrument_refusals=frozenset({"bad_price", "bad_quantity", "min_notional"}),
        ),
        latency_ns=rng.randrange(10, 80) * MS,
    )


def _contract(rng: random.Random, asset: str) -> Contract:
    base = asset.removesuffix("-PERP")
    step = Decimal("0.0001") if base == "BTC" else Decimal("0.001")
    # Half of the venues trade in coarser steps, so that common grids and dust matter.
    step *= rng.choice((1, 1, 2, 3))
    return Contract(
        symbol=f"{base}USDT",
        asset=asset,
        base=base,
        settle="USDT",
        tick_size=Decimal("0.1") if base == "BTC" else Decimal("0.01"),
        quantity_step=step,
        min_quantity=step * rng.choice((1, 2)),
        min_notional=Decimal(rng.choice((0, 5, 10))),
    )
