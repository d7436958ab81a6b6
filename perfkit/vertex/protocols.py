"""What perfkit asks of a model, whoever runs it: Google's client, another, or the emulator.

    EmbeddingModel    texts in, one vector each out
    TextModel         a prompt in, text out, at once or piece by piece
    Transport         both, with a connection that is opened and closed

A transport sends exactly one request for each call and never repeats it: what is retried, and when, is
decided above, where quota and deadlines are known. It tells what went wrong in the errors of `perfkit.errors`
(`perfkit.vertex.refusals` makes them of a status and a message):

    RequestRefused    400; with max_texts or max_tokens where the request was too large, not wrong
    QuotaExceeded     429, retry_after_seconds as the server said (RetryInfo), or None
    Unavailable       500, 502, 503, a connection that broke: the same request may well succeed later
    ModelTimeout      no answer within `timeout_s`, or the server's own 504
    ModelNotFound     404
    NotAuthorised     401, 403, no credentials
    WrongAnswer       an answer that cannot be read
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "EmbedReply",
    "EmbedRequest",
    "EmbeddingModel",
    "GenerateReply",
    "GenerateRequest",
    "Text",
    "TextModel",
    "Transport",
    "Vector",
]


@dataclass(frozen=True, slots=True)
class Text:
    """One text to embed, with what changes its embedding."""

    content: str
    task_type: str = ""
    """What the vector is for, such as `RETRIEVAL_QUERY`; empty leaves it to the model."""
    title: str = ""
    """Of the document, with `RETRIEVAL_DOCUMENT`."""


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """Texts that travel together; what all of them must have in common."""

    model: str
    """Google's own id, never an alias."""
    texts: Sequence[Text]
    dimensions: int | None = None
    """How long each vector is to be; None is the model's full length."""
    auto_truncate: bool = True
    """Whether a text that is too long is cut silently; otherwise the request is refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """What a text came to."""

    values: NDArray[np.float32]
    token_count: int = 0
    """As the server counted; 0 where it did not say."""
    truncated: bool = False
    """Whether the text was too long and only its beginning counted."""


@dataclass(frozen=True, slots=True)
class EmbedReply:
    """One vector a text, in the order they were sent."""

    vectors: Sequence[Vector]
    billable_characters: int = 0
    """As the server counted; 0 where it did not say."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt, and how its answer is to be made."""

    model: str
    """Google's own id, never an alias."""
    prompt: str
    system: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerateReply:
    """A text that was generated, or a piece of one."""

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = ""
    """`STOP`, `MAX_TOKENS`, `SAFETY`, …; empty in the pieces of a stream before its last."""
    model_version: str = field(default="", compare=False)


class EmbeddingModel(Protocol):
    """Turns texts into vectors."""

    async def embed(self, request: EmbedRequest, *, timeout_s: float) -> EmbedReply:
        """Send one request. Cancelled, it gives up the request on the wire as well."""
        ...


class TextModel(Protocol):
    """Writes text."""

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Send one request and return the whole answer."""
        ...

    def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Send one request and yield its answer as it comes; `timeout_s` is for each piece."""
        ...


class Transport(EmbeddingModel, TextModel, Protocol):
    """A way to Vertex AI."""

    @property
    def name(self) -> str:
        """What answers, for logs and reports: `vertex grpc`, `vertex rest`, `emulator`."""
        ...

    async def warm(self) -> None:
        """Load, connect and authorise now, so that the first request does not pay for it."""
        ...

    async def aclose(self) -> None:
        """Close connections; what is under way fails."""
        ...
