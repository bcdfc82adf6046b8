"""Commands, run in process."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import perpbot
from perpbot.cli.main import app
from perpbot.console.state import ConsoleState
from perpbot.execution.killswitch import LEVELS
from perpbot.operations.decisions import Answer
from perpbot.operations.killfile import FILE_NAME
from perpbot.operations.runfile import RunFile, RunInfo
from perpbot.operations.statusfile import write_status
from tests.unit.operations.small_world import (
    adjust,
    small_world,
    sources,
    traded_world,
    write_journal,
)


def _names(tree: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, below in tree.commands.items():
        if hasattr(below, "commands"):
            yield from _names(below, (*path, name))
        else:
            yield " ".join((*path, name))


COMMANDS = sorted(_names(get_command(app)))


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands look at the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which a node once traded."""
    directory = tmp_path_factory.mktemp("traded")
    write_journal(traded_world(), directory / "state" / "paper" / "journal")
    return directory


def perpbot_command(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, list(arguments))


def data(result: Result) -> Any:
    """Return what a command printed as JSON; standard output held nothing else."""
    return json.loads(result.stdout)


def hold_run_file() -> RunFile:
    """Pretend that a node runs in this process."""
    directory = Path("state/paper")
    return RunFile(directory, RunInfo(os.getpid(), "paper", "1", 1))


def _declared(name: str) -> Any:
    found: Any = get_command(app)
    for word in name.split():
        found = found.commands[word]
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str) -> None:
    """Of every command, with --json and -c."""
    result = perpbot_command(*name.split(), "--help")

    assert result.exit_code == 0
    assert f"Example: perpbot {name}" in " ".join(result.stdout.split())
    options = {option for one in _declared(name).params for option in one.opts}
    assert {"--json", "--config", "-c"} <= options


@pytest.mark.parametrize("name", ["", "config", "journal", "trades", "keys"])
def test_help_of_a_group_has_an_example(name: str) -> None:
    """Where several commands share a first word, and of the whole."""
    result = perpbot_command(*name.split(), "--help")

    assert result.exit_code == 0
    assert f"Example: perpbot {name}".rstrip() in " ".join(result.stdout.split())


def test_version_is_the_packages() -> None:
    """For people and programs."""
    assert perpbot.__version__ in perpbot_command("version").stdout
    assert data(perpbot_command("version", "--json")) == {"version": perpbot.__version__}
    flag = perpbot_command("--version")
    assert (flag.exit_code, flag.stdout) == (0, f"perpbot {perpbot.__version__}\n")


def test_init_writes_once(working_directory: Path) -> None:
    """A configuration that loads, a private .env; a second time only with --yes."""
    first = perpbot_command("init")

    assert first.exit_code == 0
    assert stat.S_IMODE((working_directory / ".env").stat().st_mode) == 0o600
    (working_directory / "config.yaml").write_text("mode: demo\n")
    second = perpbot_command("init")
    assert second.exit_code == 1
    assert "nothing was written" in second.stderr
    assert (working_directory / "config.yaml").read_text() == "mode: demo\n"
    assert data(perpbot_command("init", "--yes", "--json"))["written"] == ["config.yaml", ".env"]
    assert perpbot_command("config", "validate").exit_code == 0


def test_config_validate_says_every_problem(working_directory: Path) -> None:
    """With file and line, and exit code 4."""
    (working_directory / "config.yaml").write_text("mode: paper\nrisk:\n  max_slipage_bps: 5\n")

    result = perpbot_command("config", "validate", "--json")

    assert result.exit_code == 4
    assert not data(result)["valid"]
    assert "config.yaml:3" in data(result)["problems"][0]


