"""Commands about what risk has switched off: look at it, switch it on again."""

from __future__ import annotations

from typing import Annotated

import typer

from perpbot.cli.options import ConfigFiles, JsonFlag, ModeOption, command, family

Reason = Annotated[str, typer.Option(help="Why, for the journal.")]

commands = family()
risk_commands = family(
    "See what risk has switched off, and switch it on again.", example="perpbot risk show"
)
commands.add_typer(risk_commands, name="risk")


@command(risk_commands, example="perpbot risk show")
def show(mode: ModeOption = None, json: JsonFlag = False, config: ConfigFiles = None) -> int:
    """Say which halts, cooldowns and overrides a running node has, and its losses."""
    from perpbot.cli.risk import run_show

    return run_show(mode=mode, as_json=json, files=config)


@command(risk_commands, example='perpbot risk reset drawdown --reason "looked at, deposit made"')
def reset(
    rule: Annotated[str, typer.Argument(metavar="HALT", help="As `perpbot risk show` names it.")],
    reason: Reason,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Clear one latched halt of a running node: a person's act, journalled with their name.

    Drawdown and daily loss are measured from the equity of that moment on.
    """
    from perpbot.cli.risk import run_reset

    return run_reset(rule, reason, mode=mode, as_json=json, files=config)


@command(risk_commands, example='perpbot risk override --minutes 30 --reason "venue is back"')
def override(
    reason: Reason,
    minutes: Annotated[int, typer.Option(min=1, help="For how long at most.")] = 15,
    trades: Annotated[int, typer.Option(min=1, help="For how many trades at most.")] = 1,
    mode: ModeOption = None,
    json: JsonFlag = False,
    config: ConfigFiles = None,
) -> int:
    """Lift the failure pause and cooldowns of a running node for a while.

    Never drawdown, daily loss or the kill switch. The settings risk.override_max_minutes and
    risk.override_max_trades bound it.
    """
    from perpbot.cli.risk import run_override

    return run_override(minutes, trades, reason, mode=mode, as_json=json, files=config)
