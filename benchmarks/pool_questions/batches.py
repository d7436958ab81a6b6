"""What a key costs in batches of 100, read and written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from harness import Arm, Target, Timed, costs_table, interleaved
from pool_questions.clients import REDIS_PY, Clients

KEYS = [f"bench:{number}" for number in range(100)]
VALUE = b"x" * 100
PAIRS = dict.fromkeys(KEYS, VALUE)
TTL_S = 300
PIPELINE = REDIS_PY.replace("BlockingConnectionPool(64)", f"pipeline({len(KEYS)}, transaction=False)")
MGET = REDIS_PY.replace("BlockingConnectionPool(64)", f"MGET({len(KEYS)})")
SETS = REDIS_PY.replace("BlockingConnectionPool(64)", f"pipeline({len(KEYS)}, transaction=False) of SET EX")


async def read(found: Clients, _url: str, rounds: int) -> str:
    """Compare `batch_get` with a pipeline and with MGET."""
    await found.ours.batch_set(PAIRS)

    async def pipelined() -> list[Any]:
        pipe = found.redis_py.pipeline(transaction=False)
        for key in KEYS:
            pipe.get(key)
        return await pipe.execute()

    works: dict[str, Callable[[], Awaitable[Any]]] = {
        f"perfkit, batch_get({len(KEYS)})": lambda: found.ours.batch_get(KEYS),
        PIPELINE: pipelined,
        MGET: lambda: found.redis_py.mget(KEYS),
        **{f"{name}, MGET({len(KEYS)})": lambda mget=mget: mget(KEYS) for name, mget in found.mget.items()},
    }
    arms: dict[str, Arm] = {
        name: Timed(repeated(work, _all_there), step=len(KEYS)) for name, work in works.items()
    }
    readings = await interleaved(arms, rounds)
    return costs_table(readings, {PIPELINE: Target(8), MGET: Target(2)}, unit="key", absent=found.absent)


async def written(found: Clients, _url: str, rounds: int) -> str:
    """Compare `batch_set` with a pipeline of SET EX."""

    async def pipelined() -> list[Any]:
        pipe = found.redis_py.pipeline(transaction=False)
        for key, value in PAIRS.items():
            pipe.set(key, value, ex=TTL_S)
        return await pipe.execute()

    async def ours() -> list[Any]:
        await found.ours.batch_set(PAIRS, ttl_seconds=TTL_S)
        return KEYS  # it raises unless every key was stored

    arms: dict[str, Arm] = {
        f"perfkit, batch_set({len(KEYS)}) with ttl_seconds": Timed(repeated(ours, all), step=len(KEYS)),
        SETS: Timed(repeated(pipelined, all), step=len(KEYS)),
    }
    return costs_table(await interleaved(arms, rounds), {SETS: Target(3)}, unit="key")


def repeated(
    batch: Callable[[], Awaitable[Any]], complete: Callable[[list[Any]], bool]
) -> Callable[[int], Awaitable[int]]:
    """Return work that sends batches one after the other and counts the keys of those that were complete."""

    async def work(keys: int) -> int:
        done = 0
        for _ in range(keys // len(KEYS)):
            if complete(await batch()):
                done += len(KEYS)
        return done

    return work


def _all_there(values: list[Any]) -> bool:
    return values == EXPECTED or list(values) == EXPECTED  # coredis answers with a tuple


EXPECTED = [VALUE] * len(KEYS)
