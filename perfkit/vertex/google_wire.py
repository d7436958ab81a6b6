"""perfkit's requests in Google's words, and Google's answers and refusals in perfkit's.

Loading this module loads `google.cloud.aiplatform_v1`, a second of processor time: only
`perfkit.vertex.google` does, in a thread. Requests are made as plain protobuf messages: of the proto-plus
objects that the client takes only the outermost is needed. Vectors are never parsed into objects at all: the
stubs of the two methods that answer with them hand the bytes on, and `perfkit.vertex.wire` reads those.
"""

from __future__ import annotations

from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.aiplatform_v1 import PredictionServiceAsyncClient
from google.cloud.aiplatform_v1.services.prediction_service.transports.grpc_asyncio import (
    PredictionServiceGrpcAsyncIOTransport,
)
from google.cloud.aiplatform_v1.types import Candidate
from google.cloud.aiplatform_v1.types import prediction_service as messages
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # no stubs
from grpc import ChannelConnectivity, aio  # type: ignore[import-untyped]  # no stubs

from perfkit.errors import PerfkitError, RequestRefused, Unavailable, WrongAnswer
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateReply, GenerateRequest
from perfkit.vertex.refusals import error_of, prompt_blocked, unsayable
from perfkit.vertex.wire import Garbled, read_embedding, read_predictions

__all__ = [
    "BytesTransport",
    "connected",
    "embed_content_request",
    "embedded",
    "generate_request",
    "generated",
    "predict_request",
    "ready",
    "refusal",
]


def _names(enum: Any) -> dict[str, int]:
    return {member.name: member.value for member in enum}


_PREDICT = messages.PredictRequest
_EMBED = messages.EmbedContentRequest
_GENERATE = messages.GenerateContentRequest
_PLAIN_PREDICT = type(_PREDICT.pb(_PREDICT()))
_PLAIN_EMBED = type(_EMBED.pb(_EMBED()))
_PLAIN_GENERATE = type(_GENERATE.pb(_GENERATE()))
_TASKS = _names(_EMBED.EmbeddingTaskType)
_FINISHED = {value: name for name, value in _names(Candidate.FinishReason).items()}
_BLOCKED = {
    value: name
    for name, value in _names(messages.GenerateContentResponse.PromptFeedback.BlockedReason).items()
}
_UNSAYABLE = (TypeError, ValueError)  # of protobuf's setters; UnicodeEncodeError is a ValueError
_SERVICE = "/google.cloud.aiplatform.v1.PredictionService/"

_NO_LIMITS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
# A connection that a firewall forgot is found within 40 s of a request, not after the kernel's 15 minutes;
# one that a restart broke is tried again every 5 s, not after 2 minutes.
_OPTIONS = [
    *_NO_LIMITS,
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]
_PLAIN_OPTIONS = [*_OPTIONS, ("grpc.enable_http_proxy", 0)]


class BytesTransport(PredictionServiceGrpcAsyncIOTransport):
    """Google's own transport, except that answers with vectors are left as bytes."""

    @property
    def predict(self) -> Any:
        """The stub of Predict."""
        return self._bytes_stub("Predict", _PREDICT.serialize)

    @property
    def embed_content(self) -> Any:
        """The stub of EmbedContent."""
        return self._bytes_stub("EmbedContent", _EMBED.serialize)

    def _bytes_stub(self, method: str, serializer: Any) -> Any:
        if method not in self._stubs:
            self._stubs[method] = self._logged_channel.unary_unary(
                _SERVICE + method, request_serializer=serializer, response_deserializer=None
            )
        return self._stubs[method]


def connected(host: str, *, credentials: Any) -> tuple[PredictionServiceAsyncClient, Any]:
    """Return a client and its channel on the running loop; plain text where there are no credentials."""
    if credentials is None:
        transport = BytesTransport(channel=aio.insecure_channel(host, options=_PLAIN_OPTIONS))
    else:

        def channel(target: str, **options: Any) -> aio.Channel:
            return BytesTransport.create_channel(target, **{**options, "options": _OPTIONS})

        transport = BytesTransport(host=host, credentials=credentials, channel=channel)
    return PredictionServiceAsyncClient(transport=transport), transport.grpc_channel


