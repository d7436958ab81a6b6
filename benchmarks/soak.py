"""Soak: every pool under mixed commands for minutes, while the server and the line to it fail at random.

Five workloads on both transports talk through a proxy in a process of its own to a real server that keeps its
log on disk. At the end everything is healed and the books are opened: every call has ended once, nothing is
held, each reply was its caller's own, no cancellation was swallowed, each INCR was executed at least as often
as it was confirmed and at most as often as it was asked, and no connection is left. Any violation is printed,
and the exit code is 1.

    python benchmarks/soak.py --minutes 10 [--seed N] [--callers N] [--rate PER_S]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

from redis.asyncio import Redis
from soak_parts.books import COLUMNS, quiet, row, violations_of, violations_of_counters
from soak_parts.faults import Faults
from soak_parts.work import Caller, Findings, fill

from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.server import RedisServer

TRANSPORTS = ("mux", "classic")
LONGEST_REST_S = 2.0
FAULTS_AT_LEAST = 20
DISK = {"appendonly": "yes", "appendfsync": "everysec"}  # written before the reply; kill -9 loses none of it


def main() -> None:
    """Run it, print the table and every violation."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--seed", type=int, default=1, help="of the work and of the faults")
    arguments.add_argument("--callers", type=int, default=6, help="of each of the ten clients")
    arguments.add_argument("--rate", type=float, default=15.0, help="of each caller's tasks, a second")
    given = arguments.parse_args()
    files = _open_files()
    with (
        RedisServer.start(options=DISK) as server,
        FaultProxyProcess.start(server.tcp_url, seed=given.seed) as proxy,
    ):
        violations = asyncio.run(
            soak(server, proxy, given.minutes * 60, given.seed, callers=given.callers, rate_per_s=given.rate)
        )
    if (left := _open_files()) > files:
        violations.append(f"{left - files} files are left open")
    for violation in violations:
        print(f"VIOLATION {violation}")
    print("every book balances" if not violations else f"{len(violations)} violations")
    sys.exit(bool(violations))


async def soak(
    server: RedisServer,
    proxy: FaultProxyProcess,
    seconds: float,
    seed: int,
    *,
    callers: int,
    rate_per_s: float,
) -> list[str]:
    """Work and hurt for so long, heal, and return what was broken."""
    rng = random.Random(seed)  # noqa: S311  # a plan, not a secret
    pools = {transport: _pools(transport, proxy.url) for transport in TRANSPORTS}
    clients = {
        f"{kind} {transport}": pools[transport].client(kind) for kind in PoolType for transport in pools
    }
    found = {name: Findings() for name in clients}
    await fill(clients["default mux"])

    over, calm = asyncio.Event(), asyncio.Event()
    work = [
        Caller(f"{name} {n}", client, found[name], random.Random(rng.random())).run(rate_per_s, over)  # noqa: S311  # as above
        for name, client in clients.items()
        for n in range(callers)
    ]
    faults = Faults(server, proxy, random.Random(rng.random()))  # noqa: S311  # as above
    working = asyncio.gather(*work)
    hurting = asyncio.create_task(faults.run(min(LONGEST_REST_S, seconds / FAULTS_AT_LEAST), calm))
    await asyncio.wait([working, hurting], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    calm.set()
    await hurting
    await faults.heal()
    violations = [f"{name} does not come back" for name, client in clients.items() if not await _back(client)]
    over.set()
    await working
    await quiet(clients)

    async with Redis.from_url(server.url) as admin:
        for name, client in clients.items():
            violations += violations_of(name, client, found[name])
            violations += await violations_of_counters(admin, found[name])
        _print(clients, found, faults)
        for each in pools.values():
            await each.aclose()
        violations += await _left_connected(admin)
    if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        violations.append(f"{len(tasks)} tasks are left: {tasks}")
    return violations


def _pools(transport: str, url: str) -> RedisPools:
    """The knobs' defaults, but for the transport and a breaker that rests no longer than a fault lasts."""
    change = {"transport": transport, "breaker_open_seconds": 0.25}
    defaults = PoolsSettings().model_dump()
    settings = {kind.value: PoolSettings.model_validate(defaults[kind.value] | change) for kind in PoolType}
    return RedisPools(PoolsSettings(**settings), Endpoint.from_url(url), probe=null_probe)


async def _back(client: OptimizedRedis, within_s: float = 40.0) -> bool:
    """Tell whether a client serves again once nothing is wrong: its breaker must close by itself."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while client.metrics["circuit_state"] != "closed" or (await client.health()).verdict != "ready":
        if loop.time() > until_s:
            return False
        await asyncio.sleep(0.01)
    return True


async def _left_connected(admin: Redis, within_s: float = 10.0) -> list[str]:
    """Return who is still connected, by name; the server needs a moment to notice an end."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while True:
        me = str(await admin.client_id())
        everybody = await admin.client_list()
        others = [f"{one['name'] or one['addr']} is left" for one in everybody if one["id"] != me]
        if not others or loop.time() > until_s:
            return others
        await asyncio.sleep(0.01)


def _print(clients: dict[str, OptimizedRedis], found: dict[str, Findings], faults: Faults) -> None:
    print(f"| client | {' | '.join(name.replace('_', ' ') for name in COLUMNS)} |")
    print(f"|---|{'---:|' * len(COLUMNS)}")
    for name, client in clients.items():
        print(f"| {name} | {' | '.join(row(client, found[name]))} |")
    asked = sum(sum(each.asked.values()) for each in found.values())
    confirmed = sum(sum(each.confirmed.values()) for each in found.values())
    left = sum(each.cancelled for each in found.values())
    print(f"\n{faults.hit.total()} faults: {_told(faults.hit)}")
    print(f"{asked:,} INCRs asked, {confirmed:,} confirmed; {left:,} tasks cancelled")
    print(f"errors: {_told(sum((each.errors for each in found.values()), Counter()))}")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} × {what}" for what, count in counts.most_common())


def _open_files() -> int:
    """Of this process; 0 where there is no /proc."""
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


if __name__ == "__main__":
    main()
