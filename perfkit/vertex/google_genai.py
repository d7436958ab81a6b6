"""Vertex AI over REST, by google-genai: for who has that client anyway, or no gRPC out of the network.

It costs five times the processor time of `perfkit.vertex.google` (digits are parsed, and every number is
checked by pydantic). What has to be known of google-genai 2 is dealt with here:

    ["a", "b"] to a model of embedContent      silently one vector for both: refused before it is sent
    one task type and title for a whole request  where texts differ, `extra_body` says each one's
    timeouts in milliseconds, for each read    one more for the whole, on the loop
    no answer in time: a bare ReadTimeout      `ModelTimeout`
    where aiohttp is installed, hidden retries  httpx is handed in, and nothing is repeated
    base_url alone drops the path              project and location are always given
    anonymous credentials "cannot be refreshed"  an emulator is sent a token that means nothing
    a client belongs to an event loop          one each (`perfkit.vertex.per_loop`)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from perfkit.errors import PerfkitError, Unavailable, WrongAnswer
from perfkit.vertex.google import application_credentials, missing_extra
from perfkit.vertex.models import EMBEDDING_MODELS
from perfkit.vertex.per_loop import PerLoop, was_closed
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateReply, GenerateRequest, Text, Vector
from perfkit.vertex.refusals import (
    answered,
    credentials_refused,
    error_of,
    one_text_only,
    piece_missing,
    prompt_blocked,
    status_of,
    too_few,
    unsayable,
)

__all__ = ["GenaiTransport"]

_WARM_S: Final = 60.0
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"


class _Loaded(NamedTuple):
    genai: Any
    httpx: Any
    tls: Any
    credentials: Any
    project: str


class _Client(NamedTuple):
    models: Any
    genai: Any
    http: Any


class GenaiTransport:
    """A `Transport` over google-genai's asynchronous client.

    Args:
        project: The project that pays; None takes `GOOGLE_CLOUD_PROJECT`, or the one the credentials name.
        location: A region such as `us-central1`, or `global`.
        base_url: Of an emulator, asked without credentials; None asks Google.
        credentials: google-auth credentials; None takes Application Default Credentials.

    >>> GenaiTransport("my-project", base_url="http://127.0.0.1:8301").name  # loads and connects nothing yet
    'vertex rest'
    """

    def __init__(
        self,
        project: str | None = None,
        location: str = "us-central1",
        *,
        base_url: str | None = None,
        credentials: Any = None,
    ) -> None:
        self._project = project
        self._location = location
        self._base_url = base_url
        self._credentials = credentials
        self._clients: PerLoop[_Loaded, _Client] = PerLoop(self._load, self._connect, _close)

    @property
    def name(self) -> str:
        """`vertex rest`."""
        return "vertex rest"

    async def warm(self) -> None:
        """Load google-genai and authorise; the first request connects.

        Raises:
            NotAuthorised: there are no credentials, or they are refused.
            VertexError: the packages of `perfkit[vertex]` are not installed, or no project is named.
        """
        await self._clients.get(within_s=_WARM_S)

    async def aclose(self) -> None:
        """Close this event loop's connections; what is under way fails. Asked again, it connects again."""
        await self._clients.aclose()

    async def embed(self, request: EmbedRequest, *, timeout_s: float) -> EmbedReply:
        """Send one request."""
        spec = EMBEDDING_MODELS.get(request.model)
        if spec is not None and spec.method == "embedContent" and len(request.texts) != 1:
            raise one_text_only(request.model)
        client = await self._clients.get(within_s=timeout_s)
        texts = [text.content for text in request.texts]
        with _Refusals(request.model, texts=len(texts)):
            async with asyncio.timeout(timeout_s):
                answer = await client.models.embed_content(
                    model=request.model,
                    contents=texts[0] if len(texts) == 1 else texts,
                    config=_embed_config(request, timeout_s),
                )
        found = answer.embeddings or []
        if len(found) != len(texts):
            raise too_few(len(found), len(texts), request.model)
        billed = getattr(answer.metadata, "billable_character_count", None)
        return EmbedReply([_vector(each, request.model) for each in found], billed or 0)

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Send one request and return the whole answer."""
        client = await self._clients.get(within_s=timeout_s)
        with _Refusals(request.model):
            async with asyncio.timeout(timeout_s):
                answer = await client.models.generate_content(
                    model=request.model, contents=request.prompt, config=_config(request, timeout_s)
                )
        return answered(_generated(answer, request.model), request.model)

    async def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Send one request and yield its answer as it comes; `timeout_s` is for each piece."""
        client = await self._clients.get(within_s=timeout_s)
        pieces: Any = None
        try:
            with _Refusals(request.model, piece_s=timeout_s):
                async with asyncio.timeout(timeout_s):
                    pieces = await client.models.generate_content_stream(
                        model=request.model, contents=request.prompt, config=_config(request, timeout_s)
                    )
            while True:
                with _Refusals(request.model, piece_s=timeout_s):
                    async with asyncio.timeout(timeout_s):
                        piece = await anext(pieces, None)
                if piece is None:
                    return
                yield _generated(piece, request.model)
        finally:
            if pieces is not None:
                await pieces.aclose()

    def _load(self) -> _Loaded:
        """In a thread: what takes long and belongs to no event loop."""
        try:
            import httpx
            from google import genai
            from google.oauth2.credentials import Credentials
        except ImportError as missing:
            raise missing_extra(missing) from None
        tls = httpx.create_ssl_context()
        if self._base_url is not None:
            nobody = Credentials(token="emulator")  # type: ignore[no-untyped-call]  # noqa: S106  # means nothing
            return _Loaded(genai, httpx, tls, nobody, self._project or "emulator")
        credentials, project = application_credentials(self._project, self._credentials)
        return _Loaded(genai, httpx, tls, credentials, project)

    def _connect(self, loaded: _Loaded) -> _Client:
        http = loaded.httpx.AsyncClient(verify=loaded.tls, trust_env=self._base_url is None)
        options: dict[str, Any] = {"httpx_async_client": http, "client_args": {"verify": loaded.tls}}
        if self._base_url is not None:
            options["base_url"] = self._base_url
        genai = loaded.genai.Client(
            vertexai=True,
            project=loaded.project,
            location=self._location,
            credentials=loaded.credentials,
            http_options=options,
        )
        return _Client(genai.aio.models, genai, http)

    def __repr__(self) -> str:
        return f"GenaiTransport({self._base_url or self._location!r})"


