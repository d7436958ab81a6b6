"""What a decorated coroutine function costs when its answer is at hand."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from cache_questions.peers import NOT_INSTALLED, named
from harness import Arm, Target, Timed, costs_table, interleaved
from perfkit.cache import cached

KEYS = 1_000
Function = Callable[[str], Awaitable[Any]]
VALUE = {"answer": 42}

ASYNC_LRU = named("async-lru", "@alru_cache(ttl)")
AIOCACHE = named("aiocache", "@cached")
CASHEWS = named("cashews", "@cache")
CACHEKIT = named("cachekit", "@cache.minimal(backend=None)")


async def hits(rounds: int) -> str:
    """Call a function of one argument, a string, whose answer was asked for before."""
    absent: dict[str, str] = {}
    functions = {"perfkit @cached": _perfkit()}
    for name, make in ((ASYNC_LRU, _async_lru), (AIOCACHE, _aiocache), (CASHEWS, _cashews)):
        try:
            functions[name] = make()
        except ImportError:
            absent[name] = NOT_INSTALLED
    try:
        functions[CACHEKIT] = _cachekit()
    except ImportError:
        absent[CACHEKIT] = NOT_INSTALLED
    keys = [f"user:{number:08d}" for number in range(KEYS)]
    arms: dict[str, Arm] = {name: Timed(calls(function, keys)) for name, function in functions.items()}
    for function in functions.values():
        for key in keys:
            await function(key)
    targets = {
        ASYNC_LRU: Target(1, at_most=True),
        AIOCACHE: Target(0.08, at_most=True),
        CASHEWS: Target(0.04, at_most=True),
    }
    readings = await interleaved(arms, rounds)
    return costs_table(readings, targets, unit="hit", absent=absent, ours_over_theirs=True)


def calls(function: Function, keys: list[str]) -> Callable[[int], Awaitable[int]]:
    """Return work that calls the function with one key after the other."""

    async def work(operations: int) -> int:
        for number in range(operations):
            await function(keys[number % KEYS])
        return operations

    return work


def _perfkit() -> Function:
    @cached(ttl_seconds=3_600, l1_ttl_seconds=3_600, namespace="benchmark")
    async def answer(key: str) -> Any:
        return VALUE

    return answer


def _async_lru() -> Function:
    from async_lru import alru_cache

    @alru_cache(maxsize=2 * KEYS, ttl=3_600)
    async def answer(key: str) -> Any:
        return VALUE

    return answer


def _aiocache() -> Function:
    import aiocache

    @aiocache.cached(ttl=3_600)
    async def answer(key: str) -> Any:
        return VALUE

    return answer


def _cashews() -> Function:
    from cashews import Cache

    cache = Cache()
    cache.setup(f"mem://?size={2 * KEYS}&check_interval=0")

    @cache(ttl=3_600)
    async def answer(key: str) -> Any:
        return VALUE

    return answer


def _cachekit() -> Function:
    logging.getLogger("cachekit").setLevel(logging.ERROR)
    from cachekit import cache

    @cache.minimal(ttl=3_600, backend=None)
    async def answer(key: str) -> Any:
        return VALUE

    return answer
