"""The client speaks HTTP/1.1 as it comes, counts every byte, and says plainly when an answer broke off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httptools
import pytest

from perfkit.errors import Unavailable
from perfkit.lab.web.client import Answered, HttpClient, request_bytes

ASK = request_bytes("/answers/1")
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
NOTHING_NEW = b'HTTP/1.1 304 Not Modified\r\netag: W/"1"\r\n\r\n'
CLOSING = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
TO_THE_END = b"HTTP/1.1 200 OK\r\n\r\nuntil it ends"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"

Script = Sequence[Sequence[bytes]]
"""What each connection answers to its first, second … request; a connection whose script is done closes."""


@asynccontextmanager
async def scripted(folder: Path, script: Script, *, piece: int = 1 << 20) -> AsyncIterator[HttpClient]:
    """A server that answers as scripted, in pieces, and a client of it."""
    connections = iter(script)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in next(connections):
            await reader.readuntil(b"\r\n\r\n")
            for start in range(0, len(answer), piece):
                writer.write(answer[start : start + piece])
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "socket")
    client = HttpClient(str(folder / "socket"))
    try:
        yield client
    finally:
        await client.aclose()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, CLOSING, TO_THE_END], ids=lambda a: a[-12:].decode())
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
async def test_an_answer_is_whole_however_it_is_cut_and_however_it_ends(
    tmp_path: Path, answer: bytes, piece: int
) -> None:
    async with scripted(tmp_path, [[answer]], piece=piece) as client:
        assert await client.ask(ASK) == Answered(200, len(answer))


async def test_a_304_has_no_body_to_wait_for(tmp_path: Path) -> None:
    async with scripted(tmp_path, [[NOTHING_NEW, WHOLE]]) as client:
        assert await client.ask(ASK) == Answered(304, len(NOTHING_NEW))
        assert await client.ask(ASK) == Answered(200, len(WHOLE))
        assert client.opened == 1


async def test_an_interim_answer_is_counted_and_is_not_the_answer(tmp_path: Path) -> None:
    async with scripted(tmp_path, [[INTERIM + WHOLE]], piece=11) as client:
        assert await client.ask(ASK) == Answered(200, len(INTERIM) + len(WHOLE))


async def test_a_connection_is_used_again_unless_the_server_says_it_closes(tmp_path: Path) -> None:
    async with scripted(tmp_path, [[WHOLE, CHUNKED, CLOSING], [WHOLE]]) as client:
        sizes = [(await client.ask(ASK)).wire_bytes for _ in range(4)]

        assert sizes == [len(WHOLE), len(CHUNKED), len(CLOSING), len(WHOLE)]
        assert client.opened == 2


async def test_requests_at_one_moment_have_a_connection_each(tmp_path: Path) -> None:
    async with scripted(tmp_path, [[WHOLE], [WHOLE], [WHOLE]]) as client:
        assert len(await asyncio.gather(*(client.ask(ASK) for _ in range(3)))) == 3
        assert client.opened == 3


async def test_a_kept_connection_the_server_has_closed_is_opened_anew(tmp_path: Path) -> None:
    """No failure of the request: it was never heard."""
    async with scripted(tmp_path, [[WHOLE], [WHOLE]]) as client:
        await client.ask(ASK)
        assert await client.ask(ASK) == Answered(200, len(WHOLE))
        assert client.opened == 2


@pytest.mark.parametrize("answer", [WHOLE[:-2], CHUNKED[:-7], WHOLE[:20], b""], ids=len)
async def test_an_answer_that_breaks_off_is_a_failure_that_says_where(tmp_path: Path, answer: bytes) -> None:
    async with scripted(tmp_path, [[answer]]) as client:
        with pytest.raises(Unavailable, match=f"after {len(answer)} bytes of an answer") as failure:
            await client.ask(ASK)

    assert failure.value.dependency == "service"


async def test_what_is_not_http_is_refused(tmp_path: Path) -> None:
    async with scripted(tmp_path, [[b"+PONG\r\n"]]) as client:
        with pytest.raises(httptools.HttpParserError):
            await client.ask(ASK)


async def test_a_service_that_is_not_there_is_said_to_be_away(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not take connections"):
        await HttpClient(str(tmp_path / "nobody")).ask(ASK)


async def test_a_request_that_is_given_up_takes_its_connection_with_it(tmp_path: Path) -> None:
    """Its answer may still come, and must not be taken for the next one's."""
    async with scripted(tmp_path, [[b"", WHOLE], [WHOLE]]) as client:
        patient = asyncio.ensure_future(client.ask(ASK))
        while not client.opened:  # noqa: ASYNC110  # until it is on its way
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        patient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await patient
        assert await client.ask(ASK) == Answered(200, len(WHOLE))
        assert client.opened == 2


def test_a_request_is_plain_bytes() -> None:
    made: Callable[..., bytes] = request_bytes
    assert made("/a", [("accept-encoding", "br")], method="HEAD").splitlines() == [
        b"HEAD /a HTTP/1.1",
        b"host: service",
        b"accept-encoding: br",
        b"",
    ]
