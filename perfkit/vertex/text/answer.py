"""What a caller gets: the text, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from perfkit.errors import WrongAnswer
from perfkit.vertex.protocols import GenerateReply

__all__ = ["Source", "TextAnswer", "answer_kept", "answer_of", "kept"]

Source: TypeAlias = Literal["model", "joined", "cache"]
"""Who answered: the model, a call that was under way for the same request, or the cache."""

_WHOLE: Final = frozenset({"", "STOP", "MAX_TOKENS"})


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """A text that a model wrote.

    There is always some text: an answer without any is a `WrongAnswer`. A text may be shorter than the model
    meant it to be, which `finish_reason` tells. The tokens are those of the request that the model answered,
    also where its answer came from the cache.
    """

    text: str
    finish_reason: str = ""
    """`STOP`; `MAX_TOKENS` where it is cut; `SAFETY` and others where the model broke off."""
    input_tokens: int = 0
    output_tokens: int = 0
    source: Source = "model"
    model_version: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether the model wrote what it was going to, or as much as it was allowed; only that is kept."""
        return self.finish_reason in _WHOLE

    def from_(self, source: Source) -> TextAnswer:
        """Return the same answer as it came from elsewhere."""
        return self if source == self.source else replace(self, source=source)


def answer_of(reply: GenerateReply, model: str) -> TextAnswer:
    """Return a model's reply as an answer.

    Raises:
        WrongAnswer: it has no text: the prompt or the answer was blocked, or all tokens went into thinking.
    """
    if not reply.text:
        raise no_text(reply.finish_reason, model)
    return TextAnswer(
        reply.text,
        reply.finish_reason,
        reply.input_tokens,
        reply.output_tokens,
        model_version=reply.model_version,
    )


def no_text(finish_reason: str, model: str) -> WrongAnswer:
    """Return the error that says why there is no text."""
    reason = finish_reason or "no reason given"
    if finish_reason == "MAX_TOKENS":
        remedy = "Allow more max_output_tokens: the model spent them before it wrote anything"
    elif finish_reason in _WHOLE:
        remedy = "Ask in other words, or see whether a stop sequence begins every answer"
    else:
        remedy = "The prompt or the answer was blocked; ask in other words"
    return WrongAnswer(f"{model} answered without any text ({reason}). {remedy}.", model=model)


def kept(answer: TextAnswer) -> dict[str, str | int]:
    """Return an answer as the cache keeps it: what Redis gives back as it is."""
    return {
        "text": answer.text,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "model_version": answer.model_version,
    }


def answer_kept(value: Any, source: Source) -> TextAnswer | None:
    """Return what the cache kept as an answer, or None if something else lies under its key."""
    match value:
        case {
            "text": str(text),
            "finish_reason": str(finish_reason),
            "input_tokens": int(input_tokens),
            "output_tokens": int(output_tokens),
            "model_version": str(model_version),
        } if text:
            return TextAnswer(text, finish_reason, input_tokens, output_tokens, source, model_version)
    return None
