"""Metrics are read when somebody scrapes; a command calls nothing but an addition."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Metric, Sum
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics
from opentelemetry.semconv.attributes import db_attributes as stable_db_attributes
from opentelemetry.semconv.attributes import server_attributes
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from redis.exceptions import ResponseError

from perfkit.errors import CircuitOpen, PoolExhausted, Unavailable
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolSettings, PoolsSettings, PoolType, RedisPools
from perfkit.pools.failures import PoolClosed, RedisTimeout
from perfkit.pools.metrics import PrometheusCollector, register_otel
from perfkit.pools.metrics.figures import DURATION, FIGURES
from perfkit.pools.server import RedisServer, free_port

NOWHERE = Endpoint.from_url("unix:///nowhere/r.sock")
_EXPORTERS = re.compile(r"prometheus_client|opentelemetry|perfkit\.pools\.metrics")
Opened = Callable[..., OptimizedRedis]
Pools = Callable[..., RedisPools]


@pytest.fixture
async def opened_pools() -> AsyncIterator[Pools]:
    """Make pools that are closed when the test ends."""
    every: list[RedisPools] = []

    def make(endpoint: Endpoint, **sections: PoolSettings) -> RedisPools:
        every.append(RedisPools(PoolsSettings(**sections), endpoint, probe=null_probe))
        return every[-1]

    yield make
    for pools in every:
        await pools.aclose()


@pytest.fixture
def real(server: RedisServer) -> Endpoint:
    """The module's server, on its socket."""
    return Endpoint.from_url(server.url)


class Scrape:
    """What Prometheus would see of some pools, asked again each time."""

    def __init__(self, pools: RedisPools) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(PrometheusCollector(pools))

    def __call__(self, name: str, pool: str = "default", **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"pool": pool, **labels})


async def test_every_pool_is_told_apart(opened_pools: Pools, real: Endpoint) -> None:
    """The label `pool` separates the workloads of one process, and names nobody who was not asked for."""
    pools = opened_pools(real)
    scrape = Scrape(pools)
    await pools.client(PoolType.CACHE).set("a", 1)
    await pools.client(PoolType.CACHE).get("a")
    with pytest.raises(ResponseError):
        await pools.client(PoolType.ANALYTICS).lpush("a", 1)

    assert scrape("perfkit_redis_calls_total", "cache", outcome="ok") == 2
    assert scrape("perfkit_redis_calls_total", "analytics", outcome="ok") == 0
    assert scrape("perfkit_redis_calls_total", "analytics", outcome="failed") == 1
    assert scrape("perfkit_redis_calls_total", "default", outcome="ok") is None
    assert scrape("db_client_connection_count", "cache", state="idle") == 1
    assert scrape("db_client_connection_max", "cache") == 1 + 2


