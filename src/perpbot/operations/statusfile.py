"""What a running node says of itself every few seconds: `status.json` in its state directory.

So that `perpbot status` and the health check of a container work without console, port or token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perpbot.settings.private_files import write_private

FILE_NAME = "status.json"


def write_status(directory: Path, status: Mapping[str, Any]) -> None:
    """Put it there in one step."""
    write_private(directory / FILE_NAME, json.dumps(status).encode(), durable=False)


def remove_status(directory: Path) -> None:
    """Take it away: figures of a node that has ended mislead."""
    (directory / FILE_NAME).unlink(missing_ok=True)


def read_status(directory: Path) -> dict[str, Any] | None:
    """Return the newest, or None where there is none yet."""
    try:
        found: dict[str, Any] = json.loads((directory / FILE_NAME).read_text())
    except FileNotFoundError:
        return None
    return found
