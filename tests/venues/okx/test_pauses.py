"""How long OKX, or what stands before it, asks us to wait."""

from __future__ import annotations

from typing import Any

import pytest

from perpbot.domain.errors import RateLimited
from perpbot.kernel.clock import SECOND, VirtualTime
from perpbot.venues.okx.budgets import Budgets
from perpbot.venues.okx.rest import RestClient
from perpbot.venues.okx.signing import OkxCredentials, Signer
from perpbot.venues.wire.http import HttpReply

START_S = 1_795_262_400
"""Sat, 21 Nov 2026 12:00:00 GMT."""
PATH = "/api/v5/account/balance"
LIMITED = b'{"code":"50011","msg":"Too Many Requests","data":[]}'


class Door:
    """Answers everything with one refusal."""

    def __init__(self, body: bytes, retry_after: str) -> None:
        headers = {"retry-after": retry_after} if retry_after else {}
        self.reply = HttpReply(status=429, headers=headers, body=body)

    async def request(self, *_: Any, **__: Any) -> HttpReply:
        """Refuse."""
        return self.reply


def client(door: Any) -> RestClient:
    """Return the REST side of an account behind a door."""
    time = VirtualTime(START_S * SECOND)
    return RestClient(
        venue="okx",
        http=door,
        signer=Signer(OkxCredentials("key", "secret", "passphrase"), time),
        budgets=Budgets(time),
        simulated=False,
    )


@pytest.mark.parametrize("body", [LIMITED, b"<html>"], ids=["code", "page"])
@pytest.mark.parametrize(
    ("told", "pause_s"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("Sat, 21 Nov 2026 12:00:09 GMT", 9.0, id="date"),
        pytest.param("", 2.0, id="nothing"),
        pytest.param("soon", 2.0, id="unreadable"),
    ],
)
async def test_both_forms_of_retry_after_are_taken(body: bytes, told: str, pause_s: float) -> None:
    """Of a read and of a write, with the venue's own words or a proxy's page."""
    rest = client(Door(body, told))

    with pytest.raises(RateLimited) as read:
        await rest.ask(PATH, dict)
    with pytest.raises(RateLimited) as written:
        await rest.write("/api/v5/trade/order", b"{}")

    assert (read.value.retry_after_s, written.value.retry_after_s) == (pause_s, pause_s)