async def test_what_is_exposed_is_prometheus_s_own_text(opened_pools: Pools, real: Endpoint) -> None:
    """Its parser reads it back: each family has help, and the buckets add up to the count."""
    pools = opened_pools(real)
    await asyncio.gather(*(pools.client().get("a") for _ in range(50)))

    text = generate_latest(Scrape(pools).registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert len(families) == len(FIGURES) + 1
    assert [family.name for family in families.values() if not family.documentation] == []
    durations = families["db_client_operation_duration_seconds"]
    buckets = [sample.value for sample in durations.samples if sample.name.endswith("_bucket")]
    (count,) = (sample.value for sample in durations.samples if sample.name.endswith("_count"))
    (total_s,) = (sample.value for sample in durations.samples if sample.name.endswith("_sum"))
    assert buckets == sorted(buckets)
    assert buckets[-1] == count == 50
    assert total_s > 0


async def test_rejections_tell_their_reason(opened: Opened, real: Endpoint) -> None:
    """Open circuit, no room, closed pool: each is counted apart, and together they are the rejected."""
    away = opened(NOWHERE, retries=0)
    for _ in range(12):
        with pytest.raises(Unavailable):
            await away.get("a")
    narrow = opened(real, inflight_min=1, inflight_max=1, acquire_timeout_seconds=30)
    outcomes = await asyncio.gather(*(narrow.get("a") for _ in range(66)), return_exceptions=True)
    await narrow.close_pool()
    with pytest.raises(PoolClosed):
        await narrow.get("a")

    assert [outcome for outcome in outcomes[:65] if isinstance(outcome, Exception)] == []
    assert isinstance(outcomes[65], PoolExhausted), "one under way and a full line of 64 were before it"
    assert (away.counts.rejected_breaker_open, away.counts.rejected) == (2, 2)
    assert (narrow.counts.rejected_limit, narrow.counts.rejected_closed, narrow.counts.rejected) == (1, 1, 2)
    assert away.counts.under_way == narrow.counts.under_way == 0


async def test_the_breaker_s_way_is_counted_step_by_step(opened_pools: Pools) -> None:
    """Ten failures are one transition; the state is 1 for where it is and 0 elsewhere."""
    pools = opened_pools(NOWHERE, default=PoolSettings(retries=0))
    scrape = Scrape(pools)
    client = pools.client()
    assert scrape("perfkit_redis_breaker_state", state="closed") == 1
    for _ in range(10):
        with pytest.raises(Unavailable):
            await client.get("a")
    with pytest.raises(CircuitOpen):
        await client.get("a")

    assert scrape("perfkit_redis_breaker_transitions_total", **{"from": "closed", "to": "open"}) == 1
    states = {state: scrape("perfkit_redis_breaker_state", state=state) for state in ("closed", "open")}
    assert states == {"closed": 0, "open": 1}
    assert scrape("perfkit_redis_rejected_total", reason="breaker_open") == 1
    assert scrape("perfkit_redis_calls_total", outcome="failed") == 10


async def test_a_call_that_is_too_late_and_one_that_is_cancelled_are_counted_apart(
    opened_pools: Pools, real: Endpoint
) -> None:
    """A timeout is a failure, a caller who left is none; nothing is under way afterwards."""
    admin = opened_pools(real).client()
    pools = opened_pools(real, default=PoolSettings(retries=0, command_timeout_seconds=0.05))
    scrape = Scrape(pools)
    client = pools.client()
    await admin.client_pause(60_000, all=False)
    try:
        leaving = asyncio.create_task(client.set("a", 1))
        await asyncio.sleep(0)
        assert scrape("perfkit_redis_under_way") == 1
        leaving.cancel()
        await asyncio.wait([leaving])
        with pytest.raises(RedisTimeout):
            await client.set("a", 1)
    finally:
        await admin.client_unpause()

    assert scrape("perfkit_redis_calls_total", outcome="cancelled") == 1
    assert scrape("perfkit_redis_calls_total", outcome="failed") == 1
    assert scrape("perfkit_redis_timeouts_total") == 1
    assert scrape("perfkit_redis_under_way") == 0


async def test_retries_and_misses_are_counted(opened_pools: Pools) -> None:
    """One call, tried three times in vain and answered with nothing: one failure, which was a miss."""
    pools = opened_pools(NOWHERE, cache=PoolSettings(retries=2, when_unavailable="miss"))
    scrape = Scrape(pools)

    assert await pools.client(PoolType.CACHE).get("a") is None

    assert scrape("perfkit_redis_retries_total", "cache", outcome="sent") == 2
    assert scrape("perfkit_redis_calls_total", "cache", outcome="failed") == 1
    assert scrape("perfkit_redis_missed_total", "cache") == 1


def otel(pools: RedisPools) -> dict[str, Metric]:
    """What an OpenTelemetry reader collects, by name."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    register_otel(pools, provider.get_meter("perfkit"))
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


async def test_opentelemetry_reads_the_same_numbers(opened_pools: Pools, server: RedisServer) -> None:
    """A real SDK, one point a pool and attribute, each pool by its name and server."""
    pools = opened_pools(Endpoint.from_url(server.tcp_url))
    for kind in PoolType:
        await asyncio.gather(*(pools.client(kind).get("a") for _ in range(5)))

    metrics = otel(pools)

    scrape = Scrape(pools)
    for figure in (figure for figure in FIGURES if figure.name in metrics):
        name = figure.name.replace(".", "_") + ("_total" if figure.kind == "counter" else "")
        for point in metrics[figure.name].data.data_points:
            labels = {key.rpartition(".")[2]: str(point.attributes[key]) for key in figure.attributes}
            pool = str(point.attributes["db.client.connection.pool.name"])
            assert point.value == scrape(name, pool, **labels)
            assert point.attributes["server.port"] == int(server.tcp_url.rpartition(":")[2].split("/")[0])
    assert {figure.name for figure in FIGURES} - metrics.keys() == {"perfkit.redis.breaker.transitions"}
    counts = metrics["perfkit.redis.duration.count"].data.data_points
    assert {
        point.attributes["db.client.connection.pool.name"]: point.value for point in counts
    } == dict.fromkeys(PoolType, 5)
    endless = [
        point
        for point in metrics["perfkit.redis.duration.bucket"].data.data_points
        if point.attributes["le"] == "+Inf"
    ]
    assert [point.value for point in endless] == [5] * len(PoolType)


async def test_names_and_kinds_are_the_conventions_own(opened_pools: Pools, real: Endpoint) -> None:
    """What stands under `db.` and `server.` is in OpenTelemetry's package of conventions, of that kind."""
    pools = opened_pools(real)
    await pools.client().ping()
    metrics = otel(pools)
    known = {getattr(db_metrics, name) for name in dir(db_metrics) if name.startswith("DB_CLIENT")}
    attributes = {
        getattr(module, name)
        for module in (db_attributes, stable_db_attributes, server_attributes)
        for name in dir(module)
        if name.isupper()
    }

    conventional = {name: metric for name, metric in metrics.items() if name.startswith("db.")}
    assert conventional.keys() == {
        db_metrics.DB_CLIENT_CONNECTION_COUNT,
        db_metrics.DB_CLIENT_CONNECTION_MAX,
        db_metrics.DB_CLIENT_CONNECTION_PENDING_REQUESTS,
        db_metrics.DB_CLIENT_CONNECTION_TIMEOUTS,
    }
    assert conventional.keys() | {DURATION} <= known
    monotonic = {name: metric.data.is_monotonic for name, metric in conventional.items()}
    assert [name for name, rises in monotonic.items() if rises] == [db_metrics.DB_CLIENT_CONNECTION_TIMEOUTS]
    used = {
        key for metric in metrics.values() for point in metric.data.data_points for key in point.attributes
    }
    assert {key for key in used if "." in key} <= attributes
    assert isinstance(metrics["perfkit.redis.limit"].data, Gauge)
    assert isinstance(metrics["perfkit.redis.calls"].data, Sum)


@contextmanager
def watching(called: set[str]) -> Iterator[None]:
    """Note the module of every Python function that is called in this thread."""

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.add(str(frame.f_globals.get("__name__", "")))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


async def test_a_command_calls_no_exporter(opened_pools: Pools, real: Endpoint) -> None:
    """With both registered, commands run none of their code and none of ours for them; a scrape does."""
    pools = opened_pools(real)
    scrape = Scrape(pools)
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    register_otel(pools, provider.get_meter("perfkit"))
    client = pools.client()
    in_commands: set[str] = set()
    in_scrape: set[str] = set()

    with watching(in_commands):
        await asyncio.gather(*(client.get("a") for _ in range(100)))
        await client.batch_set({"a": 1})
        with pytest.raises(ResponseError):
            await client.lpush("a", 1)
    with watching(in_scrape):
        generate_latest(scrape.registry)
    provider.shutdown()

    assert {name for name in in_commands if _EXPORTERS.match(name)} == set()
    assert "perfkit.pools.wire" in in_commands
    assert {"perfkit.pools.metrics.prometheus", "prometheus_client.registry"} <= in_scrape


def test_commands_load_no_exporter(server: RedisServer) -> None:
    """A service that exports nothing loads no exporter, whatever it asks Redis.

    Where OpenTelemetry is installed redis-py loads it for itself; we add nothing to what it loads.
    """
    code = (
        "import asyncio, json, sys, redis.asyncio\n"
        "before = set(sys.modules)\n"
        "from perfkit.pools import Endpoint, RedisPools\n"
        "async def main():\n"
        "    pools = RedisPools(endpoint=Endpoint.from_url(sys.argv[1]))\n"
        "    await pools.client().set('a', 1)\n"
        "    await pools.client().get_metrics()\n"
        "    await pools.ready()\n"
        "    await pools.aclose()\n"
        "asyncio.run(main())\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, server.url], check=True, capture_output=True, text=True
    )
    loaded = set(json.loads(done.stdout))

    assert "perfkit.pools.wire" in loaded
    assert {name for name in loaded if _EXPORTERS.match(name)} == set()


async def test_a_scrape_in_another_thread_disturbs_nothing(opened_pools: Pools, real: Endpoint) -> None:
    """Prometheus scrapes from a thread of its own while commands run; what is counted never falls."""
    pools = opened_pools(real)
    scrape = Scrape(pools)
    client = pools.client()
    seen: list[float] = []

    def scrape_often() -> None:
        for _ in range(30):
            generate_latest(scrape.registry)
            seen.append(scrape("perfkit_redis_calls_total", outcome="ok") or 0.0)

    scraping = asyncio.create_task(asyncio.to_thread(scrape_often))
    asked = 0
    while not scraping.done():
        await asyncio.gather(*(client.get("a") for _ in range(64)))
        asked += 64
    await scraping

    assert seen == sorted(seen)
    assert client.counts.ok == asked == sum(client.counts.durations)


def test_the_page_names_every_metric() -> None:
    """docs/pools.md lists exactly what Prometheus sees."""
    page = (Path(__file__).parents[2] / "docs/pools.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `((?:perfkit_redis|db_client)_\w+)`", page, flags=re.MULTILINE))
    names = {
        figure.name.replace(".", "_") + ("_total" if figure.kind == "counter" else "") for figure in FIGURES
    }

    assert told == names | {"db_client_operation_duration_seconds"}


