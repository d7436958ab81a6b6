"""What an emulator was asked, and how it answered."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Counts"]


@dataclass(slots=True)
class Counts:
    """Plain numbers, for tests and reports to look at."""

    requests: int = 0
    """For embeddings, refused ones included."""
    answered: int = 0
    """Of those, the ones that were answered."""
    texts: int = 0
    """Embedded; what was refused is not among them."""
    tokens: int = 0
    """Of embedded texts, as far as they counted."""
    billable_characters: int = 0
    generations: int = 0
    """For texts, streams and refused ones included."""
    output_tokens: int = 0
    """Of the texts that were generated."""
    refused: dict[str, int] = field(default_factory=dict)
    """Requests by the status they were refused with, such as `RESOURCE_EXHAUSTED`."""
    given_up: int = 0
    """Requests whose caller cancelled them, or waited no longer."""
    most_under_way: int = 0
    """At once."""
    most_in_a_minute: dict[str, int] = field(default_factory=dict)
    """Requests that a base model's quota admitted in its fullest minute."""

    def refuse(self, status: str) -> None:
        """Count a refusal."""
        self.refused[status] = self.refused.get(status, 0) + 1
