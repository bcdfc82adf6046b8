"""Reading the whole configuration: which files, which layers, which checks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from perpbot.configuration.effective import effective
from perpbot.configuration.legacy import OLD_KEYS
from perpbot.configuration.locks import violations
from perpbot.configuration.tree import VENUES, Settings
from perpbot.settings import (
    Credentials,
    Flag,
    Loaded,
    Mode,
    Problem,
    SettingsError,
    Sources,
    Violation,
    load,
    load_credentials,
    read_environment,
)

Configuration = Loaded[Settings]
"""The settings with their origins, warnings and `explain`."""

MODE_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    # Minutes, not hours, are to be seen: a short memory of the basis, a low floor.
    Mode.DEMO: {
        "market.basis_window_s": 60.0,
        "market.basis_warmup_s": 6.0,
        "arbitrage.min_edge_bps": 5.0,
        "arbitrage.max_pairs_per_venue": 4,
        "arbitrage.max_concurrent_pairs": 6,
    },
    # The contract of `perpbot replay`.
    Mode.REPLAY: {
        "market.basis_window_s": 60.0,
        "market.basis_warmup_s": 30.0,
        "arbitrage.min_edge_bps": 1.0,
        "arbitrage.slippage_bps": 0.0,
        # Twice the least order of every venue has to fit, in BTC too.
        "arbitrage.pair_notional_max_usd": Decimal(1_000),
        "paper.latency_ms": 20.0,
    },
}
"""Defaults that differ by mode; files, environment and flags still win over them."""


def find_config_files(directory: Path) -> list[Path]:
    """Return config.yaml and config.d/*.yaml of a working directory, in order, where they are."""
    main = directory / "config.yaml"
    more = sorted((directory / "config.d").glob("*.yaml"))
    return [path for path in (main, *more) if os.path.lexists(path)]


def load_configuration(
    files: Sequence[Path] = (),
    *,
    environ: Mapping[str, str],
    dotenv: Path | None = None,
    flags: Sequence[Flag] = (),
) -> Configuration:
    """Read and check everything. Raises `SettingsError` with every problem.

    `environ` is the process environment (`os.environ`), `dotenv` a `.env` that exists, `flags`
    what the command line says. The result carries `warnings`: print them, they are never fatal.
    """
    environment, problems = read_environment(environ, dotenv)
    loaded = load(
        Settings,
        Sources(files=files, environment=environment, flags=flags),
        aliases=OLD_KEYS,
        profiles=MODE_DEFAULTS,
        checks=(violations, _overrides_agree, _venues_are_known),
        problems=problems,
    )
    if environment.shared_file is None:
        return loaded
    warning = Problem("can be read by others: run chmod 600 on it", origin=environment.shared_file)
    return replace(loaded, warnings=(*loaded.warnings, warning))


def credentials_of(configuration: Configuration, venue: str) -> Credentials:
    """Return what `venue` signs with in this mode; empty in demo, paper and replay.

    Raises `SettingsError` where some but not all are given.
    """
    settings = configuration.settings
    return load_credentials(
        venue,
        settings.mode,
        configuration.environment,
        account=settings.venue(venue).credentials,
    )


def credential_problems(configuration: Configuration) -> list[Problem]:
    """Return what is wrong with any enabled venue's credentials (for `doctor` and `validate`)."""
    problems: list[Problem] = []
    for venue in configuration.settings.enabled_venues:
        try:
            credentials_of(configuration, venue)
        except SettingsError as error:
            problems += error.problems
    return problems


def _overrides_agree(loaded: Configuration) -> Iterator[Violation]:
    """Refuse blocks whose values contradict those that they are put over."""
    settings = loaded.settings
    places: list[tuple[str | None, str | None, str]] = [
        (None, symbol, f"symbols.{symbol}") for symbol in settings.symbols
    ]
    for name in VENUES:
        places.append((name, None, f"venues.{name}"))
        symbols = dict.fromkeys([*settings.venue(name).symbols, *settings.symbols])
        places += [(name, symbol, f"venues.{name}.symbols.{symbol}") for symbol in symbols]
    told: set[str] = set()
    for venue, symbol, prefix in places:
        try:
            effective(settings, symbol=symbol, venue=venue)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                if details["msg"] not in told:
                    told.add(details["msg"])
                    yield Violation(
                        f"together with what it overrides: {details['msg']}", (prefix,)
                    )


def _venues_are_known(loaded: Configuration) -> Iterator[Violation]:
    known = ", ".join(VENUES)
    for pair in loaded.settings.arbitrage.priority_pairs:
        for venue in pair:
            if venue not in VENUES:
                message = f"names {venue}: one of {known} was expected"
                yield Violation(message, ("arbitrage.priority_pairs",))
