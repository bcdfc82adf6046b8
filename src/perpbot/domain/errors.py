"""The one tree of errors. Each class means one thing; catch it at the layer that has a policy.

PerpbotError
├── ConfigError            settings that cannot be used; the message names file, line, key, value
├── InvalidValue           a number, name or message that fails its own rules
├── StateConflict          an event that its state table does not allow; a programming error
├── JournalCorrupt         a record that fails its checksum anywhere but in a torn tail
├── JournalFull            the journal could not take a record; nothing may be sent
├── RiskDenied             a gate said no; carries layer, rule, value, limit
├── CapitalShort           a reservation does not fit
└── VenueError             an exchange said no, said nothing, or spoke nonsense
    ├── Rejected           a definite refusal: the request had no effect
    ├── ReadOnly           a write without credentials; nothing was sent
    ├── RateLimited        refused before it took effect; carries when to come back
    ├── AuthFailed         key, signature or permission refused
    ├── NonceClash         the nonce was refused as used, old or far off
    ├── Unavailable        a read got no answer; nothing was changed
    ├── OutcomeUnknown     a write may or may not have happened; ask, never resend
    └── ProtocolViolation  the venue sent something its protocol does not allow
"""

from __future__ import annotations

from perpbot.domain.masking import mask_by_look


class PerpbotError(Exception):
    """Base of every error that perpbot raises on purpose."""


class ConfigError(PerpbotError):
    """Settings that cannot be used. The text lists every problem, one a line."""


class InvalidValue(PerpbotError, ValueError):
    """A value that fails its own rules; the text names field, value and what would be right."""


class StateConflict(PerpbotError):
    """An event that its state table does not allow."""


class JournalCorrupt(PerpbotError):
    """A journal record fails its checksum or sequence, and not as a torn last record."""


class JournalFull(PerpbotError):
    """The journal could not take a whole record (disk full, short write)."""


class RiskDenied(PerpbotError):
    """A gate refused. `layer`, `rule`, `value` and `limit` say why."""

    def __init__(self, layer: str, rule: str, value: str, limit: str) -> None:
        super().__init__(f"{layer}: {rule}: measured {value}, limit {limit}")
        self.layer = layer
        self.rule = rule
        self.value = value
        self.limit = limit


class CapitalShort(PerpbotError):
    """A reservation asks for more than is free."""


MESSAGE_LENGTH_MAX = 500


class VenueError(PerpbotError):
    """Base of what goes wrong between us and an exchange.

    The message may quote an exchange, which may quote our request: it is kept short and without
    what looks like a secret, because errors end in the journal.
    """

    def __init__(self, venue: str, message: str, *, code: str = "") -> None:
        message = mask_by_look(message[:MESSAGE_LENGTH_MAX])
        super().__init__(f"{venue}: {message}" + (f" (code {code})" if code else ""))
        self.venue = venue
        self.message = message
        self.code = code


class Rejected(VenueError):
    """A definite refusal: the venue took the request, understood it and did not act on it."""


class ReadOnly(Rejected):
    """A write on a venue without credentials; nothing was sent."""

    def __init__(self, venue: str) -> None:
        super().__init__(venue, "no credentials: this venue is read-only", code="read_only")


class RateLimited(VenueError):
    """Refused by a limiter before it took effect; `retry_after_s` is 0 when not told."""

    def __init__(
        self, venue: str, message: str, *, code: str = "", retry_after_s: float = 0.0
    ) -> None:
        super().__init__(venue, message, code=code)
        self.retry_after_s = retry_after_s


class AuthFailed(VenueError):
    """Key, passphrase, signature, permission or address refused."""


class NonceClash(VenueError):
    """The nonce or timestamp was refused; a definite refusal."""


class Unavailable(VenueError):
    """A read got no usable answer. What it asked about is unknown, never empty or flat."""


class OutcomeUnknown(VenueError):
    """A write may or may not have taken effect. Never sent again; resolved by asking."""


class ProtocolViolation(VenueError):
    """The venue sent something that its protocol does not allow."""
