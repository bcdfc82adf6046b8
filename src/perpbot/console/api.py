"""The read API under /api/v1, the probes, the metrics, and what is written: the kill switch.

What is asked for often (overview, quotes, opportunities) is encoded once for everybody who asks
within a moment, so that many viewers cost the node as much as one.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from perpbot.console.access import Gate
from perpbot.console.guard import Application, guard
from perpbot.console.state import ConsoleState
from perpbot.domain.errors import InvalidValue
from perpbot.operations.health import Grade
from perpbot.operations.metrics import CONTENT_TYPE
from perpbot.settings import Mode

KEPT_S = 0.1
JSON = "application/json"
VIEWS = (
    "overview",
    "quotes",
    "opportunities",
    "pairs",
    "positions",
    "orders",
    "capital",
    "risk",
    "health",
    "alerts",
    "journal",
)
"""What can be read at /api/v1/: each is a method of `ConsoleState`."""


class KillRequest(BaseModel):
    """What `POST /api/v1/control/kill` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    level: Annotated[int, Field(ge=1, le=5)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    venue: Annotated[str, Field(max_length=64)] = ""
    """Empty: the whole node."""


class ClearRequest(BaseModel):
    """What `POST /api/v1/control/clear` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Annotated[str, Field(min_length=1, max_length=200)]
    venue: Annotated[str, Field(max_length=64)] = ""
    """Empty: every latch of the kill switch."""


class HaltRequest(BaseModel):
    """What `POST /api/v1/control/halt/clear` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rule: Annotated[str, Field(min_length=1, max_length=50)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class OverrideRequest(BaseModel):
    """What `POST /api/v1/control/override` takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    minutes: Annotated[int, Field(ge=1)]
    trades: Annotated[int, Field(ge=1)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class _Encoded:
    """The bytes of an answer, for as long as they are young."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._make = make
        self._bytes = b""
        self._until_s = 0.0

    def __call__(self) -> Response:
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._bytes = msgspec.json.encode(self._make())
            self._until_s = now_s + KEPT_S
        return Response(self._bytes, media_type=JSON)


def make_api(state: ConsoleState, gate: Gate, metrics: Callable[[], bytes] | None) -> Application:
    """Return the ASGI application. `metrics` None leaves /metrics out.

    Where real money moves it does not describe itself.
    """
    app = FastAPI(
        title="perpbot",
        version=state.sources.version,
        openapi_url=None if state.sources.mode == Mode.LIVE else "/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(RequestValidationError, _malformed)
    for name in VIEWS:
        app.get(f"/api/v1/{name}", response_class=Response)(_endpoint(getattr(state, name)))
    _add_probes(app, state)
    _add_control(app, state)
    if metrics is not None:

        async def numbers() -> Response:
            return Response(metrics(), media_type=CONTENT_TYPE)

        app.get("/metrics", response_class=Response)(numbers)
    return guard(app, gate)


def _endpoint(make: Callable[[], object]) -> Callable[[], Awaitable[Response]]:
    encoded = _Encoded(make)

    async def answer() -> Response:
        return encoded()

    answer.__doc__ = make.__doc__
    return answer


def _add_probes(app: FastAPI, state: ConsoleState) -> None:
    async def live() -> Response:
        """Tell whether the bus still dispatches."""
        halted = state.sources.bus.halted is not None
        return _json({"live": not halted}, 503 if halted else 200)

    async def ready() -> Response:
        """Tell whether a venue pair may be traded, and why not."""
        waiting = {
            venue: reason
            for venue in state.sources.venues
            if (reason := state.sources.readiness.refusal(venue))
        }
        ready_venues = len(state.sources.venues) - len(waiting)
        critical = state.health()["grade"] == Grade.CRITICAL
        good = ready_venues >= 2 and not critical and state.sources.bus.halted is None
        return _json({"ready": good, "venues_ready": ready_venues}, 200 if good else 503)

    app.get("/health/live", response_class=Response)(live)
    app.get("/health/ready", response_class=Response)(ready)


def _add_control(app: FastAPI, state: ConsoleState) -> None:
    async def kill(request: KillRequest) -> Response:
        """Engage the kill switch, of the node or of one venue."""
        switch, level, venue = state.sources.kill_switch, request.level, request.venue
        refusal = switch.refusal(level, venue)
        if refusal:
            return _json({"error": refusal}, 422)
        switch.engage(level, actor="console", reason=request.reason, venue=venue)
        return _json({"level": level, "venue": venue, "engaged": True}, 200)

    async def clear(request: ClearRequest) -> Response:
        """Take the kill switch away: the act of whoever holds the token."""
        switch, venue = state.sources.kill_switch, request.venue
        refusal = switch.clear_refusal(venue)
        if refusal:
            return _json({"error": refusal}, 422)
        switch.clear(actor="console", reason=request.reason, venue=venue)
        return _json({"venue": venue, "cleared": True}, 200)

    async def clear_halt(request: HaltRequest) -> Response:
        """Clear a latched halt."""
        return _decided(
            lambda: state.sources.risk.clear_halt(
                request.rule, actor="console", reason=request.reason
            )
        )

    async def override(request: OverrideRequest) -> Response:
        """Lift the failure pause and cooldowns for a while."""
        return _decided(
            lambda: state.sources.risk.grant_override(
                actor="console",
                minutes=request.minutes,
                trades=request.trades,
                reason=request.reason,
            )
        )

    app.post("/api/v1/control/halt/clear", response_class=Response)(clear_halt)
    app.post("/api/v1/control/override", response_class=Response)(override)
    app.post("/api/v1/control/kill", response_class=Response)(kill)
    app.post("/api/v1/control/clear", response_class=Response)(clear)


def _decided(act: Callable[[], object]) -> Response:
    """Do what a person decided, or say why it cannot be done."""
    try:
        act()
    except InvalidValue as refusal:
        return _json({"error": str(refusal)}, 409)
    return _json({"done": True}, 200)


async def _malformed(_: Request, error: Exception) -> Response:
    """Say what is wrong with a body without repeating what was in it."""
    assert isinstance(error, RequestValidationError)
    problems = [
        f"{'.'.join(map(str, details['loc']))}: {details['msg']}" for details in error.errors()
    ]
    return _json({"error": "; ".join(problems)}, 422)


def _json(data: object, status: int) -> Response:
    return Response(msgspec.json.encode(data), status_code=status, media_type=JSON)
