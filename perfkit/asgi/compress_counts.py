"""What compression did, in plain numbers: counted where it happens, read when somebody asks."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["REASONS", "CodingCounts", "CompressionCounts"]

REASONS = {
    "type": "its media type is not one that shrinks, or is not known",
    "response": "it has no body, is a range or encoded already, or forbids it",
    "request": "the request says `no-transform`",
    "client": "the client takes no coding that is offered, or would rather have none",
    "size": "it is smaller than `compress_min_bytes`",
    "cross-site": "another site asked for it with cookies, and `compress_cross_site` is off",
    "load": "the process is too busy",
    "gain": "compressed, it was not smaller by `compress_min_gain`",
}
"""Why a response travels as it is."""


@dataclass(slots=True)
class CodingCounts:
    """What was done in one coding."""

    responses: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    codec_seconds: float = 0.0
    """Time in the codec, of the loop or of a thread; also for what was not kept."""
    offloaded: int = 0
    """Whole bodies that were given to a thread."""


@dataclass(slots=True)
class CompressionCounts:
    """What compression did since it was made.

    >>> counts = CompressionCounts()
    >>> counts.of("gzip").responses += 1
    >>> counts.by_coding["gzip"].responses, counts.left_alone["size"]
    (1, 0)
    """

    by_coding: dict[str, CodingCounts] = field(default_factory=dict)
    """By the name of the coding; those that were used."""
    left_alone: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    """Responses that travel as they are, by reason."""

    def of(self, coding: str) -> CodingCounts:
        """Return what was done in one coding."""
        return self.by_coding.setdefault(coding, CodingCounts())
