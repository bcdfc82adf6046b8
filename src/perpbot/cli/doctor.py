"""`perpbot doctor`: what would keep a run from working, found before it starts."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import msgspec

from perpbot.app.keycheck import KeyVerdict, ask_permissions
from perpbot.app.protecting import protection_in
from perpbot.app.run import connection_of, venues_of
from perpbot.app.venues import make_venue
from perpbot.cli.output import Exit, config_paths, emit, show
from perpbot.cli.place import dotenv
from perpbot.configuration import (
    Configuration,
    credential_problems,
    credentials_of,
    load_configuration,
)
from perpbot.domain.errors import ConfigError, VenueError
from perpbot.kernel.clock import RealClock
from perpbot.operations.protection import NOBODY, Protection
from perpbot.settings import Mode

REACH_LIMIT_S = 6.0
CLOCK_EARLIEST_S = 1_750_000_000
"""Mid-2025: a clock before that has not been set."""


class Grade(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One check and what it found."""

    name: str
    grade: Grade
    text: str


def run_doctor(*, as_json: bool, files: Sequence[Path] | None) -> int:
    """Run every check; 7 when a venue cannot be reached, 4 for settings, 1 for the rest."""
    checks = [_python(), _packages(), *_clock()]
    configuration = None
    rows: list[Protection] = []
    code = Exit.OK
    try:
        configuration = load_configuration(
            config_paths(files), environ=os.environ, dotenv=dotenv()
        )
    except ConfigError as error:
        checks.append(Check("configuration", Grade.PROBLEM, str(error)))
        code = Exit.CONFIG
    if configuration is not None:
        checks += _of_configuration(configuration, config_paths(files))
        rows = _protection(configuration)
        checks += map(_protected, rows)
        reached = asyncio.run(_reach_all(configuration))
        checks += reached
        if any(check.grade is Grade.PROBLEM for check in reached):
            code = Exit.VENUE
        checks += asyncio.run(_ask_keys(configuration))
    if code is Exit.OK and any(check.grade is Grade.PROBLEM for check in checks):
        code = Exit.ERROR
    if as_json:
        found = [asdict(check) for check in checks]
        emit({"ok": code is Exit.OK, "checks": found, "protection": msgspec.to_builtins(rows)})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            show(f"{check.grade:<8} {check.name:<{width}}  {check.text}")
    return code


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    text = found if good else f"{found}: 3.11 or newer is needed"
    return Check("python", Grade.OK if good else Grade.PROBLEM, text)


def _packages() -> Check:
    missing = []
    for requirement in requires("perpbot") or ():
        if "extra ==" in requirement:
            continue
        name = requirement.split(">")[0].split("<")[0].strip()
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", Grade.PROBLEM, f"missing: {', '.join(missing)}; run make setup")
    return Check("packages", Grade.OK, "all installed")


def _clock() -> Iterator[Check]:
    good = time.time() > CLOCK_EARLIEST_S
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    yield Check("clock", Grade.OK if good else Grade.PROBLEM, text if good else f"{text}: not set")


def _of_configuration(configuration: Configuration, files: Sequence[Path]) -> Iterator[Check]:
    settings = configuration.settings
    named = ", ".join(map(str, files)) or "defaults only: perpbot init writes a config.yaml"
    yield Check("configuration", Grade.OK, f"mode {settings.mode.value}; {named}")
    for warning in configuration.warnings:
        yield Check("configuration", Grade.WARNING, str(warning))
    yield from _modes(settings.state_path, configuration.environment.keystore.path)
    for problem in credential_problems(configuration):
        yield Check("credentials", Grade.PROBLEM, str(problem))
    for venue in settings.enabled_venues:
        yield _credentials(configuration, venue)
    free_mb = shutil.disk_usage(_existing(settings.state_path)).free // 1_048_576
    least_mb = settings.journal.min_free_disk_mb
    enough = free_mb >= least_mb
    yield Check(
        "disk",
        Grade.OK if enough else Grade.PROBLEM,
        f"{free_mb} MB free at {settings.state_path}"
        + ("" if enough else f", at least {least_mb} MB are needed (journal.min_free_disk_mb)"),
    )


