"""The summary of a run, with the same meaning everywhere (DESIGN.md section 8).

Money is decimal strings in USD, `net = price + fees + funding` with costs negative; counts are
integers; `positions`, `dust` and `violations` are lists, and empty is good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from perpbot.app.core import Core
from perpbot.app.tally import RunTally
from perpbot.domain.money import plain
from perpbot.domain.pairs import ProfitSplit

CENT = Decimal("0.01")


class TrueBooks:
    """What an accountant outside the node says: the true executions, positions and profit."""

    def __init__(
        self,
        net: Decimal,
        positions: Mapping[tuple[str, str], Decimal],
        executions_per_client_id: Mapping[str, int],
    ) -> None:
        """`positions` (venue, asset) -> signed base coins, without flat ones."""
        self.net = net
        self.positions = positions
        self.executions_per_client_id = executions_per_client_id


def percentiles(values: Sequence[float], digits: int = 3) -> dict[str, float | None]:
    """Return p50, p99 and max; None for each where there are no values."""
    if not values:
        return {"p50": None, "p99": None, "max": None}
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], digits)

    return {"p50": at(0.5), "p99": at(0.99), "max": round(ordered[-1], digits)}


def profit_of(core: Core) -> ProfitSplit:
    """Return the profit of all books at the newest marks; without one, at what it cost.

    `violations` names every leg that has no mark.
    """
    marks = {}
    for key, position in core.folds.positions.held():
        mark = core.quotes.mark(key[0], key[2])
        marks[(key[0], key[2])] = position.entry_price if mark is None else mark
    return core.folds.positions.profit(marks)


def open_positions(core: Core) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return (positions, dust): legs of at least one step, and what lies below one step."""
    positions: list[dict[str, str]] = []
    dust: list[dict[str, str]] = []
    for key, position in core.folds.positions.held():
        row = {
            "venue": key[0],
            "account": key[1],
            "asset": key[2],
            "quantity": plain(position.quantity),
        }
        instrument = core.markets.instruments.get((key[0], key[2]))
        is_dust = instrument is not None and abs(position.quantity) < instrument.quantity_step
        (dust if is_dust else positions).append(row)
    return positions, dust


def violations(core: Core, tally: RunTally, books: TrueBooks, profit: ProfitSplit) -> list[str]:
    """Return every invariant that does not hold at the end of a run."""
    found = []
    if core.bus.halted is not None:
        found.append(f"the bus halted: {core.bus.halted}")
    ours: dict[tuple[str, str], Decimal] = {}
    for held, position in core.folds.positions.held():
        place = (held[0], held[2])
        ours[place] = ours.get(place, Decimal(0)) + position.quantity
        if core.quotes.mark(*place) is None:
            found.append(f"{'/'.join(place)}: held without a mark, counted at what it cost")
    for key in sorted({*ours, *books.positions}):
        mine, theirs = ours.get(key, Decimal(0)), books.positions.get(key, Decimal(0))
        if mine != theirs:
            found.append(f"{'/'.join(key)}: our position {mine}, the exchange's {theirs}")
    executed = sum(books.executions_per_client_id.values())
    if executed != tally.fills:
        found.append(f"the exchanges executed {executed} times for us, we booked {tally.fills}")
    if abs(profit.net - books.net) >= CENT:
        found.append(f"our profit {plain(profit.net)}, the accountant's {plain(books.net)}")
    if core.folds.orders.overfills:
        found.append(f"{core.folds.orders.overfills} orders filled beyond their quantity")
    if not len(core.folds.pairs) and core.capital.reserved_total() != 0:
        found.append(f"all is flat, {plain(core.capital.reserved_total())} USD stay reserved")
    return found


def summarise(
    core: Core,
    tally: RunTally,
    books: TrueBooks,
    *,
    mode: str,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    """Return the summary as JSON-ready values."""
    profit = profit_of(core)
    positions, dust = open_positions(core)
    return {
        "mode": mode,
        "seed": seed,
        "seconds": round(seconds, 3),
        "quotes": core.quotes.accepted,
        "opportunities": core.scanner.episodes,
        "pairs_opened": core.folds.pairs.opened,
        "pairs_closed": core.folds.pairs.closed,
        "orders": tally.orders,
        "fills": tally.fills,
        "pnl": {
            "price": plain(profit.price),
            "fees": plain(profit.fees),
            "funding": plain(profit.funding),
            "net": plain(profit.net),
        },
        "accountant_net": plain(books.net),
        "worst_unhedged_ms": core.folds.pairs.worst_unhedged_ns // 1_000_000,
        "open_orders": sum(1 for _ in core.folds.orders.unsettled()),
        "positions": positions,
        "dust": dust,
        "reserved": plain(core.capital.reserved_total()),
        "violations": violations(core, tally, books, profit),
    }
