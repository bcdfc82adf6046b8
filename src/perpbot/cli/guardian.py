"""`perpbot guardian`: the process that takes over when the node falls silent."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from perpbot.app.guarding import run_guardian, shared_keys
from perpbot.cli.output import Exit, config_paths, say
from perpbot.cli.place import dotenv
from perpbot.cli.process import private_process, until_told
from perpbot.cli.run import mode_flag
from perpbot.configuration import Configuration, load_configuration
from perpbot.guardian.record import Fact

_SILENT = frozenset({"n", "ts_ns", "kind"})


def run_guard(*, testnet: bool, live: bool, as_json: bool, files: Sequence[Path] | None) -> int:
    """Guard until SIGINT or SIGTERM."""
    with private_process():
        return _guard_privately(testnet=testnet, live=live, as_json=as_json, files=files)


def _guard_privately(
    *, testnet: bool, live: bool, as_json: bool, files: Sequence[Path] | None
) -> int:
    configuration = load_configuration(
        config_paths(files),
        environ=os.environ,
        dotenv=dotenv(),
        flags=mode_flag(paper=False, testnet=testnet, live=live),
    )
    for warning in configuration.warnings:
        say(str(warning))
    logging.getLogger("picows").setLevel(logging.WARNING)
    for venue in shared_keys(configuration):
        say(f"{venue}: the guardian uses the node's own key; give it one of its own")
    asyncio.run(_run(configuration, as_json=as_json))
    return Exit.OK


async def _run(configuration: Configuration, *, as_json: bool) -> None:
    def tell(fact: Fact) -> None:
        if as_json:
            sys.stdout.write(json.dumps(fact) + "\n")
            sys.stdout.flush()
        else:
            say(words(fact))

    await run_guardian(configuration, until_told(), tell=tell)


def words(fact: Fact) -> str:
    """Return a fact as a line for people."""
    at = time.strftime("%H:%M:%S", time.gmtime(fact["ts_ns"] / 1e9))
    more = " ".join(
        f"{name}={_brief(value)}" for name, value in fact.items() if name not in _SILENT
    )
    return f"{at} guardian {fact['kind']} {more}".rstrip()


def _brief(value: object) -> str:
    if isinstance(value, dict):  # an order
        return f"{value['side']} {value['quantity']} {value['symbol']} at {value['price']}"
    return str(value)
