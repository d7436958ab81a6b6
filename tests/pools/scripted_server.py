"""A server that answers what a test tells it to: for what no real one says on demand."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import hiredis

from perfkit.pools import Endpoint

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"
OK = b"+OK\r\n"

Command = list[bytes]
Answer = bytes | None
"""What to send; nothing for None."""


class Visit:
    """One client's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.heard: list[Command] = []
        self.ended = False

    def say(self, data: bytes) -> None:
        """Send bytes, asked or not."""
        self._writer.write(data)

    def reset(self) -> None:
        """End it with RST, as a crashed host or a firewall does."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def end(self) -> None:
        """End it with FIN."""
        self._writer.close()


class ScriptedServer:
    """Greets like Redis; everything else is `answer`'s to say, which may be replaced while it runs."""

    def __init__(self, answer: Callable[[Command, Visit], Answer]) -> None:
        self.answer = answer
        self.visits: list[Visit] = []
        self.port = 0

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint.from_url(f"redis://127.0.0.1:{self.port}/0")

    @property
    def heard(self) -> list[Command]:
        """Every command but the greetings, of all visits."""
        return [command for visit in self.visits for command in visit.heard if command[0] != b"HELLO"]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = Visit(writer)
        self.visits.append(visit)
        requests = hiredis.Reader()
        try:
            while data := await reader.read(65_536):
                requests.feed(data)
                while command := requests.gets():
                    visit.heard.append(command)
                    answer = HELLO if command[0] == b"HELLO" else self.answer(command, visit)
                    if answer is not None:
                        writer.write(answer)
        except ConnectionError:
            pass
        finally:
            visit.ended = True
            writer.close()


@asynccontextmanager
async def scripted(answer: Callable[[Command, Visit], Answer]) -> AsyncIterator[ScriptedServer]:
    """Run a scripted server on a free port."""
    script = ScriptedServer(answer)
    server = await asyncio.start_server(script._serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        for visit in script.visits:
            visit.end()
        await server.wait_closed()


def bulk(value: Any) -> bytes:
    """Return a value as a bulk string."""
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
