"""How many round trips a connection takes before its first command: what a cold start waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from harness import Target, table
from pool_questions.clients import OURS, Clients, address, clients
from pool_questions.gets import KEY, VALUE

T = TypeVar("T")

TARGET = Target(1, at_most=True)
HOLD_S = 0.02
"""How long the relay keeps a reply: whatever the client sends without waiting for it arrives meanwhile."""


class Relay:
    """Stands before the server and counts, on each connection, how often the client waited for an answer."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._ends: list[asyncio.StreamWriter] = []
        self.asked: list[list[bytes]] = []
        """On each connection, what the client sent before it waited for a reply, in order."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        self._ends += [writer, upstream_writer]
        bursts: list[bytes] = []
        self.asked.append(bursts)
        answered = True

        async def there() -> None:
            nonlocal answered
            while data := await reader.read(65_536):
                if answered:
                    bursts.append(b"")
                bursts[-1] += data
                answered = False
                upstream_writer.write(data)
            upstream_writer.close()

        async def back() -> None:
            nonlocal answered
            while data := await upstream_reader.read(65_536):
                await asyncio.sleep(HOLD_S)
                answered = True
                writer.write(data)
            writer.close()

        await asyncio.gather(there(), back(), return_exceptions=True)

    async def aclose(self) -> None:
        """End every connection and wait until both of its directions have ended."""
        for end in self._ends:
            end.close()
        carrying = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*carrying, return_exceptions=True)

    def trips_before(self, key: str) -> int:
        """Return how often the client waited on the connection that asked for a key, before it did."""
        for bursts in self.asked:
            for number, burst in enumerate(bursts):
                if key.encode() in burst:
                    return number
        raise LookupError(key)


async def round_trips(found: Clients, url: str, _rounds: int) -> str:
    """Count them for each client, which is made anew; they are the same each time, so once will do."""
    await found.ours.set(KEY, VALUE)
    rows = []
    with _relay(url) as (relay, relayed_url):
        async with clients(relayed_url) as fresh:
            for name, get in fresh.get.items():
                relay.asked = [bursts for bursts in relay.asked if KEY.encode() not in b"".join(bursts)]
                await get(KEY)
                trips = relay.trips_before(KEY)
                judged = ["", ""]
                if name == OURS:
                    judged = [str(TARGET), "yes" if trips <= TARGET.bound else "**no**"]
                rows.append([name, str(trips), *judged])
    return table(["", "round trips before the first command", "target", "met"], rows)


@contextmanager
def _relay(url: str) -> Iterator[tuple[Relay, str]]:
    """Run a relay on a thread of its own: some clients block the event loop while they connect."""
    relay = Relay(*address(url))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()

    def there(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        server = there(asyncio.start_server(relay, "127.0.0.1", 0))
        yield relay, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        loop.call_soon_threadsafe(server.close)
        there(relay.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
