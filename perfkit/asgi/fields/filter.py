"""The stage of the middleware that lets clients choose fields."""

from __future__ import annotations

from typing import Literal

from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.mask import Mask
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings

__all__ = ["FieldFilter", "as_filtered"]


class FieldFilter:
    """Reads `?fields=` of requests and tells which responses can be filtered; one a middleware."""

    counts: FieldCounts

    def __init__(
        self, settings: AsgiSettings, *, parameter: str = "fields", root: str | None = None, dots: bool = False
    ) -> None:
        """Take the limits from the settings.

        Args:
            settings: `fields_max_bytes`, `fields_compile_after`, `fields_compiled_masks`.
            parameter: The query parameter's name.
            root: The member of an envelope that fields are chosen from; its neighbours stay.
            dots: Whether `a.b` is `a/b`; a dot in a name is then written `\\.`.
        """
        raise NotImplementedError

    def mask_of(self, request: Request) -> Mask | None:
        """Return the set of fields a request asks for, or None when it asks for no set, or for all.

        Raises:
            FieldsError: the set cannot be read; answer with `problem`.
        """
        raise NotImplementedError

    def form_of(self, head: Head) -> Literal["json", "lines", ""]:
        """Tell how a response with this head can be filtered: as one document, by lines, or not at all."""
        raise NotImplementedError


def as_filtered(head: Head) -> None:
    """Take from a head what was said of the whole body: its length, digests, ranges; a strong ETag is weakened."""
    raise NotImplementedError
