"""Both sides of the order benchmark write the same order, and what they sign is right."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from perpbot.kernel.bus import EventBus
from perpbot.kernel.clock import RealClock
from perpbot.venues.hyperliquid.signing import ActionSigner, action_hash
from tests.benchmarks.order_bytes import KEY, SECRET, contests, order_maker

CONTESTS = contests()


def _written(venue: str) -> tuple[bytes, bytes]:
    contest = CONTESTS[venue]
    make = order_maker(venue, contest.instrument, EventBus(RealClock()))
    return contest.ours(make()), contest.bare()


def test_both_write_the_same_frame() -> None:
    """Every parameter but id and times, in the same order; each signature holds."""
    found = []
    for written in _written("binance"):
        frame: dict[str, Any] = msgspec.json.decode(written)
        params = frame["params"]
        signature = params.pop("signature")
        signed = "&".join(f"{name}={value}" for name, value in params.items())
        assert list(params) == sorted(params)
        assert hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest() == signature
        assert len(params.pop("newClientOrderId")) == 34
        assert len(str(params.pop("timestamp"))) == 13
        assert 4_900 <= params.pop("recvWindow") <= 5_000
        found.append((list(frame.items()), list(params.items())))

    assert found[0] == found[1]
    assert len(found[0][1]) == 9


def test_both_write_the_same_action() -> None:
    """Every field but id, nonce and times; the contender's signature is the venue's."""
    found: list[dict[str, Any]] = [msgspec.json.decode(body) for body in _written("hyperliquid")]
    ours, bare = found
    packed = msgspec.msgpack.encode(bare["action"])
    hashed = action_hash(packed, bare["nonce"], expires_ms=bare["expiresAfter"])
    signature = ActionSigner(KEY, mainnet=True).sign_hash(hashed)

    assert bare["signature"] == {
        "r": "0x" + signature.r.hex(),
        "s": "0x" + signature.s.hex(),
        "v": signature.v,
    }
    for body in found:
        assert len(body["action"]["orders"][0].pop("c")) == 34
    assert ours["action"] == bare["action"]
    assert ours.keys() == bare.keys()


@pytest.mark.parametrize("venue", CONTESTS)
def test_every_order_of_ours_has_an_id_of_its_own(venue: str) -> None:
    """Nothing is written beforehand."""
    make = order_maker(venue, CONTESTS[venue].instrument, EventBus(RealClock()))

    assert make().client_id != make().client_id
