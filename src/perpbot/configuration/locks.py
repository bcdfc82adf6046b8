"""Every lock between a mode and the world, in one place.

`violations` is the only judge: whatever can send an order asks it first. It lists all broken
locks, in the order in which a person would open them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from perpbot.configuration.tree import Settings, VenueNode
from perpbot.settings import (
    CONSOLE_TOKEN,
    Environment,
    Layer,
    Loaded,
    Mode,
    Violation,
    read_secret,
)

LIVE_CONFIRM = "PERPBOT_LIVE_CONFIRM"
"""The variable that must repeat the account's label before real money moves."""

TESTNET_VENUES = frozenset({"binance", "hyperliquid", "okx"})
"""Venues that have a test network (their sheets)."""

BASIS_WINDOW_MAX_S = 60.0
BASIS_WARMUP_MAX_S = 30.0

_TEST_WORDS = frozenset({"testnet", "test", "demo", "sandbox", "simulated"})
_REAL_WORDS = frozenset({"mainnet", "main", "live", "prod", "production"})


def violations(loaded: Loaded[Settings]) -> list[Violation]:
    """Return every broken lock; none means that the mode may start."""
    settings = loaded.settings
    found: list[Violation] = []
    if settings.mode is Mode.LIVE:
        found += _live_keys(loaded)
    found += _private(settings.mode, loaded.environment)
    if settings.mode is Mode.REPLAY and loaded.origin("mode").layer is not Layer.FLAG:
        found.append(Violation("was replay: only `perpbot replay` enters it", ("mode",)))
    for name in settings.enabled_venues:
        found += _venue(settings.mode, name, settings.venue(name), loaded.environment)
    found += _virtual(settings)
    found += _console(settings, loaded.environment)
    return found


def is_loopback(host: str) -> bool:
    """Tell whether a host can only be this machine. Names other than localhost cannot be sure."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _live_keys(loaded: Loaded[Settings]) -> Iterator[Violation]:
    settings = loaded.settings
    nodes = loaded.layers.history(("mode",))
    files = [str(node.plain()) for node in nodes if node.origin.layer is Layer.FILE]
    if not files or files[-1] != Mode.LIVE.value:
        yield Violation("live needs `mode: live` in a configuration file as well", ("mode",))
    if not nodes or nodes[-1].origin.layer is not Layer.FLAG:
        yield Violation("live needs --live on the command line as well", ("mode",))
    confirmation = loaded.environment.get(LIVE_CONFIRM)
    label = settings.account_label
    if confirmation is None:
        yield Violation(f"live needs {LIVE_CONFIRM}={label} in the environment as well", ("mode",))
    elif confirmation.text.strip() != label:
        yield Violation(
            f"was {label}, and {LIVE_CONFIRM} ({confirmation.origin}) says"
            f" {confirmation.text.strip()[:40]!r}: both must name the account",
            ("account_label", "mode"),
        )


def _private(mode: Mode, environment: Environment) -> Iterator[Violation]:
    """Refuse a `.env` that others can read, where it may hold keys that are used."""
    shared = environment.shared_file
    if shared is not None and mode.sends_orders_out:
        yield Violation(
            f"{mode.value} needs {shared} to be readable by its owner only: chmod 600 {shared}",
            ("mode",),
        )


def _venue(
    mode: Mode, name: str, node: VenueNode, environment: Environment
) -> Iterator[Violation]:
    if mode is Mode.TESTNET and name not in TESTNET_VENUES:
        yield Violation(
            "has no test network: set it to false in testnet", (f"venues.{name}.enabled",)
        )
    for field in ("rest_url", "ws_url"):
        url: str | None = getattr(node, field)
        if url is not None and (reason := _address(mode, url)):
            yield Violation(f"was {url}: {reason}", (f"venues.{name}.{field}",))
    if not mode.is_virtual:
        yield from _venue_variable(mode, name, environment)


def _address(mode: Mode, url: str) -> str:
    parts = urlsplit(url)
    if is_loopback(parts.hostname or ""):
        return "live takes no address but the venue's own" if mode is Mode.LIVE else ""
    match mode:
        case Mode.LIVE:
            return "live takes no address but the venue's own"
        case Mode.DEMO | Mode.REPLAY:
            return f"{mode.value} takes no address but loopback (127.0.0.1)"
        case Mode.TESTNET:
            # Another address could be the main network: the mode alone decides where orders go.
            return "testnet takes no address but the venue's own or loopback"
    if parts.scheme not in {"https", "wss"}:
        return "an encrypted address (https, wss) was expected beyond loopback"
    return ""


def _venue_variable(mode: Mode, name: str, environment: Environment) -> Iterator[Violation]:
    """Compare `OKX_ENV` and its like, which other bots read, with the mode."""
    variable = environment.get(f"{name.upper()}_ENV")
    if variable is None:
        return
    word = variable.text.strip().lower()
    wanted = _TEST_WORDS if mode is Mode.TESTNET else _REAL_WORDS
    if word not in wanted:
        right = "testnet" if mode is Mode.TESTNET else "mainnet"
        known = word in _TEST_WORDS | _REAL_WORDS
        said = f"says {word!r}" if known else "says something else"
        yield Violation(
            f"is {mode.value}, and {variable.name} ({variable.origin}) {said}: the mode alone"
            f" decides; remove the variable or set it to {right}",
            ("mode",),
        )


def _virtual(settings: Settings) -> Iterator[Violation]:
    if not settings.mode.is_virtual:
        return
    for field, most in (
        ("basis_window_s", BASIS_WINDOW_MAX_S),
        ("basis_warmup_s", BASIS_WARMUP_MAX_S),
    ):
        value: float = getattr(settings.market, field)
        if value > most:
            message = f"was {value:g} s: at most {most:g} s is used in {settings.mode.value}"
            yield Violation(message, (f"market.{field}",))


def _console(settings: Settings, environment: Environment) -> Iterator[Violation]:
    if not settings.console.enabled or is_loopback(settings.console.host):
        return
    token, _ = read_secret(CONSOLE_TOKEN, environment)
    if token is None:
        yield Violation(
            f"was {settings.console.host}: beyond loopback the console needs a token in"
            f" {CONSOLE_TOKEN.variable}",
            ("console.host",),
        )
    if not settings.console.behind_proxy:
        yield Violation(
            f"was {settings.console.host}: beyond loopback the token must travel encrypted; put a"
            " proxy with TLS before the console and set console.behind_proxy to true",
            ("console.host",),
        )
