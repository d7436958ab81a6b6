"""Vertex AI over gRPC, by Google's own asynchronous client.

gRPC and not REST: a client spends a fifth of the processor time on a text, and 250 vectors arrive as doubles
rather than as 4 MB of digits (`benchmarks/vertex.py`). What the client leaves open is settled here:

    no default timeouts            every call has one
    no retries, or hidden ones     one call is one request; what is repeated is decided above
    4 MiB a message                no limit: 250 vectors of 3,072 numbers are twice that
    one event loop a client        one client an event loop (`perfkit.vertex.per_loop`)
    a second of imports            in a thread, at `warm` or at the first request
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.errors import NotAuthorised, Unavailable, VertexError
from perfkit.vertex.models import EMBEDDING_MODELS
from perfkit.vertex.per_loop import PerLoop, was_closed
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateReply, GenerateRequest
from perfkit.vertex.refusals import answered, credentials_refused, one_text_only, piece_missing, too_few

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import PredictionServiceAsyncClient

__all__ = ["Authorised", "GoogleTransport", "application_credentials", "missing_extra"]

_CLOUD: Final = "https://www.googleapis.com/auth/cloud-platform"
_WARM_S: Final = 60.0
_CONNECT_S: Final = 10.0


class Authorised(NamedTuple):
    """Who asks, and for which project."""

    credentials: Any
    project: str


class _Loaded(NamedTuple):
    wire: ModuleType
    credentials: Any
    project: str


class _Client(NamedTuple):
    wire: ModuleType
    google: PredictionServiceAsyncClient
    channel: Any
    credentials: Any
    path: str


class GoogleTransport:
    """A `Transport` over Google's gRPC client.

    Args:
        project: The project that pays; None takes `GOOGLE_CLOUD_PROJECT`, or the one the credentials name.
        location: A region such as `us-central1`, or `global`.
        endpoint: `host:port` of an emulator, asked in plain text and without credentials; None asks Google.
        credentials: google-auth credentials; None takes Application Default Credentials.

    >>> transport = GoogleTransport("my-project", endpoint="127.0.0.1:8300")  # loads and connects nothing yet
    >>> transport.name
    'vertex grpc'
    """

    def __init__(
        self,
        project: str | None = None,
        location: str = "us-central1",
        *,
        endpoint: str | None = None,
        credentials: Any = None,
    ) -> None:
        self._project = project
        self._location = location
        self._endpoint = endpoint
        self._credentials = credentials
        self._clients: PerLoop[_Loaded, _Client] = PerLoop(self._load, self._connect, _close)

    @property
    def name(self) -> str:
        """`vertex grpc`."""
        return "vertex grpc"

    @property
    def host(self) -> str:
        """Where requests go."""
        if self._endpoint is not None:
            return self._endpoint
        at = "" if self._location == "global" else f"{self._location}-"
        return f"{at}aiplatform.googleapis.com:443"

    async def warm(self) -> None:
        """Load Google's client, connect and authorise, so that the first request does not wait for it.

        Raises:
            NotAuthorised: there are no credentials, or they are refused.
            Unavailable: there is no connection, or none within 10 s.
            VertexError: the packages of `perfkit[vertex]` are not installed, or no project is named.
        """
        client = await self._clients.get(within_s=_WARM_S)
        if self._endpoint is None:
            await asyncio.to_thread(_refresh, client.credentials)
        try:
            async with asyncio.timeout(_CONNECT_S):
                ready = await client.wire.ready(client.channel)
        except TimeoutError:
            ready = False
        if not ready:
            raise Unavailable(
                f"There is no connection to Vertex AI at {self.host}. Check the location, the "
                "network and whether an emulator is meant (PERFKIT_VERTEX_ENDPOINT).",
                dependency="vertex",
            )

    async def aclose(self) -> None:
        """Close this event loop's connection; what is under way fails. Asked again, it connects again."""
        await self._clients.aclose()

    async def embed(self, request: EmbedRequest, *, timeout_s: float) -> EmbedReply:
        """Send one request."""
        spec = EMBEDDING_MODELS.get(request.model)
        one = spec is not None and spec.method == "embedContent"
        if one and len(request.texts) != 1:
            raise one_text_only(request.model)
        client = await self._clients.get(within_s=timeout_s)
        wire, google = client.wire, client.google
        make = wire.embed_content_request if one else wire.predict_request
        message = make(client.path + request.model, request)
        ask: Any = google.embed_content if one else google.predict
        try:
            data = await ask(request=message, retry=None, timeout=timeout_s)
        except asyncio.CancelledError as stopped:
            raise was_closed(stopped, request.model) from None
        except Exception as trouble:
            raise wire.refusal(trouble, request.model, texts=len(request.texts)) from None
        reply: EmbedReply = wire.embedded(data, request, one=one)
        if len(reply.vectors) != len(request.texts):
            raise too_few(len(reply.vectors), len(request.texts), request.model)
        return reply

    async def generate(self, request: GenerateRequest, *, timeout_s: float) -> GenerateReply:
        """Send one request and return the whole answer."""
        client = await self._clients.get(within_s=timeout_s)
        wire, google = client.wire, client.google
        message = wire.generate_request(client.path + request.model, request)
        try:
            answer = await google.generate_content(request=message, retry=None, timeout=timeout_s)
        except asyncio.CancelledError as stopped:
            raise was_closed(stopped, request.model) from None
        except Exception as trouble:
            raise wire.refusal(trouble, request.model) from None
        reply: GenerateReply = wire.generated(answer, request.model)
        return answered(reply, request.model)

    async def stream(self, request: GenerateRequest, *, timeout_s: float) -> AsyncIterator[GenerateReply]:
        """Send one request and yield its answer as it comes; `timeout_s` is for each piece.

        The whole has no timeout of its own: a caller that has had enough closes the generator, or is
        cancelled, and the request ends with it.
        """
        client = await self._clients.get(within_s=timeout_s)
        wire, google = client.wire, client.google
        message = wire.generate_request(client.path + request.model, request)
        call: Any = None
        try:
            async with asyncio.timeout(timeout_s):
                call = await google.stream_generate_content(request=message, retry=None, timeout=None)
            pieces = aiter(call)
            while True:
                async with asyncio.timeout(timeout_s):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield wire.generated(piece, request.model)
        except TimeoutError:
            raise piece_missing(request.model, timeout_s) from None
        except asyncio.CancelledError as stopped:
            raise was_closed(stopped, request.model) from None
        except Exception as trouble:
            raise wire.refusal(trouble, request.model) from None
        finally:
            if call is not None:
                call.cancel()

    def _load(self) -> _Loaded:
        """In a thread: what takes long and belongs to no event loop."""
        try:
            from perfkit.vertex import google_wire
        except ImportError as missing:
            raise missing_extra(missing) from None
        if self._endpoint is not None:
            return _Loaded(google_wire, None, self._project or "emulator")
        credentials, project = application_credentials(self._project, self._credentials)
        return _Loaded(google_wire, credentials, project)

    def _connect(self, loaded: _Loaded) -> _Client:
        wire, credentials, project = loaded
        google, channel = wire.connected(self.host, credentials=credentials)
        path = f"projects/{project}/locations/{self._location}/publishers/google/models/"
        return _Client(wire, google, channel, credentials, path)

    def __repr__(self) -> str:
        return f"GoogleTransport({self.host!r})"