def test_config_show_and_explain_name_the_source(working_directory: Path) -> None:
    """File and line of a value, and what it replaced."""
    (working_directory / "a.yaml").write_text("risk:\n  max_slippage_bps: 7\n")
    (working_directory / "b.yaml").write_text("risk:\n  max_slippage_bps: 8\n")
    files = ("-c", "a.yaml", "-c", "b.yaml")

    shown = data(perpbot_command("config", "show", "--changed", "--json", *files))
    told = data(perpbot_command("config", "explain", "risk.max_slippage_bps", "--json", *files))

    assert shown == [{"key": "risk.max_slippage_bps", "value": "8", "source": "b.yaml:2"}]
    assert (told["value"], told["source"]) == ("8", "b.yaml:2")
    assert told["overridden"][0] == {"value": "7", "source": "a.yaml:2"}
    text = perpbot_command("config", "explain", "risk.max_slippage_bps", *files).stdout
    assert "from     b.yaml:2" in text
    assert "journal" in perpbot_command("config", "show", *files).stdout


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("risk.max_slipage_bps", "did you mean risk.max_slippage_bps?"),
        ("RISK.MAX_SLIPPAGE_BPS", "did you mean risk.max_slippage_bps?"),
        ("max_drawdown_pct", "is an old key; write risk.max_drawdown_ratio"),
        ("alerts", "is an old key; this part is not in this version"),
        ("venues.kraken", "one of binance, hyperliquid, okx was expected"),
        ("risk", "is a section"),
    ],
)
def test_config_explain_suggests(key: str, said: str) -> None:
    """For a key that does not exist; exit code 2: the argument is wrong, not the configuration."""
    result = perpbot_command("config", "explain", key)

    assert result.exit_code == 2
    assert said in result.stderr


def test_config_explain_says_that_an_override_is_not_set() -> None:
    """Rather than nothing, with a unit behind it."""
    key = "symbols.ETH-PERP.risk.max_slippage_bps"

    assert perpbot_command("config", "explain", key).stdout.startswith(f"{key} = not set\n")


def test_config_show_lists_the_blocks_of_symbols(working_directory: Path) -> None:
    """Also those of one symbol on one venue."""
    (working_directory / "config.yaml").write_text(
        "symbols:\n  ETH/USDT:\n    risk:\n      max_slippage_bps: 3\n"
        "venues:\n  okx:\n    symbols:\n      BTC-PERP: {taker_fee_bps: 4}\n"
    )

    rows = data(perpbot_command("config", "show", "--json"))

    assert rows[-2:] == [
        {
            "key": "symbols.ETH-PERP.risk.max_slippage_bps",
            "value": "3",
            "source": "config.yaml:4",
        },
        {
            "key": "venues.okx.symbols.BTC-PERP.taker_fee_bps",
            "value": "4",
            "source": "config.yaml:8",
        },
    ]
    keys = [row["key"] for row in rows]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("name", ["config.yaml", ".env"])
@pytest.mark.parametrize("directory", [False, True], ids=["link to nothing", "directory"])
def test_settings_that_are_there_are_never_passed_over(
    working_directory: Path, name: str, *, directory: bool
) -> None:
    """A mount that failed leaves such things; the defaults are not what was meant."""
    path = working_directory / name
    if directory:
        path.mkdir()
    else:
        path.symlink_to("gone")

    result = perpbot_command("config", "validate")

    assert result.exit_code == 4
    assert f"{name}: cannot be read" in result.stderr


