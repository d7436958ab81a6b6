"""The peers' ways to send texts, imitated on the emulator that perfkit's service is measured on.

What a peer does with a text is a few lines of its source: when it sends, how many together, how many
requests at once, and what it does about a refusal. Those lines are imitated here, because the peers batch
for a model of their own in the process, or not at all, and cannot be pointed at an emulated Vertex AI on a
virtual clock.

    google-genai 2.34   no batching; with `retry_options` 5 attempts, 1, 2, 4, 8 s apart and up to 1 s more
                        (`_api_client.py`: `_RETRY_ATTEMPTS`, and tenacity's `wait_exponential_jitter`)
    aiolimiter 1.3      the package itself: `AsyncLimiter(1500, 60)` before each text; no retries
    a fixed window      opened by the first text, shared by who comes in it, sealed when it ends or when 250
                        texts or 20,000 tokens are in it; refusals as google-genai
    Ray Serve 2.53      `@serve.batch` by default: 10 texts, 10 ms, one batch at a time; refusals likewise
    one in flight       Triton's dynamic batching without a delay, text-embeddings-inference's queue:
                        whatever waits when the one request before it has ended; refusals likewise
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from perfkit.errors import PerfkitError, QuotaExceeded, Unavailable
from perfkit.vertex.protocols import EmbedRequest, Text, Transport
from vertex_questions.texts import MODEL, Piece

__all__ = ["Embed", "Gathered", "OneAtATime", "Sender"]

Embed: TypeAlias = Callable[[Piece], Awaitable[None]]
"""Embeds one text, and returns when its vector is there."""

NEVER_S = 3_600.0
ATTEMPTS, FIRST_DELAY_S, MOST_DELAY_S, JITTER_S = 5, 1.0, 60.0, 1.0


class Sender:
    """One request after another for the same texts, as google-genai's retries would have it."""

    def __init__(self, transport: Transport, rng: random.Random, *, attempts: int = ATTEMPTS) -> None:
        self._transport = transport
        self._rng = rng
        self._attempts = attempts

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Send until there is an answer or there were enough attempts."""
        request = EmbedRequest(MODEL, [Text(piece.content) for piece in pieces])
        for attempt in range(1, self._attempts + 1):
            try:
                await self._transport.embed(request, timeout_s=NEVER_S)
            except (QuotaExceeded, Unavailable):
                if attempt == self._attempts:
                    raise
            else:
                return
            delay_s = FIRST_DELAY_S * 2 ** (attempt - 1) + self._rng.uniform(0, JITTER_S)
            await asyncio.sleep(min(delay_s, MOST_DELAY_S))

    async def alone(self, piece: Piece) -> None:
        """Send one text by itself."""
        await self.send([piece])


class Gathered:
    """A fixed window: sealed when it ends, and sent as it was sealed."""

    def __init__(
        self, sender: Sender, window_s: float, *, max_texts: int = 250, max_tokens: int = 20_000
    ) -> None:
        self._sender = sender
        self._window_s = window_s
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self._waiting: list[tuple[Piece, asyncio.Future[None]]] = []
        self._tokens = 0
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def embed(self, piece: Piece) -> None:
        """Join the window, or open one."""
        if self._waiting and self._tokens + piece.tokens > self._max_tokens:
            self._seal()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((piece, future))
        self._tokens += piece.tokens
        if len(self._waiting) >= self._max_texts:
            self._seal()
        elif self._timer is None:
            self._timer = loop.call_later(self._window_s, self._seal)
        await future

    def _seal(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        sealed, self._waiting, self._tokens, self._timer = self._waiting, [], 0, None
        task = asyncio.get_running_loop().create_task(_delivered(self._sender, sealed))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


class OneAtATime:
    """One request under way; the next takes what waits by then, and may wait for more."""

    def __init__(self, sender: Sender, *, wait_s: float, max_texts: int, max_tokens: int = 20_000) -> None:
        self._sender = sender
        self._wait_s = wait_s
        self._max_texts = max_texts
        self._max_tokens = max_tokens
        self._waiting: list[tuple[Piece, asyncio.Future[None]]] = []
        self._came = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def embed(self, piece: Piece) -> None:
        """Join the line."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((piece, future))
        self._came.set()
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        await future

    def close(self) -> None:
        """Stop taking texts."""
        if self._worker is not None:
            self._worker.cancel()

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            await self._company()
            await _delivered(self._sender, self._taken())

    async def _company(self) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._wait_s
        while len(self._waiting) < self._max_texts and (left_s := until_s - loop.time()) > 0:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), left_s)
            except TimeoutError:
                return

    def _taken(self) -> list[tuple[Piece, asyncio.Future[None]]]:
        tokens, count = 0, 0
        for piece, _future in self._waiting[: self._max_texts]:
            tokens += piece.tokens
            if count and tokens > self._max_tokens:
                break
            count += 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken


async def _delivered(sender: Sender, sealed: list[tuple[Piece, asyncio.Future[None]]]) -> None:
    try:
        await sender.send([piece for piece, _future in sealed])
    except PerfkitError as trouble:
        for _piece, future in sealed:
            if not future.done():
                future.set_exception(trouble)
    else:
        for _piece, future in sealed:
            if not future.done():
                future.set_result(None)