@pytest.fixture
def one_node() -> Iterator[RedisServer]:
    """A cluster of a single node, which holds every slot."""
    options = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    with (
        RedisServer.start(options=options) as started,
        redis.Redis(unix_socket_path=started.url.removeprefix("unix://")) as asker,
    ):
        asker.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        deadline_s = time.monotonic() + 30
        while "ok" not in str(asker.execute_command("CLUSTER INFO")["cluster_state"]):
            assert time.monotonic() < deadline_s, "the cluster never came up"
        yield started


async def test_a_cluster_is_one_pool_over_all_its_nodes(opened_pools: Pools, one_node: RedisServer) -> None:
    """The same figures and the same readiness, whatever the pool is spread over."""
    pools = opened_pools(Endpoint.from_url(f"{one_node.tcp_url}?cluster=true"))
    scrape = Scrape(pools)
    await pools.client().batch_set({"a": 1, "b": 2})
    before = scrape("perfkit_redis_calls_total", outcome="ok")
    assert (await pools.ready()).verdicts == {"default": "ready"}

    assert before in (1, 2)
    assert scrape("perfkit_redis_calls_total", outcome="ok") == before + 1
    assert scrape("db_client_connection_count", state="idle") >= 1
    assert otel(pools).keys() >= {"perfkit.redis.calls", "perfkit.redis.duration.bucket"}
