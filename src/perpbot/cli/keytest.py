"""`perpbot keys test`: whether the venue takes the key, and what the key may do."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from perpbot.app.keycheck import KeyVerdict, ask_permissions
from perpbot.app.run import connection_of
from perpbot.app.venues import make_venue
from perpbot.cli.keyinput import ask
from perpbot.cli.keys import Opener, check_name, label
from perpbot.cli.output import Exit, emit, fail, show
from perpbot.cli.place import place_of
from perpbot.configuration.locks import is_loopback
from perpbot.domain.errors import ConfigError, VenueError
from perpbot.domain.permissions import KeyPermissions
from perpbot.kernel.clock import RealClock
from perpbot.settings import Credentials, Mode, Redactor, load_credentials
from perpbot.settings.unlocking import LazyKeystore
from perpbot.venues.options import VenueConnection

TEST_LIMIT_S = 10.0


def run_test(
    venue: str,
    account: str,
    opener: Opener,
    *,
    testnet: bool,
    files: Sequence[Path] | None,
    as_json: bool,
) -> int:
    """Ask the venue whether it takes the key, and what the key may do; nothing is changed."""
    check_name(venue, account)
    environment = opener.environment
    environment.keystore = LazyKeystore(
        environment, ask, path=opener.keystore, passphrase_file=opener.passphrase_file
    )
    # By a mode that reads keys: which world is asked depends on --testnet and the addresses.
    credentials = load_credentials(venue, Mode.TESTNET, environment, account=account)
    if not credentials:
        fail(
            f"there is no key of {label(venue, account)}, neither in a variable nor in"
            f" {environment.keystore.path}: perpbot keys add {venue}",
            Exit.USAGE,
        )
    connection = _connection(venue, testnet=testnet, files=files)
    verdict, problem = asyncio.run(_try(venue, connection, credentials))
    redactor = Redactor(credentials.values())
    rights = verdict.permissions
    answer = {
        "venue": venue,
        "account": account,
        "source": credentials.source,
        "network": "testnet" if connection.testnet else "mainnet",
        "address": connection.rest_url or "the venue's own",
        "works": not problem,
        "problem": redactor.text(problem),
        "permissions": None if rights is None else asdict(rights),
        "objections": verdict.objections,
        "warnings": [redactor.text(text) for text in verdict.warnings],
    }
    if as_json:
        emit(answer)
    else:
        _show_test(answer, rights)
    return Exit.VENUE if problem else Exit.OK


def _show_test(answer: dict[str, Any], rights: KeyPermissions | None) -> None:
    where = f"{answer['venue']} {answer['network']} ({answer['address']})"
    worked = "takes the key" if answer["works"] else f"refuses the key: {answer['problem']}"
    show(f"{where} {worked}")
    show(f"  key      from {answer['source']}")
    if rights is not None:
        show(f"  rights   {rights.summary()}")
    for kind in ("objections", "warnings"):
        for text in answer[kind]:
            show(f"  {kind.removesuffix('s'):<10} {text}")


def _connection(venue: str, *, testnet: bool, files: Sequence[Path] | None) -> VenueConnection:
    """Return where to ask: the venue's own addresses, or ours on loopback."""
    settings = place_of(files, None).configuration.settings
    if testnet:
        settings = settings.model_copy(update={"mode": Mode.TESTNET})
    connection = connection_of(settings, venue)
    host = urlsplit(connection.rest_url).hostname or ""
    if connection.rest_url and not is_loopback(host):
        raise ConfigError(
            f"venues.{venue}.rest_url was {connection.rest_url}: a key is shown to the venue's own"
            " address or to loopback only"
        )
    return connection


async def _try(
    name: str, connection: VenueConnection, credentials: Credentials
) -> tuple[KeyVerdict, str]:
    venue = make_venue(name, connection, credentials.revealed(), RealClock(), random.Random())
    try:
        verdict = await ask_permissions(venue)
        async with asyncio.timeout(TEST_LIMIT_S):
            # Signed where the venue signs reads.
            await venue.account.balances()
    except VenueError as error:
        return verdict, error.message
    except TimeoutError:
        return verdict, f"no answer in {TEST_LIMIT_S:g} s"
    finally:
        await venue.close()
    useless = verdict.permissions is not None and verdict.permissions.trade is False
    return verdict, "it cannot trade" if useless else ""
