"""What an answer out of the response cache costs, beside an application that has it ready."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asgi_questions.apps import NOT_INSTALLED, named, raw
from asgi_questions.direct import added_table, ask, check, requests, scope_of
from asgi_questions.payloads import SIZES, payload
from harness import (
    PROCESSOR,
    Arm,
    Estimate,
    Readings,
    Target,
    Timed,
    interleaved,
    level,
    shown,
    table,
    verdict,
)
from perfkit.asgi import AsgiSettings, PerformanceMiddleware, ResponseCacheMiddleware
from perfkit.asgi.messages import App
from perfkit.cache import get_tiered_cache
from perfkit.errors import MeasurementError

READY = "an application without a framework, its answer ready"
HIT = "perfkit, a hit, response cache alone"
HIT_ALL = "perfkit, a hit, all stages"
HISHEL = named("hishel", "ASGICacheMiddleware, SQLite in a file")
OVER_US = 5.0


async def beside_bare(rounds: int) -> str:
    """Ask again for what is kept: a client that accepts no coding, and one that accepts all."""
    body = payload("orders", SIZES["10 kB"])
    absent: dict[str, str] = {}
    said = []
    for accept, title in (("", "no coding"), ("gzip, deflate, br, zstd", "all codings")):
        scope = scope_of(accept)
        async with _wrapped(body, absent) as apps:
            arms: dict[str, Arm] = {READY: Timed(requests(_ready(body), scope))}
            for name, app in apps.items():
                await check(app, scope, body)
                await _kept(app, name)
                arms[name] = Timed(requests(app, scope))
            readings = await interleaved(arms, rounds)
        said += [
            f"A client that accepts {title}:",
            added_table(readings, {}, bare=READY, absent=absent),
            _over(readings),
        ]
    return "\n\n".join(said)


def _ready(body: bytes) -> App:
    return raw(body, (b"cache-control", b"public, max-age=86400"))


@asynccontextmanager
async def _wrapped(body: bytes, absent: dict[str, str]) -> AsyncIterator[dict[str, App]]:
    settings = AsgiSettings()
    cache = get_tiered_cache("asgi-benchmark")
    found: dict[str, App] = {
        HIT: ResponseCacheMiddleware(_ready(body), cache.namespaced("alone"), settings),
        HIT_ALL: PerformanceMiddleware(_ready(body), settings, cache=cache.namespaced("all")),
    }
    with tempfile.TemporaryDirectory() as folder:
        try:
            from hishel import AsyncSqliteStorage
            from hishel.asgi import ASGICacheMiddleware
        except ImportError:
            absent[HISHEL] = NOT_INSTALLED
        else:
            storage = AsyncSqliteStorage(database_path=Path(folder) / "hishel.db")
            found[HISHEL] = ASGICacheMiddleware(_ready(body), storage=storage)
        yield found


async def _kept(app: App, name: str) -> None:
    """Make sure that the second answer comes out of the cache."""
    answer = await ask(app, scope_of(""))
    if b"age" not in answer.fields:
        raise MeasurementError(f"{name}: the second answer was not out of the cache; it has no Age.")


def _over(readings: Readings) -> str:
    target = Target(OVER_US, at_most=True)
    rows = []
    for name in (HIT, HIT_ALL):
        over: Estimate = level(readings[name][PROCESSOR] - readings[READY][PROCESSOR])
        rows.append([name, shown(over), str(target), verdict(over, target)])
    return table(["processor µs above the ready answer", "µs", "target", "met"], rows)
