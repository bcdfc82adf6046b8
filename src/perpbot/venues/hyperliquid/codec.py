"""Public frames: what the market stream says, read straight into small structs.

Numbers come as strings and are read as floats; one decoder reads every public channel, told apart
by the `channel` tag. Levels outside an instrument's units are scaled by the feed.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

GREETING = b"Websocket connection established"
"""Bare text with which older servers greet; not JSON."""
PING = b'{"method":"ping"}'
PONG = b'{"channel":"pong"}'


class Level(msgspec.Struct, frozen=True, gc=False):
    """One price level: wire price and wire size."""

    px: float
    sz: float


class BestPrices(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask of a coin; either side may be missing. `time` is ms UTC."""

    coin: str
    time: int
    bbo: tuple[Level | None, Level | None]


class BboFrame(msgspec.Struct, frozen=True, gc=False, tag_field="channel", tag="bbo"):
    """A change of the best bid or ask."""

    data: BestPrices


class Book(msgspec.Struct, frozen=True):
    """A book in full, best first; `time` is ms UTC. There are no deltas and no sequence."""

    coin: str
    time: int
    levels: tuple[tuple[Level, ...], tuple[Level, ...]]


class BookFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="l2Book"):
    """A full snapshot of a book."""

    data: Book


class PublicTrade(msgspec.Struct, frozen=True, gc=False):
    """One trade; side `A` is a taker's sell, `B` a taker's buy."""

    coin: str
    side: Literal["A", "B"]
    px: float
    sz: float
    time: int
    tid: int


class TradesFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="trades"):
    """Trades of one coin; the first frame repeats recent ones."""

    data: tuple[PublicTrade, ...]


class AssetContext(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Mark and oracle price, and the hourly funding rate."""

    funding: float
    mark_px: float
    oracle_px: float


class CoinContext(msgspec.Struct, frozen=True, gc=False):
    """The context of one coin."""

    coin: str
    ctx: AssetContext


class ContextFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="activeAssetCtx"):
    """A change of mark, oracle or funding."""

    data: CoinContext


class Subscription(msgspec.Struct, frozen=True):
    """What a subscription is for."""

    type: str
    coin: str = ""
    user: str = ""


class SubscriptionReply(msgspec.Struct, frozen=True):
    """The echo of a subscribe or unsubscribe."""

    method: str
    subscription: Subscription


class SubscriptionFrame(
    msgspec.Struct, frozen=True, tag_field="channel", tag="subscriptionResponse"
):
    """The venue took a subscription."""

    data: SubscriptionReply


class ErrorFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="error"):
    """The venue refused a request, in words."""

    data: str


class PongFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="pong"):
    """The answer to a ping; says nothing of the market."""


PublicFrame = (
    BboFrame | BookFrame | TradesFrame | ContextFrame | SubscriptionFrame | ErrorFrame | PongFrame
)

_DECODER = msgspec.json.Decoder(PublicFrame, strict=False)
"""Not strict: "65000.0" is read as a float."""


def decode_public(payload: bytes | memoryview) -> PublicFrame:
    """Read one public frame; raise `msgspec.MsgspecError` for what is not one."""
    frame: PublicFrame = _DECODER.decode(payload)
    return frame


def subscribe(kind: str, **what: Any) -> bytes:
    """Return the frame that subscribes to a channel: `subscribe("bbo", coin="BTC")`."""
    return _request("subscribe", kind, what)


def unsubscribe(kind: str, **what: Any) -> bytes:
    """Return the frame that ends a subscription."""
    return _request("unsubscribe", kind, what)


def _request(method: str, kind: str, what: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"method": method, "subscription": {"type": kind, **what}})
