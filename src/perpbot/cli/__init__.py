"""The command line: thin commands over the rooms below.

Every command takes `--help` with an example, `--json` (standard output then holds data only; logs
and progress go to standard error) and `-c FILE`. Exit codes are in `perpbot.cli.output`.
"""

from __future__ import annotations

from perpbot.cli.main import main

__all__ = ["main"]
