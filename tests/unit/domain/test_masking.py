"""Secrets by their look."""

from __future__ import annotations

import json

import pytest

from perpbot.domain.errors import MESSAGE_LENGTH_MAX, OutcomeUnknown, RateLimited
from perpbot.domain.masking import MASK, mask_by_look

LOGIN = {"op": "login", "args": [{"apiKey": "canary", "passphrase": "canary", "sign": "canary"}]}


@pytest.mark.parametrize(
    "text",
    [
        f"Illegal request: {json.dumps(LOGIN)}",
        json.dumps({"msg": f"Illegal request: {json.dumps(LOGIN)}"}),
        json.dumps({"msg": json.dumps({"msg": json.dumps(LOGIN)})}),
        str(LOGIN),
        "op=login&apiKey=canary&passphrase=canary&sign=canary",
        "op%3Dlogin%26apiKey%3Dcanary%26sign%3Dcanary",
        "OK-ACCESS-PASSPHRASE: canary\r\nOK-ACCESS-KEY: canary",
        "cannot connect to https://canary:canary@proxy:8080/path by wss://canary@host",
    ],
    ids=[
        *("json", "json in json", "and once more", "repr", "form", "quoted form", "headers"),
        "addresses",
    ],
)
def test_a_quoted_request_is_masked(text: str) -> None:
    """However often it was quoted."""
    masked = mask_by_look(text)

    assert "canary" not in masked
    assert MASK in masked


def test_a_venue_error_carries_no_request() -> None:
    """Neither in its text nor in its parts, since both are journalled; endless ones are cut."""
    error = RateLimited("okx", f"Illegal request: {json.dumps(LOGIN)}", code="60012")

    assert "canary" not in f"{error} {error.message} {error!r}"
    assert error.message.startswith("Illegal request")
    assert len(OutcomeUnknown("okx", "x" * 10_000).message) == MESSAGE_LENGTH_MAX
