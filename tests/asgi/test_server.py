"""The middleware behind a real server, asked by real clients."""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from perfkit.asgi.exchange import Exchange
from perfkit.cache import TieredCache
from tests.asgi.imitated import Reader, decoded
from tests.asgi.served import PATIENCE_S, Server, Wire, serving, serving_apart
from tests.asgi.service import EVENTS, MEBIBYTE, MEMBERS, Service, members_of

CODINGS = ["gzip", "br", "zstd", "deflate"]
CONTENT = json.dumps(MEMBERS).encode()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    """A client that decodes by itself."""
    with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
        yield client


@pytest.mark.parametrize("path", ["/members", "/pieces"])
@pytest.mark.parametrize("coding", CODINGS)
def test_a_client_of_its_own_decoders_reads_each_coding(client: httpx.Client, coding: str, path: str) -> None:
    """Of a body in one message and of one in many; httpx has its decoders from elsewhere."""
    response = client.get(path, headers={"accept-encoding": coding})
    assert response.headers["content-encoding"] == coding
    assert response.num_bytes_downloaded < len(CONTENT) / 4
    assert response.json() == MEMBERS


def test_a_client_that_accepts_no_coding_reads_it_as_it_is(client: httpx.Client) -> None:
    """And caches are told that others might not."""
    response = client.get("/members", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in response.headers
    assert response.headers["vary"].lower() == "accept-encoding"
    assert response.content == CONTENT


@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
def test_an_event_arrives_before_the_next_is_sent(server: Server, service: Service, coding: str) -> None:
    """The application sends an event when the client has read the one before, and not earlier."""
    with Wire(server.port) as wire:
        wire.ask("/events", f"Accept-Encoding: {coding}")
        head = wire.head()  # is here before any event
        assert head.get("content-encoding") == (None if coding == "identity" else coding)
        reader, text = Reader(coding), b""
        for n, event in enumerate(EVENTS):
            assert wire.silent() or n > 0  # ends of codings may trail
            server.call(service.go.release)
            so_far = len(text) + len(event)
            while len(text) < so_far:
                text += reader.feed(wire.chunk())
            assert text == b"".join(EVENTS[: n + 1])
        assert reader.feed(b"".join(iter(wire.chunk, b""))) == b""
        assert coding == "identity" or reader.ended


def test_requests_that_come_at_once_on_one_connection_are_answered_in_their_order(server: Server) -> None:
    """Written before the first answer is read: each answer ends where the next begins, in whatever coding."""
    with Wire(server.port) as wire:
        asked = [("/members", "gzip"), ("/pieces", "zstd"), ("/members", "identity"), ("/pieces", "br")] * 3
        for path, coding in asked:
            wire.ask(path, f"Accept-Encoding: {coding}")
            wire.ask("/nothing")
            wire.ask(path, f"Accept-Encoding: {coding}", method="HEAD")
        for _, coding in asked:
            answer = wire.answer()
            assert decoded(answer.get("content-encoding") or "identity", answer.raw) == CONTENT
            assert (answer.get("content-encoding") or "identity") == coding
            assert wire.answer().status == 204
            assert wire.answer(bodiless=True).status == 200
        assert wire.silent()


def test_head_says_nothing_that_get_contradicts(server: Server) -> None:
    """The tag and Vary are GET's; a length, if there is one beside no coding, is that of the plain body."""
    with Wire(server.port) as wire:
        wire.ask("/members", "Accept-Encoding: gzip")
        get = wire.answer()
        wire.ask("/members", "Accept-Encoding: gzip", method="HEAD")
        head = wire.answer(bodiless=True)
        assert wire.silent()
    assert (head.get("etag"), head.get("vary")) == (get.get("etag"), get.get("vary"))
    true = {None: str(len(CONTENT)), get.get("content-encoding"): get.get("content-length")}
    assert head.get("content-length") in (None, true[head.get("content-encoding")])


@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
def test_who_has_it_already_is_told_so(server: Server, coding: str) -> None:
    """304 without a body; the connection goes on; another tag gets the whole."""
    with Wire(server.port) as wire:
        for path in ("/members", "/mine"):
            wire.ask(path, f"Accept-Encoding: {coding}")
            first = wire.answer()
            wire.ask(path, f"Accept-Encoding: {coding}", f"If-None-Match: {first.get('etag')}")
            second = wire.answer()
            assert (second.status, second.raw, second.get("etag")) == (304, b"", first.get("etag"))
            assert second.get("vary") == first.get("vary")
            wire.ask(path, f"Accept-Encoding: {coding}", 'If-None-Match: W/"another"')
            assert wire.answer().raw == first.raw


@pytest.mark.parametrize("path", ["/members", "/pieces"])
@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
def test_fields_asked_for_are_all_that_is_sent(client: httpx.Client, coding: str, path: str) -> None:
    """Of a body in one message and of one in many: filtered, then encoded; its tag answers If-None-Match."""
    accept = {"accept-encoding": coding}
    response = client.get(f"{path}?fields=id,name,email", headers=accept)
    assert response.json() == [{key: member[key] for key in ("id", "name", "email")} for member in MEMBERS]
    tag = response.headers["etag"]
    assert tag.startswith("W/")
    again = client.get(f"{path}?fields=id,name,email", headers=accept | {"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_fields_are_tagged_by_what_is_left(client: httpx.Client) -> None:
    """Where the application gives no tag, different fields have different ones."""
    tags = [
        client.get(f"/pieces?fields={names}").headers["etag"] for names in ("id", "name", "id,name", "id")
    ]
    assert len(set(tags)) == 3
    assert tags[0] == tags[3]


def test_fields_that_do_not_parse_are_the_clients_error(client: httpx.Client) -> None:
    """400 with a reason, and no 5xx."""
    response = client.get("/members?fields=id,name(")
    assert response.status_code == 400
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == 400


def until(server: Server, true: Callable[[], bool], what: str) -> None:
    """Let the server, in its own thread, answer others until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        with Wire(server.port) as wire:
            wire.ask("/members")
            wire.answer()


@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
def test_a_client_that_leaves_amid_a_stream_is_forgotten(
    server: Server, service: Service, coding: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The application is told; nothing of the response is left in memory; nobody logs anything."""
    told, held = service.told_of_disconnects, len(_exchanges())
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            with Wire(server.port) as wire:
                wire.ask("/endless", f"Accept-Encoding: {coding}")
                wire.head()
                wire.chunk()
        until(server, lambda: service.told_of_disconnects == told + 5, "the application was not told")
        until(server, lambda: service.streaming == 0, "a stream goes on")
        until(server, lambda: gc.collect() >= 0 and len(_exchanges()) <= held, "a response is still held")
    assert [record.getMessage() for record in caplog.records] == []


def _exchanges() -> list[object]:
    return [thing for thing in gc.get_objects() if type(thing) is Exchange]


def test_a_response_that_fails_amid_its_body_does_not_look_whole(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection ends without the chunk that would end the body; the server logs what failed."""
    with Wire(server.port) as wire:
        wire.ask("/broken", "Accept-Encoding: gzip")
        wire.head()
        with pytest.raises(AssertionError, match="hung up"):
            b"".join(iter(wire.chunk, b""))
    assert any("ValueError" in (record.exc_text or "") for record in caplog.records)


def test_users_who_ask_at_once_read_their_own(service: Service) -> None:
    """Eight users on connections of their own, with a cache that keeps what it may."""
    kept = AsgiSettings(response_cache_ttl_seconds=60)
    wrong: list[str] = []

    def ask(port: int, user: str, coding: str) -> None:
        with Wire(port) as wire:
            for _ in range(25):
                wire.ask("/mine", f"Authorization: {user}", f"Accept-Encoding: {coding}")
                answer = wire.answer()
                if decoded(answer.get("content-encoding") or "identity", answer.raw) != members_of(user):
                    wrong.append(user)

    with serving(PerformanceMiddleware(service, kept, cache=TieredCache())) as server:
        users = [
            threading.Thread(
                target=ask, args=(server.port, f"Bearer {n}", ["gzip", "br", "zstd", "identity"][n % 4])
            )
            for n in range(8)
        ]
        for user in users:
            user.start()
        for user in users:
            user.join(PATIENCE_S)
    assert wrong == []


LARGE = hashlib.sha256(MEBIBYTE * 64).hexdigest()


@pytest.mark.parametrize("path", ["/large-stream", "/large-whole"])
def test_a_body_of_64_mib_is_sent_in_bounded_memory(path: str) -> None:
    """In each coding: at most 16 MiB more than without us for a stream, 64 for one message of it all."""
    peaks = {}
    for name in ("bare", "layered"):
        with serving_apart(f"tests.asgi.service:{name}") as server:
            for coding in [*CODINGS, "identity"]:
                assert _digest(server.port, path, coding) == LARGE
            peaks[name] = server.peak_bytes()
    above = peaks["layered"] - peaks["bare"]
    assert above < (16 if path == "/large-stream" else 64) * 1024**2, {
        k: v // 1024**2 for k, v in peaks.items()
    }


def _digest(port: int, path: str, coding: str) -> str:
    digest = hashlib.sha256()
    with Wire(port) as wire:
        wire.ask(path, f"Accept-Encoding: {coding}")
        head = wire.head()
        reader = Reader(head.get("content-encoding") or "identity")
        for piece in wire.pieces(head):
            digest.update(reader.feed(piece))
    assert reader.ended or reader.coding == "identity"
    return digest.hexdigest()
