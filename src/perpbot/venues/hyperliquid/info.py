"""Questions to POST /info: reads that cost weight and change nothing.

Every failure is `Unavailable`: what was asked about is unknown, never empty. Answers are decoded
into the struct that the caller names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from perpbot.domain.errors import OutcomeUnknown, Unavailable
from perpbot.kernel.clock import Clock
from perpbot.venues.hyperliquid.limits import (
    ROWS_PER_WEIGHT,
    WEIGHT,
    info_weight,
    retry_after_s,
)
from perpbot.venues.hyperliquid.universe import VENUE
from perpbot.venues.wire.decoding import UNREADABLE
from perpbot.venues.wire.http import HttpClient
from perpbot.venues.wire.limits import Lane, RateBudget

T = TypeVar("T")
Row = TypeVar("Row")

_JSON = {"content-type": "application/json"}
_SHORTEST_CUT_PAGE = 500
"""A time range is answered with 500 to 2000 rows at most; a shorter page is the last one."""


class InfoClient:
    """Asks, within the budget, with the master (or vault) address where one is needed."""

    def __init__(
        self, http: HttpClient, budget: RateBudget, *, clock: Clock, user: str = ""
    ) -> None:
        self._http = http
        self._clock = clock
        self._budget = budget
        self.user = user

    async def ask(self, answer: type[T], kind: str, *, lane: Lane = Lane.READ, **fields: Any) -> T:
        """Ask one question; raise `Unavailable` without a usable answer."""
        body = msgspec.json.encode({"type": kind, **fields})
        await self._budget.acquire(lane, {WEIGHT: info_weight(kind)})
        try:
            reply = await self._http.request("POST", "/info", headers=_JSON, body=body)
        except OutcomeUnknown as error:
            raise Unavailable(VENUE, f"{kind}: {error.message}") from error
        if reply.status == 429:
            self._budget.penalise(retry_after_s(reply.headers, self._clock))
        if reply.status != 200:
            text = reply.body[:200].decode(errors="replace")
            raise Unavailable(
                VENUE, f"{kind}: HTTP {reply.status}: {text}", code=str(reply.status)
            )
        try:
            return msgspec.json.decode(reply.body, type=answer, strict=False)
        except UNREADABLE as error:
            raise Unavailable(VENUE, f"{kind}: unreadable answer: {error}") from None

    async def ask_user(
        self, answer: type[T], kind: str, *, lane: Lane = Lane.READ, **fields: Any
    ) -> T:
        """Ask about the account."""
        if not self.user:
            raise Unavailable(VENUE, f"{kind}: no account address is set", code="read_only")
        return await self.ask(answer, kind, lane=lane, user=self.user, **fields)

    async def all_rows(
        self,
        row: type[Row],
        kind: str,
        *,
        since_ms: int,
        key: Callable[[Row], object],
        time_ms: Callable[[Row], int],
    ) -> Sequence[Row]:
        """Return every row since a time, over as many pages as it takes.

        A page starts at the last time seen, so rows of one millisecond may come twice and are
        told apart by `key`. Raises `Unavailable` where a page cannot be followed by a next.
        """
        found: dict[object, Row] = {}
        start_ms = since_ms
        while True:
            page = await self.ask_user(
                list[row],  # type: ignore[valid-type]
                kind,
                startTime=start_ms,
            )
            known = len(found)
            found.update((key(one), one) for one in page)
            # Rows cost weight too; it is known only afterwards.
            self._budget.try_acquire(Lane.READ, {WEIGHT: len(page) // ROWS_PER_WEIGHT})
            if len(page) < _SHORTEST_CUT_PAGE or len(found) == known:
                return list(found.values())
            last_ms = max(time_ms(one) for one in page)
            if time_ms(page[-1]) != last_ms or last_ms == start_ms:
                raise Unavailable(VENUE, f"{kind}: rows of a cut page are not in order of time")
            start_ms = last_ms