class _Refusals:
    """Turns what google-genai and httpx raise into perfkit's errors."""

    def __init__(self, model: str, *, texts: int | None = None, piece_s: float | None = None) -> None:
        self._model = model
        self._texts = texts
        self._piece_s = piece_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, trouble: BaseException | None, _where: object) -> None:
        if isinstance(trouble, asyncio.CancelledError):
            raise was_closed(trouble, self._model) from None
        if isinstance(trouble, Exception) and not isinstance(trouble, PerfkitError):
            raise self._error_of(trouble) from None

    def _error_of(self, trouble: Exception) -> PerfkitError:
        names = {kind.__name__ for kind in type(trouble).__mro__}  # httpx has a twin, httpx2, with the same
        model = self._model
        if "APIError" in names:
            return _refusal(trouble, model, self._texts)
        if names & {"TimeoutError", "TimeoutException"}:
            if self._piece_s is not None:
                return piece_missing(model, self._piece_s)
            return error_of("DEADLINE_EXCEEDED", "", model=model)
        if names & {"GoogleAuthError"} and "TransportError" not in names:
            return credentials_refused(type(trouble).__name__, model)
        if isinstance(trouble, ValueError) and not names & {"HTTPError", "InvalidURL"}:
            return unsayable("a text or a parameter", model)
        return Unavailable(
            f"The connection to Vertex AI failed while {model} was asked ({type(trouble).__name__}). The "
            "same request may succeed later.",
            dependency=f"vertex {model}",
        )


def _embed_config(request: EmbedRequest, timeout_s: float) -> dict[str, Any]:
    options = _options(timeout_s)
    config: dict[str, Any] = {"auto_truncate": request.auto_truncate, "http_options": options}
    if request.dimensions is not None:
        config["output_dimensionality"] = request.dimensions
    first = request.texts[0] if request.texts else Text("")
    if all((text.task_type, text.title) == (first.task_type, first.title) for text in request.texts):
        config.update({"task_type": first.task_type or None, "title": first.title or None})
    else:
        options["extra_body"] = {"instances": [_instance(text) for text in request.texts]}
    return config


def _instance(text: Text) -> dict[str, str]:
    fields = {"content": text.content, "task_type": text.task_type, "title": text.title}
    return {name: value for name, value in fields.items() if value or name == "content"}


def _config(request: GenerateRequest, timeout_s: float) -> dict[str, Any]:
    return {
        "system_instruction": request.system or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_output_tokens": request.max_output_tokens,
        "stop_sequences": list(request.stop) or None,
        "seed": request.seed,
        "candidate_count": 1,
        "http_options": _options(timeout_s),
    }


def _options(timeout_s: float) -> dict[str, Any]:
    return {"timeout": max(1, round(timeout_s * 1e3))}


def _vector(found: Any, model: str) -> Vector:
    if not found.values:
        raise WrongAnswer(
            f"{model} sent an embedding without values. Ask again; if it goes on, the service is at fault.",
            model=model,
        )
    said = found.statistics
    return Vector(
        np.array(found.values, np.float32),
        int((said and said.token_count) or 0),
        bool(said and said.truncated),
    )


def _generated(answer: Any, model: str) -> GenerateReply:
    usage = answer.usage_metadata
    text = finished = ""
    if answer.candidates:
        candidate = answer.candidates[0]
        parts = (candidate.content and candidate.content.parts) or ()
        text = "".join(part.text for part in parts if part.text and not part.thought)
        finished = candidate.finish_reason.name if candidate.finish_reason else ""
    elif answer.prompt_feedback and answer.prompt_feedback.block_reason:
        raise prompt_blocked(answer.prompt_feedback.block_reason.name, model)
    return GenerateReply(
        text,
        input_tokens=(usage and usage.prompt_token_count) or 0,
        output_tokens=((usage and usage.candidates_token_count) or 0)
        + ((usage and usage.thoughts_token_count) or 0),
        finish_reason="" if finished == "FINISH_REASON_UNSPECIFIED" else finished,
        model_version=answer.model_version or "",
    )


def _refusal(trouble: Any, model: str, texts: int | None) -> PerfkitError:
    status = trouble.status if isinstance(trouble.status, str) else status_of(trouble.code or 500)
    message = trouble.message if isinstance(trouble.message, str) else ""
    return error_of(status, message, model=model, retry_after_s=_retry_after_s(trouble.details), texts=texts)


def _retry_after_s(document: Any) -> float | None:
    """Return what RetryInfo says in an error's body: `7s`, `0.250s`."""
    error = document.get("error") if isinstance(document, Mapping) else None
    details = error.get("details") if isinstance(error, Mapping) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping) and detail.get("@type") == _RETRY_INFO:
            try:
                return float(str(detail.get("retryDelay", "")).removesuffix("s"))
            except ValueError:
                return None
    return None


async def _close(client: _Client) -> None:
    await client.http.aclose()
    client.genai.close()
