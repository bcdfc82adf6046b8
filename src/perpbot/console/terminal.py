"""The live view of a node in a terminal: quotes, opportunities, pairs, positions, capital, health.

Fits 80 by 24. Rows that do not fit are counted, not cut silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from perpbot.console.state import ConsoleState

QUOTE_ROWS = 6
ROWS = 3


class LiveView:
    """Shows pictures of `state` until closed. `show` is called a few times a second."""

    def __init__(self, state: ConsoleState, console: Console | None = None) -> None:
        self._state = state
        self._said = ""
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def say(self, text: str) -> None:
        """Keep a line at the foot of the picture."""
        self._said = text

    def show(self, elapsed_s: float) -> None:
        """Draw the picture of this moment."""
        self._live.update(picture(self._state, elapsed_s, self._said), refresh=True)

    def close(self) -> None:
        """Leave the last picture where it is."""
        self._live.stop()


def picture(state: ConsoleState, elapsed_s: float, said: str = "") -> RenderableType:
    """Return everything as one renderable."""
    overview, health = state.overview(), state.health()
    opportunities, pairs = state.opportunities(), state.pairs()
    parts: list[RenderableType] = [
        _head(overview, health, elapsed_s),
        _quotes(state.quotes(), list(overview["venues"]), overview["venues"]),
        _opportunities(opportunities),
        _pairs(pairs),
        _money(state.positions(), state.capital()),
        _health(health),
    ]
    if said:
        parts.append(_line(said, "dim"))
    return Group(*parts)


def _head(overview: Mapping[str, Any], health: Mapping[str, Any], elapsed_s: float) -> Text:
    score = health["score"]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" perpbot {overview['mode']} ", style="bold reverse")
    if overview["kill_level"]:
        text.append(f" KILL {overview['kill_level']} ", style="bold red")
    for venue, kill in overview["venue_kills"].items():
        text.append(f" KILL {kill['level']} {venue} ", style="bold red")
    for rule in overview["halts"]:
        text.append(f" HALT {rule} ", style="bold red")
    text.append(f" {elapsed_s:.0f} s  {overview['quotes']} quotes  ")
    text.append(f"{overview['opportunities']} opportunities  ")
    text.append(f"net {float(overview['realised_usd']):.2f} USD  ", style="bold")
    text.append(
        "health " + ("unknown" if score is None else f"{score:.0f}"), style=_colour(health)
    )
    return text


def _colour(health: Mapping[str, Any]) -> str:
    return {"ok": "green", "warning": "yellow", "critical": "bold red"}.get(health["grade"], "dim")


def _quotes(
    rows: Sequence[Mapping[str, Any]], venues: Sequence[str], reasons: Mapping[str, str]
) -> Table:
    """One row an asset, one column a venue: bid and ask, dim where it may open nothing."""
    by_asset: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_asset.setdefault(row["asset"], {})[row["venue"]] = row
    table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
    table.add_column("bid / ask", no_wrap=True)
    for venue in venues:
        mark = "" if reasons[venue] == "ready" else " (waiting)"
        table.add_column(f"{venue}{mark}", justify="right", no_wrap=True)
    for asset, by_venue in list(by_asset.items())[:QUOTE_ROWS]:
        table.add_row(asset, *(_quote(by_venue.get(venue)) for venue in venues))
    if len(by_asset) > QUOTE_ROWS:
        table.add_row(f"and {len(by_asset) - QUOTE_ROWS} more", style="dim")
    return table


def _quote(row: Mapping[str, Any] | None) -> Text:
    if row is None or row["bid"] is None:
        return Text("-", style="dim")
    return Text(f"{row['bid']:.7g} {row['ask']:.7g}", style="" if row["usable"] else "dim")


def _opportunities(found: Mapping[str, Any]) -> Group:
    reasons = {**found["not_taken"], **found["not_published"]}
    counts = "  ".join(f"{name} {count}" for name, count in list(reasons.items())[:5] if count)
    return Group(
        _title("opportunities", len(found["found"])),
        _line(f"  not taken: {counts}", "dim"),
        *(
            _line(
                f"  {row['asset']} long {row['long_venue']} short {row['short_venue']} "
                f"edge {row['edge']['edge_bps']:.1f} bps score {row['score']:.2f}"
            )
            for row in found["found"][:2]
        ),
        *(
            _line(
                f"  refused {row['asset']}: {row['rule']} {row['value']}, limit {row['limit']}",
                "yellow",
            )
            for row in found["refused"][:2]
        ),
    )


def _pairs(pairs: Mapping[str, Any]) -> Group:
    return Group(
        _title("pairs", len(pairs["open"])),
        *(
            _line(
                f"  {row['pair_id']} {row['asset']} {row['quantity']} {row['state']} "
                f"long {row['long_venue']} short {row['short_venue']} {row['age_s']:.0f} s"
            )
            for row in pairs["open"][:ROWS]
        ),
        *(
            _line(
                f"  {row['pair_id']} {row['asset']} {row['exit_reason']} net {row['net_usd']} USD",
                "dim",
            )
            for row in pairs["completed"][: max(ROWS - len(pairs["open"]), 1)]
        ),
    )


def _money(positions: Mapping[str, Any], capital: Mapping[str, Any]) -> Group:
    pool = capital["pools"].get("arbitrage", {})
    held = "  ".join(
        f"{row['venue']} {row['quantity']} {row['asset'].removesuffix('-PERP')}"
        for row in positions["legs"][:ROWS]
    )
    net, gross = float(positions["total_net_usd"]), float(positions["gross_usd"])
    parts = "  ".join(f"{part} {float(amount):.2f}" for part, amount in pool.items())
    count = len(positions["legs"])
    return Group(
        _line(f"positions ({count})  net {net:.2f} USD  gross {gross:.2f} USD  {held}"),
        _line(f"capital  arbitrage {parts} USD"),
    )


def _health(health: Mapping[str, Any]) -> Text:
    parts = "  ".join(f"{name} {score:.0f}" for name, score in health["components"].items())
    return _line(
        f"health  {parts or 'unknown'}  loop {health['loop_lag_ms']:.0f} ms", _colour(health)
    )


def _title(name: str, count: int) -> Text:
    return Text(f"{name} ({count})", style="bold")


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
