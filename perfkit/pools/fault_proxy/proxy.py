"""A network that fails on request: a proxy on loopback between a client and a real Redis.

Loopback answers in 30 µs and never fails, which hides what pipelining is worth and what a deadline is for.
The proxy adds a round trip and toxics (`perfkit.pools.fault_proxy.toxics`), which can be changed while
connections are open. It looks at bytes only, so TLS and every protocol pass.

This one lives in the caller's event loop, which is right for tests of faults: a change is in force when `set`
returns. It shares that loop's processor time, and asyncio's timers on Linux round up to a millisecond; to
measure with a round trip take `perfkit.pools.fault_proxy.process.FaultProxyProcess`.

What it cannot imitate: the kernel accepts connections here, so connecting itself costs no added round trip.
"""

from __future__ import annotations

import asyncio
import random
import socket
from dataclasses import replace
from functools import partial

from perfkit.pools.fault_proxy.link import Link, reset_socket
from perfkit.pools.fault_proxy.toxics import Toxics, checked_ms
from perfkit.pools.fault_proxy.upstream import LOOPBACK, Upstream

__all__ = ["FaultProxy"]

_BACKLOG = 4_096
_OUT_OF_FILES_WAIT_S = 0.1
_NO_TOXICS = Toxics()


class FaultProxy:
    """A proxy in the running event loop; `aclose` ends every connection and task.

    >>> import redis.asyncio
    >>> from perfkit.pools.server import RedisServer
    >>> from perfkit.pools.fault_proxy.toxics import StreamToxics
    >>> async def cut_short(url):
    ...     async with FaultProxy.start(url) as proxy, redis.asyncio.Redis.from_url(proxy.url) as client:
    ...         await client.set("key", "value")
    ...         proxy.set(Toxics(replies=StreamToxics(limit_data_bytes=7)))
    ...         return await client.get("key")
    >>> with RedisServer.start() as server:
    ...     asyncio.run(cut_short(server.url))
    Traceback (most recent call last):
    redis.exceptions.ConnectionError: Connection closed by server...
    """

    def __init__(self, upstream: Upstream, *, rtt_ms: float, toxics: Toxics, seed: int) -> None:
        self._upstream = upstream
        self._rtt_ms = checked_ms("rtt_ms", rtt_ms)
        self._toxics = toxics
        self._rng = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self._loop = asyncio.get_running_loop()
        self._links: set[Link] = set()
        self._connecting: set[asyncio.Task[socket.socket]] = set()
        self._past_bytes = [0, 0]  # of links that have ended: requests, replies
        self._listener: socket.socket | None = None
        # Holds the port while the listener is away: nobody can take it, and connections are refused.
        self._port_holder = _bound_socket(0)
        self.port: int = self._port_holder.getsockname()[1]
        if not toxics.down:
            self._listen()

    @classmethod
    def start(
        cls, upstream: str, *, rtt_ms: float = 0.0, toxics: Toxics = _NO_TOXICS, seed: int = 0
    ) -> FaultProxy:
        """Listen on a free loopback port and lead every connection to `upstream`.

        Args:
            upstream: Where Redis is, as in `redis://host:6379/0` or `unix:///path/of/socket`.
            rtt_ms: The round trip that the line adds; half of it in each direction.
            toxics: What is wrong with the line from the start.
            seed: Of the jitter.

        Raises:
            SettingsError: the address or the round trip is refused.
            RuntimeError: no event loop runs.
        """
        return cls(Upstream.from_url(upstream), rtt_ms=rtt_ms, toxics=toxics, seed=seed)

    @property
    def url(self) -> str:
        """The upstream's address with the proxy's host and port in it; user, password and database stay."""
        return self._upstream.url_through(self.port)

    @property
    def rtt_ms(self) -> float:
        """The round trip that the line adds."""
        return self._rtt_ms

    @property
    def toxics(self) -> Toxics:
        """What is wrong with the line now."""
        return self._toxics

    @property
    def connections(self) -> int:
        """How many connections of clients are open; behind a blackhole, also those their client has left."""
        return len(self._links) + len(self._connecting)

    @property
    def request_bytes(self) -> int:
        """How many bytes have reached the server."""
        return self._past_bytes[0] + sum(link.requests.passed_bytes for link in self._links)

    @property
    def reply_bytes(self) -> int:
        """How many bytes have reached clients."""
        return self._past_bytes[1] + sum(link.replies.passed_bytes for link in self._links)

    def set(self, toxics: Toxics | None = None, *, rtt_ms: float | None = None) -> None:
        """Change what is wrong with the line, its round trip, or both; what is not named stays.

        What is on its way arrives no later than if it were sent now.

        Raises:
            SettingsError: the round trip is refused.
        """
        if rtt_ms is not None:
            self._rtt_ms = checked_ms("rtt_ms", rtt_ms)
        self._toxics = self._toxics if toxics is None else toxics
        if self._toxics.down:
            self._stop_listening()
            self._end_links(reset=False)
        elif self._listener is None and self._port_holder.fileno() != -1:  # which closing it makes it
            self._listen()
        for link in list(self._links):
            link.apply(self._toxics, self._rtt_ms)

    def clear(self) -> None:
        """Let nothing be wrong any more; the round trip stays."""
        self.set(_NO_TOXICS)

    def reset_all(self) -> None:
        """End every connection with RST, on both sides; new ones are accepted."""
        self._end_links(reset=True)

    async def aclose(self) -> None:
        """Stop listening and end every connection; twice does no harm."""
        self._toxics = replace(self._toxics, down=True)
        self._stop_listening()
        self._port_holder.close()
        await asyncio.gather(*self._end_links(reset=False), return_exceptions=True)

    async def __aenter__(self) -> FaultProxy:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"FaultProxy({LOOPBACK}:{self.port} to {self._upstream.address!r}, rtt_ms={self._rtt_ms})"

    def _listen(self) -> None:
        self._listener = _bound_socket(self.port)
        self._listener.listen(_BACKLOG)
        self._loop.add_reader(self._listener, self._accept)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101  # it is what called us
        for _ in range(_BACKLOG):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no file descriptor is left; the loop would call us again at once
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_OUT_OF_FILES_WAIT_S, self._accept_again, self._listener)
                return
            client.setblocking(False)
            task = self._loop.create_task(self._upstream.connect())
            self._connecting.add(task)
            task.add_done_callback(partial(self._on_connected, client))

    def _accept_again(self, listener: socket.socket) -> None:
        if listener is self._listener:
            self._loop.add_reader(listener, self._accept)

    def _on_connected(self, client: socket.socket, task: asyncio.Task[socket.socket]) -> None:
        self._connecting.discard(task)
        if task.cancelled() or task.exception():
            reset_socket(client)  # the nearest thing to a refusal, which it is too late for
            return
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, task.result(), self._rng, self._forget)
        self._links.add(link)
        if self._toxics.down:
            link.close()
        else:
            link.apply(self._toxics, self._rtt_ms)

    def _forget(self, link: Link) -> None:
        self._links.discard(link)
        self._past_bytes[0] += link.requests.passed_bytes
        self._past_bytes[1] += link.replies.passed_bytes

    def _end_links(self, *, reset: bool) -> list[asyncio.Task[socket.socket]]:
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        for link in list(self._links):
            if reset:
                link.reset()
            else:
                link.close()
        return connecting


def _bound_socket(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setblocking(False)
    # Twice on one port: the holder, which never listens, and the listener.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((LOOPBACK, port))
    return bound
