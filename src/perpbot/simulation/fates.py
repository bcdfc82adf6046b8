"""What may happen to a message between a node and an exchange of ours.

A `FaultPlan` decides for each message; `NoFaults` lets all through. Plans that break things on
purpose are built elsewhere from the same three questions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import msgspec


class Message(StrEnum):
    """What is on its way."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    QUERY = "query"
    RECONCILE = "reconcile"
    STREAM = "stream"


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """Lost, late, repeated or refused. The default is to arrive once, in time."""

    drop: bool = False
    delay_ns: int = 0
    """On top of the latency."""
    copies: int = 1
    reject: str = ""
    """For requests: the venue's front door refuses with this text; the exchange never sees it."""


ARRIVES = Fate()


class FaultPlan(Protocol):
    """Decides what happens to messages. `subject` is a client id, or a venue for a reconcile."""

    def request(self, message: Message, subject: str) -> Fate:
        """A request on its way to the exchange."""

    def response(self, message: Message, subject: str) -> Fate:
        """The answer to a request on its way back."""

    def stream(self, subject: str) -> Fate:
        """News on the private stream on its way to the node."""


class NoFaults:
    """Everything arrives once and in time."""

    def request(self, message: Message, subject: str) -> Fate:
        """It arrives."""
        return ARRIVES

    def response(self, message: Message, subject: str) -> Fate:
        """It arrives."""
        return ARRIVES

    def stream(self, subject: str) -> Fate:
        """It arrives."""
        return ARRIVES
