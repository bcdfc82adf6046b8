"""The tree of commands. Rooms are imported inside commands, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpbot.cli.output import ConfigFiles, JsonFlag, guarded

app = typer.Typer(
    name="perpbot",
    help="Trade perpetual futures across venues: watch, arbitrage, account for every cent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command(epilog="Example: perpbot demo --seconds 20 --seed 7")
def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long to trade before closing everything.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the market.")] = None,
    venues: Annotated[
        str, typer.Option(help="Venues to run, separated by commas.")
    ] = "binance,okx,hyperliquid",
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Start local exchanges in their real protocols, trade on them, close, print a summary."""
    from perpbot.cli.demo import run_demo

    guarded(lambda: run_demo(seconds, seed, venues, as_json=json, files=config))


@app.command(epilog="Example: perpbot simulate okx hyperliquid --port-base 9100")
def simulate(
    venues: Annotated[list[str], typer.Argument(help="Venues to serve.")],
    port_base: Annotated[int, typer.Option(min=0, help="First port; 0 takes free ones.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of market and credentials.")] = 1,
    tape: Annotated[
        Path | None, typer.Option(help="Recorded tape that moves the markets.")
    ] = None,
    json: JsonFlag = False,  # noqa: ARG001 - output is JSON lines anyway
) -> None:
    """Serve local exchanges in their real protocols until SIGTERM; one JSON line a server."""
    from perpbot.cli.simulate import run_simulate

    guarded(lambda: run_simulate(venues, port_base, seed, tape))


