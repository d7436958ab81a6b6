"""The ways to send texts that are played against each other: perfkit's policies, and the peers'."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TypeAlias

from perfkit.vertex.protocols import Transport
from perfkit.vertex.settings import VertexSettings
from vertex_questions.peers import Embed, Gathered, OneAtATime, Sender
from vertex_questions.service import serving
from vertex_questions.texts import Piece

__all__ = ["DEADLINE_S", "NEVER_FAILS", "NOT_INSTALLED", "OURS", "PER_MINUTE", "absent_ways", "named", "ways"]

PER_MINUTE, DEADLINE_S = 1_500, 5.0
OURS = "perfkit, adaptive"
NOT_INSTALLED = "not installed, see scripts/peers.sh"
WINDOWS_MS = (5, 10, 25, 50, 100)
NEVER_FAILS = "a fixed window of 50 ms"
Way: TypeAlias = Callable[[Transport], AbstractAsyncContextManager[Embed]]


def named(package: str, what: str = "") -> str:
    """Return a peer's name with its version, or the name alone where it is not installed."""
    try:
        return f"{package} {version(package)}{what}"
    except PackageNotFoundError:
        return f"{package}{what}"


RETRIED = "no batching, google-genai's retries"
LIMITED = f"no batching, {named('aiolimiter')}"


def ways() -> dict[str, Way]:
    """Return each way by its name, those of peers that are not installed left out."""
    found: dict[str, Way] = {
        OURS: _served(VertexSettings(requests_per_minute=PER_MINUTE)),
        RETRIED: _way(lambda sender: sender.alone),
    }
    if not absent_ways():
        found[LIMITED] = _limited
    for ms in WINDOWS_MS:
        found[f"a fixed window of {ms} ms"] = _way(lambda sender, ms=ms: Gathered(sender, ms / 1e3).embed)
    found["Ray Serve's default: 10 ms, 10 texts, one in flight"] = _one_at_a_time(0.01, 10)
    found["one in flight, whatever waits (Triton, TEI)"] = _one_at_a_time(0.0, 250)
    return found


def absent_ways() -> list[str]:
    """Return what is to be said of peers that are not installed."""
    try:
        import aiolimiter  # noqa: F401  # is it there?
    except ImportError:
        return [f"{LIMITED}: {NOT_INSTALLED}."]
    return []


def _served(settings: VertexSettings) -> Way:
    @asynccontextmanager
    async def way(transport: Transport) -> AsyncIterator[Embed]:
        async with serving(transport, settings) as service:
            yield service.embed

    return way


def _way(made: Callable[[Sender], Embed]) -> Way:
    @asynccontextmanager
    async def way(transport: Transport) -> AsyncIterator[Embed]:
        yield made(_sender(transport))

    return way


@asynccontextmanager
async def _limited(transport: Transport) -> AsyncIterator[Embed]:
    from aiolimiter import AsyncLimiter

    class Rounded(AsyncLimiter):
        """Else it waits for 1e-16 of a turn, by which virtual time does not move, and for ever."""

        __slots__ = ()

        def _leak(self) -> None:
            super()._leak()
            self._level = round(self._level, 6)

    limiter, sender = Rounded(PER_MINUTE, 60), _sender(transport, attempts=1)

    async def embed(piece: Piece) -> None:
        async with limiter:
            await sender.alone(piece)

    yield embed


def _one_at_a_time(wait_s: float, max_texts: int) -> Way:
    @asynccontextmanager
    async def way(transport: Transport) -> AsyncIterator[Embed]:
        line = OneAtATime(_sender(transport), wait_s=wait_s, max_texts=max_texts)
        yield line.embed
        line.close()

    return way


def _sender(transport: Transport, **options: int) -> Sender:
    return Sender(transport, random.Random(1), **options)  # noqa: S311  # jitter, not a secret
