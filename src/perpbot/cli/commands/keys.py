"""Commands on the venues' keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpbot.cli.options import ConfigFiles, JsonFlag, command, family

Venue = Annotated[str, typer.Argument(metavar="VENUE", help="Whose key.")]
Account = Annotated[
    str,
    typer.Option(help="Which of several accounts; as in venues.VENUE.credentials."),
]
Keystore = Annotated[
    Path | None, typer.Option("--keystore", help="The file; default: PERPBOT_KEYSTORE.")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(help="Private file with the passphrase; without it you are asked."),
]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the key from standard input, as a JSON object.")
]

commands = family()
keys_commands = family("The venues' keys in one encrypted file.", example="perpbot keys add okx")
commands.add_typer(keys_commands, name="keys")


@command(keys_commands, "add", example="perpbot keys add okx")
def keys_add(
    venue: Venue,
    account: Account = "",
    stdin: FromStdin = False,
    keystore: Keystore = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Add a key; it is asked for without echo, never taken from arguments."""
    from perpbot.cli.keys import Opener, run_add

    opener = Opener(keystore, passphrase_file)
    return run_add(venue, account, opener, from_stdin=stdin, as_json=json)


@command(keys_commands, "list", example="perpbot keys list")
def keys_list(
    keystore: Keystore = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """List venues, accounts, fingerprints and ages; no secret is shown."""
    from perpbot.cli.keys import Opener, run_list

    return run_list(Opener(keystore, passphrase_file), as_json=json)


@command(keys_commands, "remove", example="perpbot keys remove okx")
def keys_remove(
    venue: Venue,
    account: Account = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keystore: Keystore = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Take a key out of the keystore; at the venue it goes on working until you delete it."""
    from perpbot.cli.keys import Opener, run_remove

    opener = Opener(keystore, passphrase_file)
    return run_remove(venue, account, opener, yes=yes, as_json=json)


@command(keys_commands, "test", example="perpbot keys test okx --testnet")
def keys_test(
    venue: Venue,
    account: Account = "",
    testnet: Annotated[
        bool, typer.Option("--testnet", help="Ask the venue's test network.")
    ] = False,
    keystore: Keystore = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Ask the venue whether it takes a key and what the key may do; changes nothing."""
    from perpbot.cli.keys import Opener
    from perpbot.cli.keytest import run_test

    opener = Opener(keystore, passphrase_file)
    return run_test(venue, account, opener, testnet=testnet, files=config, as_json=json)


@command(keys_commands, "rotate", example="perpbot keys rotate okx")
def keys_rotate(
    venue: Annotated[
        str | None, typer.Argument(metavar="[VENUE]", help="Whose key; without, the passphrase.")
    ] = None,
    account: Account = "",
    new_passphrase_file: Annotated[
        Path | None, typer.Option(help="Private file with the new passphrase.")
    ] = None,
    stdin: FromStdin = False,
    keystore: Keystore = None,
    passphrase_file: PassphraseFile = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Put a new key of a venue in place of the old one, or seal everything anew."""
    from perpbot.cli.keys import Opener, run_rotate

    return run_rotate(
        venue,
        account,
        Opener(keystore, passphrase_file),
        new_passphrase_file=new_passphrase_file,
        from_stdin=stdin,
        as_json=json,
    )