def application_credentials(project: str | None, credentials: Any) -> Authorised:
    """Return credentials and the project they are for; it may read files and ask the metadata server.

    Raises:
        NotAuthorised: there are no credentials.
        VertexError: no project is named anywhere.
    """
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    project = project or os.environ.get("GOOGLE_CLOUD_PROJECT")
    if credentials is None:
        try:
            credentials, theirs = google.auth.default(scopes=[_CLOUD])
        except DefaultCredentialsError:
            raise NotAuthorised(
                "There are no Google credentials here, so Vertex AI cannot be asked. Run `gcloud auth "
                "application-default login`, or on Cloud Run give the service an account with the role "
                "roles/aiplatform.user; for an emulator set PERFKIT_VERTEX_ENDPOINT."
            ) from None
        project = project or theirs
    if not project:
        raise VertexError(
            "No project is named to ask Vertex AI for. Pass project=, or set GOOGLE_CLOUD_PROJECT."
        )
    return Authorised(credentials, project)


def missing_extra(missing: ImportError) -> VertexError:
    """Return the error for a package of the extra that is not installed."""
    return VertexError(
        f"Vertex AI cannot be asked: the package {missing.name} is not installed. "
        "Run `pip install 'perfkit[vertex]'`."
    )


def _refresh(credentials: Any) -> None:
    """In a thread: fetch the first token."""
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.auth.transport.requests import Request

    try:
        if not credentials.valid:
            credentials.refresh(Request())
    except TransportError as trouble:
        raise Unavailable(
            f"No token for Vertex AI could be fetched ({type(trouble).__name__}): the token server did not "
            "answer. Check the network; the same request may succeed later.",
            dependency="vertex",
        ) from None
    except GoogleAuthError as trouble:
        raise credentials_refused(type(trouble).__name__) from None


async def _close(client: _Client) -> None:
    await client.channel.close()
