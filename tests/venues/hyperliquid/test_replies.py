"""Every sentence of the venue has one meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perpbot.domain.errors import (
    AuthFailed,
    NonceClash,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    VenueError,
)
from perpbot.venues.hyperliquid.replies import (
    Filled,
    ItemStatus,
    Resting,
    read_reply,
    refusal,
    refused_post,
    refused_status,
    single_status,
)


@pytest.mark.parametrize(
    ("sentence", "error", "code"),
    [
        ("Insufficient margin to place order. asset=0", Rejected, "insufficient_margin"),
        (
            "Post only order would have immediately matched, bbo was 1@2. asset=0",
            Rejected,
            "post_only_crossed",
        ),
        (
            "Order was never placed, already canceled, or filled. asset=0",
            Rejected,
            "missing_order",
        ),
        ("Price must be divisible by tick size. asset=0", Rejected, "tick_size"),
        ("Order must have minimum value of $10. asset=0", Rejected, "min_notional"),
        ("Order has invalid size.", Rejected, "invalid_size"),
        ("Order has zero size.", Rejected, "invalid_size"),
        ("Reduce only order would increase position. asset=0", Rejected, "reduce_only"),
        (
            "Order could not immediately match against any resting orders. asset=0",
            Rejected,
            "no_match",
        ),
        ("Invalid TP/SL price. asset=0", Rejected, "trigger_price"),
        ("No liquidity available for market order. asset=0", Rejected, "no_liquidity"),
        (
            "Order price cannot be more than 80% away from the reference price. asset=0",
            Rejected,
            "price_band",
        ),
        ("User or API Wallet 0xab does not exist.", AuthFailed, "unknown_signer"),
        ("Must deposit before performing actions. User: 0xab", AuthFailed, "unknown_signer"),
        ("Invalid nonce: duplicate nonce", NonceClash, "nonce"),
        ("Too many cumulative requests sent (2 > 1) for", RateLimited, "address_budget"),
        ("Builder fee has not been approved.", Rejected, "builder_fee"),
        ("Something that nobody has seen", Rejected, "refused"),
        ("", Rejected, "refused"),
    ],
)
def test_sentence_means_error(sentence: str, error: type[VenueError], code: str) -> None:
    """A refusal is told by its first words, as a whole answer and as an item."""
    found = refusal(sentence)
    assert type(found) is error
    assert found.code == code
    with pytest.raises(error):
        read_reply(json.dumps({"status": "err", "response": sentence}).encode())
    if sentence:
        with pytest.raises(error):
            single_status(_ok([{"error": sentence}]))


def _ok(statuses: list[Any]) -> bytes:
    reply = {"status": "ok", "response": {"type": "order", "data": {"statuses": statuses}}}
    return json.dumps(reply).encode()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"resting": {"oid": 7, "cloid": "0x1"}}, ItemStatus(resting=Resting(7))),
        (
            {"filled": {"totalSz": "0.02", "avgPx": "1891.4", "oid": 1}},
            ItemStatus(filled=Filled("0.02", "1891.4", 1)),
        ),
        ("waitingForFill", "waitingForFill"),
        ("success", "success"),
    ],
    ids=["resting", "filled", "waiting", "success"],
)
def test_accepted_item_is_read(status: Any, expected: object) -> None:
    """An accepted item says what became of it."""
    assert single_status(_ok([status])) == expected


def test_answer_without_items_is_ok() -> None:
    """Leverage and schedule answer with no more than ok."""
    assert read_reply(b'{"status":"ok","response":{"type":"default"}}') == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"status":"ok"}',
        b'{"status":"maybe","response":{"type":"order"}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[7]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":[]}}}',
        b'{"status":"ok","response":{"type":"order","data":{"statuses":["success","success"]}}}',
    ],
)
def test_unreadable_answer_is_an_unknown_outcome(body: bytes) -> None:
    """An answer that cannot be read says nothing of the order."""
    with pytest.raises(OutcomeUnknown):
        single_status(body)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, RateLimited),
        (422, Rejected),
        (400, Rejected),
        (401, AuthFailed),
        (403, AuthFailed),
        (408, OutcomeUnknown),
        (302, OutcomeUnknown),
        (500, OutcomeUnknown),
        (503, OutcomeUnknown),
    ],
)
def test_http_status_means_error(status: int, error: type[VenueError]) -> None:
    """Only a definite answer is a refusal; by websocket the status leads the text."""
    assert type(refused_status(status, "x")) is error
    assert type(refused_post(f"{status} Whatever")) is error


def test_post_error_without_status() -> None:
    """Words without a status are unknown, but for a request that could not be parsed."""
    assert type(refused_post("connection trouble")) is OutcomeUnknown
    assert type(refused_post("Failed to deserialize the JSON body")) is Rejected