def test_live_from_the_environment_is_not_blamed_on_a_flag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody typed one; the variable is named."""
    monkeypatch.setenv("PERPBOT__MODE", "live")

    problems = data(perpbot_command("config", "validate", "--json"))["problems"]

    assert len(problems) == 3
    assert all(text.startswith("environment PERPBOT__MODE: ") for text in problems)


def test_config_schema_is_a_schema() -> None:
    """For editors."""
    assert "properties" in data(perpbot_command("config", "schema"))


@pytest.mark.parametrize("command", ["status", "health", "kill"])
def test_without_a_node_the_exit_code_is_3(command: str) -> None:
    """And the message says where it looked."""
    result = perpbot_command(command)

    assert result.exit_code == 3
    assert "no node runs in mode paper" in result.stderr


def test_status_and_health_read_what_the_node_wrote() -> None:
    """Healthy is 0, critical and silent are 1."""
    held = hold_run_file()
    assert "no figures yet" in perpbot_command("status").stdout
    assert perpbot_command("health").exit_code == 1
    overview = {
        "quotes": 5, "opportunities": 1, "pairs_open": 0, "pairs_closed": 2, "open_orders": 0,
        "realised_usd": "1.5", "equity_usd": None, "kill_level": 2, "kill_reason": "why",
        "venues": {"okx": "ready"}, "transferred_usd": "-40", "halts": {"drawdown": "11 %"},
        "venue_kills": {"okx": {"level": 4, "reason": "slow"}},
    }  # fmt: skip
    now_ns = time.time_ns()
    good = {"score": 99.0, "grade": "ok"}
    write_status(Path("state/paper"), {"ts_ns": now_ns, "overview": overview, "health": good})

    text = perpbot_command("status").stdout
    assert "99 of 100" in text
    assert "drawdown: 11 %" in text
    assert "level 2: why" in text
    assert "kill okx       level 4: slow" in text
    assert "-40 USD, neither profit nor loss" in text
    assert data(perpbot_command("status", "--json"))["status"]["overview"] == overview
    assert data(perpbot_command("health", "--json"))["healthy"]
    bad = {"score": 10.0, "grade": "critical"}
    write_status(Path("state/paper"), {"ts_ns": now_ns, "overview": overview, "health": bad})
    assert perpbot_command("health").exit_code == 1
    write_status(Path("state/paper"), {"ts_ns": 1, "overview": overview, "health": good})
    assert "ago" in perpbot_command("health").stdout
    held.close()


def test_status_tells_what_to_do_with_what_no_pair_holds() -> None:
    """On a line of its own for people, as fields for programs."""
    world = small_world()
    adjust(world, "BTC-PERP", "0.5")
    state = ConsoleState(sources(world))
    held = hold_run_file()
    write_status(
        Path("state/paper"),
        {
            "ts_ns": time.time_ns(),
            "overview": state.overview(),
            "health": state.health(),
            "positions": state.positions(),
        },
    )

    assert "Sell 0.5 there by hand" in perpbot_command("status").stdout
    [leg] = data(perpbot_command("status", "--json"))["status"]["positions"]["unowned"]
    assert (leg["venue"], leg["asset"], leg["quantity"]) == ("okx", "BTC-PERP", "0.5")
    held.close()


def test_kill_waits_until_the_node_has_taken_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that does not take the order is exit code 5, and the order stays."""
    held = hold_run_file()
    monkeypatch.setattr("perpbot.cli.node.TAKEN_LIMIT_S", 0.01)

    result = perpbot_command("kill", "--level", "2", "--reason", "try")

    assert result.exit_code == 5
    assert json.loads(Path("state/paper", FILE_NAME).read_text())["level"] == 2
    held.close()


def test_risk_is_shown() -> None:
    """What is switched off, and the command that switches it on again."""
    risk = ConsoleState(sources(small_world())).risk() | {
        "halts": {"drawdown": "measured 11 %, limit 10 %"},
        "venue_kills": {"hyperliquid": {"level": 2, "reason": "odd"}},
        "cooldowns": {"BTC-PERP": 4_000_000_000_000_000_000},
        "override": {"actor": "ann", "until_ns": 4_000_000_000_000_000_000, "trades_left": 2},
    }
    held = hold_run_file()
    assert "no figures yet" in perpbot_command("risk", "show").stdout
    write_status(Path("state/paper"), {"ts_ns": time.time_ns(), "risk": risk})

    text = perpbot_command("risk", "show").stdout

    for words in (
        "perpbot risk reset drawdown",
        "measured 11 %",
        "BTC-PERP until 2096-",
        "by ann until 2096-",
        "kill switch    off",
        "kill hyperliquid level 2: odd",
    ):
        assert words in text
    assert data(perpbot_command("risk", "show", "--json"))["risk"]["halts"]
    held.close()


