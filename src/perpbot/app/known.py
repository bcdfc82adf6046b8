"""What a node knew of its markets: `markets.json` in its state directory.

So that what a restart would do can be told without a venue that answers. It is written when a node
has opened and when it learns the mode of an account; nothing that trades ever reads it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from perpbot.app.core import Markets
from perpbot.domain.capabilities import Capabilities
from perpbot.domain.errors import ConfigError
from perpbot.domain.instruments import Instrument
from perpbot.execution.surroundings import Account
from perpbot.portfolio.currency import CurrencyRates

FILE_NAME = "markets.json"


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
