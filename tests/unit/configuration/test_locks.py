"""The locks between a mode and the world, each opened and closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpbot.configuration import LIVE_CONFIRM, Configuration, load_configuration
from perpbot.configuration.locks import is_loopback
from perpbot.settings import Flag, Mode, SettingsError

LIVE = Flag("mode", "--live", "live")
CONFIRMED = {LIVE_CONFIRM: "main"}


def write(tmp_path: Path, text: str) -> list[Path]:
    """Write a configuration file."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return [path]


def refuse(
    files: list[Path],
    environ: dict[str, str] | None = None,
    *flags: Flag,
    dotenv: Path | None = None,
) -> list[str]:
    """Return the problems of a configuration that must be refused."""
    with pytest.raises(SettingsError) as caught:
        load_configuration(files, environ=environ or {}, flags=flags, dotenv=dotenv)
    return [str(problem) for problem in caught.value.problems]


def enter(mode: Mode, text: str = "", **environ: str) -> Configuration:
    """Enter a mode by its command."""
    return load_configuration(
        environ=environ, flags=(Flag("mode", "command", mode.value), *_flags(text))
    )


def _flags(text: str) -> list[Flag]:
    pairs = (line.split("=", 1) for line in text.split())
    return [Flag(key, f"--{key}", value) for key, value in pairs]


def test_live_opens_with_file_flag_and_confirmation(tmp_path: Path) -> None:
    """All three, and it is live."""
    loaded = load_configuration(write(tmp_path, "mode: live"), environ=CONFIRMED, flags=[LIVE])

    assert loaded.settings.mode is Mode.LIVE
    assert loaded.settings.state_path == Path("state/live")
    assert loaded.settings.log_path == Path("logs/live")


@pytest.mark.parametrize(
    ("text", "environ", "flags", "problem"),
    [
        ("mode: paper", CONFIRMED, (LIVE,), "live needs `mode: live` in a configuration file"),
        ("", CONFIRMED, (LIVE,), "live needs `mode: live` in a configuration file"),
        ("mode: live", CONFIRMED, (), "live needs --live on the command line"),
        ("mode: live", {}, (LIVE,), f"live needs {LIVE_CONFIRM}=main in the environment"),
        (
            "mode: live",
            {LIVE_CONFIRM: "other"},
            (LIVE,),
            "says 'other': both must name the account",
        ),
        (
            "mode: live\naccount_label: big",
            CONFIRMED,
            (LIVE,),
            "account_label was big, and PERPBOT_LIVE_CONFIRM",
        ),
    ],
    ids=["file-says-paper", "no-file", "no-flag", "no-confirmation", "wrong-one", "wrong-label"],
)
def test_each_missing_key_keeps_live_shut(
    tmp_path: Path,
    text: str,
    environ: dict[str, str],
    flags: tuple[Flag, ...],
    problem: str,
) -> None:
    """Two of three are none."""
    problems = refuse(write(tmp_path, text), environ, *flags)

    assert len(problems) == 1
    assert problem in problems[0]


def test_a_variable_alone_never_makes_it_live() -> None:
    """PERPBOT__MODE=live opens nothing."""
    problems = refuse([], CONFIRMED | {"PERPBOT__MODE": "live"})

    assert len(problems) == 2


def test_a_flag_may_step_back_to_paper(tmp_path: Path) -> None:
    """`--paper` over a live file is the safe direction."""
    loaded = load_configuration(
        write(tmp_path, "mode: live"), environ={}, flags=[Flag("mode", "--paper", "paper")]
    )

    assert loaded.settings.mode is Mode.PAPER


def test_live_refuses_every_overridden_address(tmp_path: Path) -> None:
    """Even loopback: real keys go to the venue only."""
    text = "mode: live\nvenues:\n  okx: {rest_url: 'http://127.0.0.1:1', ws_url: 'wss://x.com'}\n"
    problems = refuse(write(tmp_path, text), CONFIRMED, LIVE)

    assert len(problems) == 2
    assert all("live takes no address but the venue's own" in problem for problem in problems)
    assert f"{tmp_path}/config.yaml:3: venues.okx.rest_url" in problems[0]


def test_a_venue_that_is_off_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """Its address will not be used."""
    text = "mode: live\nvenues:\n  okx: {enabled: false, rest_url: 'http://127.0.0.1:1'}\n"
    loaded = load_configuration(write(tmp_path, text), environ=CONFIRMED, flags=[LIVE])

    assert loaded.settings.enabled_venues == ("binance", "hyperliquid")