@app.command(
    epilog="Example: perpbot replay tape.csv.gz --map binance_usdm=binance,bybit_linear=okx"
)
def replay(
    tape: Annotated[Path, typer.Argument(help="Recorded tape, csv or csv.gz.")],
    mapping: Annotated[
        str, typer.Option("--map", help="Which venue a venue of the tape stands for.")
    ],
    maker_bps: Annotated[float, typer.Option(help="Maker fee of every venue.")] = 2.0,
    taker_bps: Annotated[float, typer.Option(help="Taker fee of every venue.")] = 5.0,
    min_edge_bps: Annotated[float, typer.Option(min=0, help="Least edge after all costs.")] = 1.0,
    latency_ms: Annotated[
        float, typer.Option(min=0, max=60_000, help="One-way latency of requests and answers.")
    ] = 20.0,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Run a recorded cross-venue tape through the node in virtual time; deterministic."""
    from perpbot.cli.replay import run_replay

    guarded(
        lambda: run_replay(
            tape,
            mapping,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            min_edge_bps=min_edge_bps,
            latency_ms=latency_ms,
            as_json=json,
            files=config,
        )
    )


ModeText = Annotated[
    str | None,
    typer.Option("--mode", help="Mode of the node: paper, testnet, live. Default: as configured."),
]


@app.command(epilog="Example: perpbot run --paper -c config.yaml")
def run(
    paper: Annotated[bool, typer.Option("--paper", help="Real data, simulated fills.")] = False,
    testnet: Annotated[bool, typer.Option("--testnet", help="The venues' test networks.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Real money; needs two more confirmations.")
    ] = False,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Trade until stopped with Ctrl-C or SIGTERM: on paper unless told otherwise.

    SIGUSR1 and SIGUSR2 are the kill switch at level 2 and level 4 (perpbot kill --help).
    """
    from perpbot.cli.run import run_run

    guarded(lambda: run_run(paper=paper, testnet=testnet, live=live, as_json=json, files=config))


@app.command(epilog="Example: perpbot init")
def init(
    yes: Annotated[bool, typer.Option("--yes", help="Write over files that exist.")] = False,
    directory: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    json: JsonFlag = False,
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """Write a first config.yaml and .env."""
    from perpbot.cli.init import run_init

    guarded(lambda: run_init(directory, yes=yes, as_json=json))


@app.command(epilog="Example: perpbot doctor -c config.yaml")
def doctor(json: JsonFlag = False, config: ConfigFiles = None) -> None:
    """Look for what would keep a run from working."""
    from perpbot.cli.doctor import run_doctor

    guarded(lambda: run_doctor(as_json=json, files=config))


@app.command(epilog="Example: perpbot status --watch")
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Again and again.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Say what a running node holds; exit code 3 when none runs."""
    from perpbot.cli.node import run_status

    guarded(
        lambda: run_status(watch=watch, interval_s=interval, mode=mode, as_json=json, files=config)
    )


@app.command(epilog="Example: perpbot health || echo ill")
def health(mode: ModeText = None, json: JsonFlag = False, config: ConfigFiles = None) -> None:
    """Tell by the exit code whether a node works: 0 healthy, 1 ill, 3 not running."""
    from perpbot.cli.node import run_health

    guarded(lambda: run_health(mode=mode, as_json=json, files=config))


@app.command(epilog='Example: perpbot kill --level 4 --reason "venue looks wrong"')
def kill(
    level: Annotated[
        int,
        typer.Option(
            min=1,
            max=5,
            help="1 no opens; 2 and cancel resting orders; 3 and flatten what is unhedged; "
            "4 flatten everything; 5 and exit.",
        ),
    ] = 3,
    reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "perpbot kill",
    clear: Annotated[
        bool, typer.Option("--clear", help="Take the kill switch away instead.")
    ] = False,
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Stop a running node from trading, by level. A restart keeps the level.

    The same by `touch KILL` in the state directory (level 3), SIGUSR1 (2), SIGUSR2 (4), or the
    console's API with its token. Only a person takes it away: --clear.
    """
    from perpbot.cli.node import run_kill

    guarded(lambda: run_kill(level, reason, clear=clear, mode=mode, as_json=json, files=config))


@app.command(epilog="Example: perpbot guardian --testnet -c config.yaml")
def guardian(
    testnet: Annotated[bool, typer.Option("--testnet", help="The venues' test networks.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Real money; needs the same confirmations as run.")
    ] = False,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Watch a node of the same configuration; when it falls silent, cancel and flatten for it.

    Runs beside `perpbot run`, with keys of its own (docs/guardian.md). With --json one fact a
    line.
    """
    from perpbot.cli.guardian import run_guard

    guarded(lambda: run_guard(testnet=testnet, live=live, as_json=json, files=config))


@app.command(epilog="Example: perpbot explain 3-17")
def explain(
    asked: Annotated[
        str, typer.Argument(metavar="ID", help="Of a pair, opportunity, order or reservation.")
    ],
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Tell why an opportunity, trade or refusal was what it was, with its numbers."""
    from perpbot.cli.journal import run_explain

    guarded(lambda: run_explain(asked, mode=mode, as_json=json, files=config))


@app.command(epilog="Example: perpbot recover --dry-run")
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
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Show what a restart would find and do, and why; repair a damaged journal."""
    from perpbot.cli.recover import run_recover

    guarded(
        lambda: run_recover(
            dry_run=dry_run,
            ask=ask,
            skip=skip,
            reason=reason,
            yes=yes,
            mode=mode,
            as_json=json,
            files=config,
        )
    )


@app.command(epilog="Example: perpbot version --json")
def version(
    json: JsonFlag = False,
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """Print the version."""
    from perpbot import __version__
    from perpbot.cli.output import emit, show

    if json:
        emit({"version": __version__})
    else:
        show(f"perpbot {__version__}")


journal = typer.Typer(help="Read the memory of a node, check it.", no_args_is_help=True)
app.add_typer(journal, name="journal")


@journal.command("show", epilog="Example: perpbot journal show --kind ORDER_FILLED --since 1h")
def journal_show(
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may repeat.")] = None,
    since: Annotated[str | None, typer.Option(help="10m, 2h, 1d or an ISO time.")] = None,
    pair: Annotated[str | None, typer.Option(help="Only records of this id.")] = None,
    last: Annotated[int | None, typer.Option(min=1, help="Only the last N.")] = None,
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Print records, one a line (with --json one object a line)."""
    import time

    from perpbot.cli.journal import run_show

    guarded(
        lambda: run_show(
            kind or (),
            since,
            pair,
            last,
            mode=mode,
            as_json=json,
            files=config,
            now_ns=time.time_ns(),
        )
    )


@journal.command("verify", epilog="Example: perpbot journal verify --mode paper")
def journal_verify(
    mode: ModeText = None, json: JsonFlag = False, config: ConfigFiles = None
) -> None:
    """Check every record: checksum, order, content."""
    from perpbot.cli.journal import run_verify

    guarded(lambda: run_verify(mode=mode, as_json=json, files=config))


@journal.command("replay", epilog="Example: perpbot journal replay --until 120000")
def journal_replay(
    until: Annotated[int | None, typer.Option(min=1, metavar="SEQ", help="Stop there.")] = None,
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Fold every record anew; the state must equal every snapshot on the way, byte for byte."""
    from perpbot.cli.journal_replay import run_journal_replay

    guarded(lambda: run_journal_replay(until, mode=mode, as_json=json, files=config))


@journal.command("export", epilog="Example: perpbot journal export --since 1d --out day.jsonl")
def journal_export(
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind; may repeat.")] = None,
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
    form: Annotated[str, typer.Option("--format", help="jsonl or csv.")] = "jsonl",
    first: Annotated[int, typer.Option("--from", min=1, metavar="SEQ", help="First record.")] = 1,
    last: Annotated[
        int | None, typer.Option("--until", min=1, metavar="SEQ", help="Last record.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="10m, 2h, 1d or an ISO time.")] = None,
    to: Annotated[str | None, typer.Option(help="Up to then; as --since.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N.")] = None,
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Write records to a file or standard output, as JSON lines or CSV."""
    import time

    from perpbot.cli.journal_export import run_journal_export

    guarded(
        lambda: run_journal_export(
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
    )


trades = typer.Typer(help="What was traded.", no_args_is_help=True)
app.add_typer(trades, name="trades")


@trades.command("export", epilog="Example: perpbot trades export --table fills --out fills.csv")
def trades_export(
    table: Annotated[str, typer.Option(help="trades, orders, fills or equity.")] = "trades",
    form: Annotated[str, typer.Option("--format", help="csv.")] = "csv",
    out: Annotated[Path | None, typer.Option(help="File; standard output without it.")] = None,
    mode: ModeText = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Write trades, orders, fills or equity as CSV."""
    from perpbot.cli.output import Exit, fail

    if form != "csv":
        fail(f"--format was {form!r}, csv was expected", Exit.USAGE)
    from perpbot.cli.trades import run_export

    guarded(lambda: run_export(table, out, mode=mode, as_json=json, files=config))


configuration = typer.Typer(help="What is set, and what set it.", no_args_is_help=True)
app.add_typer(configuration, name="config")


@configuration.command("validate", epilog="Example: perpbot config validate -c config.yaml")
def config_validate(json: JsonFlag = False, config: ConfigFiles = None) -> None:
    """Check the configuration; say every problem."""
    from perpbot.cli.config import run_validate

    guarded(lambda: run_validate(as_json=json, files=config))


@configuration.command("show", epilog="Example: perpbot config show --changed")
def config_show(
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what differs from the defaults.")
    ] = False,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """List every value that is in force."""
    from perpbot.cli.config import run_config_show

    guarded(lambda: run_config_show(changed=changed, as_json=json, files=config))


@configuration.command("schema", epilog="Example: perpbot config schema > perpbot.schema.json")
def config_schema(
    json: JsonFlag = False,  # noqa: ARG001 - it is JSON anyway
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """Print the JSON schema of the configuration, for editors."""
    from perpbot.cli.config import run_schema

    guarded(run_schema)


@configuration.command("explain", epilog="Example: perpbot config explain risk.max_slippage_bps")
def config_explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Such as risk.max_slippage_bps.")],
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Say what a key means, its value, which file and line set it, and what that replaced."""
    from perpbot.cli.config import run_config_explain

    guarded(lambda: run_config_explain(key, as_json=json, files=config))


keys = typer.Typer(help="The venues' keys in one encrypted file.", no_args_is_help=True)
app.add_typer(keys, name="keys")

KeyVenue = Annotated[str, typer.Argument(metavar="VENUE", help="Whose key.")]
KeyAccount = Annotated[
    str,
    typer.Option(help="Which of several accounts; as in venues.VENUE.credentials."),
]
KeystoreOption = Annotated[
    Path | None, typer.Option("--keystore", help="The file; default: PERPBOT_KEYSTORE.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="Private file with the passphrase; without it you are asked."),
]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the key from standard input, as a JSON object.")
]


@keys.command("add", epilog="Example: perpbot keys add okx")
def keys_add(
    venue: KeyVenue,
    account: KeyAccount = "",
    stdin: FromStdin = False,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """Add a key; it is asked for without echo, never taken from arguments."""
    from perpbot.cli.keys import Opener, run_add

    opener = Opener(keystore, passphrase_file)
    guarded(lambda: run_add(venue, account, opener, from_stdin=stdin, as_json=json))


@keys.command("list", epilog="Example: perpbot keys list")
def keys_list(
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """List venues, accounts, fingerprints and ages; no secret is shown."""
    from perpbot.cli.keys import Opener, run_list

    guarded(lambda: run_list(Opener(keystore, passphrase_file), as_json=json))


@keys.command("remove", epilog="Example: perpbot keys remove okx")
def keys_remove(
    venue: KeyVenue,
    account: KeyAccount = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """Take a key out of the keystore; at the venue it goes on working until you delete it."""
    from perpbot.cli.keys import Opener, run_remove

    opener = Opener(keystore, passphrase_file)
    guarded(lambda: run_remove(venue, account, opener, yes=yes, as_json=json))


@keys.command("test", epilog="Example: perpbot keys test okx --testnet")
def keys_test(
    venue: KeyVenue,
    account: KeyAccount = "",
    testnet: Annotated[
        bool, typer.Option("--testnet", help="Ask the venue's test network.")
    ] = False,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> None:
    """Ask the venue whether it takes a key and what the key may do; changes nothing."""
    from perpbot.cli.keys import Opener
    from perpbot.cli.keytest import run_test

    opener = Opener(keystore, passphrase_file)
    guarded(lambda: run_test(venue, account, opener, testnet=testnet, files=config, as_json=json))


@keys.command("rotate", epilog="Example: perpbot keys rotate okx")
def keys_rotate(
    venue: Annotated[
        str | None, typer.Argument(metavar="[VENUE]", help="Whose key; without, the passphrase.")
    ] = None,
    account: KeyAccount = "",
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="Private file with the new passphrase.")
    ] = None,
    stdin: FromStdin = False,
    keystore: KeystoreOption = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,  # noqa: ARG001 - every command takes it
) -> None:
    """Put a new key of a venue in place of the old one, or seal everything anew."""
    from perpbot.cli.keys import Opener, run_rotate

    opener = Opener(keystore, passphrase_file)
    guarded(
        lambda: run_rotate(
            venue,
            account,
            opener,
            new_passphrase_file=new_passphrase_file,
            from_stdin=stdin,
            as_json=json,
        )
    )


@app.command(epilog="Example: perpbot chaos --seeds 200 --row 6")
def chaos(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run.")] = 100,
    first: Annotated[int, typer.Option("--from", min=0, help="First seed.")] = 1,
    tier: Annotated[str, typer.Option(help="A: the core against exchanges in process.")] = "A",
    row: Annotated[
        str | None, typer.Option(help="Row of the fault matrix that every seed contains.")
    ] = None,
    mutant: Annotated[
        str | None, typer.Option(help="Safeguard to take away, or all: each must be caught.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=0, help="Processes that run seeds; 0: one for every core.")
    ] = 0,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Fail also when a row, an edge or a kill point is not hit."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Break everything by seed, in virtual time; every invariant must hold."""
    from perpbot.cli.chaos import run_chaos

    guarded(
        lambda: run_chaos(seeds, first, tier, row, mutant, jobs=jobs, strict=strict, as_json=json)
    )


def main() -> None:
    """Entry point of the `perpbot` command."""
    app()
