"""What a node knew of its markets, and what it keeps of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.app.known import keep_in_use, read_known, write_known
from perpbot.domain.errors import ConfigError
from tests.unit.execution.stand import ASSET, LONG, SHORT, Stand


def test_markets_are_written_and_read_back(tmp_path: Path) -> None:
    """Whole, in one step; nothing is there before the first node."""
    markets = Stand().markets
    assert read_known(tmp_path) is None
    write_known(tmp_path, markets, 5)

    known = read_known(tmp_path)

    assert known is not None
    assert known.ts_ns == 5
    read = known.markets(markets.rates)
    assert read.instruments == markets.instruments
    assert read.capabilities == markets.capabilities
    assert read.accounts == markets.accounts
    assert [path.name for path in tmp_path.iterdir()] == ["markets.json"]


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "markets.json").write_text("{}")

    with pytest.raises(ConfigError, match="another version"):
        read_known(tmp_path)


def test_what_something_is_open_in_is_kept(tmp_path: Path) -> None:
    """As the venue lists it, else as it was known; and nothing opens there."""
    markets = Stand().markets
    write_known(tmp_path, markets, 5)
    known = read_known(tmp_path)
    legs = {(LONG, ASSET), (SHORT, ASSET)}
    reachable = {key: found for key, found in markets.instruments.items() if key[0] == SHORT}

    kept, said = keep_in_use(reachable, [ASSET], legs, known)
    dropped, words = keep_in_use(markets.instruments, ["ETH-PERP"], legs, None)
    nothing, lost = keep_in_use({}, [ASSET], legs, None)

    assert kept[SHORT, ASSET].tradable
    assert not kept[LONG, ASSET].tradable
    assert kept[LONG, ASSET].quantity_step == markets.instruments[LONG, ASSET].quantity_step
    assert said == [
        f"{ASSET} on {LONG}: {LONG} does not list it now; what is open there can only be reduced"
    ]
    assert [found.tradable for found in dropped.values()] == [False, False]
    assert all("is not traded any more" in text for text in words)
    assert nothing == {}
    assert all("nothing is known of it" in text for text in lost)


def test_what_is_traded_and_listed_is_left_as_it_is() -> None:
    """In use or not."""
    markets = Stand().markets

    kept, said = keep_in_use(markets.instruments, [ASSET], {(LONG, ASSET)}, None)

    assert kept == markets.instruments
    assert said == []
