"""What Google checks before it computes, in the order in which it complains."""

from __future__ import annotations

from typing import Final, NamedTuple

from perfkit.vertex.emulator import sayings
from perfkit.vertex.emulator.tokens import counted
from perfkit.vertex.models import EmbeddingSpec
from perfkit.vertex.protocols import EmbedRequest, GenerateRequest

__all__ = ["Checked", "check_prompt", "check_texts"]

_MOST_OUTPUT_TOKENS: Final = 65_536


class Checked(NamedTuple):
    """What a request's texts come to."""

    counts: list[tuple[int, bool]]
    """Tokens that count, and whether the text was cut, for each."""
    tokens: int
    """Of all texts, as far as they count."""
    billable_characters: int


def check_texts(request: EmbedRequest, spec: EmbeddingSpec) -> Checked:
    """Count a request's texts, or raise `Fault`.

    The limit of a request counts every token, those that are cut from a long text as well: the documentation
    names it first and the limit of a text as one more.
    """
    texts = request.texts
    if not texts:
        raise sayings.invalid("Empty instances.")
    if len(texts) > spec.max_texts:
        raise sayings.too_many_texts(len(texts), spec.max_texts, gemini=spec.id.startswith("gemini"))
    wanted = request.dimensions
    if wanted is not None and not 1 <= wanted <= spec.dimensions:
        raise sayings.bad_range("outputDimensionality", wanted, 1, spec.dimensions + 1)
    most = spec.max_text_tokens
    counts: list[tuple[int, bool]] = []
    held = kept = billable = 0
    for text in texts:
        if not text.content:
            raise sayings.empty_text()
        if text.task_type and text.task_type not in sayings.TASK_TYPES:
            raise sayings.bad_task(text.task_type)
        if text.title and text.task_type != "RETRIEVAL_DOCUMENT":
            raise sayings.title_without_document()
        tokens, characters = counted(text.content)
        if text.title:
            titled = counted(text.title)
            tokens, characters = tokens + titled.tokens, characters + titled.billable_characters
        cut = tokens > most
        if cut and not request.auto_truncate:
            raise sayings.tokens_over(tokens, most)
        held += tokens
        billable += characters
        if cut:
            tokens = most
        kept += tokens
        counts.append((tokens, cut))
    if held > spec.max_tokens:
        raise sayings.tokens_over(held, spec.max_tokens)
    return Checked(counts, kept, billable)


def check_prompt(request: GenerateRequest) -> None:
    """Raise `Fault` where a generation is asked for what cannot be."""
    if not request.prompt:
        raise sayings.empty_prompt()
    if request.temperature is not None and not 0 <= request.temperature <= 2:
        raise sayings.bad_range("temperature", request.temperature, 0, 2.0001)
    if request.top_p is not None and not 0 <= request.top_p <= 1:
        raise sayings.bad_range("topP", request.top_p, 0, 1.0001)
    most = request.max_output_tokens
    if most is not None and not 1 <= most <= _MOST_OUTPUT_TOKENS:
        raise sayings.bad_range("maxOutputTokens", most, 1, _MOST_OUTPUT_TOKENS + 1)
