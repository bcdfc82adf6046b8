"""`perpbot simulate` as a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

PERPBOT = (sys.executable, "-c", "from perpbot.cli import main; main()")
LIMIT_S = 15.0


def start(*arguments: str) -> subprocess.Popen[str]:
    """Begin to serve."""
    return subprocess.Popen(
        [*PERPBOT, "simulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def exchanges() -> Iterator[tuple[subprocess.Popen[str], list[dict[str, Any]]]]:
    """Three servers, and what they said of themselves."""
    process = start("okx,hyperliquid", "binance")
    assert process.stdout is not None
    try:
        yield process, [json.loads(process.stdout.readline()) for _ in range(3)]
    finally:
        process.kill()
        process.communicate()


def test_one_line_a_server(
    exchanges: tuple[subprocess.Popen[str], list[dict[str, Any]]],
) -> None:
    """Venue, addresses on loopback and credentials; public data is served; SIGTERM ends it."""
    process, lines = exchanges
    assert {line["venue"] for line in lines} == {"okx", "hyperliquid", "binance"}
    for line in lines:
        assert line["credentials"]
        assert urlsplit(line["rest_url"]).hostname == "127.0.0.1"
        assert urlsplit(line["ws_url"]).scheme == "ws"
    binance = next(line for line in lines if line["venue"] == "binance")
    url = f"{binance['rest_url']}/fapi/v1/exchangeInfo"
    with urlopen(url, timeout=LIMIT_S) as answer:  # noqa: S310 - loopback, as checked above
        assert json.load(answer)["symbols"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0


def test_port_in_use_is_said_plainly(
    exchanges: tuple[subprocess.Popen[str], list[dict[str, Any]]],
) -> None:
    """A port that is taken is named; nothing serves, and no traceback is shown."""
    port = urlsplit(exchanges[1][0]["rest_url"]).port
    second = start("okx", "--port-base", str(port))
    _, errors = second.communicate(timeout=LIMIT_S)
    assert second.returncode != 0
    assert str(port) in errors
    assert "Traceback" not in errors


def test_unknown_venue_is_refused() -> None:
    """The venues that can be served are named."""
    process = start("nowhere")
    _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode != 0
    assert "nowhere" in errors
    assert "Traceback" not in errors
