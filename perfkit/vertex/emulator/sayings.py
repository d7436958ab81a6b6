"""What Google says, word for word, as public bug reports quote it.

Refusals are read by their words (`perfkit.vertex.refusals`), so an emulator that said it in its own would
prove nothing. Where no quotation was found (`outputDimensionality`), Google's pattern is followed.

    too many texts      onyx-dot-app/onyx issue 2343; topoteretes/cognee pull 4856 and
                        vercel/ai issue 19950 (Gemini)
    too many tokens     quoted in many repositories for text-embedding-004 and -005
    an empty text       quoted for text-embedding models; a text of white space is let through: nothing found
    task type, title    typesense/typesense issue 2609; googleapis/js-genai issue 549
    wrong method        BerriAI/litellm issue 23508 (predict); quarkiverse/quarkus-langchain4j issue 2376
    unknown model       genkit-ai/genkit issue 4688
    quotas              davidmigloz/langchain_dart issue 286; cocoindex-io/cocoindex issue 1151 (tokens);
                        google-gemini/gemini-cli issue 15911 (dynamic shared quota)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from perfkit.vertex.emulator.faults import Fault, FaultKind

__all__ = [
    "STRUCK",
    "TASK_TYPES",
    "bad_range",
    "bad_task",
    "empty_prompt",
    "empty_text",
    "invalid",
    "no_capacity",
    "project_spent",
    "requests_spent",
    "restarting",
    "timed_out",
    "title_without_document",
    "tokens_over",
    "tokens_spent",
    "too_many_texts",
    "unknown_model",
    "wrong_method",
]

TASK_TYPES: Final = frozenset(
    {
        "CLASSIFICATION",
        "CLUSTERING",
        "CODE_RETRIEVAL_QUERY",
        "DEFAULT",
        "FACT_VERIFICATION",
        "QUESTION_ANSWERING",
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
        "SEMANTIC_SIMILARITY",
    }
)

_LEARN: Final = "Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference"
_HERE: Final = "projects/emulated/locations/us-central1/publishers/google/models"

STRUCK: Final[Mapping[FaultKind, tuple[str, str]]] = {
    "unavailable": ("UNAVAILABLE", "The service is currently unavailable."),
    "internal": ("INTERNAL", "Internal error encountered."),
    "deadline": ("DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
    "unauthenticated": (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
        "other valid authentication credential.",
    ),
    "permission_denied": (
        "PERMISSION_DENIED",
        "Permission 'aiplatform.endpoints.predict' denied on resource (or it may not exist).",
    ),
}
"""Statuses and messages of planned faults (google.rpc.Code's usual texts)."""


def invalid(message: str) -> Fault:
    """Return a 400."""
    return Fault("INVALID_ARGUMENT", message)


def unknown_model(model: str) -> Fault:
    """No model by that id, or none for this project."""
    return Fault(
        "NOT_FOUND",
        f"Publisher Model `{_HERE}/{model}` was not found or your project does not have access to it. Please "
        "ensure you are using a valid model version. For more information, see: "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
    )


def wrong_method(model: str, method: str) -> Fault:
    """A model that is asked in the way of another."""
    if method == "predict":
        return Fault("FAILED_PRECONDITION", "Precondition check failed.")
    return invalid(f"Publisher Model `{_HERE}/{model}` is not supported in the embedContent API.")


def too_many_texts(texts: int, most: int, *, gemini: bool) -> Fault:
    """More texts than one request may hold; the Gemini models say it otherwise."""
    if gemini:
        return bad_range("batchSize", texts, 1, most + 1)
    return invalid(f"{most} instance(s) is allowed per prediction. Actual: {texts}")


def tokens_over(tokens: int, most: int) -> Fault:
    """More tokens than a request, or a text that must not be cut, may have."""
    return invalid(
        f"Unable to submit request because the input token count is {tokens} but the model supports up to "
        f"{most}. Reduce the input token count and try again."
    )


def empty_text() -> Fault:
    """A text without a character."""
    return invalid("The text content is empty.")


def bad_task(task_type: str) -> Fault:
    """A task type Google does not have."""
    return invalid(
        f"{task_type} cannot be parsed as a valid embedding task type. Valid task types: "
        f"[{', '.join(sorted(TASK_TYPES))}]"
    )


def title_without_document() -> Fault:
    """A title belongs to a document."""
    return invalid(
        "Unable to submit request because the model does not support the title parameter unless the "
        f"task_type is RETRIEVAL_DOCUMENT. {_LEARN}/text-embeddings"
    )


def bad_range(name: str, value: float, low: float, high: float) -> Fault:
    """A number out of its range; Google writes every one like this."""
    return invalid(
        f"Unable to submit request because it has a {name} value of {value} but the supported range is from "
        f"{low} (inclusive) to {high} (exclusive). Update the value and try again."
    )


def empty_prompt() -> Fault:
    """A prompt without a character."""
    return invalid(
        "Unable to submit request because it must have a text parameter. Add a text parameter and try again. "
        f"{_LEARN}/gemini"
    )


def project_spent(retry_after_s: float | None = None) -> Fault:
    """All models together were asked too often this minute."""
    return _spent("online_prediction_requests", "", retry_after_s)


def requests_spent(base_model: str, *, retry_after_s: float | None = None) -> Fault:
    """A base model was asked too often this minute; where quota is dynamic, there is no base model."""
    if not base_model:
        return no_capacity(retry_after_s)
    return _spent("online_prediction_requests_per_base_model", base_model, retry_after_s)


def tokens_spent(base_model: str, *, retry_after_s: float | None = None) -> Fault:
    """A base model read too many tokens this minute."""
    return _spent("embed_content_input_tokens_per_minute_per_base_model", base_model, retry_after_s)


def no_capacity(retry_after_s: float | None = None) -> Fault:
    """Dynamic shared quota has nothing left; no number is behind it."""
    return Fault(
        "RESOURCE_EXHAUSTED",
        "Resource exhausted. Please try again later. Please refer to "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        retry_after_s,
    )


def restarting() -> Fault:
    """The server went away under a request."""
    return Fault("UNAVAILABLE", "Connection reset by peer")


def timed_out(waited_s: float) -> Fault:
    """The caller's own deadline passed."""
    return Fault("DEADLINE_EXCEEDED", f"Deadline Exceeded after {waited_s:g} s")


def _spent(quota: str, base_model: str, retry_after_s: float | None) -> Fault:
    of = f" with base model: {base_model}" if base_model else ""
    return Fault(
        "RESOURCE_EXHAUSTED",
        f"Quota exceeded for aiplatform.googleapis.com/{quota}{of}. Please submit a quota increase request. "
        "https://cloud.google.com/vertex-ai/docs/generative-ai/quotas-genai.",
        retry_after_s,
    )
