"""Refusals in Binance's words: HTTP status, code, message (the venue's list of error codes)."""

from __future__ import annotations

from typing import Any

from perpbot.domain.sides import Side
from perpbot.simulation.model import ExchangeRefusal, Refusal


class Refused(Exception):
    """A request that gets an error reply."""

    def __init__(
        self, code: int, text: str, *, status: int = 400, retry_after_s: int | None = None
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        return {"code": self.code, "msg": self.text}


_WORDS: dict[Refusal, tuple[int, str]] = {
    Refusal.UNKNOWN_SYMBOL: (-1121, "Invalid symbol."),
    Refusal.BAD_PRICE: (-4014, "Price not increased by tick size."),
    Refusal.BAD_QUANTITY: (-4023, "Qty not increased by step size."),
    Refusal.MIN_NOTIONAL: (
        -4164,
        "Order's notional must be no smaller than the minimum (unless you choose reduce only).",
    ),
    Refusal.INSUFFICIENT_MARGIN: (-2019, "Margin is insufficient."),
    Refusal.REDUCE_ONLY: (-2022, "ReduceOnly Order is rejected."),
    Refusal.POST_ONLY_WOULD_TAKE: (
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected.",
    ),
    Refusal.DUPLICATE_CLIENT_ID: (-4116, "ClientOrderId is duplicated."),
    Refusal.UNKNOWN_ORDER: (-2011, "Unknown order sent."),
    Refusal.POSITION_SIDE: (-4061, "Order's position side does not match user's setting."),
    Refusal.POSITION_MODE: (-4068, "Position side cannot be changed if there exists position."),
    Refusal.EXPIRED_REQUEST: (-5028, "Timestamp for this request is outside of the ME recvWindow"),
    Refusal.WOULD_TRIGGER: (-2021, "Order would immediately trigger."),
    Refusal.FOK_NOT_FILLED: (
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected.",
    ),
    Refusal.UNKNOWN_ACCOUNT: (-2015, "Invalid API-key, IP, or permissions for action."),
    Refusal.HALTED: (-4108, "Symbol is not in trading status."),
}


def in_words(refusal: ExchangeRefusal, side: Side | None = None) -> Refused:
    """Return what Binance says for an exchange's refusal."""
    if refusal.refusal is Refusal.PRICE_BAND:
        if side is Side.SELL:
            return Refused(-4024, f"Limit price can't be lower than the band. {refusal.text}")
        return Refused(-4016, f"Limit price can't be higher than the band. {refusal.text}")
    code, text = _WORDS[refusal.refusal]
    return Refused(code, text, status=401 if code == -2015 else 400)
