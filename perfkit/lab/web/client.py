"""An HTTP/1.1 client that counts and does not read: status and bytes on the wire, nothing decoded.

It stands beside the server on the same machine, so what it costs it takes from what is measured. Requests are
bytes made beforehand; llhttp, by way of `httptools`, finds where a response ends; the body is passed over.
Connections are kept and used again, the last one first. What it costs stands in docs/measuring.md.

RFC 9112: a body ends by its length, its last chunk or the end of the connection (§6.3); interim answers are
passed over (RFC 9110 §15.2); a connection the server has closed while it was idle is no failure of a request
that can be repeated, and is opened anew (RFC 9112 §9.3.1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import httptools

from perfkit.errors import Unavailable

__all__ = ["Answered", "HttpClient", "request_bytes"]

_INTERIM = range(100, 200)


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back: the status and how many bytes it took, the head included."""

    status: int
    wire_bytes: int


def request_bytes(target: str, fields: Iterable[tuple[str, str]] = (), *, method: str = "GET") -> bytes:
    """Return a request as it travels.

    >>> request_bytes("/answers/7", [("accept-encoding", "gzip")])
    b'GET /answers/7 HTTP/1.1\\r\\nhost: service\\r\\naccept-encoding: gzip\\r\\n\\r\\n'
    """
    lines = [f"{method} {target} HTTP/1.1", "host: service", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class HttpClient:
    """Connections to one address, opened as requests want them and kept for the next."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        """Take a Unix socket's path, or a host and a port."""
        self._address = address
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self.opened = 0
        """How many connections there have been."""

    async def ask(self, request: bytes) -> Answered:
        """Send a request and wait for the last byte of its answer.

        Raises:
            Unavailable: the service cannot be reached, or ended the connection before its answer did.
            httptools.HttpParserError: what came is not HTTP.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                try:
                    return await self._asked(connection, request)
                except _ClosedBeforehand:
                    continue
        return await self._asked(await self._connected(), request)

    async def aclose(self) -> None:
        """Close every connection."""
        for connection in list(self._open):
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)

    async def _asked(self, connection: _Connection, request: bytes) -> Answered:
        try:
            answered = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if connection.usable:
            self._idle.append(connection)
        return answered

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self._address, str):
                _, connection = await loop.create_unix_connection(
                    lambda: _Connection(self._open), self._address
                )
            else:
                _, connection = await loop.create_connection(lambda: _Connection(self._open), *self._address)
        except OSError as trouble:
            raise Unavailable(
                f"The service does not take connections ({trouble}). It has ended, or was never started.",
                dependency="service",
            ) from None
        self.opened += 1
        return connection


class _ClosedBeforehand(Unavailable):
    """A kept connection was closed by the server before it heard the request."""


class _Connection(asyncio.Protocol):
    """One connection: at most one request at a time, its answer found by the parser's callbacks."""

    def __init__(self, among: set[_Connection]) -> None:
        self._among = among
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answered] | None = None
        self._used = False
        self._received = 0
        self._to_the_end = False
        self.usable = False

    async def ask(self, request: bytes) -> Answered:
        assert self._transport is not None  # noqa: S101  # connected, or nobody could ask
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._to_the_end = False
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a stream's is one
        self._transport = transport
        self._among.add(self)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._waiting is None:  # nobody asked: what comes is no answer of ours
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as trouble:
            self._fail(trouble)
            self.close()

    def eof_received(self) -> None:
        if self._to_the_end:
            self._answer()

    def connection_lost(self, failure: Exception | None) -> None:
        self.usable = False
        self._among.discard(self)
        kind = _ClosedBeforehand if self._used and not self._received else Unavailable
        why = f": {failure}" if failure else ""
        self._fail(
            kind(
                f"The service ended the connection after {self._received} bytes of an answer{why}. "
                "It has ended, or broke off.",
                dependency="service",
            )
        )

    # What the parser calls.

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._to_the_end = status not in _INTERIM and not self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() not in _INTERIM:
            self._answer()

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, None
        self._to_the_end = False
        self._used = True
        if not self._parser.should_keep_alive():
            self.close()
        if waiting is not None and not waiting.done():
            waiting.set_result(Answered(self._parser.get_status_code(), self._received))

    def _fail(self, failure: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(failure)
