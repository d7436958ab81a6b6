"""However instances read, write and lose their lines, in the end no memory holds what Redis does not.

Three instances with memories of the simplest kind, which keep to what `Hears` demands: nothing is kept that
an invalidation has overtaken. Connections of listeners are cut while they work.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from perfkit.cache.coherence import Backplane, Tracking
from perfkit.cache.coherence.names import Names
from perfkit.events import null_probe
from perfkit.pools import OptimizedRedis
from perfkit.pools.server import RedisServer
from tests.pools.waiting import until

NAMES = Names("p:")
KEYS = [f"k:{number}" for number in range(8)]
YOUNGER_WINS = """
local stands = redis.call('GET', KEYS[1])
if stands and tonumber(stands) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


class Instance:
    """A memory of when entries were born, over Redis."""

    def __init__(self, client: OptimizedRedis, how: str, births: Iterator[int], seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311  # jitter, not a secret
        self.client = client
        self.births = births
        self.memory: dict[str, float] = {}
        self.overtaken: Counter[str] = Counter()
        self.coherence = (
            Backplane(client, prefix="p:", rng=rng, probe=null_probe)
            if how == "backplane"
            else Tracking(client, prefix="p:", born_of=self.born_of, rng=rng, probe=null_probe)
        )

    async def born_of(self, key: str) -> float | None:
        born = await self.client.get(NAMES.entry(key))
        return None if born is None else float(born)

    async def read(self, key: str) -> None:
        if key not in self.memory:
            before = self._passed(key)
            born = await self.born_of(key)
            if born is not None and self._passed(key) == before:
                self.memory[key] = born

    async def write(self, key: str) -> None:
        born, before = float(next(self.births)), self._passed(key)
        self.coherence.writing(key, born)
        if not await self.client.eval(YOUNGER_WINS, 1, NAMES.entry(key), born):
            return
        if self._passed(key) == before:
            self.memory[key] = born
        assert await self.coherence.key_changed(key, born)

    def key_invalidated(self, full_key: str, at_epoch_s: float) -> None:
        self.overtaken[full_key] += 1
        if self.memory.get(full_key, at_epoch_s + 1) <= at_epoch_s:
            del self.memory[full_key]

    def tag_invalidated(self, tag: str, at_epoch_s: float) -> None:
        raise AssertionError(tag)

    def missed_some(self) -> None:
        self.overtaken["everything"] += 1
        self.memory.clear()

    def _passed(self, key: str) -> tuple[int, int]:
        return self.overtaken[key], self.overtaken["everything"]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("how", ["backplane", "tracking"])
async def test_memories_end_up_with_what_stands_in_redis_or_nothing(
    server: RedisServer, instance: Callable[[str], OptimizedRedis], how: str, seed: int
) -> None:
    """Thousands of reads and writes at once, and listeners cut off in between."""
    control = instance(server.url)
    await control.flushall()
    births = itertools.count(1)
    every = [Instance(instance(server.url), how, births, number) for number in range(3)]
    for each in every:
        await each.coherence.start(each)
    await until(lambda: all(each.coherence.connected for each in every))
    chance = random.Random(seed)  # noqa: S311  # a plan, not a secret

    done = itertools.count()
    steps = 0

    async def work(each: Instance) -> None:
        nonlocal steps
        for _step in range(150):
            steps = next(done)
            key = chance.choice(KEYS)
            await (each.write(key) if chance.random() < 0.3 else each.read(key))
            if chance.random() < 0.1:
                await asyncio.sleep(chance.random() * 0.003)

    async def cut() -> None:
        for due in (500, 1_000, 1_500):  # of 3,600 steps: the later ones are for what must be heard
            await until(lambda due=due: steps > due)
            for client in await control.client_list():
                if "pubsub" in client["cmd"] or "subscribe" in client["cmd"] or "tracking" in client["cmd"]:
                    await control.client_kill_filter(_id=client["id"])

    await asyncio.gather(cut(), *(work(each) for each in every for _worker in range(8)))
    await until(lambda: all(each.coherence.connected for each in every))
    await asyncio.sleep(0.1)  # what is on its way arrives

    stands = {key: await every[0].born_of(key) for key in KEYS}
    held = [{key: born for key, born in each.memory.items() if stands[key] != born} for each in every]
    assert held == [{}, {}, {}]
    assert sum(each.coherence.interruptions for each in every) >= 3
    for each in every:
        await each.coherence.aclose()