def _protection(configuration: Configuration) -> list[Protection]:
    """Return who protects what if the node dies; nothing to tell where no order goes out."""
    if not configuration.settings.mode.sends_orders_out or credential_problems(configuration):
        return []
    return protection_in(configuration)


def _protected(row: Protection) -> Check:
    if not row.trades:
        return Check("protection", Grade.OK, f"{row.venue}: nothing of ours is there")
    text = (
        f"{row.venue}: if the node dies, orders are cancelled by {row.cancels}, positions"
        f" flattened by {row.flattens} (dead man's switch: {row.dead_man.why}; guardian:"
        f" {row.guardian.why})"
    )
    alone = NOBODY in {row.cancels, row.flattens}
    return Check("protection", Grade.WARNING if alone else Grade.OK, text)


def _modes(state: Path, keystore: Path | None) -> Iterator[Check]:
    stored = () if keystore is None or not keystore.exists() else (keystore, keystore.parent)
    for path in (Path(".env"), state / "console.token", state, *stored):
        if not path.exists():
            continue
        shared = stat.S_IMODE(path.stat().st_mode) & 0o077
        wanted = "700" if path.is_dir() else "600"
        if shared:
            text = f"{path} can be read by others: run chmod {wanted} {path}"
            yield Check("file modes", Grade.WARNING, text)
        else:
            yield Check("file modes", Grade.OK, f"{path} is private")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)


def _credentials(configuration: Configuration, venue: str) -> Check:
    mode = configuration.settings.mode
    if not mode.sends_orders_out:
        return Check("credentials", Grade.OK, f"{venue}: {mode.value} reads none")
    try:
        found = credentials_of(configuration, venue)
    except ConfigError:
        return Check("credentials", Grade.PROBLEM, f"{venue}: incomplete")
    if found:
        return Check("credentials", Grade.OK, f"{venue}: from {found.source}")
    return Check("credentials", Grade.WARNING, f"{venue}: none, read-only: perpbot keys add")


async def _reach_all(configuration: Configuration) -> list[Check]:
    venues = configuration.settings.enabled_venues
    if configuration.settings.mode is Mode.DEMO:
        return []
    return list(await asyncio.gather(*(_reach(configuration, venue) for venue in venues)))


async def _reach(configuration: Configuration, name: str) -> Check:
    """Ask for the list of instruments: it needs no key, and shows the address that answers."""
    venue = make_venue(
        name, connection_of(configuration.settings, name), {}, RealClock(), random.Random()
    )
    started = time.monotonic()
    try:
        async with asyncio.timeout(REACH_LIMIT_S):
            listed = await venue.market_data.instruments()
    except VenueError as error:
        return Check("venue", Grade.PROBLEM, f"{name}: cannot be reached: {error.message}")
    except TimeoutError:
        text = f"{name}: cannot be reached: no answer in {REACH_LIMIT_S:g} s"
        return Check("venue", Grade.PROBLEM, text)
    finally:
        await venue.close()
    elapsed_ms = round((time.monotonic() - started) * 1000)
    return Check("venue", Grade.OK, f"{name}: {len(listed)} instruments in {elapsed_ms} ms")


async def _ask_keys(configuration: Configuration) -> list[Check]:
    """Ask what our keys may do; a key that live would refuse is a problem there."""
    mode = configuration.settings.mode
    if not mode.sends_orders_out:
        return []
    try:
        venues = venues_of(configuration, RealClock(), random.Random(), lambda _: None)
    except ConfigError as error:
        if credential_problems(configuration):
            return []  # told with the credentials
        return [Check("credentials", Grade.PROBLEM, str(error))]
    checks = []
    for venue in venues:
        if venue.can_trade:
            checks += list(_key_checks(await ask_permissions(venue), mode))
        await venue.close()
    return checks


def _key_checks(verdict: KeyVerdict, mode: Mode) -> Iterator[Check]:
    if verdict.permissions is not None:
        yield Check("key", Grade.OK, f"{verdict.venue}: {verdict.permissions.summary()}")
    bad = Grade.PROBLEM if mode is Mode.LIVE else Grade.WARNING
    for objection in verdict.objections:
        yield Check("key", bad, f"{verdict.venue}: {objection}")
    for warning in verdict.warnings:
        yield Check("key", Grade.WARNING, f"{verdict.venue}: {warning}")
