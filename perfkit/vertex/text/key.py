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

    >>> key_of(GenerateRequest("gemini-3.8-flash", "Say yes.", temperature=0))
    'a87f0'
    """
    written = json.dumps(_contents(request), separators=(",", ":"), default=list)
    return blake2b(written.encode(), digest_size=20, key=_LAYOUT).hexdigest()


def is_repeatable(request: GenerateRequest) -> bool:
    """Tell whether asking again would bring the same answer: only at temperature 0, as far as models go."""
    return request.temperature == 0