def test_a_decision_nobody_takes_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 5, and nothing lies there for the next node; without a node 3, without words 2."""
    clear = ("risk", "reset", "drawdown", "--reason")
    assert perpbot_command(*clear, "x").exit_code == 3
    held = hold_run_file()
    monkeypatch.setattr("perpbot.cli.risk.TAKEN_LIMIT_S", 0.01)

    result = perpbot_command(*clear, "x")

    assert result.exit_code == 5
    assert "nothing was changed" in result.stderr
    assert not Path("state/paper/decision.json").exists()
    assert perpbot_command(*clear, " ").exit_code == 2
    held.close()


@pytest.mark.parametrize(("done", "code"), [(True, 0), (False, 6)])
def test_a_decision_is_answered(monkeypatch: pytest.MonkeyPatch, *, done: bool, code: int) -> None:
    """What was done, or why it cannot be."""
    held = hold_run_file()
    asked: list[Any] = []

    def answer(directory: Path, number: str) -> Answer:
        asked.append(json.loads((directory / "decision.json").read_text()))
        return Answer(number, done, "so it is")

    monkeypatch.setattr("perpbot.cli.risk.read_answer", answer)
    override = ("risk", "override", "--minutes", "5", "--trades", "3", "--reason", "back")

    result = perpbot_command(*override)
    as_json = perpbot_command(*override, "--json")

    assert result.exit_code == as_json.exit_code == code
    assert "so it is" in (result.stdout if done else result.stderr)
    assert (asked[0]["minutes"], asked[0]["trades"], asked[0]["reason"]) == (5, 3, "back")
    if done:
        assert data(as_json)["did"] == "so it is"
    held.close()


def test_kill_takes_levels_1_to_5() -> None:
    """Anything else is a usage error."""
    assert perpbot_command("kill", "--level", "6").exit_code == 2


def write_overview(venue_kills: dict[str, Any]) -> None:
    """What a node on two venues writes."""
    overview = {"venues": {"okx": "ready", "binance": "ready"}, "venue_kills": venue_kills}
    write_status(Path("state/paper"), {"ts_ns": time.time_ns(), "overview": overview})


@pytest.mark.parametrize("clear", [False, True], ids=["kill", "clear"])
def test_kill_names_a_venue(monkeypatch: pytest.MonkeyPatch, *, clear: bool) -> None:
    """At level 3 unless it says otherwise, as without; `--clear` clears that one only."""
    held = hold_run_file()
    write_overview({})
    orders = []

    def take(_seconds: float) -> None:
        orders.append(json.loads(Path("state/paper", FILE_NAME).read_text()))
        Path("state/paper", FILE_NAME).unlink()

    monkeypatch.setattr("perpbot.cli.node.time.sleep", take)
    more = ["--clear"] if clear else []
    result = perpbot_command("kill", "--venue", "okx", "--reason", "odd", *more, "--json")

    did = "okx, cleared" if clear else f"okx, level 3: {LEVELS[3]}"
    assert (result.exit_code, data(result)["did"]) == (0, did)
    [order] = orders
    assert (order["level"], order["venue"], order["clear"]) == (3, "okx", clear)
    held.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["okxx"], "--venue was 'okxx', one of okx, binance was expected; did you mean okx?"),
        (["hyperliquid"], "--venue was 'hyperliquid', one of okx, binance was expected"),
        (["hyperliquid", "--clear"], "one of okx, binance was expected"),
        (["okx", "--level", "5"], "--level was 5, 1 to 4 was expected with --venue"),
    ],
    ids=["unknown", "disabled", "clear of a disabled one", "exit"],
)
def test_kill_refuses_what_a_node_would_take_for_all_of_it(
    arguments: list[str], words: str
) -> None:
    """Exit code 2, and no order is written."""
    held = hold_run_file()
    write_overview({})

    result = perpbot_command("kill", "--venue", *arguments)

    assert result.exit_code == 2
    assert words in result.stderr
    assert not Path("state/paper", FILE_NAME).exists()
    held.close()


def test_kill_asks_the_settings_where_the_node_has_no_figures_yet() -> None:
    """It still waits for its venues."""
    held = hold_run_file()
    result = perpbot_command("kill", "--venue", "okxx")

    assert result.exit_code == 2
    assert "one of binance, hyperliquid, okx was expected" in result.stderr
    held.close()


def test_what_is_latched_can_be_cleared_though_the_venue_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node has it in its latches, no longer among its venues."""
    held = hold_run_file()
    write_overview({"hyperliquid": {"level": 4, "reason": "odd"}})
    monkeypatch.setattr("perpbot.cli.node.TAKEN_LIMIT_S", 0.01)

    assert perpbot_command("kill", "--venue", "hyperliquid").exit_code == 2
    assert perpbot_command("kill", "--venue", "hyperliquid", "--clear").exit_code == 5
    held.close()


