"""Responses as others' metrics: named by the conventions, bounded whatever is sent, read when scraped."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import Any

import fastapi
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Sum
from opentelemetry.semconv._incubating.metrics import http_metrics
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    network_attributes,
    url_attributes,
)
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from perfkit.asgi import AsgiSettings, PerformanceMiddleware, RequestCounts, TimingMiddleware
from perfkit.asgi import add_performance_middlewares as add
from perfkit.asgi.counts import SERIES_LIMIT
from perfkit.asgi.messages import App, Receive, Scope, Send
from perfkit.asgi.metrics import MetricsEndpoint, PrometheusCollector, register_otel
from perfkit.asgi.metrics.figures import ATTRIBUTES, FIGURES, HISTOGRAMS
from perfkit.cache import TieredCache
from tests.asgi.imitated import Scripted, ask, body, hear, scope, start, whole

LABELS = {name.replace(".", "_"): "" for name in ATTRIBUTES}
BODY = json.dumps([{"id": n, "name": f"member {n}"} for n in range(100)]).encode()


class Scrape:
    """What Prometheus would see of some counts, asked again each time."""

    def __init__(self, counts: RequestCounts) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(PrometheusCollector(counts))

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


async def test_a_series_is_named_by_the_conventions_attributes() -> None:
    """With the values they prescribe; what a response lacks is an empty label."""
    counts = RequestCounts()
    scrape = Scrape(counts)
    app = TimingMiddleware(Scripted(whole(BODY)), counts=counts)

    await ask(app, scheme="https", http_version="2", route=type("R", (), {"path_format": "/members/{id}"}))
    await hear(TimingMiddleware(Scripted([KeyError("id")]), counts=counts), scope("POST"))

    found = {
        "http_request_method": "GET",
        "url_scheme": "https",
        "http_response_status_code": "200",
        "http_route": "/members/{id}",
        "network_protocol_version": "2",
        "error_type": "",
    }
    assert scrape("http_server_request_duration_seconds_count", **found) == 1
    assert scrape("http_server_response_body_size_bytes_sum", **found) == len(BODY)
    failed = {
        **found,
        "http_request_method": "POST",
        "url_scheme": "http",
        "http_response_status_code": "500",
    }
    failed |= {"http_route": "", "network_protocol_version": "1.1", "error_type": "KeyError"}
    assert scrape("http_server_request_duration_seconds_count", **failed) == 1
    assert scrape("http_server_active_requests", http_request_method="POST", url_scheme="http") == 0


def test_names_are_those_of_the_conventions() -> None:
    """As OpenTelemetry's own package has them, attributes and all."""
    assert [histogram.name for histogram in HISTOGRAMS] == [
        http_metrics.HTTP_SERVER_REQUEST_DURATION,
        http_metrics.HTTP_SERVER_RESPONSE_BODY_SIZE,
    ]
    assert FIGURES[0].name == http_metrics.HTTP_SERVER_ACTIVE_REQUESTS
    assert ATTRIBUTES == (
        http_attributes.HTTP_REQUEST_METHOD,
        url_attributes.URL_SCHEME,
        http_attributes.HTTP_RESPONSE_STATUS_CODE,
        http_attributes.HTTP_ROUTE,
        network_attributes.NETWORK_PROTOCOL_VERSION,
        error_attributes.ERROR_TYPE,
    )


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "method": st.text(max_size=8),
                "path": st.text(max_size=8).map("/".__add__),
                "scheme": st.sampled_from(("http", "https", "gopher", "")),
                "http_version": st.text(max_size=3),
            }
        ),
        max_size=20,
    )
)
async def test_nothing_a_client_makes_up_makes_a_series(requests: list[dict[str, str]]) -> None:
    """Unknown methods, schemes and versions are counted as one; paths not at all."""
    counts = RequestCounts()
    app = TimingMiddleware(Scripted([start(), body()]), counts=counts)
    for request in requests:
        await ask(app, **request)

    methods = {key.method for key in counts.series}
    defined = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
    assert methods <= defined | {"_OTHER"}
    assert methods & defined <= {request["method"] for request in requests}
    assert {key.scheme for key in counts.series} <= {"http", "https", "_OTHER"}
    assert {key.version for key in counts.series} <= {"1.0", "1.1", "2", "3", "_OTHER"}
    assert {key.route for key in counts.series} <= {""}
    assert len(counts.found) <= len(counts.series)
    assert sum(series.count for series in counts.series.values()) == len(requests)
    assert set(counts.active().values()) <= {0}


