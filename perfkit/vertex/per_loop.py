"""A client for each event loop: Google's clients belong to the loop they were made on.

Notebooks, test runs and `asyncio.run` twice in a row use one service from several loops. Asked on a second
one, Google's gRPC client fails with "Event loop is closed" and its other one with every second call. So what
is slow and belongs to no loop (a second of imports, credentials) is done once, in a thread, while the loop
goes on; what belongs to a loop is made on each loop that asks.

    get() ──> connected on this loop? ──yes──────────────────────────────────────> client
                  └── no ──> loaded? ──no──> load in a thread, once for all ──┬──> connect here, keep
                                └── yes ──────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from perfkit.errors import ModelTimeout, Unavailable

__all__ = ["PerLoop", "was_closed"]

L = TypeVar("L")
C = TypeVar("C")

_log = logging.getLogger("perfkit")


class PerLoop(Generic[L, C]):
    """Clients by event loop.

    >>> clients = PerLoop(lambda: "loaded", lambda loaded: [loaded], asyncio.sleep)
    >>> asyncio.run(clients.get(within_s=1))
    ['loaded']
    """

    def __init__(
        self, load: Callable[[], L], connect: Callable[[L], C], close: Callable[[C], Awaitable[object]]
    ) -> None:
        self._load = load
        self._connect = connect
        self._close = close
        self._loading: Future[L] | None = None
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, C] = {}

    def ready(self) -> C | None:
        """Return this loop's client if there is one already."""
        return self._clients.get(asyncio.get_running_loop())

    async def get(self, *, within_s: float) -> C:
        """Return this loop's client, made now if there is none.

        Raises:
            ModelTimeout: loading takes longer than `within_s`; it goes on, for whoever asks next.
        """
        client = self.ready()
        if client is not None:
            return client
        loading = asyncio.wrap_future(self._started())
        try:
            async with asyncio.timeout(within_s):
                loaded = await asyncio.shield(loading)
        except TimeoutError:
            raise ModelTimeout(
                f"Google's client was not loaded within {within_s:g} s, so nothing was sent. Loading goes "
                "on. Await warm() when the service starts, and install with compiled bytecode.",
                dependency="vertex",
            ) from None
        return self._connected(loaded)

    async def aclose(self) -> None:
        """Close this loop's client, and let go of those whose loops have ended."""
        own = self._clients.pop(asyncio.get_running_loop(), None)
        self._forget_ended()
        if own is not None:
            await self._close(own)
        if self._clients:
            _log.warning(
                "%d connections to Vertex AI belong to other event loops and stay open. Close them there, or "
                "end those loops.",
                len(self._clients),
            )

    def _started(self) -> Future[L]:
        with self._lock:
            if self._loading is None:
                self._loading = future = Future[L]()
                threading.Thread(target=self._run, args=(future,), name="perfkit-google", daemon=True).start()
            return self._loading

    def _run(self, future: Future[L]) -> None:
        future.set_running_or_notify_cancel()
        try:
            loaded = self._load()
        except BaseException as trouble:
            with self._lock:
                self._loading = None  # the next one may find it mended
            future.set_exception(trouble)
        else:
            future.set_result(loaded)

    def _connected(self, loaded: L) -> C:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            self._forget_ended()
            client = self._clients[loop] = self._connect(loaded)
        return client

    def _forget_ended(self) -> None:
        """A client holds its loop, so a weak key would keep both for ever."""
        for loop in [loop for loop in self._clients if loop.is_closed()]:
            del self._clients[loop]


def was_closed(stopped: asyncio.CancelledError, model: str) -> Unavailable:
    """Return the error for a request whose connection was closed under it, or raise our own cancellation.

    Google's clients cancel what is under way when they are closed. Somebody who only waits must not take that
    for an order to stop.

    Raises:
        asyncio.CancelledError: the task that waits was itself told to stop.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise stopped
    return Unavailable(
        f"The connection to Vertex AI was closed while a request to {model} was under way. Ask again, or "
        "close the service only when nobody waits for it.",
        dependency=f"vertex {model}",
    )