def test_journal_is_shown_and_verified(traded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters by kind, pair and number; JSON is one object a line."""
    monkeypatch.chdir(traded)
    rows = [
        json.loads(line)
        for line in perpbot_command("journal", "show", "--json").stdout.splitlines()
    ]
    plans = perpbot_command("journal", "show", "--kind", "pair_planned", "--json").stdout
    pair = json.loads(plans.splitlines()[0])["data"]["plan"]["pair_id"]
    of_pair = perpbot_command("journal", "show", "--pair", pair, "--last", "2").stdout

    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(of_pair.splitlines()) == 2
    assert perpbot_command("journal", "show", "--since", "1s").stdout == ""
    assert perpbot_command("journal", "show", "--since", "soon").exit_code == 2
    assert perpbot_command("journal", "show", "--kind", "wish").exit_code == 2
    assert data(perpbot_command("journal", "verify", "--json"))["intact"]
    assert "intact" in perpbot_command("journal", "verify").stdout


def test_a_damaged_journal_is_found(tmp_path: Path, traded: Path) -> None:
    """With the last good record."""
    directory = tmp_path / "state" / "paper" / "journal"
    directory.mkdir(parents=True)
    source = next((traded / "state/paper/journal").glob("journal-*.log"))
    damaged = bytearray(source.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (directory / source.name).write_bytes(damaged)

    result = perpbot_command("journal", "verify")

    assert result.exit_code == 1
    assert "damaged after record" in result.stdout


def test_explain_tells_the_trade(traded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its numbers; an unknown id is exit code 2."""
    monkeypatch.chdir(traded)
    plan = json.loads(
        perpbot_command(
            "journal", "show", "--kind", "PAIR_PLANNED", "--json", "--last", "1"
        ).stdout
    )["data"]["plan"]

    text = perpbot_command("explain", plan["pair_id"]).stdout

    assert "edge" in text
    assert "trade completed" in text
    assert data(perpbot_command("explain", plan["pair_id"], "--json"))["subject"] == "pair"
    assert perpbot_command("explain", "77-77").exit_code == 2


def test_trades_are_exported(
    traded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As CSV to standard output or a file, or as JSON."""
    monkeypatch.chdir(traded)
    text = perpbot_command("trades", "export").stdout
    out = tmp_path / "fills.csv"
    perpbot_command("trades", "export", "--table", "fills", "--out", str(out))

    assert text.startswith("pair_id,")
    assert len(text.splitlines()) == 1 + len(data(perpbot_command("trades", "export", "--json")))
    assert out.read_text().startswith("sequence,")
    out.unlink()
    told = data(
        perpbot_command("trades", "export", "--table", "fills", "--out", str(out), "--json")
    )
    rows = len(out.read_text().splitlines()) - 1
    assert told == {"out": str(out), "format": "csv", "table": "fills", "rows": rows}
    assert perpbot_command("trades", "export", "--table", "wishes").exit_code == 2
    assert perpbot_command("trades", "export", "--format", "xls").exit_code == 2


def test_without_a_journal_the_message_says_where(working_directory: Path) -> None:
    """And what could be meant."""
    result = perpbot_command("journal", "show")

    assert result.exit_code == 2
    assert "no node has run in mode paper" in result.stderr
    assert perpbot_command("journal", "show", "--mode", "real").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "config", "said"),
    [
        (["--live"], "mode: paper\n", "mode: live"),
        ([], "mode: live\n", "--live"),
        (["--live"], "mode: live\n", "PERPBOT_LIVE_CONFIRM"),
        ([], "mode: demo\n", "paper, testnet or live"),
    ],
    ids=["not in the file", "not on the line", "not confirmed", "demo"],
)
def test_run_refuses_a_mode_that_is_not_meant(
    working_directory: Path, arguments: list[str], config: str, said: str
) -> None:
    """Live needs all three keys; the message says which is missing."""
    (working_directory / "config.yaml").write_text(config)

    result = perpbot_command("run", *arguments)

    assert result.exit_code == 4
    assert said in result.stderr
    assert not (working_directory / "state").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("run --paper --live", "--paper and --live exclude each other"),
        ("status --mode real", "--mode was 'real', one of demo, paper"),
        ("demo --venues okx,kraken", "--venues was 'okx,kraken', at least two of"),
        ("replay tape.csv --map a=kraken", "--map venue was 'kraken', one of binance"),
        ("replay tape.csv --map a=okx,b=binance --taker-bps nan", "'--taker-bps'"),
        ("replay tape.csv --map a=okx,b=binance --min-edge-bps 1e9", "'--min-edge-bps'"),
        ("demo --seconds 1e9", "'--seconds'"),
        ("demo --seed 99999999999999999999", "'--seed'"),
        ("simulate kraken", "venue was 'kraken', one of binance"),
        ("simulate okx okx", "venues were 'okx okx', one or more of binance"),
        ("simulate ,", "venues were ',', one or more of binance"),
        ("simulate okx binance --port-base 65535", "2 ports from there on end above 65535"),
        ("journal show --since soon", "a time was 'soon', such as 10m"),
        ("journal show --kind wish", "--kind: event kind was 'WISH', one of"),
        ("journal export --format xml", "--format was 'xml', one of"),
        ("trades export --table wishes", "--table was 'wishes', one of trades"),
    ],
    ids=lambda value: value.partition(" ")[0],
)
def test_a_wrong_argument_is_named_with_what_would_be_right(arguments: str, said: str) -> None:
    """And the exit code is 2, whichever command it is."""
    result = perpbot_command(*arguments.split())

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_that_is_not_there_is_named_first() -> None:
    """Not the number that the system gives such errors."""
    replayed = perpbot_command("replay", "gone.csv", "--map", "a=okx,b=binance")
    served = perpbot_command("simulate", "okx", "--tape", "gone.csv")

    for result in (replayed, served):
        assert result.exit_code == 2
        assert result.stderr == "perpbot: gone.csv: No such file or directory\n"


def test_doctor_says_which_venue_cannot_be_reached(working_directory: Path) -> None:
    """Exit code 7, and every check is told; a configuration that fails is 4."""
    venues = "".join(
        f"  {name}: {{rest_url: 'http://127.0.0.1:9', ws_url: 'ws://127.0.0.1:9'}}\n"
        for name in ("binance", "okx", "hyperliquid")
    )
    (working_directory / "config.yaml").write_text(f"mode: paper\nvenues:\n{venues}")

    result = perpbot_command("doctor", "--json")

    assert result.exit_code == 7
    checks = data(result)["checks"]
    unreachable = [check["text"] for check in checks if check["name"] == "venue"]
    assert len(unreachable) == 3
    assert all("cannot be reached" in text for text in unreachable)
    (working_directory / "config.yaml").write_text("mode: nowhere\n")
    assert perpbot_command("doctor").exit_code == 4


def test_a_key_that_is_none_is_a_problem_of_the_configuration(
    working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor says it beside all else; a run ends with exit code 4. The key is not repeated."""
    (working_directory / "config.yaml").write_text(
        "mode: testnet\nvenues:\n  binance: {enabled: false}\n  okx: {enabled: false}\n"
        "  hyperliquid: {rest_url: 'http://127.0.0.1:9', ws_url: 'ws://127.0.0.1:9'}\n"
    )
    monkeypatch.setenv("HYPERLIQUID_PK", "0xCANARY")
    monkeypatch.setenv("HYPERLIQUID_ACCOUNT_ADDRESS", "0x" + "22" * 20)
    said = "credentials of hyperliquid: hyperliquid private_key was not 64 hex digits"

    doctor, ran = perpbot_command("doctor", "--json"), perpbot_command("run", "--testnet")

    assert doctor.exit_code == 7
    problems = [check for check in data(doctor)["checks"] if check["grade"] == "problem"]
    assert [check["name"] for check in problems] == ["venue", "credentials"]
    assert problems[1]["text"].startswith(said)
    assert ran.exit_code == 4
    assert said in ran.stderr
    assert "CANARY" not in doctor.output + ran.output
