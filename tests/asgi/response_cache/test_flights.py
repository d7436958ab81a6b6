"""Many requests at once for what is not kept yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perfkit.lab.virtual import run_virtual
from tests.asgi.imitated import Answer, hear, scope
from tests.asgi.response_cache.site import Site

MINUTE = ("cache-control", "max-age=60")


def slow(*fields: tuple[str, str], seconds: float = 1.0, **knobs: Any) -> Site:
    """Return a site whose answers take a while."""
    site = Site(*fields, **knobs)
    site.page.wait = lambda: asyncio.sleep(seconds)
    return site


def played(play: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
    """Return what came of a play in virtual time, and how long it took."""

    async def timed() -> tuple[Any, float]:
        return await play(), asyncio.get_running_loop().time()

    return run_virtual(timed())


def test_of_a_hundred_who_ask_at_once_one_asks_the_application() -> None:
    """The others get the very same answer when it is whole."""
    site = slow(MINUTE)
    answers, took_s = played(lambda: asyncio.gather(*(site.get() for _ in range(100))))
    assert {answer.body for answer in answers} == {b"answer 1"}
    assert (site.calls, took_s) == (1, 1.0)
    assert answers[0].get("cache-status") == "perfkit; fwd=uri-miss; stored"
    assert {answer.get("cache-status") for answer in answers[1:]} == {"perfkit; fwd=uri-miss; collapsed"}


def test_what_turns_out_not_to_be_shared_is_made_for_all_at_once() -> None:
    """Not one after the other: a second for the first, and a second for all the rest."""
    site = slow(("cache-control", "private"))
    answers, took_s = played(lambda: asyncio.gather(*(site.get() for _ in range(50))))
    assert len({answer.body for answer in answers}) == 50
    assert took_s == 2.0


def test_where_answers_were_not_to_be_shared_nobody_waits_for_a_while() -> None:
    """The second crowd goes to the application at once."""
    site = slow(("cache-control", "private"))

    async def twice() -> None:
        await asyncio.gather(*(site.get() for _ in range(5)))
        await asyncio.gather(*(site.get() for _ in range(5)))

    assert played(twice)[1] == 3.0


def test_a_user_whose_answer_is_not_shared_does_not_part_the_crowd_without_credentials() -> None:
    """Strangers still wait for one of them."""
    site = slow(MINUTE)

    async def play() -> list[Answer]:
        await site.get("/", ("cookie", "id=1"))
        return await asyncio.gather(*(site.get() for _ in range(5)))

    answers, _ = played(play)
    assert {answer.body for answer in answers} == {b"answer 2"}


def test_those_who_wait_are_told_with_the_head_that_they_wait_in_vain() -> None:
    """The leader's body may take as long as it takes."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"cache-control", b"private")]
        await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await asyncio.sleep(0 if dict(scope["headers"])[b"who"] == b"2" else 100)
        await send({"type": "http.response.body", "body": b"x", "more_body": False})

    site = Site()
    site.layer.app = app
    ended: list[float] = []

    async def one(who: str) -> None:
        await site.get("/", ("who", who))
        ended.append(asyncio.get_running_loop().time())

    played(lambda: asyncio.gather(one("1"), one("2")))
    assert ended == [2.0, 101.0]


def test_a_leader_that_is_cancelled_is_replaced_and_nobody_fails() -> None:
    """Its client hung up; the next one leads."""
    site = slow(MINUTE, seconds=2.0)

    async def play() -> list[Answer]:
        leader = asyncio.create_task(_raw(site))
        await asyncio.sleep(0)
        others = [asyncio.create_task(site.get()) for _ in range(10)]
        await asyncio.sleep(1)
        leader.cancel()
        answers = await asyncio.gather(*others)
        assert leader.cancelled()
        return answers

    answers, took_s = played(play)
    assert {answer.body for answer in answers} == {b"answer 2"}
    assert (site.calls, took_s) == (2, 3.0)