async def test_an_application_with_endless_routes_does_not_fill_memory() -> None:
    """What comes after 2,000 series is counted together, those before by themselves, and none is active."""
    counts = RequestCounts()
    app = TimingMiddleware(Scripted([start(), body()]), counts=counts)
    for number in range(SERIES_LIMIT + 50):
        await ask(app, path_template=f"/{number}")
    await ask(app, path_template="/7")

    overflow = [series.count for key, series in counts.series.items() if key.error == "otel.metric.overflow"]
    assert (len(counts.series), overflow) == (SERIES_LIMIT + 1, [50])
    assert next(series.count for key, series in counts.series.items() if key.route == "/7") == 2
    assert counts.active() == {("GET", "http"): 0}


def compressing(counts: RequestCounts, **knobs: Any) -> App:
    """Return an application with all stages, that answers with JSON."""
    steps = whole(BODY, content_type="application/json")
    return PerformanceMiddleware(Scripted(steps), AsgiSettings(**knobs), counts=counts)


async def test_what_the_stages_count_stands_beside() -> None:
    """Compression by coding and reason, fields by outcome, and how far the governor went."""
    counts = RequestCounts()
    scrape = Scrape(counts)
    app = compressing(counts)
    await ask(app, "gzip")
    await ask(app, "gzip")
    plain_answer = await ask(app)
    await ask(app, query="fields=id")
    await ask(app, query="fields=id(")

    assert len(plain_answer.raw) == len(BODY)
    assert scrape("perfkit_http_compress_total", encoding="gzip", outcome="compressed") == 2
    assert (scrape("perfkit_http_compress_total", encoding="identity", outcome="client") or 0) >= 2
    assert scrape("perfkit_http_compress_input_bytes_total", encoding="gzip") == 2 * len(BODY)
    smaller = scrape("perfkit_http_compress_output_bytes_total", encoding="gzip")
    assert smaller is not None
    assert 0 < smaller < len(BODY)
    assert (scrape("perfkit_http_compress_duration_seconds_total", encoding="gzip") or 0) > 0
    assert scrape("perfkit_http_compress_step") == 1
    assert (scrape("perfkit_http_fields_total", outcome="generic") or 0) == 1
    assert scrape("perfkit_http_fields_total", outcome="refused") == 1


async def test_what_is_off_is_not_told() -> None:
    """A zero would say that the stage is there and has nothing to do."""
    counts = RequestCounts()
    await ask(compressing(counts, compress_responses=False, optimize_payloads=False))

    text = generate_latest(Scrape(counts).registry).decode()
    told = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}

    assert {name for name in told if "compress" in name or "fields" in name} == set()
    assert "http_server_request_duration_seconds_bucket" in told


async def test_what_is_exposed_is_prometheus_s_own_text() -> None:
    """Its parser reads it back: each family has help, buckets hold those below, and no path is told."""
    counts = RequestCounts()
    app = compressing(counts)
    for number in range(20):
        await ask(app, "gzip", path=f"/secret/{number}")

    text = generate_latest(Scrape(counts).registry).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    assert "secret" not in text
    assert len(families) == len(FIGURES) + len(HISTOGRAMS)
    assert [family.name for family in families.values() if not family.documentation] == []
    for name in ("http_server_request_duration_seconds", "http_server_response_body_size_bytes"):
        samples = families[name].samples
        buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
        assert buckets == sorted(buckets)
        assert buckets[-1] == 20


def collected(counts: RequestCounts) -> dict[str, list[tuple[dict[str, Any], float]]]:
    """Return what OpenTelemetry's SDK collects, by the instruments' names."""
    reader = InMemoryMetricReader()
    register_otel(counts, MeterProvider([reader]).get_meter("perfkit"))
    data = reader.get_metrics_data()
    assert data is not None
    found = {}
    for metric in (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics):
        assert isinstance(metric.data, Sum | Gauge)
        found[metric.name] = [
            (dict(point.attributes or {}), point.value) for point in metric.data.data_points
        ]
    return found


async def test_opentelemetry_reads_the_same_counts() -> None:
    """Active requests by their own name, distributions as counters with `le`; what is lacking is left out."""
    counts = RequestCounts()
    await ask(compressing(counts), "gzip")

    found = collected(counts)

    series = {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }
    assert found["http.server.active_requests"] == [({"http.request.method": "GET", "url.scheme": "http"}, 0)]
    assert found["http.server.request.duration.count"] == [(series, 1)]
    assert ({**series, "le": "+Inf"}, 1) in found["http.server.request.duration.bucket"]
    ((_attributes, size),) = found["http.server.response.body.size.sum"]
    assert 0 < size < len(BODY)
    assert ({"encoding": "gzip", "outcome": "compressed"}, 1) in found["perfkit.http.compress"]


async def test_opentelemetry_hears_of_an_overflow_as_it_says_it_itself() -> None:
    """By the one attribute its SDKs use."""
    counts = RequestCounts()
    app = TimingMiddleware(Scripted([start(), body()]), counts=counts)
    for number in range(SERIES_LIMIT + 1):
        await ask(app, path_template=f"/{number}")

    points = collected(counts)["http.server.request.duration.count"]

    assert ({"otel.metric.overflow": True}, 1) in points


