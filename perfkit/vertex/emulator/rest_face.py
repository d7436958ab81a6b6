"""The emulator over REST: what google-genai, curl and other languages' clients ask.

A plain ASGI application. It answers the methods of publisher models under `/v1` and `/v1beta1`, with and
without `projects/…/locations/…/` (a client with an API key leaves that out), and refuses in Google's JSON.
A client that hangs up has its request cancelled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs

import msgspec
import numpy as np

from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import Fault
from perfkit.vertex.protocols import EmbedRequest, GenerateReply, GenerateRequest, Text, Vector
from perfkit.vertex.refusals import HTTP_CODES

__all__ = ["rest_app"]

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

_PATH: Final = re.compile(
    r"/v1(?:beta1)?/(?:projects/[^/]+/locations/[^/]+/)?publishers/google/models/([^/:]+):(\w+)"
)
_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"


def rest_app(core: EmulatedVertex) -> _App:
    """Return an ASGI application that answers as an emulator does."""
    return _Rest(core)


class _Rest:
    def __init__(self, core: EmulatedVertex) -> None:
        self._core = core

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        body = await _body(receive)
        answering = asyncio.ensure_future(self._answer(scope, body, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not answering.done():
                answering.cancel()
        await asyncio.wait({answering})
        if not answering.cancelled():
            answering.result()

    async def _answer(self, scope: _Scope, body: bytes, send: _Send) -> None:
        try:
            model, method = _asked(scope)
            query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
            document = _document(body)
            if method == "streamGenerateContent":
                await self._stream(_generate_request(model, document), send, sse=query.get("alt") == ["sse"])
                return
            answer = await self._one(model, method, document)
        except Fault as fault:
            await _send_json(send, _refusal(fault), status=HTTP_CODES.get(fault.status, 500))
        except (TypeError, KeyError, ValueError, AttributeError):
            wrong = Fault("INVALID_ARGUMENT", "Invalid JSON payload received. A field has the wrong type.")
            await _send_json(send, _refusal(wrong), status=400)
        else:
            await _send_json(send, answer)

    async def _one(self, model: str, method: str, document: Mapping[str, Any]) -> dict[str, Any]:
        if method == "predict":
            reply = await self._core.embedded(_predict_request(model, document), method="predict")
            return {
                "predictions": [{"embeddings": _embeddings(vector)} for vector in reply.vectors],
                "metadata": {"billableCharacterCount": reply.billable_characters},
            }
        if method == "embedContent":
            reply = await self._core.embedded(_embed_request(model, document), method="embedContent")
            return _embedded(reply.vectors[0]) if reply.vectors else {}
        if method == "generateContent":
            return _generated(await self._core.generated(_generate_request(model, document)))
        if method == "countTokens":
            texts = [text.content for text in _instances(document)] + [_text_of(document.get("contents", ()))]
            return {
                "totalTokens": sum(self._core.tokens_of(text) for text in texts),
                "totalBillableCharacters": sum(len("".join(text.split())) for text in texts),
            }
        raise Fault("NOT_FOUND", f"The emulator has no method {method}.")

    async def _stream(self, request: GenerateRequest, send: _Send, *, sse: bool) -> None:
        """Send pieces as they come: server-sent events, or the elements of one JSON array."""
        pieces = aiter(self._core.streamed(request))
        piece = await anext(pieces)  # a refusal before it has a status of its own
        kind = b"text/event-stream" if sse else b"application/json; charset=UTF-8"
        await send(_start(200, kind))
        before, after = (b"data: ", b"\r\n\r\n") if sse else (b"[", b"")
        try:
            while piece is not None:
                await _send_more(send, before + msgspec.json.encode(_generated(piece)) + after)
                before = before if sse else b",\r\n"
                piece = await anext(pieces, None)  # type: ignore[arg-type]  # None: there is no more
        except Fault as fault:
            await _send_more(send, before + msgspec.json.encode(_refusal(fault)) + after)
        await send({"type": "http.response.body", "body": b"" if sse else b"]"})


async def _body(receive: _Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _left(receive: _Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _asked(scope: _Scope) -> tuple[str, str]:
    found = _PATH.fullmatch(scope["path"])
    if found is None or scope["method"] != "POST":
        raise Fault(
            "NOT_FOUND",
            "The emulator answers POST /v1/projects/PROJECT/locations/LOCATION/publishers/google/models/"
            "MODEL:METHOD, where METHOD is predict, embedContent, generateContent, streamGenerateContent or "
            "countTokens.",
        )
    return found.group(1), found.group(2)


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Fault("INVALID_ARGUMENT", "Invalid JSON payload received.") from None
    if not isinstance(document, dict):
        raise Fault("INVALID_ARGUMENT", "Invalid JSON payload received. Root element must be a message.")
    return document


def _predict_request(model: str, document: Mapping[str, Any]) -> EmbedRequest:
    parameters = document.get("parameters") or {}
    dimensions = parameters.get("outputDimensionality")
    return EmbedRequest(
        model,
        _instances(document),
        None if dimensions is None else int(dimensions),
        bool(parameters.get("autoTruncate", True)),
    )


def _instances(document: Mapping[str, Any]) -> list[Text]:
    return [
        Text(_string(each["content"]), each.get("task_type") or "", each.get("title") or "")
        for each in document.get("instances") or ()
    ]


def _embed_request(model: str, document: Mapping[str, Any]) -> EmbedRequest:
    config = {**document, **(document.get("embedContentConfig") or {})}
    dimensions = config.get("outputDimensionality")
    text = Text(_text_of([document["content"]]), config.get("taskType") or "", config.get("title") or "")
    return EmbedRequest(
        model,
        [text],
        None if dimensions is None else int(dimensions),
        bool(config.get("autoTruncate", True)),
    )


def _generate_request(model: str, document: Mapping[str, Any]) -> GenerateRequest:
    config = document.get("generationConfig") or {}
    return GenerateRequest(
        model,
        _text_of(document["contents"]),
        system=_text_of([document.get("systemInstruction") or {}]),
        temperature=config.get("temperature"),
        top_p=config.get("topP"),
        max_output_tokens=config.get("maxOutputTokens"),
        stop=tuple(config.get("stopSequences") or ()),
        seed=config.get("seed"),
    )


def _text_of(contents: Any) -> str:
    return "".join(_string(part["text"]) for content in contents for part in content.get("parts") or ())


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _embeddings(vector: Vector) -> dict[str, Any]:
    statistics = {"token_count": vector.token_count, "truncated": vector.truncated}
    return {"values": vector.values.astype(np.float64).tolist(), "statistics": statistics}


def _embedded(vector: Vector) -> dict[str, Any]:
    return {
        "embedding": {"values": vector.values.astype(np.float64).tolist()},
        "usageMetadata": {"promptTokenCount": vector.token_count},
        "truncated": vector.truncated,
    }


def _generated(reply: GenerateReply) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": reply.text}]}}
    if reply.finish_reason:
        candidate["finishReason"] = reply.finish_reason
    usage = {"promptTokenCount": reply.input_tokens, "candidatesTokenCount": reply.output_tokens}
    usage["totalTokenCount"] = reply.input_tokens + reply.output_tokens
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": reply.model_version}


def _refusal(fault: Fault) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": HTTP_CODES.get(fault.status, 500),
        "message": fault.message,
        "status": fault.status,
    }
    if fault.retry_after_s is not None:
        error["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{fault.retry_after_s:.9f}s"}]
    return {"error": error}


def _start(status: int, kind: bytes, length: int | None = None) -> dict[str, Any]:
    headers = [(b"content-type", kind)]
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _send_json(send: _Send, document: Mapping[str, Any], *, status: int = 200) -> None:
    body = msgspec.json.encode(document)
    await send(_start(status, b"application/json; charset=UTF-8", len(body)))
    await send({"type": "http.response.body", "body": body})


async def _send_more(send: _Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
