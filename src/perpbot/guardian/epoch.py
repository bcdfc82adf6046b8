"""The fence: `guardian.epoch` in the state directory. Only a guardian writes it.

A node whose own epoch is not above the file's has been taken over: it sends nothing, and starts
again through recovery with an epoch above both. The number only grows.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from perpbot.domain.errors import InvalidValue, StateConflict
from perpbot.guardian.sealed import seal, unseal
from perpbot.settings.private_files import write_private

FILE_NAME = "guardian.epoch"


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One taking over."""

    number: int
    run_epoch: int
    """The run that had fallen silent."""
    at_ns: int
    """When, UTC ns."""
    reason: str


def read_epoch(directory: Path) -> Epoch | None:
    """Return the newest epoch; None where no guardian has ever taken over.

    Raises `StateConflict` for a damaged file: it is not known then who may send.
    """
    path = directory / FILE_NAME
    try:
        line = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(unseal(line), type=Epoch)
    except (InvalidValue, msgspec.DecodeError) as error:
        raise StateConflict(
            f"{path} cannot be read ({error}), so it is not known who may send orders: look at "
            "the venues, then remove the file"
        ) from error


def epoch_number(directory: Path) -> int:
    """Return the number of the newest epoch; 0 where no guardian has ever taken over."""
    epoch = read_epoch(directory)
    return 0 if epoch is None else epoch.number


def raise_epoch(directory: Path, epoch: Epoch, *, durable: bool = True) -> None:
    """Write a higher epoch, for good once this returns; not `durable`, until a power cut.

    Raises `StateConflict` for a number that is not higher, `OSError` where it cannot be written.
    """
    before = epoch_number(directory)
    if epoch.number <= max(before, epoch.run_epoch):
        raise StateConflict(
            f"epoch was {epoch.number}: more than {max(before, epoch.run_epoch)} was expected"
        )
    line = seal(msgspec.json.encode(epoch))
    write_private(directory / FILE_NAME, line, durable=durable)
