"""A Redis client with deadlines and batches: redis-py's commands, on a fair pool of one workload."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.pools.fair import FairPool
from perfkit.pools.settings import PoolSettings

__all__ = ["OptimizedRedis"]

T = TypeVar("T")
Encodable = bytes | str | int | float

_WAITS_BY_ITSELF = frozenset(
    {"BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP"}
    | {"XREAD", "XREADGROUP", "WAIT", "WAITAOF"}
)
"""Commands whose waiting is their purpose; the caller bounds it."""


class OptimizedRedis(Redis):
    """One workload's client: every command of redis-py, plus batches, within a deadline.

    A command that takes longer than `command_timeout_seconds` is given up, its connection closed so that its
    reply can reach nobody else. Nothing is sent twice: a write whose answer was lost may have happened.
    """

    def __init__(self, pool: FairPool, settings: PoolSettings, *, backend: str) -> None:
        super().__init__(connection_pool=pool)
        self._fair_pool = pool
        self._settings = settings
        self._backend = backend
        self._commands = 0
        self._errors = 0
        self._timeouts = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command within the pool's deadline.

        Raises:
            PoolExhausted: no connection came free in time.
            redis.exceptions.TimeoutError: the deadline passed.
            redis.exceptions.RedisError: Redis refused the command or is away.
        """
        self._commands += 1
        patience = None if str(args[0]).upper() in _WAITS_BY_ITSELF else self._patience
        try:
            async with asyncio.timeout(patience):
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        except TimeoutError:
            self._timeouts += 1
            raise self._too_late(str(args[0])) from None
        except RedisError:
            self._errors += 1
            raise

    async def batch_get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of many keys, in order, None where there is none."""
        values: list[bytes | None] = []
        for chunk in _chunks(keys, self._settings.batch_chunk):
            values += await self.mget(chunk)  # type: ignore[arg-type]  # bytes: nothing is decoded here
        return values

    async def batch_set(self, mapping: Mapping[str, Encodable], ttl_seconds: float | None = None) -> None:
        """Store many values, all to live as long; chunks already sent stay stored if a later one fails."""
        milliseconds = None if ttl_seconds is None else max(1, round(ttl_seconds * 1_000))
        for chunk in _chunks(mapping.items(), self._settings.batch_chunk):
            pipe = self.pipeline(transaction=False)
            for key, value in chunk:
                pipe.set(key, value, px=milliseconds)
            try:
                async with asyncio.timeout(self._patience):
                    await pipe.execute()
            except TimeoutError:
                self._timeouts += 1
                raise self._too_late(f"a batch of {len(chunk)} SET") from None
            self._commands += len(chunk)

    async def batch_delete(self, keys: Sequence[str]) -> int:
        """Remove many keys and return how many there were; Redis frees their memory in the background."""
        removed = 0
        for chunk in _chunks(keys, self._settings.batch_chunk):
            removed += await self.unlink(*chunk)
        return removed

    async def get_metrics(self) -> dict[str, str | int]:
        """Return what this pool has done and is doing."""
        pool = self._fair_pool
        return {
            "pool": pool.name,
            "backend": self._backend,
            "commands": self._commands,
            "errors": self._errors,
            "timeouts": self._timeouts,
            "max_connections": pool.max_connections,
            "in_use": len(pool._in_use_connections),
            "idle": len(pool._available_connections),
            "waiting": pool.waiting,
            "waits": pool.waits,
            "refusals": pool.refusals,
        }

    @property
    def _patience(self) -> float:
        """Waiting in line and opening a connection have deadlines of their own, which come on top."""
        settings = self._settings
        return (
            settings.command_timeout_seconds
            + settings.acquire_timeout_seconds
            + settings.connect_timeout_seconds
        )

    def _too_late(self, what: str) -> RedisTimeoutError:
        return RedisTimeoutError(
            f"{what} on pool {self._fair_pool.name} took longer than {self._patience:g} s; "
            f"see pools.{self._fair_pool.name}.command_timeout_seconds."
        )


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
