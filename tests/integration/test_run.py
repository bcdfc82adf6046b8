"""`perpbot run` as a process, on paper, against `perpbot simulate`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from perpbot.cli.main import app

LIMIT_S = 15.0
PERPBOT = (sys.executable, "-c", "from perpbot.cli import main; main()")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(directory: Path, *arguments: str) -> Result:
    """Run a short command in this process, in a directory."""
    with chdir(directory):
        return CliRunner().invoke(app, list(arguments))


def wait_for(what: str, look: Any) -> Any:
    """Return what `look` gives once it gives something."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    pytest.fail(f"no {what} in {LIMIT_S:g} s")


@pytest.fixture
def exchanges() -> Iterator[dict[str, dict[str, Any]]]:
    """Serve two exchanges of our own; addresses by venue."""
    process = subprocess.Popen(
        [*PERPBOT, "simulate", "binance", "okx"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        yield {line["venue"]: line for line in lines}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
        process.stdout.close()


@pytest.fixture
def directory(tmp_path: Path, exchanges: dict[str, dict[str, Any]]) -> Path:
    """A working directory whose configuration leads to the exchanges."""
    venues = "".join(
        f"  {name}: {{rest_url: '{found['rest_url']}', ws_url: '{found['ws_url']}'}}\n"
        for name, found in exchanges.items()
    )
    (tmp_path / "config.yaml").write_text(
        "mode: paper\n"
        "market: {symbols: [BTC-PERP, ETH-PERP], basis_window_s: 30, basis_warmup_s: 1}\n"
        f"console: {{port: {free_port()}}}\n"
        f"venues:\n{venues}  hyperliquid: {{enabled: false}}\n"
    )
    return tmp_path


@pytest.fixture
def node(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running node."""
    with (directory / "run.log").open("wb") as log:
        process = subprocess.Popen(
            [*PERPBOT, "run"], cwd=directory, stdout=log, stderr=log, env=dict(os.environ)
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.mark.slow
def test_a_node_runs_is_watched_killed_and_ends_in_order(
    directory: Path, node: subprocess.Popen[bytes]
) -> None:
    """Start, quotes, health, second start refused, kill switch, SIGTERM, what is left behind."""

    def ready() -> Any:
        path = directory / "state/paper/status.json"
        status = json.loads(path.read_text()) if path.exists() else {}
        overview = status.get("overview", {})
        good = set(overview.get("venues", {}).values()) == {"ready"} and overview["quotes"] > 20
        return overview if good else None

    wait_for("two venues with quotes", ready)

    status = json.loads(command(directory, "status", "--json").stdout)
    assert status["pid"] == node.pid
    assert command(directory, "health").exit_code == 0
    second = command(directory, "run")
    assert second.exit_code == 1
    assert f"process {node.pid}" in second.stderr
    assert command(directory, "doctor").exit_code == 0
    lifted = command(directory, "risk", "override", "--minutes", "5", "--reason", "test", "--json")
    assert "5 min or 1 trades" in json.loads(lifted.stdout)["did"]
    assert command(directory, "risk", "reset", "drawdown", "--reason", "test").exit_code == 6
    killed = command(directory, "kill", "--level", "1", "--reason", "test", "--json")
    assert json.loads(killed.stdout)["taken"]
    wait_for(
        "kill level in the status",
        lambda: "level 1: test" in command(directory, "status").stdout,
    )

    node.send_signal(signal.SIGTERM)

    assert node.wait(LIMIT_S) == 0
    assert command(directory, "status").exit_code == 3
    kinds = [
        json.loads(line)["kind"]
        for line in command(directory, "journal", "show", "--json").stdout.splitlines()
    ]
    assert kinds[0] == "RUN_STARTED"
    assert kinds[-1] == "RUN_ENDED"
    assert "KILL_SWITCH" in kinds
    assert command(directory, "journal", "verify").exit_code == 0
    assert command(directory, "trades", "export", "--table", "equity").exit_code == 0


def test_a_node_without_network_says_so_and_ends_when_asked(tmp_path: Path) -> None:
    """It keeps trying, invents nothing, and SIGTERM still ends it in order."""
    venues = "".join(
        f"  {name}: {{rest_url: 'http://127.0.0.1:9', ws_url: 'ws://127.0.0.1:9'}}\n"
        for name in ("binance", "okx", "hyperliquid")
    )
    (tmp_path / "config.yaml").write_text(f"mode: paper\nvenues:\n{venues}")
    log = tmp_path / "logs/paper/perpbot.log"
    process = subprocess.Popen(
        [*PERPBOT, "run"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        wait_for("word of what cannot be reached", lambda: log.exists() and log.read_text())
        assert "no figures yet" in command(tmp_path, "status").stdout
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()

    assert process.returncode == 0
    assert out == b""
    assert b"cannot reach" in err
