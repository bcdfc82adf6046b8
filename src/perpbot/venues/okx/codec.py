"""Shapes of the OKX wire, and the decoders that read them.

OKX writes every number as a string. Public numbers are decoded straight into floats and integers
(msgspec's lax mode), private ones stay strings until `reports.py` makes Decimals of them. An empty
string is OKX's null.

The quote channel has a decoder of its own: its argument is a tagged struct, so that a frame of any
other channel fails on its first key, and a quote is decoded once, without a string for the channel
or for a price (about half of what `list[tuple[str, ...]]` and `float()` take).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from perpbot.domain.errors import ProtocolViolation
from perpbot.venues.wire.decoding import UNREADABLE

QUOTES = "bbo-tbt"
BOOKS = "books"
MARKS = "mark-price"
FUNDING = "funding-rate"
TRADES = "trades"


# --- public frames -------------------------------------------------------------------------------


class Level(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """[price, contracts, "0", orders]; the rest of the array is skipped."""

    price: float
    contracts: float


_NO_LEVEL = Level(0.0, 0.0)


class Best(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first level of a side; an empty side is price 0 and size 0."""

    level: Level = _NO_LEVEL


class QuoteRow(msgspec.Struct, frozen=True, gc=False):
    """One best bid and ask; `ts` in ms."""

    asks: Best
    bids: Best
    ts: int


