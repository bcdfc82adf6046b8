"""Commands that read a node's memory, and mend it: journal, trades, explain, recover."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from perpbot.cli.options import ConfigFiles, JsonFlag, ModeOption, command, family

Kinds = Annotated[list[str] | None, typer.Option(help="Only this kind; may repeat.")]
Since = Annotated[str | None, typer.Option(help="10m, 2h, 1d or an ISO time.")]

commands = family()
journal_commands = family(
    "Read the memory of a node, check it.", example="perpbot journal show --since 1h"
)
trades_commands = family("What was traded.", example="perpbot trades export --out trades.csv")
commands.add_typer(journal_commands, name="journal")
commands.add_typer(trades_commands, name="trades")


@command(commands, example="perpbot explain 3-17")
def explain(
    asked: Annotated[
        str, typer.Argument(metavar="ID", help="Of a pair, opportunity, order or reservation.")
    ],
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Tell why an opportunity, trade or refusal was what it was, with its numbers."""
    from perpbot.cli.journal import run_explain

    return run_explain(asked, mode=mode, as_json=json, files=config)


@command(commands, example="perpbot recover --dry-run")
def recover(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what a restart would do; change nothing.")
    ] = False,
    ask: Annotated[
        bool, typer.Option("--ask", help="Compare with the venues too; no order is ever sent.")
    ] = False,
    skip: Annotated[
        int | None,
        typer.Option(min=1, metavar="SEQ", help="Pass over this record, which cannot be folded."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the journal.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Show what a restart would find and do, and why; repair a damaged journal."""
    from perpbot.cli.recover import run_recover

    return run_recover(
        dry_run=dry_run,
        ask=ask,
        skip=skip,
        reason=reason,
        yes=yes,
        mode=mode,
        as_json=json,
        files=config,
    )


@command(journal_commands, "show", example="perpbot journal show --kind ORDER_FILLED --since 1h")
def journal_show(
    kind: Kinds = None,
    since: Since = None,
    pair: Annotated[str | None, typer.Option(help="Only records of this id.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last N.")] = None,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Print records, one a line (with --json one object a line)."""
    from perpbot.cli.journal import run_show

    return run_show(
        kind or (),
        since,
        pair,
        last,
        mode=mode,
        as_json=json,
        files=config,
        now_ns=time.time_ns(),
    )


@command(journal_commands, "verify", example="perpbot journal verify --mode paper")
def journal_verify(
    mode: ModeOption = None, json: JsonFlag = False, config: ConfigFiles = None
) -> int:
    """Check every record: checksum, order, content."""
    from perpbot.cli.journal import run_verify

    return run_verify(mode=mode, as_json=json, files=config)


@command(journal_commands, "replay", example="perpbot journal replay --until 120000")
def journal_replay(
    until: Annotated[int | None, typer.Option(min=1, metavar="SEQ", help="Stop there.")] = None,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Fold every record anew; the state must equal every snapshot on the way, byte for byte."""
    from perpbot.cli.journal_replay import run_journal_replay

    return run_journal_replay(until, mode=mode, as_json=json, files=config)


@command(journal_commands, "export", example="perpbot journal export --since 1d --out day.jsonl")
def journal_export(
    kind: Kinds = None,
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    first: Annotated[int, typer.Option("--from", min=1, metavar="SEQ", help="First record.")] = 1,
    last: Annotated[
        int | None, typer.Option("--until", min=1, metavar="SEQ", help="Last record.")
    ] = None,
    since: Since = None,
    to: Annotated[str | None, typer.Option(help="Up to then; as --since.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N.")] = None,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Write records to a file or standard output, as JSON lines or CSV."""
    from perpbot.cli.journal_export import run_journal_export

    return run_journal_export(
        kind or (),
        out,
        form,
        first=first,
        last=last,
        since=since,
        until=to,
        limit=limit,
        mode=mode,
        as_json=json,
        files=config,
        now_ns=time.time_ns(),
    )


@command(trades_commands, "export", example="perpbot trades export --table fills --out fills.csv")
def trades_export(
    table: Annotated[
        str, typer.Option(help="trades, orders, fills, transfers or equity.")
    ] = "trades",
    form: Annotated[str, typer.Option("--format", help="csv.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File; standard output without it.")] = None,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Write trades, orders, fills, transfers or equity as CSV."""
    from perpbot.cli.trades import run_export

    return run_export(table, form, out, mode=mode, as_json=json, files=config)