async def ready(channel: Any) -> bool:
    """Connect; False where nobody answers at the other end."""
    while (state := channel.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
        if state is ChannelConnectivity.TRANSIENT_FAILURE:
            return False
        await channel.wait_for_state_change(state)
    return True


def predict_request(path: str, request: EmbedRequest) -> Any:
    """Return what `predict` is to be asked.

    Raises:
        RequestRefused: a text cannot be sent.
    """
    plain = _PLAIN_PREDICT(endpoint=path)
    number = 0
    try:
        for number, text in enumerate(request.texts):  # noqa: B007  # said when it fails
            fields = plain.instances.add().struct_value.fields
            fields["content"].string_value = text.content
            if text.task_type:
                fields["task_type"].string_value = text.task_type
            if text.title:
                fields["title"].string_value = text.title
    except _UNSAYABLE:
        raise unsayable(f"text {number}", request.model) from None
    parameters = plain.parameters.struct_value.fields
    parameters["autoTruncate"].bool_value = request.auto_truncate
    if request.dimensions is not None:
        parameters["outputDimensionality"].number_value = request.dimensions
    return _PREDICT.wrap(plain)


def embed_content_request(path: str, request: EmbedRequest) -> Any:
    """Return what `embed_content` is to be asked, which takes one text.

    Raises:
        RequestRefused: the text cannot be sent, or its task type is none.
    """
    (text,) = request.texts
    plain = _PLAIN_EMBED(model=path)
    config = plain.embed_content_config
    config.auto_truncate = request.auto_truncate
    if request.dimensions is not None:
        config.output_dimensionality = request.dimensions
    try:
        plain.content.role = "user"
        plain.content.parts.add().text = text.content
        if text.title:
            config.title = text.title
    except _UNSAYABLE:
        raise unsayable("a text", request.model) from None
    if text.task_type:
        if text.task_type not in _TASKS:
            raise RequestRefused(
                f"{request.model} knows no such task type. It knows {', '.join(_TASKS)}.", model=request.model
            )
        config.task_type = _TASKS[text.task_type]
    return _EMBED.wrap(plain)


def generate_request(path: str, request: GenerateRequest) -> Any:
    """Return what `generate_content` and its streaming twin are to be asked.

    Raises:
        RequestRefused: the prompt cannot be sent, or a parameter is of the wrong kind.
    """
    plain = _PLAIN_GENERATE(model=path)
    config = plain.generation_config
    config.candidate_count = 1
    try:
        turn = plain.contents.add(role="user")
        turn.parts.add().text = request.prompt
        if request.system:
            plain.system_instruction.parts.add().text = request.system
        for name in ("temperature", "top_p", "max_output_tokens", "seed"):
            value = getattr(request, name)
            if value is not None:
                setattr(config, name, value)
        config.stop_sequences.extend(request.stop)
    except _UNSAYABLE:
        raise unsayable("the prompt or a parameter", request.model) from None
    return _GENERATE.wrap(plain)


def embedded(data: bytes, request: EmbedRequest, *, one: bool) -> EmbedReply:
    """Return the vectors in an answer to `embed_content` (`one`) or `predict`.

    Raises:
        WrongAnswer: it cannot be read.
    """
    try:
        return read_embedding(data) if one else read_predictions(data)
    except (Garbled, ValueError, OverflowError, IndexError) as trouble:
        raise WrongAnswer(
            f"{request.model} sent {len(data)} bytes that hold no vectors ({trouble}). The service may have "
            "changed its answers: pin the model, and report this.",
            model=request.model,
        ) from None


def generated(answer: Any, model: str) -> GenerateReply:
    """Return the text of an answer, or of a piece of one.

    Raises:
        RequestRefused: the prompt was blocked.
    """
    plain = type(answer).pb(answer)
    usage = plain.usage_metadata
    text = finished = ""
    if plain.candidates:
        candidate = plain.candidates[0]
        text = "".join(part.text for part in candidate.content.parts if not part.thought)
        finished = _FINISHED.get(candidate.finish_reason, str(candidate.finish_reason))
    elif plain.prompt_feedback.block_reason:
        reason = _BLOCKED.get(plain.prompt_feedback.block_reason, str(plain.prompt_feedback.block_reason))
        raise prompt_blocked(reason, model)
    return GenerateReply(
        text,
        input_tokens=usage.prompt_token_count,
        output_tokens=usage.candidates_token_count + usage.thoughts_token_count,
        finish_reason="" if finished == "FINISH_REASON_UNSPECIFIED" else finished,
        model_version=plain.model_version,
    )


def refusal(trouble: Exception, model: str, *, texts: int | None = None) -> PerfkitError:
    """Return the error that an exception of Google's client stands for."""
    if isinstance(trouble, PerfkitError):
        return trouble
    if isinstance(trouble, GoogleAPICallError):
        code = trouble.grpc_status_code
        status = code.name if code is not None else "UNKNOWN"
        return error_of(
            status, trouble.message or "", model=model, retry_after_s=_retry_after_s(trouble), texts=texts
        )
    return Unavailable(
        f"Google's client could not ask {model}: {type(trouble).__name__}. The same request may succeed "
        "later.",
        dependency=f"vertex {model}",
    )


def _retry_after_s(trouble: GoogleAPICallError) -> float | None:
    for detail in trouble.details:
        if isinstance(detail, RetryInfo):
            return float(detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9)
    return None
