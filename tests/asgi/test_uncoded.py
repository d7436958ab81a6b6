"""The short way says of a response what the long one says."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from perfkit.asgi import AsgiSettings, CompressionMiddleware
from perfkit.asgi.compress import Compression
from perfkit.asgi.middleware import _Layer
from perfkit.asgi.stages import Stages
from tests.asgi.imitated import Answer, Field, Scripted, ask, body, start

BODY = b'{"name": "Ada"}, ' * 100
_FIELDS: dict[str, tuple[str, ...]] = {
    "content-type": ("application/json", "image/png", "text/event-stream", "nonsense", "", "a" * 300),
    "Content-Type": ("text/plain",),
    "content-length": (str(len(BODY)), "40000000"),
    "vary": ("Origin", "accept-encoding", "*"),
    "Vary": ("Cookie",),
    "cache-control": ("no-transform", "public, max-age=60"),
    "content-encoding": ("gzip", "identity"),
    "content-range": ("bytes 0-4/9",),
    "etag": ('"one"',),
    "accept-ranges": ("bytes",),
}
fields = st.lists(
    st.sampled_from(sorted(_FIELDS)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(_FIELDS[name]))
    ),
    max_size=5,
    unique_by=lambda field: field[0],
)
refusing = st.sampled_from((None, "", "identity", "compress", "gzip;q=0", "gzip;q=0.1, identity", "*;q=0"))


class Long(_Layer):
    """The layer without its short way."""

    def __init__(self, app: Scripted) -> None:
        super().__init__(app, Stages(compression=Compression(AsgiSettings())))
        self._compression_alone = None


@given(
    said=fields,
    accept=refusing,
    method=st.sampled_from(("GET", "HEAD", "POST")),
    status=st.sampled_from((200, 201, 204, 206, 304, 404)),
)
def test_a_client_that_takes_no_coding_gets_what_the_long_way_gives(
    said: list[Field], accept: str | None, method: str, status: int
) -> None:
    """The same head and body, whatever the application says; a length that nobody said is not measured."""
    steps = [start(status, *said), body(BODY)]
    layers = CompressionMiddleware(Scripted(steps)), Long(Scripted(steps))

    async def both() -> list[Answer]:
        return [await ask(layer, accept, method=method) for layer in layers]

    short, long = asyncio.run(both())

    assert short.raw == long.raw
    assert short.status == long.status
    measured = {(b"content-length", b"%d" % len(BODY))}
    assert set(long.fields) - measured == {
        (name, value) for name, value in short.fields if (name, value) not in measured
    }
    left_alone = [layer.stages.compression.counts.left_alone for layer in layers if layer.stages.compression]
    assert left_alone[0] == left_alone[1]


async def test_a_client_that_takes_a_coding_takes_the_long_way() -> None:
    """Also when it says so in several lines."""
    app = CompressionMiddleware(Scripted([start(200, ("content-type", "text/plain")), body(BODY)]))

    answers = [await ask(app, "gzip"), await ask(app, ["identity;q=0.5", "gzip"])]

    assert [answer.coding for answer in answers] == ["gzip", "gzip"]
    assert [answer.body for answer in answers] == [BODY, BODY]


async def test_an_application_s_own_list_of_fields_stays_as_it_was() -> None:
    """It may send the same list with every answer."""
    headers = [(b"content-type", b"text/plain")]
    message = {"type": "http.response.start", "status": 200, "headers": headers}

    answers = [await ask(CompressionMiddleware(Scripted([message, body(BODY)]))) for _ in range(2)]

    assert [answer.get("vary") for answer in answers] == ["Accept-Encoding", "Accept-Encoding"]
    assert headers == [(b"content-type", b"text/plain")]
