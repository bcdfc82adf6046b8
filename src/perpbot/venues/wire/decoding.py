"""What a decoder raises for bytes that are not what they should be.

Not JSON, another shape, not UTF-8, or nested so deep that the decoder gives up: all of it comes
from the other side of a wire and is no fault of ours.
"""

from __future__ import annotations

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
