"""Private frames: what the user's stream says, and the replies to posted requests."""

from __future__ import annotations

import msgspec

from perpbot.venues.hyperliquid.codec import ErrorFrame, PongFrame, SubscriptionFrame
from perpbot.venues.hyperliquid.ledger import LedgerRow
from perpbot.venues.hyperliquid.statement import (
    ClearinghouseState,
    OrderUpdate,
    WireFill,
    WireFunding,
)
from perpbot.venues.wire.decoding import UNREADABLE


class PostResponse(msgspec.Struct, frozen=True):
    """The answer to a post: `type` is action, info or error."""

    type: str
    payload: msgspec.Raw


class Post(msgspec.Struct, frozen=True):
    """An answer and the number of its request."""

    id: int
    response: PostResponse


class PostFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="post"):
    """The answer to a posted request. Its payload points into the frame's buffer."""

    data: Post


class OrderUpdatesFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="orderUpdates"):
    """Orders that changed."""

    data: tuple[OrderUpdate, ...]


class UserFills(msgspec.Struct, frozen=True, rename="camel"):
    """Executions; the first frame of a subscription repeats earlier ones."""

    fills: tuple[WireFill, ...]
    is_snapshot: bool | None = None


class UserFillsFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="userFills"):
    """Executions of the account."""

    data: UserFills


class UserEvents(msgspec.Struct, frozen=True):
    """A mixed bag of which we read the executions."""

    fills: tuple[WireFill, ...] = ()


class UserEventsFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="user"):
    """The `userEvents` channel, under the name it uses in frames."""

    data: UserEvents


class UserFundings(msgspec.Struct, frozen=True, rename="camel"):
    """Funding payments; the first frame of a subscription repeats earlier ones."""

    fundings: tuple[WireFunding, ...]
    is_snapshot: bool | None = None


class UserFundingsFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="userFundings"):
    """Funding payments of the account."""

    data: UserFundings


class LedgerUpdates(msgspec.Struct, frozen=True, rename="camel"):
    """Deposits, withdrawals and the like; the first frame repeats earlier ones."""

    non_funding_ledger_updates: tuple[LedgerRow, ...]
    is_snapshot: bool | None = None


class LedgerFrame(
    msgspec.Struct, frozen=True, tag_field="channel", tag="userNonFundingLedgerUpdates"
):
    """Money that moved without trading (`WsUserNonFundingLedgerUpdates` of the documents)."""

    data: LedgerUpdates


class StatePush(msgspec.Struct, frozen=True, rename="camel"):
    """Positions and margin, pushed."""

    clearinghouse_state: ClearinghouseState


class StateFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="clearinghouseState"):
    """Positions and margin of the account."""

    data: StatePush


class WebDataFrame(msgspec.Struct, frozen=True, tag_field="channel", tag="webData2"):
    """The older push that holds positions and margin among much else."""

    data: StatePush


UserFrame = (
    PostFrame
    | OrderUpdatesFrame
    | UserFillsFrame
    | UserEventsFrame
    | UserFundingsFrame
    | LedgerFrame
    | StateFrame
    | WebDataFrame
    | SubscriptionFrame
    | ErrorFrame
    | PongFrame
)

_DECODER = msgspec.json.Decoder(UserFrame)


class _Channel(msgspec.Struct, frozen=True):
    channel: str = ""


_CHANNEL = msgspec.json.Decoder(_Channel)


def decode_user(payload: bytes | memoryview) -> UserFrame:
    """Read one private frame; raise `msgspec.MsgspecError` for what is not one."""
    frame: UserFrame = _DECODER.decode(payload)
    return frame


def channel_of(payload: bytes | memoryview) -> str:
    """Return the channel of a frame that could not be read; "" where it has none."""
    try:
        return _CHANNEL.decode(payload).channel
    except UNREADABLE:
        return ""
