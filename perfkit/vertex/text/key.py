"""What makes two requests the same: every field of them, by a fingerprint that shows none."""

from __future__ import annotations

import json
from dataclasses import fields
from hashlib import blake2b
from operator import attrgetter
from typing import Final

from perfkit.vertex.protocols import GenerateRequest

__all__ = ["is_repeatable", "key_of"]

_LAYOUT: Final = b"1"
"""Of what is kept under a key; another layout is found under other keys."""
_contents = attrgetter(*(field.name for field in fields(GenerateRequest)))


def key_of(request: GenerateRequest) -> str:
    """Return the key of a request; a prompt cannot be read from it.

    >>> zero, also_zero = (GenerateRequest("gemini-3.8-flash", "Say yes.", temperature=t) for t in (0, 0.0))
    >>> key_of(zero) == key_of(also_zero), key_of(zero) == key_of(GenerateRequest("gemini-3.8-flash", "yes"))
    (True, False)
    """
    written = json.dumps([_plain(value) for value in _contents(request)], separators=(",", ":"))
    return blake2b(written.encode(), digest_size=20, key=_LAYOUT).hexdigest()


def _plain(value: object) -> object:
    """Write equal values alike: a temperature may be 0 or 0.0."""
    return (
        float(value) if isinstance(value, int | float) else list(value) if isinstance(value, tuple) else value
    )


def is_repeatable(request: GenerateRequest) -> bool:
    """Tell whether asking again would bring the same answer: only at temperature 0, as far as models go."""
    return request.temperature == 0
