"""A Redis client with deadlines and batches: redis-py's commands, on a fair pool of one workload."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.errors import SettingsError, Unavailable
from perfkit.pools.fair import FairPool
from perfkit.pools.settings import PoolSettings

__all__ = ["DeadlinePipeline", "OptimizedRedis"]

T = TypeVar("T")
Encodable = bytes | str | int | float

_WAITS_BY_ITSELF = frozenset(
    {"BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
)
"""Commands whose waiting is their purpose; the caller bounds it. XREAD is one of them when told to BLOCK."""


@dataclass(slots=True)
class _Counts:
    commands: int = 0
    errors: int = 0
    timeouts: int = 0


@dataclass(frozen=True, slots=True)
class _Deadline:
    """The time one command, or one chunk of a batch, may take once it has its connection."""

    pool: str
    patience_s: float
    counts: _Counts

    @asynccontextmanager
    async def over(self, what: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.patience_s):
                yield
        except TimeoutError:
            self.counts.timeouts += 1
            raise RedisTimeoutError(
                f"{what} on pool {self.pool} took longer than {self.patience_s:g} s and was given up; if it "
                f"writes, it may have happened. Raise pools.{self.pool}.command_timeout_seconds, or ask less "
                "at once."
            ) from None


class OptimizedRedis(Redis):
    """One workload's client: every command of redis-py, plus batches, within the pool's deadlines.

    A command that takes longer than `command_timeout_seconds` is given up and its connection closed, so that
    the late reply can reach nobody else; a cancelled command likewise. Nothing is ever sent twice: a write
    whose answer was lost may have happened. Commands that wait by design (`BLPOP`, `XREAD BLOCK`) have no
    deadline but their own, and hold a connection meanwhile; so do subscriptions.

    It belongs to a `RedisPools`, which closes it; see there for an example.
    """

    def __init__(self, pool: FairPool, settings: PoolSettings, *, backend: str) -> None:
        super().__init__(connection_pool=pool)
        self._fair_pool = pool
        self._chunk = settings.batch_chunk
        self._backend = backend
        self._counts = _Counts()
        self._deadline = _Deadline(pool.name, settings.command_timeout_seconds, self._counts)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command.

        Raises:
            PoolExhausted: no connection came free in time.
            redis.exceptions.TimeoutError: connecting, or the command, took too long.
            redis.exceptions.RedisError: Redis refused the command or is away.
        """
        self._counts.commands += 1
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        except (RedisError, Unavailable):
            self._counts.errors += 1
            raise

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> DeadlinePipeline:
        """Return a pipeline under the pool's deadline; as in redis-py, a transaction unless told no."""
        pipe = DeadlinePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipe._deadline = self._deadline
        return pipe

    async def batch_get(self, keys: Iterable[str | bytes]) -> list[bytes | None]:
        """Return the values of many keys, in order; None where there is none, or none of this kind."""
        values: list[bytes | None] = []
        for chunk in _chunks(keys, self._chunk):
            values += await self.mget(chunk)  # type: ignore[arg-type]  # bytes: an endpoint cannot ask to decode
        return values

    async def batch_set(self, mapping: Mapping[str, Encodable], ttl_seconds: float | None = None) -> None:
        """Store many values, all to live as long.

        It is no transaction: what was sent before a failure stays stored, whole values only.

        Args:
            mapping: What to store; nothing is encoded but text and numbers.
            ttl_seconds: How long the values live, to the millisecond; None is for ever.

        Raises:
            SettingsError: `ttl_seconds` is not above 0.
            PoolExhausted, redis.exceptions.RedisError: as for one command.
        """
        milliseconds = None if ttl_seconds is None else _milliseconds(ttl_seconds)
        for chunk in _chunks(mapping.items(), self._chunk):
            pipe = self.pipeline(transaction=False)
            for key, value in chunk:
                pipe.set(key, value, px=milliseconds)
            await pipe.execute()

    async def batch_delete(self, keys: Iterable[str | bytes]) -> int:
        """Remove many keys and return how many there were; Redis frees their memory in the background."""
        removed = 0
        for chunk in _chunks(keys, self._chunk):
            removed += await self.unlink(*chunk)
        return removed

    async def get_metrics(self) -> dict[str, str | int]:
        """Return what this pool has done since it was made, and what it is doing.

        `errors` are calls that raised and replies that refuse; `timeouts` are those whose command took too
        long, `refusals` those that got no connection; `waits` counts callers that had to stand in line.
        """
        pool, counts = self._fair_pool, self._counts
        return {
            "pool": pool.name,
            "backend": self._backend,
            "commands": counts.commands,
            "errors": counts.errors,
            "timeouts": counts.timeouts,
            "max_connections": pool.max_connections,
            "in_use": pool.in_use,
            "idle": pool.idle,
            "waiting": pool.waiting,
            "waits": pool.waits,
            "refusals": pool.refusals,
        }

    async def _send_command_parse_response(
        self, conn: AbstractConnection, command_name: str, *args: Any, **options: Any
    ) -> Any:
        # redis-py's seam between having a connection and using it: waiting in line and connecting are over.
        deadline = nullcontext() if _waits_by_itself(args) else self._deadline.over(str(command_name))
        async with deadline:
            return await super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]  # redis-py's


class DeadlinePipeline(Pipeline):
    """redis-py's pipeline, each of whose journeys to the server has the pool's deadline."""

    _deadline: _Deadline

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the queued commands and return their replies, in order.

        Raises:
            PoolExhausted: no connection came free in time.
            redis.exceptions.TimeoutError: connecting, or the whole pipeline, took too long.
            redis.exceptions.RedisError: the server is away, or (with `raise_on_error`) refused a command.
        """
        counts = self._deadline.counts
        counts.commands += len(self.command_stack)
        try:
            replies: list[Any] = await super().execute(raise_on_error)
        except (RedisError, Unavailable):
            counts.errors += 1
            raise
        counts.errors += sum(isinstance(reply, RedisError) for reply in replies)
        return replies

    async def _execute_pipeline(self, connection: Connection, commands: Any, raise_on_error: bool) -> Any:
        async with self._deadline.over(f"A pipeline of {len(commands)} commands"):
            return await super()._execute_pipeline(connection, commands, raise_on_error)

    async def _execute_transaction(self, connection: Connection, commands: Any, raise_on_error: bool) -> Any:
        async with self._deadline.over(f"A transaction of {len(commands)} commands"):
            return await super()._execute_transaction(connection, commands, raise_on_error)

    async def _send_command_parse_response(
        self, conn: AbstractConnection, command_name: str, *args: Any, **options: Any
    ) -> Any:
        async with self._deadline.over(str(command_name)):
            return await super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]  # redis-py's


def _waits_by_itself(args: tuple[Any, ...]) -> bool:
    name = _word(args[0])
    if name in ("XREAD", "XREADGROUP"):
        return "BLOCK" in takewhile(lambda word: word != "STREAMS", map(_word, args[1:]))
    return name in _WAITS_BY_ITSELF


def _word(argument: Any) -> str:
    return (argument.decode("latin-1") if isinstance(argument, bytes) else str(argument)).upper()


def _milliseconds(ttl_seconds: float) -> int:
    if not 0 < ttl_seconds < math.inf:
        raise SettingsError(
            f"ttl_seconds={ttl_seconds!r} is refused: it must be above 0. Leave it out for no end.",
            path="ttl_seconds",
            value=ttl_seconds,
            allowed="a number > 0",
        )
    return max(1, round(ttl_seconds * 1_000))


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
