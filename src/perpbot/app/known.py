"""What a node knew of its markets: `markets.json` in its state directory.

So that what a restart would do can be told without a venue that answers, and so that a pair can be
ended on a venue that does not answer when the node starts, or in a market that is not traded any
more. It is written when a node has opened and when it learns the mode of an account.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from perpbot.app.markets import Markets
from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import ConfigError
from perpbot.domain.instruments import Instrument
from perpbot.execution.surroundings import Account
from perpbot.portfolio.currency import CurrencyRates

FILE_NAME = "markets.json"
Market = tuple[str, str]
"""(venue, asset)."""


class KnownMarkets(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    ts_ns: int
    instruments: tuple[Instrument, ...]
    capabilities: tuple[Capabilities, ...]
    accounts: dict[str, Account]

    def markets(self, rates: CurrencyRates) -> Markets:
        """Return them as a node takes them."""
        return Markets(
            instruments={(found.venue, found.asset): found for found in self.instruments},
            capabilities={found.venue: found for found in self.capabilities},
            accounts=self.accounts,
            rates=rates,
        )


def keep_in_use(
    listed: Mapping[Market, Instrument],
    assets: Collection[str],
    in_use: Collection[Market],
    known: KnownMarkets | None,
) -> tuple[dict[Market, Instrument], list[str]]:
    """Return what a node needs to know of, and in words what it can only leave.

    Beside the `listed` instruments of `assets`: those that something is open in. What a venue did
    not list now is taken as it was `known`; nothing new opens in any of these.
    """
    kept = {key: found for key, found in listed.items() if found.asset in assets}
    before = {} if known is None else {(one.venue, one.asset): one for one in known.instruments}
    said = []
    for key in sorted(set(in_use) - kept.keys()):
        venue, asset = key
        found = listed.get(key, before.get(key))
        if found is None:
            said.append(f"{asset} on {venue}: something is open there, and nothing is known of it")
            continue
        kept[key] = msgspec.structs.replace(found, tradable=False)
        why = "is not traded any more" if key in listed else f"{venue} does not list it now"
        said.append(f"{asset} on {venue}: {why}; what is open there can only be reduced")
    return kept, said


def write_known(directory: Path, markets: Markets, now_ns: int) -> None:
    """Put it there in one step."""
    known = KnownMarkets(
        ts_ns=now_ns,
        instruments=tuple(markets.instruments.values()),
        capabilities=tuple(markets.capabilities.values()),
        accounts=dict(markets.accounts),
    )
    path = directory / FILE_NAME
    scratch = path.with_suffix(".tmp")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1))
    scratch.replace(path)


def read_known(directory: Path) -> KnownMarkets | None:
    """Return it, or None where no node has opened; raise `ConfigError` for another version."""
    try:
        return msgspec.json.decode((directory / FILE_NAME).read_bytes(), type=KnownMarkets)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{directory / FILE_NAME} is of another version ({error}): delete it, or use --ask"
        ) from error
