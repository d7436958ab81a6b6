"""What field filtering did, in plain numbers that only grow."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FieldCounts"]


@dataclass(slots=True)
class FieldCounts:
    """How many documents (a body, or a line of NDJSON) were filtered, and how; and what that saved.

    >>> FieldCounts(compiled=2, generic=1).filtered
    3
    """

    compiled: int = 0
    """Documents filtered by a decoder made for their set of fields."""
    generic: int = 0
    """Documents filtered step by step."""
    too_large: int = 0
    """Documents sent whole because they are larger than `asgi.fields_max_bytes`."""
    unreadable: int = 0
    """Documents sent whole because they are not JSON, or nested too deeply."""
    misfits: int = 0
    """Values of another shape than their set of fields suggests, which no decoder could read."""
    refused: int = 0
    """Requests whose choice of fields could not be read."""
    compilations: int = 0
    """Decoders made."""
    bytes_in: int = 0
    """Bytes of the documents that were filtered, before."""
    bytes_out: int = 0
    """And after."""

    @property
    def filtered(self) -> int:
        """Documents filtered either way."""
        return self.compiled + self.generic
