"""`perpbot risk`: what is switched off, and a person who switches it on again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from perpbot.cli.node import TAKEN_LIMIT_S, run_of
from perpbot.cli.output import Exit, UsageError, emit, fail, say, show
from perpbot.cli.place import Place, person, place_of
from perpbot.kernel.clock import SECOND, RealClock
from perpbot.operations.decisions import (
    ClearHalt,
    Decision,
    LiftPauses,
    read_answer,
    write_decision,
)
from perpbot.operations.statusfile import read_status

_LOOK_S = 0.05


def run_show(*, mode: str | None, as_json: bool, files: Sequence[Path] | None) -> int:
    """Say what is switched off, from the node's status."""
    place = place_of(files, mode)
    run_of(place)
    status = read_status(place.state)
    risk = None if status is None else status["risk"]
    if as_json:
        emit({"risk": risk})
    elif risk is None:
        show("no figures yet: the node is still waiting for its venues")
    else:
        for line in _lines(risk):
            show(line)
    return Exit.OK


def _lines(risk: dict[str, Any]) -> Iterator[str]:
    level = risk["kill_level"]
    yield f"kill switch    {f'level {level}: ' + risk['kill_reason'] if level else 'off'}"
    for venue, kill in risk["venue_kills"].items():
        yield f"{'kill ' + venue:<14} level {kill['level']}: {kill['reason']}"
    loss = risk["daily_loss_usd"]
    yield f"drawdown       {float(risk['drawdown_ratio']):.2%} from the peak"
    yield f"loss today     {'unknown' if loss is None else f'{loss} USD'}"
    for rule, why in risk["halts"].items():
        yield f"HALT           {rule}: {why}"
        yield f'               perpbot risk reset {rule} --reason "..." lifts it'
    for scope, until_ns in risk["cooldowns"].items():
        yield f"cooldown       {scope} until {_time(until_ns)}"
    override = risk["override"]
    if override is not None:
        yield (
            f"override       by {override['actor']} until {_time(override['until_ns'])},"
            f" {override['trades_left']} trades left"
        )


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def run_reset(
    rule: str, reason: str, *, mode: str | None, as_json: bool, files: Sequence[Path] | None
) -> int:
    """Have the node clear a halt; wait for its answer."""
    place = place_of(files, mode)
    decision = ClearHalt(
        number=secrets.token_hex(8),
        ts_ns=RealClock().now_ns(),
        actor=person(),
        reason=_given(reason),
        rule=rule,
    )
    return _ask(place, decision, as_json=as_json)


def run_override(
    minutes: int,
    trades: int,
    reason: str,
    *,
    mode: str | None,
    as_json: bool,
    files: Sequence[Path] | None,
) -> int:
    """Have the node lift its pauses; wait for its answer."""
    place = place_of(files, mode)
    decision = LiftPauses(
        number=secrets.token_hex(8),
        ts_ns=RealClock().now_ns(),
        actor=person(),
        reason=_given(reason),
        minutes=minutes,
        trades=trades,
    )
    return _ask(place, decision, as_json=as_json)


def _given(reason: str) -> str:
    if not reason.strip():
        raise UsageError("--reason was empty: it is journalled with your name")
    return reason.strip()


def _ask(place: Place, decision: Decision, *, as_json: bool) -> int:
    info = run_of(place)
    path = write_decision(place.state, decision)
    until = time.monotonic() + TAKEN_LIMIT_S
    while (answer := read_answer(place.state, decision.number)) is None:
        if time.monotonic() <= until:
            time.sleep(_LOOK_S)
            continue
        taken = not path.exists()
        path.unlink(missing_ok=True)  # nobody shall find it later
        what = "took it and died or hangs: see `perpbot risk show`" if taken else "was not reached"
        unchanged = "" if taken else "; nothing was changed"
        say(f"process {info.pid} {what}: no answer in {TAKEN_LIMIT_S:g} s{unchanged}")
        return Exit.TIMEOUT
    if not answer.done:
        fail(answer.text, Exit.REFUSED)
    if as_json:
        emit({"pid": info.pid, "taken": True, "did": answer.text})
    else:
        show(f"taken by process {info.pid}: {answer.text}")
    return Exit.OK
