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
        self._listeners: list[tuple[Listener, frozenset[type[ExchangeNews]] | None]] = []
        self._chosen: dict[type[ExchangeNews], tuple[Listener, ...]] = {}
        """Who wants which kind; made when the first news of a kind is asked for."""
        self._waiting: deque[ExchangeNews] = deque()
        self._depth = 0
        self._delivering = False

    def wanted(self, kind: type[ExchangeNews]) -> bool:
        """Whether anybody listens to this kind (views need not be made where nobody does)."""
        return bool(self._who(kind))

    def _who(self, kind: type[ExchangeNews]) -> tuple[Listener, ...]:
        chosen = self._chosen.get(kind)
        if chosen is None:
            chosen = self._chosen[kind] = tuple(
                listener for listener, kinds in self._listeners if kinds is None or kind in kinds
            )
        return chosen

    def listen(
        self, listener: Listener, kinds: frozenset[type[ExchangeNews]] | None = None
    ) -> Callable[[], None]:
        """Deliver news to `listener`: all, or of these kinds.

        Returns what stops it (twice does no harm).
        """
        entry = (listener, kinds)
        self._listeners.append(entry)
        self._chosen.clear()

        def stop() -> None:
            if entry in self._listeners:
                self._listeners.remove(entry)
                self._chosen.clear()

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
                for listener in self._who(type(news)):
                    listener(news)
        finally:
            self._delivering = False
