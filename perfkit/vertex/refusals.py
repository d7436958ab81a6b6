"""What a refusal means: from a status and a message to one of perfkit's errors.

Both of Google's clients and the emulator come through here, so a refusal means the same whoever brought it.
"""

from __future__ import annotations

from perfkit.errors import PerfkitError

__all__ = ["error_of"]


def error_of(status: str, message: str, *, model: str, retry_after_s: float | None = None) -> PerfkitError:
    """Return the error that a status and a message stand for.

    Args:
        status: The gRPC status's name, such as `RESOURCE_EXHAUSTED`; REST's bodies have the same names.
        message: What Google said.
        model: What was asked.
        retry_after_s: What `RetryInfo` said, where it said anything.
    """
    raise NotImplementedError
