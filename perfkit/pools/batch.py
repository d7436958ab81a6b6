"""Many keys or commands at once, in chunks small enough to keep others from waiting long.

A chunk travels as one piece and counts as one call: one place among those under way, one reply for the
breaker. It ends at `batch_chunk` keys or at `batch_max_bytes`, whichever comes first. Chunks are sent one
after the other: cancelling a batch drops what was not sent.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import ResponseError

from perfkit.errors import SettingsError
from perfkit.pools.settings import PoolSettings

__all__ = ["BatchCommands", "Command", "Encodable"]

T = TypeVar("T")
Encodable: TypeAlias = bytes | str | int | float
Command: TypeAlias = Sequence[Any]
"""A command's name and arguments, as in `("SET", "a", 1)`."""


class BatchCommands(ABC):
    """The batch commands of a client; what differs between one server and a cluster is below them."""

    def __init__(self, settings: PoolSettings) -> None:
        self._chunk = settings.batch_chunk
        self._chunk_bytes = settings.batch_max_bytes
        self._has_msetex = True
        """Whether the server has MSETEX (Redis 8.4, Valkey 9.1); found out by asking."""

    async def batch_get(self, keys: Iterable[str | bytes]) -> list[bytes | None]:
        """Return the values of many keys, in order; None where there is none, or none of this kind."""
        values: list[bytes | None] = []
        for chunk in self._chunks(keys, len):
            groups = self._together(chunk)
            if len(groups) == 1:
                values += _all_or_raise(await self._run_many([("MGET", *chunk)]))[0]
                continue
            replies = await self._run_many([("MGET", *(chunk[at] for at in group)) for group in groups])
            found: list[Any] = [None] * len(chunk)
            for group, reply in zip(groups, _all_or_raise(replies), strict=True):
                for at, value in zip(group, reply, strict=True):
                    found[at] = value
            values += found
        return values

    async def batch_set(self, mapping: Mapping[str, Encodable], ttl_seconds: float | None = None) -> None:
        """Store many values, all to live as long.

        It is no transaction: what was sent before a failure stays stored, whole values only.

        Args:
            mapping: What to store; nothing is encoded but text and numbers.
            ttl_seconds: How long the values live, to the millisecond; None is for ever.

        Raises:
            SettingsError: `ttl_seconds` is not above 0.
            Unavailable, redis.exceptions.RedisError: as for one command.
        """
        life_ms = None if ttl_seconds is None else _milliseconds(ttl_seconds)
        for chunk in self._chunks(mapping.items(), _bytes_of_pair):
            groups = [[chunk[at] for at in group] for group in self._together([key for key, _ in chunk])]
            if self._has_msetex or life_ms is None:
                replies = await self._run_many([_set_together(group, life_ms) for group in groups])
                if not _knows_no(replies):
                    _all_or_raise(replies)
                    continue
                self._has_msetex = False
            _all_or_raise(await self._run_many([("SET", key, value, "PX", life_ms) for key, value in chunk]))

    async def batch_delete(self, keys: Iterable[str | bytes]) -> int:
        """Remove many keys and return how many there were; Redis frees their memory in the background."""
        removed = 0
        for chunk in self._chunks(keys, len):
            groups = self._together(chunk)
            replies = await self._run_many([("UNLINK", *(chunk[at] for at in group)) for group in groups])
            removed += sum(_all_or_raise(replies))
        return removed

    async def execute_many(
        self, commands: Iterable[Command], *, return_exceptions: bool = False
    ) -> list[Any]:
        """Run many commands of any kind and return their answers, in order; no transaction.

        Args:
            commands: As in `[("SET", "a", 1), ("INCR", "a")]`.
            return_exceptions: Put what Redis refused among the answers, instead of raising the first of it
                once all have run.
        """
        answers: list[Any] = []
        for chunk in self._chunks(commands, _bytes_of):
            answers += await self._run_many(chunk)
        return answers if return_exceptions else _all_or_raise(answers)

    @abstractmethod
    async def _run_many(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands as one piece and return their answers, errors among them."""

    def _together(self, keys: Sequence[str | bytes]) -> list[Sequence[int]]:
        """Return the positions of keys that one command may name together: all, where there is one server."""
        return [range(len(keys))]

    def _chunks(self, items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
        iterator = iter(items)
        while many := list(islice(iterator, self._chunk)):
            if sum(map(size, many)) <= self._chunk_bytes:
                yield many
            else:
                yield from _split(many, size, self._chunk_bytes)


def _split(items: Iterable[T], size: Callable[[T], int], most_bytes: int) -> Iterator[list[T]]:
    """Yield lists that end with the item that makes them as large as they may be."""
    chunk: list[T] = []
    held = 0
    for item in items:
        chunk.append(item)
        held += size(item)
        if held >= most_bytes:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _set_together(pairs: Sequence[tuple[str, Encodable]], life_ms: int | None) -> Command:
    flat = [part for pair in pairs for part in pair]
    return ("MSET", *flat) if life_ms is None else ("MSETEX", len(pairs), *flat, "PX", life_ms)


def _knows_no(replies: Iterable[Any]) -> bool:
    return any(isinstance(reply, ResponseError) and "unknown command" in str(reply) for reply in replies)


def _all_or_raise(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _bytes_of(command: Iterable[Any]) -> int:
    return sum(len(part) if isinstance(part, bytes | str) else 8 for part in command)


def _bytes_of_pair(pair: tuple[str, Encodable]) -> int:
    return _bytes_of(pair)


def _milliseconds(ttl_seconds: float) -> int:
    if not 0 < ttl_seconds < math.inf:
        raise SettingsError(
            f"ttl_seconds={ttl_seconds!r} is refused: it must be above 0. Leave it out for no end.",
            path="ttl_seconds",
            value=ttl_seconds,
            allowed="a number > 0",
        )
    return max(1, round(ttl_seconds * 1_000))
