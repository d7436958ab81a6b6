r"""Documents with half a surrogate pair: `"\ud800"` is JSON (RFC 8259 §8.2), and msgspec does not read it.

JavaScript and `json.dumps` write such escapes when a text was cut in the middle of a character. They are
replaced by a mark that does not occur in the document, and put back into what is left of it.
"""

from __future__ import annotations

import re

__all__ = ["hidden"]

# An escape at a time, so that the second backslash of `\\ud800` is not taken for the start of one.
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
# Characters that mean nothing to anybody: the last of the last plane and those before it.
_MARKS = tuple(chr(0x10FFFF - number).encode() for number in range(8))


def hidden(body: bytes) -> tuple[bytes, bytes] | None:
    r"""Return a body without half pairs and the mark that stands for `\u` of each, or None if there are none.

    >>> body, mark = hidden(rb'"\ud83d\ude00 \ud83d \\ud83d"')
    >>> body.replace(mark, b"<mark>")
    b'"\\ud83d\\ude00 <mark>d83d \\\\ud83d"'
    """
    if b"\\ud" not in body and b"\\uD" not in body:
        return None
    mark = next((mark for mark in _MARKS if mark not in body), None)
    if mark is None:
        return None
    changed = _ESCAPES.sub(lambda found: mark + found[1] if found[1] else found[0], body)
    return None if changed == body else (changed, mark)