def test_a_leader_that_fails_fails_alone() -> None:
    """The others ask for themselves, at once."""
    site = slow(MINUTE)
    site.page.error = RuntimeError("once")

    async def play() -> list[Answer]:
        first = asyncio.create_task(site.get())
        await asyncio.sleep(0)
        others = [asyncio.create_task(site.get()) for _ in range(5)]
        await asyncio.sleep(0.5)

        async def mended() -> None:
            await asyncio.sleep(0.5)
            site.page.error = None if site.calls > 1 else site.page.error
            await asyncio.sleep(0.5)

        site.page.wait = mended
        assert isinstance((await first).error, RuntimeError)
        return await asyncio.gather(*others)

    answers, took_s = played(play)
    assert [answer.error for answer in answers] == [None] * 5
    assert took_s == 2.0


def test_nobody_waits_longer_than_the_knob_says() -> None:
    """`response_cache_patience_seconds`, and then everybody asks."""
    site = slow(MINUTE, seconds=60.0, response_cache_patience_seconds=5.0)
    answers, took_s = played(lambda: asyncio.gather(*(site.get() for _ in range(3))))
    assert (site.calls, took_s) == (3, 65.0)
    assert {answer.status for answer in answers} == {200}


def test_the_leaders_own_answer_streams() -> None:
    """Its client has the first piece long before the last is made; who waits gets the whole."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        fields = [(b"cache-control", b"max-age=9")]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        for piece in (b"a", b"b", b"c"):
            await send({"type": "http.response.body", "body": piece, "more_body": piece != b"c"})
            await asyncio.sleep(1)

    site = Site()
    site.layer.app = app

    async def play() -> Answer:
        heard = Answer()
        leader = asyncio.create_task(hear(site.layer, scope(), into=heard))
        await asyncio.sleep(0.5)
        assert heard.raw == b"a"
        answer = await site.get()
        await leader
        return answer

    answer, _ = played(play)
    assert answer.chunks == [b"abc"]


def test_each_variant_has_a_flight_of_its_own() -> None:
    """Who wants another variant than the one under way is told with its head, and led by one of its kind."""
    site = slow(MINUTE, ("vary", "lang"))

    async def play() -> list[Answer]:
        return await asyncio.gather(*(site.get("/", ("lang", "de" if n % 2 else "en")) for n in range(20)))

    answers, took_s = played(play)
    assert {answer.body for answer in answers[::2]} == {b"answer 1"}
    assert len({answer.body for answer in answers[1::2]}) == 1
    assert (site.calls, took_s) == (2, 2.0)


def test_an_answer_that_is_not_for_all_is_not_given_to_who_waits_with_credentials() -> None:
    """It asks for itself."""
    site = slow(MINUTE)

    async def play() -> list[Answer]:
        return await asyncio.gather(site.get(), site.get("/", ("authorization", "Bearer 1")))

    answers, _ = played(play)
    assert answers[0].body != answers[1].body


@pytest.mark.parametrize(
    "field", [("cache-control", "no-cache"), ("range", "bytes=0-"), ("content-length", "3")]
)
def test_who_wants_its_own_answer_does_not_wait_for_another(field: tuple[str, str]) -> None:
    """A reload, a part, a request with a body."""
    site = slow(MINUTE)
    _, took_s = played(lambda: asyncio.gather(site.get(), site.get("/", field)))
    assert (site.calls, took_s) == (2, 1.0)


def test_the_stale_is_renewed_once_for_all_who_must_wait() -> None:
    """Past its end, with no leave to serve it."""
    site = slow(MINUTE)

    async def play() -> list[Answer]:
        await site.get()
        site.now_s += 61
        return await asyncio.gather(*(site.get() for _ in range(10)))

    answers, _ = played(play)
    assert {answer.body for answer in answers} == {b"answer 2"}
    assert site.calls == 2


async def _raw(site: Site) -> None:
    """Ask without catching what is raised."""

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    await site.layer(scope(), receive, send)
