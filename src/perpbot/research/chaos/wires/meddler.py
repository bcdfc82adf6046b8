"""What the plan of a seed does to frames and answers of one venue while its sockets stand.

Frames of the venue are altered on their way out, messages of the node swallowed on their way in,
requests answered with something else before or after the exchange acted. The words are the
venue's own.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from perpbot.kernel.clock import SECOND
from perpbot.research.chaos.counters import Counters
from perpbot.research.chaos.plan import Fault, Plan
from perpbot.research.chaos.wires.patience import Patience
from perpbot.research.chaos.wires.weather import PRIVATE
from perpbot.research.chaos.wires.words import (
    limited,
    limited_operation,
    refused_post,
    unauthorised,
)
from perpbot.simulation.virtual.pipes import Link, Pipe
from perpbot.simulation.wire.sockets import Client

_BOOKS = (b'"e":"depthUpdate"', b'"channel":"books"')
_CHAIN = re.compile(rb'("pu":|"prevSeqId":)(\d+)')
_ORDER_FRAMES = (
    b'"op":"order"',
    b'"op":"cancel-order"',
    b'"method":"post"',
    b'"method":"order.',
)
_ORDER_REPLIES = (
    b'"op":"order"',
    b'"op":"cancel-order"',
    b'"channel":"post"',
    b'"rateLimits":',
)
_TRADE_ID = re.compile(rb'("t":|"tradeId":"|"tid":)(\d+)')
_FILLS = (b'"e":"ORDER_TRADE_UPDATE"', b'"channel":"orders"', b'"channel":"userFills"')
_NONCE = re.compile(rb'"nonce":(\d+)')
_USER_CHANNELS = (b'"userFills"', b'"orderUpdates"')
_ORDER_PATHS = ("/fapi/v1/order", "/trade/order", "/exchange")
_NEVER_S = 12.0
"""Longer than anybody waits for an answer."""
_OTHER_ID = 7_000_000_000
HUGE = 1_300_000
"""Bytes: beyond what an adapter takes in one frame."""
LOGINS = 3
LOGINS_NS = 10 * SECOND
"""Logins that may be refused in such a time: no more (row 38)."""
_LATEST_NS = 4 * SECOND
"""So long after its window a drip may still hold bytes up."""


class PlannedMeddler:
    """See the module; one for each venue. `spend_nonce` is the gate's, where there is one."""

    def __init__(
        self,
        plan: Plan,
        venue: str,
        now_ns: Callable[[], int],
        counters: Counters,
        violate: Callable[[str], None],
        spend_nonce: Callable[[int], None] | None = None,
    ) -> None:
        self.venue = venue
        self._now_ns = now_ns
        self._counters = counters
        self._violate = violate
        self._spend_nonce = spend_nonce
        self._rng = random.Random(f"wires meddler {plan.seed} {venue}")
        self._faults = tuple(fault for fault in plan.faults if fault.venue == venue)
        self._slow = [
            fault
            for fault in plan.faults
            if fault.row == "29" or (fault.row, fault.venue) == ("drip", venue)
        ]
        self._held: dict[Client, bytes] = {}
        self._patience = Patience(venue, now_ns, violate)
        self._refused_ns: deque[int] = deque(maxlen=LOGINS)
        """When a login was refused last."""

    def _active(self, row: str) -> Fault | None:
        now_ns = self._now_ns()
        for fault in self._faults:
            if fault.row == row and fault.active(now_ns):
                return fault
        return None

    def _strikes(self, row: str, share: float = 1.0) -> Fault | None:
        fault = self._active(row)
        if fault is not None and self._rng.random() < fault.intensity * share:
            return fault
        return None

    def forget(self) -> None:
        """The node died: the next one was told nothing yet."""
        self._patience.forget()
        self._refused_ns.clear()

    # --- frames of the venue ---------------------------------------------------------------------

    def said(self, client: Client, frame: bytes) -> Sequence[bytes]:
        """Return what goes out in the place of a frame."""
        held = self._held.pop(client, None)
        frames = self._altered(client, frame)
        return frames if held is None else [*frames, held]

    def _altered(self, client: Client, frame: bytes) -> list[bytes]:
        if any(mark in frame for mark in _BOOKS):
            return self._book(client, frame)
        if any(mark in frame for mark in _ORDER_REPLIES):
            lost = self._active("6") or self._active("7")
            if lost is not None and lost.variant % 2 and self._rng.random() < lost.intensity:
                self._counters.hit(lost.row)
                if lost.row == "7":
                    client.cut("reset after the order was taken")
                return []
        if any(mark in frame for mark in _FILLS):
            fault = self._strikes("16")
            if fault is not None:
                return self._under_another_id(frame, fault)
        fault = self._strikes("32", 0.25)
        if fault is not None:
            self._counters.hit("32")
            return [self._spoilt(frame, fault.variant)]
        return [frame]

    def _book(self, client: Client, frame: bytes) -> list[bytes]:
        fault = self._strikes("4", 0.4)
        if fault is not None:
            self._counters.hit("4")
            if fault.variant % 3 == 0:
                return []
            if fault.variant % 3 == 1:
                return [frame, frame]
            self._held[client] = frame
            return []
        if self._strikes("5", 0.4) is not None:
            spoilt, count = _CHAIN.subn(
                lambda found: found[1] + b"%d" % (int(found[2]) + 1), frame, count=1
            )
            if count:
                self._counters.hit("5")
                return [spoilt]
        return [frame]

    def _under_another_id(self, frame: bytes, fault: Fault) -> list[bytes]:
        """Tell an execution under an id that no request will ever name."""
        other = _TRADE_ID.sub(lambda found: found[1] + b"%d" % (int(found[2]) + _OTHER_ID), frame)
        if other == frame or b'"t":0,' in frame:
            return [frame]
        self._counters.hit("16")
        return [other] if fault.variant % 2 else [frame, other]

    def _spoilt(self, frame: bytes, variant: int) -> bytes:
        if variant == 0:
            return frame[: self._rng.randrange(1, max(len(frame), 2))]
        if variant == 1:
            return b'{"arg":' * 2_000
        if variant == 2:
            return frame[:-1] + b'"' + b"x" * HUGE
        if variant == 3:
            return re.sub(rb'"\d+(\.\d+)?"', b'"NaN"', frame, count=2)
        if variant == 4:
            return b"\xff\xfe" + frame
        return re.sub(rb":(\d+)", b":1e999", frame, count=2)

    # --- messages of the node --------------------------------------------------------------------

    def heard(self, client: Client, data: bytes) -> bool:
        """Whether the server gets to hear a message."""
        if any(mark in data for mark in _USER_CHANNELS):
            transport = client.request.transport
            if isinstance(transport, Pipe):
                transport.link.label = PRIVATE
        if b'"op":"login"' in data:
            return self._let_in(client)
        if not any(mark in data for mark in _ORDER_FRAMES):
            return True
        if self._active("38") is not None and b'"method":"post"' in data:
            self._counters.hit("38")
            number = msgspec.json.decode(data)["id"]
            client.send_value(refused_post(number))
            return False
        self._spend(data)
        fault = self._strikes("9")
        if fault is not None and b'"op"' in data:
            self._counters.hit("9")
            client.send_value(limited_operation(data))
            return False
        fault = self._strikes("6")
        if fault is not None and fault.variant % 2 == 0:
            self._counters.hit("6")
            return False
        return True

    def _let_in(self, client: Client) -> bool:
        if self._active("38") is None:
            return True
        self._counters.hit("38")
        self._refuse_login()
        client.send_value({"event": "error", "code": "60005", "msg": "Invalid apiKey"})
        return False

    def _refuse_login(self) -> None:
        """Who is not let in does not storm the door."""
        self._counters.hit("38 login")
        now_ns, refused = self._now_ns(), self._refused_ns
        calm = now_ns - refused[0] >= LOGINS_NS if len(refused) == LOGINS else True
        if not calm and not self._hears_late(refused[0]):
            self._violate(
                f"B10 {LOGINS + 1} logins at {self.venue} in {LOGINS_NS // SECOND} s, all refused"
            )
        refused.append(now_ns)

    def _spend(self, data: bytes) -> None:
        if self._spend_nonce is None or self._strikes("20") is None:
            return
        found = _NONCE.search(data)
        if found is not None:
            self._counters.hit("20")
            self._spend_nonce(int(found[1]))

    # --- requests --------------------------------------------------------------------------------

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request or an upgrade."""
        if "Upgrade" in request.headers:
            return await handler(request)
        link = _link(request)
        if link is not None:
            self._patience.called(self._limited_by(request), link)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.method == "POST":
            self._spend(await request.read())
        fault = self._strikes("7")
        if fault is not None and fault.variant % 3 == 0:
            self._counters.hit("7")
            return web.Response(status=502, text="<html>Bad Gateway</html>")
        lost = self._strikes("6") if request.path.endswith(_ORDER_PATHS) else None
        if lost is not None:
            self._counters.hit("6")
            if lost.variant % 2 == 0:
                await asyncio.sleep(_NEVER_S)
                return web.Response(status=504)
        response = await handler(request)
        if lost is not None:
            await asyncio.sleep(_NEVER_S)
        if fault is not None:
            self._counters.hit("7")
            if fault.variant % 3 == 1 and request.transport is not None:
                request.transport.abort()
                return response
            return web.Response(status=503, text="Service Unavailable")
        fault = self._strikes("32", 0.5)
        if fault is not None and isinstance(response, web.Response):
            self._counters.hit("32")
            body = response.body if isinstance(response.body, bytes) else b""
            return web.Response(
                body=self._spoilt(body, fault.variant),
                status=response.status,
                content_type="application/json",
            )
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._is_private(request) and self._active("38") is not None:
            self._counters.hit("38")
            if request.method == "POST" and request.path.endswith("/listenKey"):
                self._refuse_login()
            return unauthorised(self.venue)
        fault = self._strikes("9")
        if fault is None:
            return None
        self._counters.hit("9")
        return self._limited(request, fault)

    def _is_private(self, request: web.Request) -> bool:
        if self.venue == "binance":
            return "X-MBX-APIKEY" in request.headers
        if self.venue == "okx":
            return "OK-ACCESS-KEY" in request.headers
        return request.path == "/exchange"

    def _limited(self, request: web.Request, fault: Fault) -> web.Response:
        """Refuse for rate, and say until when."""
        pause_s = 1 + fault.variant % 3
        now_ns = self._now_ns()
        until_ns, told = now_ns + pause_s * SECOND, str(pause_s)
        if fault.variant >= 3:
            until_s = -(-until_ns // SECOND)
            until_ns, told = until_s * SECOND, formatdate(until_s, usegmt=True)
        link = _link(request)
        if link is not None:
            self._patience.refused(self._limited_by(request), until_ns, link)
        status = 418 if self.venue == "binance" and fault.variant == 5 else 429
        return limited(self.venue, status, told)

    def _hears_late(self, told_ns: int) -> bool:
        """Whether what was said then may still be on its way: slow bytes, a node that froze."""
        return any(
            fault.start_ns - SECOND <= told_ns <= fault.stop_ns + _LATEST_NS
            for fault in self._slow
        )

    def _limited_by(self, request: web.Request) -> str:
        """Return what shares a limit: a path, at Binance all of them."""
        return "" if self.venue == "binance" else f"{request.method} {request.path}"


def _link(request: web.Request) -> Link | None:
    """Return what a request came by, while it stands."""
    transport = request.transport
    return transport.link if isinstance(transport, Pipe) else None
