"""Files that only their owner may read."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from perpbot.domain.errors import ConfigError
from perpbot.settings import private_files
from perpbot.settings.private_files import (
    NotPrivate,
    private_directory,
    read_private,
    sole_writer,
    write_private,
)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A private file."""
    path = tmp_path / "secret"
    write_private(path, b"content")
    return path


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o602, 0o601, 0o777])
def test_a_shared_file_is_refused(secret: Path, mode: int) -> None:
    """By any bit of group or others, with the command that mends it."""
    secret.chmod(mode)

    with pytest.raises(NotPrivate, match=f"run chmod 600 {secret}"):
        read_private(secret)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_is_read(secret: Path, mode: int) -> None:
    """Written once or not."""
    secret.chmod(mode)

    assert read_private(secret) == b"content"


def test_a_link_is_refused_unless_allowed(secret: Path) -> None:
    """Whoever makes the link would choose what is read; mounted secrets are links."""
    link = secret.with_name("link")
    link.symlink_to(secret)

    with pytest.raises(NotPrivate, match="symbolic link"):
        read_private(link)
    assert read_private(link, follow=True) == b"content"
    secret.chmod(0o644)
    with pytest.raises(NotPrivate, match="chmod"):
        read_private(link, follow=True)


def test_what_is_no_file_or_too_large_is_refused(secret: Path) -> None:
    """Without waiting for a pipe to speak."""
    pipe = secret.with_name("pipe")
    os.mkfifo(pipe, 0o600)

    with pytest.raises(ConfigError, match="is not a file"):
        read_private(pipe)
    with pytest.raises(ConfigError, match="larger than 6 bytes"):
        read_private(secret, limit=6)
    with pytest.raises(FileNotFoundError):
        read_private(secret.with_name("none"))


@pytest.mark.parametrize(
    ("user", "own", "fine"), [(0, True, False), (0, False, True), (7, False, False)]
)
def test_a_file_of_another_user_is_refused(
    secret: Path, monkeypatch: pytest.MonkeyPatch, user: int, own: bool, fine: bool
) -> None:
    """Root may hand a file in where the caller allows it."""
    status = os.stat_result((stat.S_IFREG | 0o600, 0, 0, 1, user, 0, 7, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    if fine:
        assert read_private(secret, own=own) == b"content"
    else:
        with pytest.raises(NotPrivate, match=f"belongs to user {user}, and you are 1000"):
            read_private(secret, own=own)


def test_systemd_may_let_the_service_in(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The group's bits are those of the entry for the service; others stay out."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    secret.chmod(0o440)
    assert read_private(secret) == b"content"
    secret.chmod(0o444)
    with pytest.raises(NotPrivate):
        read_private(secret)


def test_a_container_may_mount_secrets(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker mounts them readable by all; a file that root did not make is not one of them."""
    monkeypatch.setattr(private_files, "CONTAINER_SECRETS", secret.parent)
    secret.chmod(0o444)
    real = secret.stat()
    for user, fine in ((0, True), (real.st_uid or 7, False)):
        status = os.stat_result((*real[:4], user, *real[5:10]))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fstat", lambda _, status=status: status)
            patch.setattr(os, "geteuid", lambda user=user: user)
            if fine:
                assert read_private(secret) == b"content"
            else:
                with pytest.raises(NotPrivate):
                    read_private(secret)


def test_writing_is_private_whole_and_leaves_nothing_behind(
    secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure before the last step leaves the old file; the umask makes no difference."""
    before = os.umask(0)
    try:
        write_private(secret, b"second")
    finally:
        os.umask(before)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600

    def broken(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        write_private(secret, b"third")
    assert secret.read_bytes() == b"second"
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]


def test_contents_and_name_are_synced(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file before it gets its name, the directory after."""
    synced = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        kind = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(("directory" if kind else "file", secret.read_bytes()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_private(secret, b"new")

    assert synced == [("file", b"content"), ("directory", b"new")]


def test_a_directory_is_made_private_and_demanded_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that others can enter, or that is another's, is refused."""
    made = private_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o750)
    with pytest.raises(NotPrivate, match=f"chmod 700 {made}"):
        private_directory(made)
    made.chmod(0o700)
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(NotPrivate, match="belongs to user"):
        private_directory(made)


def test_two_writers_wait_for_each_other(secret: Path) -> None:
    """The lock is held until the block ends."""
    with (
        sole_writer(secret),
        secret.with_name("secret.lock").open("r+") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with secret.with_name("secret.lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
