"""What `perpbot recover` says to people."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from perpbot.app.restart.outlook import Holding, OrderOutlook, Outlook, PairOutlook, Step
from perpbot.cli.recover_look import Report
from perpbot.domain.money import plain
from perpbot.execution.killswitch import LEVELS
from perpbot.kernel.clock import SECOND
from perpbot.kernel.journal.survey import Survey
from perpbot.operations.explanation import clock_text


def report_text(report: Report, now_ns: int) -> str:
    """Return the whole report, most urgent first."""
    lines = [f"mode {report.mode}, {report.state_dir}"]
    if report.running is not None:
        lines.append(
            f"process {report.running} runs here now: this is what a restart would do if it died"
        )
    lines += _journal(report.journal)
    lines += _problem(report)
    if report.recovered is not None:
        lines += _recovered(report)
    for venue, said in (report.asked or {}).items():
        lines.append(f"{venue} says: {said}")
    if report.outlook is not None:
        lines += _outlook(report.outlook, now_ns)
    elif report.recovered is not None and not report.problem:
        lines.append(
            "no node has left what it knew of its markets here: --ask learns it from the venues"
        )
    return "\n".join(lines)


def _journal(found: Survey) -> Iterator[str]:
    yield (
        f"journal: {found.records:,} records up to {found.newest:,} in {found.segments} segments,"
        f" {found.size / 1e6:,.1f} MB"
    )
    if found.torn:
        yield f"  the last write was cut short: the next start cuts off {found.torn} bytes"
    for snapshot in found.snapshots:
        if not snapshot.whole:
            yield f"  snapshot {snapshot.sequence} is damaged and will not be used"


def _problem(report: Report) -> Iterator[str]:
    plan = report.repair
    if plan is not None:
        yield f"DAMAGED: {plan.damage}"
        stays = f"records {plan.first} to {plan.last}" if plan.last >= plan.first else "no record"
        if plan.complete:
            yield f"  a repair keeps {stays} and loses nothing of the state"
        else:
            yield (
                f"  a repair keeps {stays} and loses {plan.lost} or more after it; it latches the"
                " kill switch at level 1, and the venues decide what is true"
            )
        yield "  a node refuses to start until then: perpbot recover"
    poison = report.poison
    if poison is not None:
        yield (
            f"POISONED: record {poison['sequence']} ({poison['kind']}) cannot be folded:"
            f" {poison['component']}: {poison['error']}"
        )
        yield f"  look at it: perpbot journal export --from {poison['sequence']} --limit 1"
        yield (
            "  pass it over (latches the kill switch at level 1; the venues decide what is true):"
            f' perpbot recover --skip {poison["sequence"]} --reason "..."'
        )
    outlook = report.outlook
    if outlook is not None and outlook.halted:
        yield f"A RESTART WOULD HALT: {outlook.halted}"
    elif report.problem and plan is None and poison is None:
        yield f"A NODE REFUSES TO START: {report.problem}"


def _recovered(report: Report) -> Iterator[str]:
    told = report.recovered
    assert told is not None
    begin = f"snapshot {told['snapshot']:,} and " if told["snapshot"] else ""
    yield (
        f"state: {begin}{told['records']:,} records after it, folded in {told['seconds']:.2f} s;"
        f" hash {told['state_hash'][:16]}"
    )
    if told["refused_snapshot"]:
        yield f"  the newest snapshot was not used: {told['refused_snapshot']}"
    for sequence in told["passed_over"]:
        yield f"  record {sequence} is passed over: a person decided so"


def _outlook(outlook: Outlook, now_ns: int) -> Iterator[str]:
    yield f"a restart would begin run {outlook.epoch}"
    yield from _latches(outlook)
    yield f"pairs: {len(outlook.pairs)} not flat"
    for pair in outlook.pairs:
        yield from _pair(pair, now_ns)
    yield f"orders at work: {len(outlook.orders)}"
    for order in outlook.orders:
        yield from _order(order, now_ns)
    yield f"reservations: {len(outlook.reservations)}, leased legs: {len(outlook.leases)}"
    for found in outlook.reservations:
        legs = found["legs"]
        assert isinstance(legs, dict)
        held = ", ".join(f"{plain(amount)} on {venue}" for venue, amount in legs.items())
        yield f"  {found['reservation']} of {found['owner']}: {held} USD from {found['pool']}"
    for holding in outlook.holdings:
        yield _holding(holding)
    yield "venues that must agree before anything opens there:"
    for venue in outlook.venues:
        since = clock_text(venue.whole_until_ns) if venue.whole_until_ns else "ever"
        state = venue.refusal or "agrees"
        yield f"  {venue.venue}: {state}; executions are asked for since {since}"
    if outlook.others:
        yield "and:"
        yield from _steps(outlook.others, "  ")


def _latches(outlook: Outlook) -> Iterator[str]:
    latches = outlook.latches
    level = latches["kill_level"]
    if isinstance(level, int) and level:
        yield f"STAYS: kill switch level {level} ({LEVELS[level]}): {latches['kill_reason']}"
    kills = latches["venue_kills"]
    assert isinstance(kills, dict)
    for venue, kill in kills.items():
        yield (
            f"STAYS: kill switch of {venue}, level {kill['level']} ({LEVELS[kill['level']]}):"
            f" {kill['reason']}"
        )
    for name in ("halts", "cooldowns"):
        found = latches[name]
        assert isinstance(found, dict)
        for rule, value in found.items():
            text = f"until {clock_text(value)}" if isinstance(value, int) else value
            yield f"STAYS: {name[:-1]} {rule}: {text}"
    venues = latches["safe_mode"]
    assert isinstance(venues, list)
    for venue in venues:
        yield f"STAYS: safe mode on {venue}"


def _pair(pair: PairOutlook, now_ns: int) -> Iterator[str]:
    legs = (
        f"{plain(pair.long_quantity)} on {pair.long_venue},"
        f" {plain(pair.short_quantity)} on {pair.short_venue}"
    )
    why = f", leaves ({pair.close_reason})" if pair.close_reason else ""
    yield f"  {pair.pair} {pair.asset} {pair.state}{why}: {legs}"
    if pair.imbalance:
        age = _age(pair.unhedged_since_ns, now_ns)
        yield f"    UNHEDGED by {plain(pair.imbalance)}{age}"
    yield from _steps(pair.steps, "    ")
    if pair.waits_for:
        yield f"    then waits until {' and '.join(pair.waits_for)} told what the books lack"
    elif pair.next_look_ms is not None:
        yield f"    then looks again in {pair.next_look_ms} ms, {pair.state_after}"
    elif not pair.steps or pair.state_after != "flat":
        yield f"    then waits for news, {pair.state_after}"


def _order(order: OrderOutlook, now_ns: int) -> Iterator[str]:
    price = "market" if order.price is None else plain(order.price)
    yield (
        f"  {order.client_id} of {order.pair or 'nobody'}: {order.purpose} {order.side}"
        f" {plain(order.quantity)} {order.asset} on {order.venue} at {price}, {order.state}"
        f"{_age(order.since_ns, now_ns)}{_filled(order.filled)}"
    )
    yield f"    awaits {order.awaits}"
    yield from _steps(order.steps, "    ")


def _filled(quantity: Decimal) -> str:
    return f", {plain(quantity)} filled" if quantity else ""


def _holding(holding: Holding) -> str:
    what = "dust" if holding.dust else "NOT HEDGED BY ANY PAIR"
    return (
        f"  {holding.venue} {holding.asset}: holds {plain(holding.quantity)}, pairs hold"
        f" {plain(holding.held_by_pairs)} of it ({what})"
    )


def _steps(steps: tuple[Step, ...], indent: str) -> Iterator[str]:
    for step in steps:
        yield f"{indent}+{step.after_ms} ms: {step.text}"


def _age(since_ns: int, now_ns: int) -> str:
    return f" for {max(now_ns - since_ns, 0) / SECOND:,.0f} s" if since_ns else ""
