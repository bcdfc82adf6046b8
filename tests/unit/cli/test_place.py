"""Who gives a command."""

from __future__ import annotations

import getpass
import os

import pytest

from perpbot.cli.place import person


def test_a_person_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system knows them."""
    monkeypatch.setenv("LOGNAME", "ann")
    assert person() == "ann"


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_a_user_that_no_file_knows_has_a_number(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """In a container with a user id of its own; Python 3.13 raises another error than before."""

    def unknown() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert person() == f"user {os.geteuid()}"
