"""What a refusal means: from a status and a message to one of perfkit's errors.

Both of Google's clients and the emulator come through here, so a refusal means the same whoever brought it.
The statuses are gRPC's (google.rpc.Code); REST's bodies carry the same names, and `status_of` finds one for
an answer that has no such body, as a proxy's.

Some of Google's texts say what the status does not: that a request held too many texts or tokens, and how
many would do. Those numbers are taken out, for `perfkit.vertex.batching` heals by them. What else Google says
is repeated only in part (`_fit_to_show`): it quotes what it was sent.
"""

from __future__ import annotations

import re
from typing import Final

from perfkit.errors import (
    ModelNotFound,
    ModelTimeout,
    NotAuthorised,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    VertexError,
    WrongAnswer,
)
from perfkit.vertex.protocols import GenerateReply

__all__ = [
    "HTTP_CODES",
    "answered",
    "credentials_refused",
    "error_of",
    "one_text_only",
    "piece_missing",
    "prompt_blocked",
    "status_of",
    "too_few",
    "unsayable",
]

HTTP_CODES: Final = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Statuses and the HTTP codes that Google's REST interface answers with (google/rpc/code.proto)."""

_STATUS_OF_CODE: Final = {
    **{code: status for status, code in reversed(HTTP_CODES.items())},
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    502: "UNAVAILABLE",
}
_WRONG_REQUEST: Final = {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"}
_MAY_PASS: Final = {"UNAVAILABLE", "INTERNAL", "UNKNOWN", "ABORTED", "DATA_LOSS", "CANCELLED"}

_TOO_MANY_TEXTS: Final = re.compile(
    r"too many instances|instance\(?s?\)? (?:is|are) (?:not )?allowed per|\bbatchSize value of", re.IGNORECASE
)
_MAX_TEXTS: Final = (
    re.compile(r"(\d[\d,]*) instance\(?s?\)? (?:is|are) allowed per", re.IGNORECASE),
    re.compile(r"(?:maximum|limit|at most)[^.\d]{0,40}?(\d[\d,]*)", re.IGNORECASE),
    re.compile(r"supported range is from 1 \(inclusive\) to (\d[\d,]*) \(inclusive\)", re.IGNORECASE),
)
_TEXTS_BELOW: Final = re.compile(
    r"supported range is from 1 \(inclusive\) to (\d[\d,]*) \(exclusive\)", re.IGNORECASE
)
_MAX_TOKENS: Final = (
    re.compile(r"token count is \d[\d,]* but the model supports (?:only )?up to (\d[\d,]*)", re.IGNORECASE),
    re.compile(
        r"token count[^.]{0,40} exceeds the maximum number of tokens\D{0,20}(\d[\d,]*)", re.IGNORECASE
    ),
)
_NO_TOKEN: Final = re.compile(
    r"metadata from plugin failed"
    r".*(?:RefreshError|reauthentication|invalid_grant|invalid_client|unauthorized)",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LARGE: Final = re.compile(r"(Received|Sent) message larger than max \((\d+) vs\. (\d+)\)")

_QUOTED: Final = re.compile(r"\"(?:[^\"\\]|\\.)*(?:\"|$)|'[^']*(?:'|$)|`[^`]*(?:`|$)", re.DOTALL)
_NAME: Final = re.compile(r"[\w./:\[\]@*-]{1,160}")
_SECRET: Final = re.compile(
    r"\b(?:Bearer\s+\S+|ya29\.\S+|AIza[\w-]+|eyJ[\w-]+\.\S*|-----BEGIN.*)", re.IGNORECASE | re.DOTALL
)
_SHOWN_CHARS: Final = 240


def status_of(http_code: int) -> str:
    """Return the status that an HTTP code stands for, where a body did not name it.

    >>> status_of(429), status_of(502), status_of(418)
    ('RESOURCE_EXHAUSTED', 'UNAVAILABLE', 'INVALID_ARGUMENT')
    """
    known = _STATUS_OF_CODE.get(http_code)
    if known is not None:
        return known
    return "INVALID_ARGUMENT" if 400 <= http_code < 500 else "INTERNAL"


def error_of(
    status: str,
    message: str,
    *,
    model: str,
    retry_after_s: float | None = None,
    texts: int | None = None,
) -> PerfkitError:
    """Return the error that a status and a message stand for.

    Args:
        status: The gRPC status's name, such as `RESOURCE_EXHAUSTED`; REST's bodies have the same names.
        message: What Google said.
        model: What was asked.
        retry_after_s: What `RetryInfo` said, where it said anything.
        texts: How many texts the request held. Where Google says that they were too many and not how many
            would do, half of them are tried next: that is `max_texts` then.

    >>> said = "251 instance(s) is not allowed per prediction. The maximum allowed is 250."
    >>> error_of("INVALID_ARGUMENT", said, model="text-embedding-005").max_texts
    250
    """
    too_large = _TOO_LARGE.search(message)
    if too_large:
        return _message_too_large(too_large, model)
    if status in _WRONG_REQUEST:
        return _refused(message, model, texts)
    if _NO_TOKEN.search(message):
        return credentials_refused("its plug-in for gRPC failed", model)
    said = _said(message)
    if status == "RESOURCE_EXHAUSTED":
        return QuotaExceeded(
            f"Vertex AI answers {model} no more for now: its quota is spent{said} "
            f"{_again(retry_after_s)} Ask for a higher quota, or lower vertex.requests_per_minute or "
            "vertex.tokens_per_minute to what this process may spend.",
            dependency=f"vertex {model}",
            retry_after_seconds=retry_after_s,
        )
    if status == "DEADLINE_EXCEEDED":
        return ModelTimeout(
            f"{model} did not answer in time{said} The same request may succeed; where it often does not, "
            "raise vertex.request_timeout_seconds.",
            dependency=f"vertex {model}",
            retry_after_seconds=retry_after_s,
        )
    if status in _MAY_PASS:
        return Unavailable(
            f"Vertex AI could not answer {model}: {status}{said} {_again(retry_after_s)}",
            dependency=f"vertex {model}",
            retry_after_seconds=retry_after_s,
        )
    if status == "NOT_FOUND":
        return ModelNotFound(
            f"Vertex AI has no {model} for this project and location{said} Check the model's id, whether it "
            "has retired, and where it is offered.",
            model=model,
        )
    if status in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        return NotAuthorised(
            f"Vertex AI did not let this process ask {model}: {status}{said} On Cloud Run give the service's "
            "account the role roles/aiplatform.user; elsewhere run `gcloud auth application-default login`.",
            model=model,
        )
    return VertexError(
        f"Vertex AI would not answer {model}: {status}{said} perfkit does not ask again.", model=model
    )


def one_text_only(model: str) -> RequestRefused:
    """Return the error for several texts to a model that takes one; nothing was sent.

    Google's own client sends them as the parts of one, and answers with one vector for all.
    """
    return RequestRefused(f"{model} takes one text in a request. Send each alone.", model=model, max_texts=1)


def prompt_blocked(reason: str, model: str) -> RequestRefused:
    """Return the error for a prompt that a filter stopped before the model saw it."""
    return RequestRefused(
        f"{model} was not shown the prompt: a filter blocked it ({reason}). It will block it again: change "
        "the prompt.",
        model=model,
    )


def too_few(vectors: int, texts: int, model: str) -> WrongAnswer:
    """Return the error for an answer that has not one vector for each text."""
    return WrongAnswer(
        f"{model} sent {vectors} vectors for {texts} texts. None was handed on, for nobody can tell which "
        "belongs to which. Ask again with fewer texts; if it goes on, the service is at fault.",
        model=model,
    )


def unsayable(what: str, model: str) -> RequestRefused:
    """Return the error for a request that cannot be written down; nothing was sent."""
    return RequestRefused(
        f"In a request to {model}, {what} cannot be sent: it is of the wrong kind, or holds half of a "
        "surrogate pair, which UTF-8 cannot write. Nothing was sent; mend it before it is asked.",
        model=model,
    )


def credentials_refused(why: str, model: str = "") -> NotAuthorised:
    """Return the error for credentials that Google gives no token for."""
    return NotAuthorised(
        f"Google gave no token for these credentials ({why}): they have expired or were revoked. Run `gcloud "
        "auth application-default login` again, or give the service another account.",
        model=model,
    )


def answered(reply: GenerateReply, model: str) -> GenerateReply:
    """Return an answer that has a text or says why it has none.

    Raises:
        WrongAnswer: it has neither.
    """
    if not reply.text and not reply.finish_reason:
        raise WrongAnswer(
            f"{model} answered without a text and without a reason. Ask again; if it goes on, the service is "
            "at fault.",
            model=model,
        )
    return reply


def piece_missing(model: str, timeout_s: float) -> ModelTimeout:
    """Return the error for a stream whose next piece did not come in time."""
    return ModelTimeout(
        f"{model} sent no further piece of its answer for {timeout_s:g} s, so the stream was given up. What "
        "came until then was handed on. Ask again, or raise vertex.request_timeout_seconds.",
        dependency=f"vertex {model}",
    )


def _refused(message: str, model: str, texts: int | None) -> RequestRefused:
    for pattern in _MAX_TOKENS:
        if found := pattern.search(message):
            tokens = _number(found)
            return RequestRefused(
                f"A request to {model} held more than the {tokens} tokens it may hold. Send shorter texts, "
                "fewer at once, or let them be truncated.",
                model=model,
                max_tokens=tokens,
            )
    if _TOO_MANY_TEXTS.search(message):
        said = _most_texts(message)
        most = said if said is not None else max(1, (texts or 2) // 2)
        return RequestRefused(
            f"A request to {model} held more texts than it may hold, which is {'' if said else 'perhaps '}"
            f"{most}. Send fewer at once.",
            model=model,
            max_texts=most,
        )
    return RequestRefused(
        f"Vertex AI refused a request to {model}{_said(message)} It will refuse the same request again: "
        "change the text or the parameter it names.",
        model=model,
    )


def _most_texts(message: str) -> int | None:
    if found := _TEXTS_BELOW.search(message):
        return max(1, _number(found) - 1)
    numbers = (_number(found) for pattern in _MAX_TEXTS if (found := pattern.search(message)))
    return next(numbers, None)


def _message_too_large(found: re.Match[str], model: str) -> VertexError:
    """Not quota, though gRPC says RESOURCE_EXHAUSTED: waiting would never help."""
    way, size, limit = found.group(1).lower(), found.group(2), found.group(3)
    option = "grpc.max_receive_message_length" if way == "received" else "grpc.max_send_message_length"
    return VertexError(
        f"A message of {size} bytes to or from {model} was {way} over a gRPC channel that allows {limit}. "
        f"No retry can help: make the channel with {option} = -1, or put fewer texts into a request.",
        model=model,
    )


def _again(retry_after_s: float | None) -> str:
    if retry_after_s is None:
        return "The same request may succeed later."
    return f"The same request may succeed in {retry_after_s:g} s."


def _said(message: str) -> str:
    shown = _fit_to_show(message)
    return f" (it said: {shown})." if shown else "."


def _fit_to_show(message: str) -> str:
    """Return what may stand in a log: what it quotes is gone unless it is a name, and it is short.

    Google repeats what it could not use, in double quotes; field and permission names stand in others.

    >>> _fit_to_show("Invalid value at 'instances[0].content', \\"a secret\\"")
    "Invalid value at 'instances[0].content', …"
    """
    plain = _QUOTED.sub(_name_or_nothing, _SECRET.sub("…", message))
    words = " ".join(plain.split()).rstrip(".")
    return words if len(words) <= _SHOWN_CHARS else f"{words[:_SHOWN_CHARS]}…"


def _name_or_nothing(quoted: re.Match[str]) -> str:
    text = quoted.group()
    return text if text[0] != '"' and _NAME.fullmatch(text[1:-1]) else "…"


def _number(found: re.Match[str]) -> int:
    return max(1, int(found.group(1).replace(",", "")))
