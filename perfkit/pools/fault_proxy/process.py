"""The fault proxy in a process of its own, for benchmarks and rigs: precise, and off the client's loop.

    this process ──pipe: a question a line──> perfkit.pools.fault_proxy.serve
                 <──pipe: an answer a line──

The pipe is also the leash: it closes however we end, `kill -9` included, and the proxy ends with it.
How late the line delivers, and what it can carry, is measured by `benchmarks/fault_proxy.py`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import weakref
from typing import Any

from perfkit.errors import Unavailable
from perfkit.pools.fault_proxy.toxics import Toxics, checked_ms
from perfkit.pools.fault_proxy.upstream import LOOPBACK, Upstream

__all__ = ["FaultProxyProcess"]

_PATIENCE_S = 10.0
_READ_BYTES = 64 * 1024
_NO_TOXICS = Toxics()


class FaultProxyProcess:
    """A proxy that runs beside us; leaving the block, or the end of this process however it comes, ends it.

    Every method waits for the proxy's answer, some 0.1 ms, so a change is in force when it returns. One
    thread at a time may use it.

    >>> import redis
    >>> from perfkit.pools.server import RedisServer
    >>> with RedisServer.start() as server, FaultProxyProcess.start(server.url, rtt_ms=2) as proxy:
    ...     with redis.Redis.from_url(proxy.url) as client:
    ...         client.ping(), proxy.connections
    (True, 1)
    """

    def __init__(self, upstream: Upstream, process: subprocess.Popen[bytes]) -> None:
        self._upstream = upstream
        self._process = process
        self._owner_pid = os.getpid()
        self._rtt_ms = 0.0
        self._toxics = _NO_TOXICS
        self._port = 0
        _running.add(self)
        atexit.register(self.close)

    @classmethod
    def start(
        cls, upstream: str, *, rtt_ms: float = 0.0, toxics: Toxics = _NO_TOXICS, seed: int = 0
    ) -> FaultProxyProcess:
        """Start a proxy and wait until it listens; blocks for about 0.3 s, so do it before a loop runs.

        Args:
            upstream: Where Redis is, as in `redis://host:6379/0` or `unix:///path/of/socket`.
            rtt_ms: The round trip that the line adds; half of it in each direction.
            toxics: What is wrong with the line from the start.
            seed: Of the jitter.

        Raises:
            SettingsError: the address or the round trip is refused.
            Unavailable: the process did not start.
        """
        checked_ms("rtt_ms", rtt_ms)
        leads_to = Upstream.from_url(upstream)
        process = subprocess.Popen(
            [sys.executable, "-m", "perfkit.pools.fault_proxy.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us; we then end the proxy
        )
        proxy = cls(leads_to, process)
        try:
            proxy._port = proxy._ask(place=leads_to.place, seed=seed)
            proxy.set(toxics, rtt_ms=rtt_ms)
        except BaseException:
            proxy.close()
            raise
        return proxy

    @property
    def url(self) -> str:
        """The upstream's address with the proxy's host and port in it; user, password and database stay."""
        return self._upstream.url_through(self._port)

    @property
    def pid(self) -> int:
        """The proxy's process id."""
        return self._process.pid

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
        return self._count("connections")

    @property
    def request_bytes(self) -> int:
        """How many bytes have reached the server."""
        return self._count("request_bytes")

    @property
    def reply_bytes(self) -> int:
        """How many bytes have reached clients."""
        return self._count("reply_bytes")

    def set(self, toxics: Toxics | None = None, *, rtt_ms: float | None = None) -> None:
        """Change what is wrong with the line, its round trip, or both; what is not named stays.

        What is on its way arrives no later than if it were sent now.

        Raises:
            SettingsError: the round trip is refused.
            Unavailable: the proxy has ended.
        """
        wanted_rtt_ms = self._rtt_ms if rtt_ms is None else checked_ms("rtt_ms", rtt_ms)
        wanted = self._toxics if toxics is None else toxics
        self._ask(toxics=wanted.to_json(), rtt_ms=wanted_rtt_ms)
        self._toxics, self._rtt_ms = wanted, wanted_rtt_ms

    def clear(self) -> None:
        """Let nothing be wrong any more; the round trip stays."""
        self.set(_NO_TOXICS)

    def reset_all(self) -> None:
        """End every connection with RST, on both sides; new ones are accepted."""
        self._ask(reset_all=True)

    def alive(self) -> bool:
        """Tell whether the proxy still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process and its connections; twice does no harm, and a forked child cannot do it."""
        if os.getpid() != self._owner_pid:
            return
        atexit.unregister(self.close)
        self._let_go()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:  # it is stopped, or stuck
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None  # noqa: S101  # asked for above
        self._process.stdout.close()

    def __enter__(self) -> FaultProxyProcess:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        address = self._upstream.address
        return f"FaultProxyProcess({LOOPBACK}:{self._port} to {address!r}, rtt_ms={self._rtt_ms})"

    def _count(self, name: str) -> int:
        return int(self._ask(count=name))

    def _ask(self, **question: Any) -> Any:
        """Return the answer to one question."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101  # asked for above
        assert stdout is not None  # noqa: S101
        answer = b""
        with contextlib.suppress(BrokenPipeError, ValueError), selectors.DefaultSelector() as patience:
            stdin.write(json.dumps(question).encode() + b"\n")
            patience.register(stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n") and patience.select(_PATIENCE_S):
                if not (more := stdout.read(_READ_BYTES)):
                    break
                answer += more
        if not answer.endswith(b"\n"):
            raise Unavailable(
                f"The fault proxy, process {self.pid}, has ended or did not answer within {_PATIENCE_S:g} s. "
                "What was measured through it is worth nothing; start another.",
                dependency="fault proxy",
            )
        return json.loads(answer)

    def _let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


_running: weakref.WeakSet[FaultProxyProcess] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked worker holds a copy of the pipe; were it to outlive us, so would the proxy."""
    for proxy in list(_running):
        proxy._let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
