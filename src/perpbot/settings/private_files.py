"""Files that only their owner may read: keystore, tokens, passphrases.

What is read here is checked on the open descriptor, not by name, so that nothing can be swapped
between the look and the read. What is written here is never readable by others for a moment, and
is either wholly there or not at all, whatever happens to the machine meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from perpbot.domain.errors import ConfigError

SECRET_BYTES_MAX = 65_536
CONTAINER_SECRETS = Path("/run/secrets")
"""Docker mounts secrets here, owned by root and readable by all: by everyone in that container."""


class NotPrivate(ConfigError):
    """A file with secrets that somebody else can read, write or swap. Says how to mend it."""


def read_private(
    path: Path, *, follow: bool = False, own: bool = True, limit: int = SECRET_BYTES_MAX
) -> bytes:
    """Return what a private file holds.

    `follow` allows a symbolic link (mounted secrets are links), `own` False a file of root.
    Raises `NotPrivate`, `ConfigError` for a file that is no file or too large, OSError.
    """
    descriptor = _open(path, follow=follow)
    with os.fdopen(descriptor, "rb") as stream:
        _demand_private(path, os.fstat(stream.fileno()), own=own)
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ConfigError(f"{path} is larger than {limit} bytes: it is not what was expected")
    return data


def _open(path: Path, *, follow: bool) -> int:
    # Without O_NONBLOCK a pipe put in the file's place would hold us for ever.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(path, flags)
    except OSError:
        if not follow and path.is_symlink():
            raise NotPrivate(
                f"{path} is a symbolic link: whoever made it chooses what is read; name the file"
                " itself"
            ) from None
        raise


def _demand_private(path: Path, status: os.stat_result, *, own: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a file")
    if status.st_uid != os.geteuid() and (own or status.st_uid != 0):
        raise NotPrivate(
            f"{path} belongs to user {status.st_uid}, and you are {os.geteuid()}: run"
            f" chown {os.geteuid()} {path}, or read it as its owner"
        )
    if status.st_mode & _shared_bits(path, status):
        raise NotPrivate(f"{path} can be read by others: run chmod 600 {path}")


def _shared_bits(path: Path, status: os.stat_result) -> int:
    """Return the permission bits that must not be set."""
    handed_in = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if handed_in and path.parent == Path(handed_in):
        return stat.S_IRWXO | stat.S_IWGRP  # systemd lets the service in by an entry for its group
    if status.st_uid == 0 and path.is_relative_to(CONTAINER_SECRETS):
        return stat.S_IWGRP | stat.S_IWOTH
    return stat.S_IRWXG | stat.S_IRWXO


def private_directory(path: Path) -> Path:
    """Return a directory that only we can enter; made if it is not there. Raises `NotPrivate`."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise NotPrivate(f"{path} belongs to user {status.st_uid}, and you are {os.geteuid()}")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise NotPrivate(f"{path} can be entered by others: run chmod 700 {path}")
    return path


def write_private(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put a private file in place of the old one, in one step that survives a power cut.

    Not `durable` it may be the old one again after a power cut: for figures that age in seconds.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    scratch.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(scratch, flags, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def private_umask() -> Iterator[None]:
    """Let nothing that this process makes be readable by others, whoever makes it."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold `path`.lock: two changes at once would lose one of them. Waits for the other."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
