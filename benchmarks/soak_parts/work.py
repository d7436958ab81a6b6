"""What the callers do: mixed commands at a bounded rate, some cancelled on their way, every answer checked.

A value carries its key, so a reply that reached the wrong caller is seen. A counter belongs to one caller,
who knows how often it asked and how often it heard yes. What a fault may cause is an error; never a wrong
answer, a cancellation that is overheard, or an error of another kind.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from redis.exceptions import BusyLoadingError, RedisError, WatchError

from perfkit.errors import Unavailable
from perfkit.pools import OptimizedRedis

__all__ = ["Caller", "Findings", "fill"]

KEYS = 500
_CANCELLED_SHARE = 0.1
_LONGEST_UNTIL_CANCELLED_S = 0.02
_MOST_KEPT = 20
_LONGEST_TOLD = 300
_ADDS = "return redis.call('incrby', KEYS[1], 1)"
_ALLOWED = (Unavailable, BusyLoadingError, WatchError)

Check: TypeAlias = Awaitable[str]
"""Does its work and returns what is wrong with the answer, or nothing."""


@dataclass(slots=True)
class Findings:
    """What all callers of a client saw."""

    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    cancelled: int = 0
    overheard: int = 0
    """Cancellations that did not end their task."""
    asked: Counter[str] = field(default_factory=Counter)
    """INCRs, by counter."""
    confirmed: Counter[str] = field(default_factory=Counter)

    def keep(self, kept: list[str], what: str) -> None:
        if len(kept) < _MOST_KEPT:
            kept.append(what[:_LONGEST_TOLD])


async def fill(client: OptimizedRedis) -> None:
    """Store what all callers read."""
    await client.batch_set({_key(n): _value(n) for n in range(KEYS)})


class Caller:
    """One caller of one client, with keys of its own beside those that all share."""

    def __init__(self, name: str, client: OptimizedRedis, findings: Findings, rng: random.Random) -> None:
        self._name = name
        self._client = client
        self._findings = findings
        self._rng = rng
        self._written = 0
        self._adds = client.register_script(_ADDS)
        self._kinds: list[tuple[Callable[[], Check], int]] = [
            (self._get, 30),
            (self._batch_get, 8),
            (self._write_and_read, 8),
            (self._hash, 5),
            (self._batch, 4),
            (self._incr, 10),
            (self._script, 4),
            (self._pipeline, 6),
            (self._transaction, 4),
            (self._many, 6),
            (self._watch, 2),
            (self._queue, 2),
            (self._publish, 1),
            (self._held, 1),
        ]

    async def run(self, rate_per_s: float, over: asyncio.Event) -> None:
        """Work until it is over, at most so often; some tasks are cancelled under way."""
        kinds, weights = zip(*self._kinds, strict=True)
        loop = asyncio.get_running_loop()
        while not over.is_set():
            began_s = loop.time()
            await self._once(self._rng.choices(kinds, weights)[0])
            wait_s = self._rng.expovariate(rate_per_s) - (loop.time() - began_s)
            await asyncio.sleep(max(0.0, wait_s))

    async def _once(self, work: Callable[[], Check]) -> None:
        found = self._findings
        task = asyncio.ensure_future(work())
        told: list[bool] = []
        if self._rng.random() < _CANCELLED_SHARE:
            at_s = self._rng.random() * _LONGEST_UNTIL_CANCELLED_S
            asyncio.get_running_loop().call_later(at_s, lambda: told.append(task.cancel()))
        await asyncio.wait([task])
        if task.cancelled():
            found.cancelled += 1
            return
        found.overheard += any(told)
        failure = task.exception()
        if failure is None:
            found.answers += 1
            if wrong := task.result():
                found.keep(found.wrong, f"{self._name}: {wrong}")
        else:
            found.errors[type(failure).__name__] += 1
            if not isinstance(failure, _ALLOWED) and not _of_redis_py_itself(work, failure):
                found.keep(found.unexpected, f"{self._name} {work.__name__}: {failure!r}")

    async def _get(self) -> str:
        n = self._rng.randrange(KEYS)
        return self._unlike(await self._client.get(_key(n)), _value(n))

    async def _batch_get(self) -> str:
        some = [self._rng.randrange(KEYS) for _ in range(self._rng.randrange(1, 80))]
        values = await self._client.batch_get([_key(n) for n in some])
        wrongs = (self._unlike(value, _value(n)) for n, value in zip(some, values, strict=True))
        return next(filter(None, wrongs), "")

    async def _write_and_read(self) -> str:
        self._written += 1
        key = f"{self._name}:own"
        await self._client.set(key, f"{key}|{self._written}")
        return self._not_own(await self._client.get(key), key)

    async def _hash(self) -> str:
        key = f"{self._name}:hash"
        await self._client.hset(key, mapping={"of": key, "and": key})
        found = await self._client.hgetall(key)
        right = {b"of": key.encode(), b"and": key.encode()}
        return "" if found in (right, {}) else f"{key} was {found!r}"

    async def _batch(self) -> str:
        keys = [f"{self._name}:batch{n}" for n in range(self._rng.randrange(1, 30))]
        await self._client.batch_set({key: f"{key}|1" for key in keys}, ttl_seconds=60)
        values = await self._client.batch_get(keys)
        await self._client.batch_delete(keys)
        wrongs = (self._not_own(value, key) for key, value in zip(keys, values, strict=True))
        return next(filter(None, wrongs), "")

    async def _incr(self) -> str:
        return await self._count("n", lambda key: self._client.incr(key))

    async def _script(self) -> str:
        return await self._count("s", lambda key: self._adds(keys=[key]))

    async def _pipeline(self) -> str:
        return await self._counted_between_reads("p", transaction=False)

    async def _transaction(self) -> str:
        return await self._counted_between_reads("t", transaction=True)

    async def _many(self) -> str:
        n = self._rng.randrange(KEYS)
        counter = f"{self._name}:m"
        self._findings.asked[counter] += 1
        value, count = await self._client.execute_many([("GET", _key(n)), ("INCR", counter)])
        self._findings.confirmed[counter] += 1
        return self._unlike(value, _value(n)) or self._impossible(counter, count)

    async def _watch(self) -> str:
        counter = f"{self._name}:w"
        async with self._client.pipeline() as pipe:
            await pipe.watch(counter)
            before = int(await pipe.get(counter) or 0)
            pipe.multi()
            pipe.incr(counter)
            self._findings.asked[counter] += 1
            [after] = await pipe.execute()
        self._findings.confirmed[counter] += 1
        return "" if after == before + 1 else f"{counter} went from {before} to {after} under WATCH"

    async def _queue(self) -> str:
        key = f"{self._name}:queue"
        await self._client.rpush(key, f"{key}|1")
        popped = await self._client.blpop([key], timeout=0.05)
        return "" if popped is None else self._not_own(popped[1], key)

    async def _publish(self) -> str:
        channel = f"{self._name}:news"
        async with self._client.pubsub(ignore_subscribe_messages=True) as listener:
            await listener.subscribe(channel)
            await listener.get_message(timeout=0.2)
            await self._client.publish(channel, channel)
            message = await listener.get_message(timeout=0.2)
        return "" if message is None or message["data"] == channel.encode() else f"heard {message!r}"

    async def _held(self) -> str:
        n = self._rng.randrange(KEYS)
        async with self._client.client() as own:
            await own.select(1)
            if await own.get(_key(n)) is not None:
                return f"{_key(n)} is in database 1"
        return ""

    async def _count(self, name: str, add: Callable[[str], Awaitable[Any]]) -> str:
        counter = f"{self._name}:{name}"
        self._findings.asked[counter] += 1
        count = await add(counter)
        self._findings.confirmed[counter] += 1
        return self._impossible(counter, count)

    async def _counted_between_reads(self, name: str, *, transaction: bool) -> str:
        n = self._rng.randrange(KEYS)
        counter = f"{self._name}:{name}"
        pipe = self._client.pipeline(transaction=transaction).get(_key(n)).incr(counter).get(_key(n))
        self._findings.asked[counter] += 1
        first, count, last = await pipe.execute()
        self._findings.confirmed[counter] += 1
        return (
            self._unlike(first, _value(n))
            or self._impossible(counter, count)
            or self._unlike(last, _value(n))
        )

    def _unlike(self, value: object, right: bytes) -> str:
        if value == right or (value is None and self._client.raising is not self._client):
            return ""  # only a pool that degrades may know nothing of what is stored
        return f"{right!r} was {value!r}"

    def _not_own(self, value: bytes | None, key: str) -> str:
        return "" if value is None or value.startswith(f"{key}|".encode()) else f"{key} was {value!r}"

    def _impossible(self, counter: str, count: int) -> str:
        least, most = self._findings.confirmed[counter], self._findings.asked[counter]
        return "" if least <= count <= most else f"{counter} is {count}, not {least} to {most}"


def _of_redis_py_itself(work: Callable[[], Check], failure: BaseException) -> bool:
    """Subscriptions and held clients are redis-py's own, and raise its own errors."""
    return work.__name__ in ("_publish", "_held") and isinstance(failure, RedisError)


def _key(n: int) -> str:
    return f"shared:{n}"


def _value(n: int) -> bytes:
    return f"value of shared:{n}".encode() * (1 + n % 40)