def test_a_scrape_may_come_at_any_moment() -> None:
    """From its own thread, while requests open new series: it never fails, and never sees fewer than none."""
    counts = RequestCounts()
    scrape = Scrape(counts)
    stop = threading.Event()

    def serve() -> None:
        for number in range(1_500):
            counts.begin("GET", "http")
            counts.find(("GET", "http", 200, f"/{number}", "1.1", "")).add(0.001, 10)
        stop.set()

    thread = threading.Thread(target=serve)
    seen = []
    thread.start()
    while not stop.is_set():
        seen.append(scrape("http_server_active_requests", http_request_method="GET", url_scheme="http") or 0)
    thread.join()

    assert min(seen, default=0) >= 0
    assert scrape("http_server_active_requests", http_request_method="GET", url_scheme="http") == 0


@pytest.fixture
def page() -> fastapi.FastAPI:
    """A FastAPI application as the documentation shows it: all stages, and a page for scrapers."""
    app = fastapi.FastAPI()
    app.get("/members/{id}")(lambda id: {"id": id})  # noqa: A006  # the pattern's name
    counts = RequestCounts()
    add(app, counts=counts)
    app.add_route("/metrics", MetricsEndpoint(counts, CollectorRegistry()))
    return app


async def test_a_page_tells_of_the_requests_before_it(page: fastapi.FastAPI) -> None:
    """In Prometheus's text by default, compressed by the layer around it, and kept by no cache."""
    await ask(page, path="/members/17")

    scraped = await ask(page, "gzip", path="/metrics")

    assert scraped.get("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert (scraped.coding, scraped.get("cache-control")) == ("gzip", "no-store")
    assert 'http_route="/members/{id}"' in scraped.body.decode()


async def test_a_scraper_chooses_its_format(page: fastapi.FastAPI) -> None:
    """OpenMetrics ends with a mark by which a cut is noticed."""
    asked = "application/openmetrics-text; version=1.0.0"

    scraped = await ask(page, None, ("accept", asked), path="/metrics")

    assert (scraped.get("content-type") or "").startswith(asked)
    assert scraped.body.endswith(b"# EOF\n")
    assert "accept" in scraped.tokens("vary")


async def test_a_scraper_names_what_it_wants(page: fastapi.FastAPI) -> None:
    """As `prometheus_client`'s own page has it."""
    await ask(page, path="/members/17")

    scraped = await ask(page, path="/metrics", query="name[]=http_server_active_requests")

    families = [family.name for family in text_string_to_metric_families(scraped.body.decode())]
    assert families == ["http_server_active_requests"]


async def test_the_page_is_a_route_like_others(page: fastapi.FastAPI) -> None:
    """A scrape is counted under its own route."""
    await ask(page, path="/metrics")

    scraped = await ask(page, path="/metrics")

    assert 'http_route="/metrics"' in scraped.body.decode()


async def test_the_page_is_only_read() -> None:
    """HEAD has the head of a GET, and other methods are refused."""
    endpoint = MetricsEndpoint(RequestCounts(), CollectorRegistry())

    head, refused = await ask(endpoint, method="HEAD"), await ask(endpoint, method="POST")

    assert (head.status, head.raw) == (200, b"")
    assert int(head.get("content-length") or 0) == len((await ask(endpoint)).raw)
    assert (refused.status, refused.get("allow")) == (405, "GET, HEAD")


def test_a_service_that_exports_nothing_loads_no_exporter() -> None:
    """Neither Prometheus nor OpenTelemetry, for a timed request; redis-py loads the latter for itself."""
    program = """
import asyncio, sys, redis.asyncio
before = set(sys.modules)
from perfkit.asgi import PerformanceMiddleware, RequestCounts
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
async def send(message): pass
scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
counts = RequestCounts()
asyncio.run(PerformanceMiddleware(app, counts=counts)(scope, None, send))
assert sum(series.count for series in counts.series.values()) == 1
names = ("prometheus_client", "opentelemetry", "perfkit.asgi.metrics.", "perfkit.pools.metrics.")
print([name for name in set(sys.modules) - before if name.startswith(names)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("query", ["", "fields=id"])
async def test_the_route_is_told_though_the_response_cache_asks_in_its_own_words(query: str) -> None:
    """A miss and a validation give the application scopes of their own; the router writes there."""
    counts = RequestCounts()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = SimpleNamespace(path_format="/items/{id}")
        for message in (start(200, ("cache-control", "public, no-cache"), ("etag", '"1"')), body(b"{}")):
            await send(message)

    layer = PerformanceMiddleware(app, AsgiSettings(), cache=TieredCache(), counts=counts)
    for _ in range(2):
        await ask(layer, query=query)

    assert {key.route for key in counts.series} == {"/items/{id}"}