class QuoteRows(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The data of a quote frame, of which there is always one."""

    row: QuoteRow


class QuoteArgument(msgspec.Struct, tag_field="channel", tag=QUOTES, frozen=True, gc=False):
    """Matches the quote channel and nothing else."""

    instId: str  # noqa: N815 - a rename would cost nothing, but this is the name on the wire


class QuoteFrame(msgspec.Struct, frozen=True, gc=False):
    """A push of channel `bbo-tbt`."""

    arg: QuoteArgument
    data: QuoteRows


class Argument(msgspec.Struct, rename="camel", gc=False):
    """Which channel a push belongs to."""

    channel: str
    inst_id: str = ""


class Frame(msgspec.Struct, rename="camel", gc=False):
    """Any other frame: a push (`arg`, `data`), an event, or the answer to a request."""

    arg: Argument | None = None
    event: str = ""
    id: str = ""
    op: str = ""
    code: str = ""
    msg: str = ""
    action: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


class BookRow(msgspec.Struct, rename="camel", gc=False):
    """A snapshot or an update of channel `books`, and the answer of `market/books`.

    `seq_id` None: a frame of before 2022, which had no sequence. The checksum is ignored: it is 0
    since 2026.
    """

    asks: list[Level]
    bids: list[Level]
    ts: int
    seq_id: int | None = None
    prev_seq_id: int | None = None


class MarkRow(msgspec.Struct, rename="camel", gc=False):
    """One mark price."""

    inst_id: str
    mark_px: float
    ts: int = 0


class FundingRow(msgspec.Struct, rename="camel", gc=False):
    """The rate of the coming settlement; times in ms, the next one may be empty."""

    inst_id: str
    funding_rate: float
    funding_time: int
    next_funding_time: str = ""


class TradeRow(msgspec.Struct, rename="camel", gc=False):
    """One aggregated taker trade."""

    inst_id: str
    trade_id: str
    px: float
    sz: float
    side: str
    ts: int


class IndexRow(msgspec.Struct, rename="camel"):
    """GET market/index-tickers."""

    inst_id: str
    idx_px: str


class TickerRow(msgspec.Struct, rename="camel", gc=False):
    """The best prices of one instrument as REST tells them; "" for a missing side."""

    inst_id: str
    bid_px: str = ""
    bid_sz: str = ""
    ask_px: str = ""
    ask_sz: str = ""
    ts: str = ""


decode_quote = msgspec.json.Decoder(QuoteFrame, strict=False).decode
decode_frame = msgspec.json.Decoder(Frame, strict=False).decode
decode_books = msgspec.json.Decoder(list[BookRow], strict=False).decode
decode_marks = msgspec.json.Decoder(list[MarkRow], strict=False).decode
decode_funding = msgspec.json.Decoder(list[FundingRow], strict=False).decode
decode_trades = msgspec.json.Decoder(list[TradeRow], strict=False).decode


def subscription(op: str, arguments: Sequence[tuple[str, str]]) -> bytes:
    """Return a subscribe or unsubscribe frame for (channel, instId) pairs."""
    return msgspec.json.encode(
        {"op": op, "args": [{"channel": channel, "instId": name} for channel, name in arguments]}
    )


# --- requests and their answers ------------------------------------------------------------------


class Envelope(msgspec.Struct, gc=False):
    """The outside of every REST answer."""

    code: str
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


class ItemResult(msgspec.Struct, rename="camel", gc=False):
    """What became of one order or one stop of a request."""

    ord_id: str = ""
    cl_ord_id: str = ""
    algo_id: str = ""
    algo_cl_ord_id: str = ""
    s_code: str = "0"
    s_msg: str = ""
    ts: str = ""


decode_envelope = msgspec.json.Decoder(Envelope, strict=False).decode
decode_results = msgspec.json.Decoder(list[ItemResult]).decode


# --- private rows --------------------------------------------------------------------------------


class OrderRow(msgspec.Struct, rename="camel", kw_only=True):
    """An order, as pushed, queried or listed; with a fill where `trade_id` is not empty."""

    inst_id: str
    ord_id: str
    cl_ord_id: str = ""
    state: str
    side: str
    pos_side: str = ""
    ord_type: str = ""
    px: str = ""
    sz: str = ""
    acc_fill_sz: str = ""
    avg_px: str = ""
    reduce_only: str | bool = "false"
    category: str = ""
    cancel_source: str = ""
    cancel_source_reason: str = ""
    code: str = ""
    msg: str = ""
    trade_id: str = ""
    fill_px: str = ""
    fill_sz: str = ""
    fill_fee: str = ""
    fill_fee_ccy: str = ""
    fee: str = ""
    fee_ccy: str = ""
    fill_time: str = ""
    exec_type: str = ""
    c_time: str = ""
    u_time: str = ""


class FillRow(msgspec.Struct, rename="camel", kw_only=True):
    """An execution of `trade/fills`."""

    inst_id: str
    trade_id: str
    ord_id: str
    cl_ord_id: str = ""
    bill_id: str = ""
    side: str
    pos_side: str = ""
    fill_px: str
    fill_sz: str
    fee: str = ""
    fee_ccy: str = ""
    exec_type: str = ""
    ts: str


class PositionRow(msgspec.Struct, rename="camel", kw_only=True):
    """A leg; `pos` in contracts, signed in net mode and positive in long/short mode."""

    inst_id: str
    pos_side: str = "net"
    pos: str = ""
    avg_px: str = ""
    mark_px: str = ""
    upl: str = ""
    liq_px: str = ""
    u_time: str = ""


class BalanceDetail(msgspec.Struct, rename="camel", kw_only=True):
    """One currency of an account."""

    ccy: str
    eq: str = ""
    cash_bal: str = ""
    avail_eq: str = ""
    avail_bal: str = ""
    u_time: str = ""


class BalanceRow(msgspec.Struct, rename="camel", kw_only=True):
    """An account with its currencies."""

    details: list[BalanceDetail] = []
    u_time: str = ""


class BillRow(msgspec.Struct, rename="camel", kw_only=True):
    """A line of the ledger; type 1 is a transfer, type 8 a funding payment."""

    bill_id: str
    inst_id: str = ""
    ccy: str = ""
    bal_chg: str = ""
    pnl: str = ""
    sub_type: str = ""
    ts: str


class ConfigRow(msgspec.Struct, rename="camel", kw_only=True):
    """How the account is set up."""

    pos_mode: str
    acct_lv: str = ""
    uid: str = ""


class StopRow(msgspec.Struct, rename="camel", kw_only=True):
    """A conditional order that waits for its trigger."""

    algo_id: str
    algo_cl_ord_id: str = ""
    inst_id: str
    state: str
    side: str
    pos_side: str = ""
    sz: str = ""
    sl_trigger_px: str = ""
    close_fraction: str = ""
    reduce_only: str | bool = "false"
    c_time: str = ""
    u_time: str = ""


def rows_of(venue: str, raw: bytes | msgspec.Raw, kind: Any) -> Any:
    """Decode the `data` of an answer or a push; raise `ProtocolViolation` for anything else."""
    try:
        return msgspec.json.decode(raw, type=kind, strict=False)
    except UNREADABLE as error:
        raise ProtocolViolation(venue, f"data could not be read: {error}") from error
