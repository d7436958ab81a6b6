"""A service in an hour of traffic, its requests recorded: where a question to the laboratory begins.

    python examples/recorded_service.py requests.csv.gz
    perfkit run scenarios/cache-ttl-size.yaml --workload requests.csv.gz
    perfkit adopt

The hour is virtual and takes seconds; in your own service set PERFKIT_CACHE__RECORD_SHARE and
PERFKIT_RECORD_FILE and let it serve. The file holds no key, only keyed digests of keys.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from perfkit.cache import cached, get_tiered_cache
from perfkit.lab.virtual import run_virtual

PRODUCTS, USERS, PER_SECOND, SECONDS = 20_000, 4_000, 40.0, 3_600.0


@cached(ttl_seconds=600, namespace="products")
async def product(number: int) -> dict[str, object]:
    """Ask the catalogue, which takes its time."""
    await asyncio.sleep(0.025)
    return {"id": number, "name": f"Product {number}", "price": number % 97 + 0.99, "tags": ["a", "b"]}


@cached(ttl_seconds=600, namespace="recommendations", cost_per_call=0.0004)
async def recommendations(user: int) -> list[int]:
    """Ask a model, which costs money as well."""
    await asyncio.sleep(0.4)
    return [user * step % PRODUCTS for step in range(1, 11)]


async def serve(rng: random.Random) -> None:
    """Answer requests as they come: some products are asked for a thousand times as often as others."""
    weights = [1 / rank for rank in range(1, PRODUCTS + 1)]
    popular = iter(rng.choices(range(PRODUCTS), weights, k=int(PER_SECOND * SECONDS * 1.2)))
    async with asyncio.TaskGroup() as under_way:
        for number in popular:
            await asyncio.sleep(rng.expovariate(PER_SECOND))
            if asyncio.get_running_loop().time() > SECONDS:
                break
            if rng.random() < 0.1:
                under_way.create_task(recommendations(int(rng.paretovariate(1.1)) % USERS))
            else:
                under_way.create_task(product(number))
    for function in (product, recommendations):
        stats = function.stats()
        print(f"{stats.requests:>8,} requests, hit ratio {stats.hit_ratio:.3f}, {function.__name__}")
    await get_tiered_cache().aclose()


def main() -> None:
    """Serve an hour, and say where the recording is."""
    file = sys.argv[1] if len(sys.argv) > 1 else "requests.csv.gz"
    os.environ |= {"PERFKIT_CACHE__RECORD_SHARE": "1", "PERFKIT_RECORD_FILE": file}
    run_virtual(serve(random.Random(1)))  # noqa: S311  # repeatable traffic
    print(f"recorded to {file}")


if __name__ == "__main__":
    main()
