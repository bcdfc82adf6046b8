"""Secrets by their look: what stands after a telling name, in an address, a header or a message.

Pure, and without any secret's value: the last line of defence for texts that come from elsewhere,
such as a venue that quotes our request in its complaint.
"""

from __future__ import annotations

import re

MASK = "********"

_NAMES = (
    r"signature|sign|api[_-]?key|api[_-]?secret|secret|passphrase|password|token|listen[_-]?key"
    r"|private[_-]?key|x-mbx-apikey|ok-access-(?:key|sign|passphrase)|pk"
)
# A quotation mark may itself be quoted, once or twice.
_IN_TEXT = re.compile(
    rf"(?i)(?:(?<![A-Za-z0-9_])|(?<=%[0-9A-F]{{2}}))({_NAMES})(\\*['\"]?\s*(?:[=:]|%3D|%3A)\s*\\*['\"]?)"
    r"([^\s&'\",;}})\\%]+)"
)
_USER_OF_ADDRESS = re.compile(r"(://)[^/?#@\s]+@")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")


def mask_by_look(text: str) -> str:
    """Return `text` without what looks like a secret."""
    text = _BEARER.sub(rf"\g<1>{MASK}", text)
    text = _USER_OF_ADDRESS.sub(rf"\g<1>{MASK}@", text)
    return _IN_TEXT.sub(rf"\g<1>\g<2>{MASK}", text)
