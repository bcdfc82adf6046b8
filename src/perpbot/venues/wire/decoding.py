"""What a decoder raises for bytes that are not what they should be, and times that are none.

Not JSON, another shape, not UTF-8, or nested so deep that the decoder gives up: all of it comes
from the other side of a wire and is no fault of ours.
"""

from __future__ import annotations

import msgspec

from perpbot.domain.errors import InvalidValue
from perpbot.kernel.clock import MS

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

LATEST_MS = 2**63 // MS - 1
"""The year 2262: a journal has 64 bits for a time in ns, and one beyond them cannot be written."""
_LONGEST_TEXT = 20


def ns_of_ms(time_ms: int) -> int:
    """Return a wire's time in ns UTC; raise `InvalidValue` for one that cannot be."""
    if not 0 <= time_ms <= LATEST_MS:
        # Of a number of many digits the text alone could take long.
        shown = time_ms if abs(time_ms) < 2**128 else "beyond 128 bits"
        raise InvalidValue(f"time was {shown}, milliseconds since 1970 were expected")
    return time_ms * MS


def ns_of_text(time_ms: str) -> int:
    """Return a time that a wire writes as a text, 0 for none; raise as `ns_of_ms`."""
    if not time_ms:
        return 0
    if not time_ms.isdecimal() or len(time_ms) > _LONGEST_TEXT:
        raise InvalidValue(f"time was {time_ms[:40]!r}, milliseconds since 1970 were expected")
    return ns_of_ms(int(time_ms))