def test_a_shared_dotenv_warns_on_paper_and_stops_live(tmp_path: Path) -> None:
    """Keys that others can read are no keys."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("A=1\n")
    dotenv.chmod(0o644)
    paper = load_configuration(environ={}, dotenv=dotenv)
    problems = refuse(write(tmp_path, "mode: live"), CONFIRMED, LIVE, dotenv=dotenv)

    assert "chmod 600" in str(paper.warnings[0])
    assert len(problems) == 1
    assert "chmod 600" in problems[0]
    with pytest.raises(SettingsError, match=r"testnet needs .*chmod 600"):
        load_configuration(environ={}, dotenv=dotenv, flags=[Flag("mode", "--testnet", "testnet")])


@pytest.mark.parametrize(
    ("mode", "url", "problem"),
    [
        (Mode.DEMO, "http://127.0.0.1:9", ""),
        (Mode.DEMO, "http://localhost:9", ""),
        (Mode.DEMO, "http://[::1]:9", ""),
        (Mode.DEMO, "https://www.okx.com", "demo takes no address but loopback"),
        (Mode.DEMO, "http://127.0.0.1.example.com", "demo takes no address but loopback"),
        (Mode.DEMO, "http://0.0.0.0:9", "demo takes no address but loopback"),
        (Mode.REPLAY, "https://www.okx.com", "replay takes no address but loopback"),
        (Mode.PAPER, "http://127.0.0.1:9", ""),
        (Mode.PAPER, "https://eea.okx.com", ""),
        (Mode.PAPER, "http://eea.okx.com", "an encrypted address"),
        (Mode.TESTNET, "http://127.0.0.1:9", ""),
        (Mode.TESTNET, "https://www.okx.com", "testnet takes no address but the venue's own"),
    ],
    ids=lambda value: str(value) or "open",
)
def test_addresses_by_mode(mode: Mode, url: str, problem: str) -> None:
    """Demo speaks to this machine only; testnet never to a main network."""
    text = f"venues.okx.rest_url={url}"
    if not problem:
        assert enter(mode, text).settings.venues.okx.rest_url == url
    else:
        with pytest.raises(SettingsError, match=problem):
            enter(mode, text)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://x", "an address such as https://host:port"),
        ("nonsense", "an address such as"),
        ("http://x:99999", "an address such as"),
        ("https://user:hunter2@x.com", "without user or password"),
        ("wss://x.com", "an address such as https://"),
    ],
)
def test_what_is_no_address_is_refused(url: str, problem: str) -> None:
    """Scheme, host, port; no passwords in addresses."""
    with pytest.raises(SettingsError, match=problem):
        enter(Mode.PAPER, f"venues.okx.rest_url={url}")


@pytest.mark.parametrize(
    ("mode", "word", "right"),
    [
        (Mode.PAPER, "mainnet", True),
        (Mode.PAPER, "testnet", False),
        (Mode.PAPER, "whatever", False),
        (Mode.TESTNET, "testnet", True),
        (Mode.TESTNET, "demo", True),
        (Mode.TESTNET, "mainnet", False),
        (Mode.DEMO, "mainnet", True),
        (Mode.DEMO, "testnet", True),
    ],
)
def test_a_variable_that_disagrees_with_the_mode_is_refused(
    mode: Mode, word: str, right: bool
) -> None:
    """The mode alone decides; where nothing leaves the machine nobody asks."""
    if right:
        assert enter(mode, OKX_ENV=word).settings.mode is mode
    else:
        with pytest.raises(SettingsError, match="OKX_ENV"):
            enter(mode, OKX_ENV=word)


def test_live_refuses_a_testnet_variable(tmp_path: Path) -> None:
    """OKX_ENV=testnet with real money is a misunderstanding."""
    problems = refuse(write(tmp_path, "mode: live"), CONFIRMED | {"OKX_ENV": "testnet"}, LIVE)

    assert len(problems) == 1
    assert "OKX_ENV (environment OKX_ENV) says 'testnet'" in problems[0]


def test_a_venue_without_a_test_network_is_refused_in_testnet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would trade on its main network."""
    monkeypatch.setattr(
        "perpbot.configuration.locks.TESTNET_VENUES", frozenset({"okx", "binance"})
    )

    with pytest.raises(SettingsError, match=r"hyperliquid\.enabled has no test network"):
        enter(Mode.TESTNET)


def test_replay_is_entered_by_its_command_only(tmp_path: Path) -> None:
    """A file that says replay is a mistake."""
    assert "only `perpbot replay` enters it" in refuse(write(tmp_path, "mode: replay"))[0]
    assert enter(Mode.REPLAY).settings.mode is Mode.REPLAY


@pytest.mark.parametrize("mode", [Mode.DEMO, Mode.REPLAY])
def test_a_virtual_market_has_a_short_memory(mode: Mode) -> None:
    """At most 60 s of window and 30 s of warm-up."""
    settings = enter(mode).settings
    assert settings.market.basis_window_s <= 60
    assert settings.market.basis_warmup_s <= 30

    with pytest.raises(SettingsError, match=f"at most 60 s is used in {mode.value}"):
        enter(mode, "market.basis_window_s=600")
    with pytest.raises(SettingsError, match="at most 30 s"):
        enter(mode, "market.basis_warmup_s=31")


def test_the_console_needs_a_token_beyond_loopback() -> None:
    """An open console is a stranger's console."""
    with pytest.raises(SettingsError, match="needs a token in PERPBOT_CONSOLE_TOKEN"):
        enter(Mode.PAPER, "console.host=0.0.0.0")

    with pytest.raises(SettingsError, match="must travel encrypted"):
        enter(Mode.PAPER, "console.host=0.0.0.0", PERPBOT_CONSOLE_TOKEN="t" * 20)
    loaded = enter(
        Mode.PAPER,
        "console.host=0.0.0.0 console.behind_proxy=yes",
        PERPBOT_CONSOLE_TOKEN="t" * 20,
    )
    assert loaded.settings.console.host == "0.0.0.0"
    assert (
        enter(Mode.PAPER, "console.host=0.0.0.0 console.enabled=no").settings.console.port == 8000
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("LOCALHOST", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", "", "localhost.x")],
)
def test_loopback_is_this_machine_only(host: str, expected: bool) -> None:
    """A name that could be resolved elsewhere is not loopback."""
    assert is_loopback(host) is expected
