"""The emulator over gRPC: what Google's own client connects to in tests, benchmarks and measured trials.

It answers four methods of `google.cloud.aiplatform.v1.PredictionService` for publisher models. Vectors are
written by stride (`perfkit.vertex.wire`), so that a server on the same machine costs no more processor time
than the client under test. A `Fault` becomes a status, with `RetryInfo` in its details as Google sends it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, NoReturn

import grpc  # type: ignore[import-untyped]  # no stubs
from google.cloud.aiplatform_v1.types import Candidate
from google.cloud.aiplatform_v1.types import prediction_service as messages
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]  # no stubs
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]  # no stubs
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]  # no stubs

from perfkit.errors import Unavailable
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import Fault
from perfkit.vertex.protocols import EmbedRequest, GenerateReply, GenerateRequest, Text
from perfkit.vertex.wire import write_embedding, write_predictions

__all__ = ["GrpcServer", "serve_grpc"]

_SERVICE: Final = "/google.cloud.aiplatform.v1.PredictionService/"
_TASKS: Final[dict[int, str]] = {
    task.value: task.name
    for task in messages.EmbedContentRequest.EmbeddingTaskType  # type: ignore[attr-defined]  # an enum
    if task.value
}
_FINISHED: Final[dict[str, int]] = {
    reason.name: reason.value
    for reason in Candidate.FinishReason  # type: ignore[attr-defined]  # an enum
}
_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),  # a port that is taken must be refused, not shared
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
]
_MESSAGE_CHARS: Final = 1_000  # trailers are headers, and those have a limit


def _plain(message: Any) -> Any:
    """The protobuf class behind a proto-plus one."""
    return type(message.pb(message()))


_PREDICT = _plain(messages.PredictRequest)
_EMBED = _plain(messages.EmbedContentRequest)
_GENERATE = _plain(messages.GenerateContentRequest)
_GENERATED = _plain(messages.GenerateContentResponse)


class GrpcServer:
    """A server that runs."""

    def __init__(self, server: Any, host: str, port: int) -> None:
        self._server = server
        self.host = host
        self.port = port

    @property
    def endpoint(self) -> str:
        """`host:port`, as `GoogleTransport(endpoint=…)` and `PERFKIT_VERTEX_ENDPOINT` take it."""
        return f"{self.host}:{self.port}"

    async def aclose(self) -> None:
        """Stop; what is under way is cancelled, as by a server that restarts."""
        await self._server.stop(None)


async def serve_grpc(core: EmulatedVertex, host: str = "127.0.0.1", port: int = 0) -> GrpcServer:
    """Serve an emulator on the running loop; port 0 takes a free one.

    Raises:
        Unavailable: the port is taken.
    """
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_Methods(core),))
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise Unavailable(
            f"The emulator cannot listen at {host}:{port}: the address is taken or not of this machine. Name "
            "another port, or 0 for a free one.",
            dependency="vertex emulator",
        )
    await server.start()
    return GrpcServer(server, host, bound)


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """The methods, by their paths; others are answered UNIMPLEMENTED by gRPC."""

    def __init__(self, core: EmulatedVertex) -> None:
        self._core = core
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        written = _GENERATED.SerializeToString
        self._handlers = {
            "Predict": unary(self._predict, request_deserializer=_PREDICT.FromString),
            "EmbedContent": unary(self._embed_content, request_deserializer=_EMBED.FromString),
            "GenerateContent": unary(
                self._generate, request_deserializer=_GENERATE.FromString, response_serializer=written
            ),
            "StreamGenerateContent": stream(
                self._stream, request_deserializer=_GENERATE.FromString, response_serializer=written
            ),
        }

    def service(self, call: Any) -> Any:
        """Return what handles a call; gRPC asks."""
        path: str = call.method
        return self._handlers.get(path.removeprefix(_SERVICE)) if path.startswith(_SERVICE) else None

    async def _predict(self, asked: Any, context: Any) -> bytes:
        try:
            reply = await self._core.embedded(_predict_request(asked), method="predict")
        except Fault as fault:
            await _abort(context, fault)
        return write_predictions(reply)

    async def _embed_content(self, asked: Any, context: Any) -> bytes:
        try:
            reply = await self._core.embedded(_embed_request(asked), method="embedContent")
        except Fault as fault:
            await _abort(context, fault)
        return write_embedding(reply.vectors[0]) if reply.vectors else b""

    async def _generate(self, asked: Any, context: Any) -> Any:
        try:
            reply = await self._core.generated(_generate_request(asked))
        except Fault as fault:
            await _abort(context, fault)
        return _answer(reply)

    async def _stream(self, asked: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for piece in self._core.streamed(_generate_request(asked)):
                yield _answer(piece)
        except Fault as fault:
            await _abort(context, fault)


async def _abort(context: Any, fault: Fault) -> NoReturn:
    code, message = grpc.StatusCode[fault.status], fault.message[:_MESSAGE_CHARS]
    if fault.retry_after_s is not None:
        delay = Duration()
        delay.FromNanoseconds(round(fault.retry_after_s * 1e9))
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=delay))
        status = Status(code=code.value[0], message=message, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    await context.abort(code, message)
    raise AssertionError("abort raises")


def _predict_request(asked: Any) -> EmbedRequest:
    texts = []
    for instance in asked.instances:
        fields = instance.struct_value.fields
        if "content" not in fields:
            raise Fault("INVALID_ARGUMENT", "Invalid instances: string_value at content is required.")
        texts.append(
            Text(
                fields["content"].string_value,
                fields["task_type"].string_value if "task_type" in fields else "",
                fields["title"].string_value if "title" in fields else "",
            )
        )
    parameters = asked.parameters.struct_value.fields
    dimensions, truncate = "outputDimensionality" in parameters, "autoTruncate" in parameters
    return EmbedRequest(
        _model(asked.endpoint),
        texts,
        int(parameters["outputDimensionality"].number_value) if dimensions else None,
        parameters["autoTruncate"].bool_value if truncate else True,
    )


def _embed_request(asked: Any) -> EmbedRequest:
    """What stands in `embed_content_config`, or in the fields it replaced."""
    new, old = asked.embed_content_config, asked

    def said(name: str) -> Any:
        holder = new if new.HasField(name) else old if old.HasField(name) else None
        return None if holder is None else getattr(holder, name)

    text = Text(
        "".join(part.text for part in asked.content.parts),
        _TASKS.get(said("task_type") or 0, ""),
        said("title") or "",
    )
    truncate = said("auto_truncate")
    return EmbedRequest(
        _model(asked.model), [text], said("output_dimensionality"), True if truncate is None else truncate
    )


def _generate_request(asked: Any) -> GenerateRequest:
    config = asked.generation_config

    def said(name: str) -> Any:
        return getattr(config, name) if config.HasField(name) else None

    return GenerateRequest(
        _model(asked.model),
        "".join(part.text for content in asked.contents for part in content.parts),
        system="".join(part.text for part in asked.system_instruction.parts),
        temperature=said("temperature"),
        top_p=said("top_p"),
        max_output_tokens=said("max_output_tokens"),
        stop=tuple(config.stop_sequences),
        seed=said("seed"),
    )


def _answer(reply: GenerateReply) -> Any:
    answer = _GENERATED(model_version=reply.model_version)
    candidate = answer.candidates.add(finish_reason=_FINISHED.get(reply.finish_reason, 0))
    candidate.content.role = "model"
    candidate.content.parts.add().text = reply.text
    usage = answer.usage_metadata
    usage.prompt_token_count, usage.candidates_token_count = reply.input_tokens, reply.output_tokens
    usage.total_token_count = reply.input_tokens + reply.output_tokens
    return answer


def _model(path: str) -> str:
    return path.rpartition("/")[2]
