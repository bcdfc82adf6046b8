"""What venues say when they refuse: a rate, a key. In each venue's own words."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web


def limited(venue: str, status: int, retry_after: str) -> web.Response:
    """Return a refusal for rate."""
    headers = {"Retry-After": retry_after}
    if venue == "hyperliquid":
        return web.Response(status=status, headers=headers, text="null")
    body: dict[str, Any] = {"code": -1003, "msg": "Too many requests."}
    if venue == "okx":
        body = {"code": "50011", "msg": "Too Many Requests", "data": []}
    return web.Response(
        status=status,
        headers=headers,
        body=msgspec.json.encode(body),
        content_type="application/json",
    )


def unauthorised(venue: str) -> web.Response:
    """Return a refusal of the key."""
    if venue == "hyperliquid":
        text = "User or API Wallet 0x0000000000000000000000000000000000000000 does not exist."
        body: Any = {"status": "err", "response": text}
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")
    if venue == "okx":
        body = {"code": "50111", "msg": "Invalid OK-ACCESS-KEY", "data": []}
    else:
        body = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    return web.Response(
        status=401, body=msgspec.json.encode(body), content_type="application/json"
    )


def refused_post(number: int) -> dict[str, Any]:
    """Return what a post with an unknown signer gets."""
    text = "User or API Wallet 0x0000000000000000000000000000000000000000 does not exist."
    payload = {"status": "err", "response": text}
    response = {"type": "action", "payload": payload}
    return {"channel": "post", "data": {"id": number, "response": response}}


def limited_operation(data: bytes) -> dict[str, Any]:
    """Return what an operation on the websocket gets that came too soon."""
    message = msgspec.json.decode(data)
    return {
        "id": message.get("id", ""),
        "op": message["op"],
        "code": "60014",
        "msg": "Requests too frequent.",
        "data": [],
    }
