"""`perpbot init`: a first configuration, with cautious values."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from perpbot.cli.output import Exit, emit, fail, show
from perpbot.configuration import env_example_page, starter_config

FILES: tuple[tuple[str, Callable[[], str], int], ...] = (
    ("config.yaml", starter_config, 0o644),
    (".env", env_example_page, 0o600),
)


def run_init(directory: Path, *, yes: bool, as_json: bool) -> int:
    """Write config.yaml and .env; what is there stays, unless `yes`."""
    there = [name for name, _, _ in FILES if (directory / name).exists()]
    if there and not yes:
        fail(
            f"{' and '.join(there)} exist in {directory.resolve()}: nothing was written; "
            "--yes writes over them"
        )
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text, file_mode in FILES:
        path = directory / name
        _write(path, text(), file_mode)
        written.append(str(path))
    if as_json:
        emit({"written": written})
    else:
        show("\n".join(f"wrote {path}" for path in written))
        show("next: perpbot doctor, then perpbot run")
    return Exit.OK


def _write(path: Path, text: str, file_mode: int) -> None:
    """Never readable by others for a moment, where it must not be."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file_mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    scratch.replace(path)
