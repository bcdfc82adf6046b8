"""The exchange's outbox: news waits until the call that made it has finished its work.

So a listener always sees an exchange at rest, may call it back, and hears everything in the order
in which it happened, before the outermost call returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from perpbot.simulation.model import ExchangeNews, Listener


class Outbox:
    """Collects news inside `with`, delivers it when the outermost `with` ends."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._waiting: deque[ExchangeNews] = deque()
        self._depth = 0
        self._delivering = False

    @property
    def has_listeners(self) -> bool:
        """Whether anybody listens (views need not be made where nobody does)."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Deliver all news to `listener`; returns what stops it (twice does no harm)."""
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def put(self, news: ExchangeNews) -> None:
        """Queue one piece of news."""
        self._waiting.append(news)

    def __enter__(self) -> Self:
        self._depth += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth or self._delivering:
            return
        self._delivering = True
        try:
            while self._waiting:
                news = self._waiting.popleft()
                for listener in tuple(self._listeners):
                    listener(news)
        finally:
            self._delivering = False
