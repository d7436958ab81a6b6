"""Answers past their end: while they are renewed, and when they cannot be (RFC 5861)."""

from __future__ import annotations

import asyncio
import contextvars

import pytest

from perfkit.events import RenewalFailed
from perfkit.lab.virtual import run_virtual
from tests.asgi.imitated import Answer, hear, scope
from tests.asgi.response_cache.site import Site

RENEWED = ("cache-control", "max-age=60, stale-while-revalidate=30")
ON_ERROR = ("cache-control", "max-age=60, stale-if-error=30")


async def stale_site(*fields: tuple[str, str], **knobs: float) -> Site:
    """Return a site with one answer that ended five seconds ago."""
    site = Site(*fields, **knobs)
    await site.get()
    site.now_s += 65
    return site


class TestWhileItIsRenewed:
    """`stale-while-revalidate`: nobody waits."""

    async def test_the_old_is_served_at_once_and_the_new_to_the_next(self) -> None:
        """One renewal, however many ask meanwhile."""
        site = await stale_site(RENEWED)
        answers = await asyncio.gather(*(site.get() for _ in range(10)))
        assert {answer.body for answer in answers} == {b"answer 1"}
        assert answers[0].get("cache-status") == "perfkit; hit; ttl=-5"
        assert answers[0].get("age") == "65"
        await site.settle()
        assert (await site.get()).body == b"answer 2"
        assert site.calls == 2

    async def test_when_its_time_is_over_the_request_waits_for_the_new(self) -> None:
        """Half a minute past the end and no longer."""
        site = await stale_site(RENEWED)
        site.now_s += 25
        assert (await site.get()).body == b"answer 2"

    async def test_the_knob_says_it_for_answers_that_do_not(self) -> None:
        """But not where the answer forbids to serve it stale."""
        knob = {"response_cache_stale_while_revalidate_seconds": 30.0}
        assert (await (await stale_site(("cache-control", "max-age=60"), **knob)).get()).body == b"answer 1"
        for strict in ("must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"):
            site = await stale_site(("cache-control", f"max-age=60, {strict}"), **knob)
            assert (await site.get()).body == b"answer 2"

    async def test_the_renewal_is_a_request_of_its_own(self) -> None:
        """No condition, no range, no file sent by the server, and none of its scope is the client's."""
        site = await stale_site(RENEWED)
        extensions = {"http.response.pathsend": {}, "tls": {}}
        state = {"lifespan": 1}
        await site.get(
            "/", ("if-none-match", '"x"'), ("range", "bytes=0-1"), extensions=extensions, state=state
        )
        await site.settle()
        scope = site.asked[-1]
        assert {b"if-none-match", b"range"}.isdisjoint(dict(scope["headers"]))
        assert scope["extensions"] == {"tls": {}}
        assert scope["state"] == state
        assert scope["state"] is not state

    async def test_the_renewal_has_the_context_of_who_set_it_off(self) -> None:
        """A tracer's span, a tenant."""
        tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")
        seen: list[str] = []
        site = await stale_site(RENEWED)

        async def wait() -> None:
            seen.append(tenant.get())

        site.page.wait = wait
        tenant.set("a")
        await site.get()
        await site.settle()
        assert seen == ["a"]

    async def test_a_renewal_that_fails_lets_the_application_rest_and_says_so(self) -> None:
        """The old goes on being served, and not every request asks again."""
        site = await stale_site(RENEWED)
        site.page.error = RuntimeError("down")
        for _ in range(5):
            assert (await site.get()).body == b"answer 1"
            await site.settle()
        assert site.calls == 2
        assert [type(event) for event in site.events] == [RenewalFailed]

    async def test_a_renewal_sees_the_cache_policies(self) -> None:
        """What is renewed behind the client's back is judged as what is answered."""
        site = await stale_site(RENEWED, add_cache_control=True)
        site.page.fields = ()
        await site.get()
        await site.settle()
        assert site.calls == 2

    @pytest.mark.parametrize(
        ("status", "kept"), [(404, False), (200, False), (403, True), (429, True), (500, True)]
    )
    async def test_what_is_gone_is_not_served_any_longer(self, status: int, kept: bool) -> None:
        """The new answer takes the old one away, unless it is about the client or an error."""
        site = await stale_site(RENEWED)
        site.page.fields, site.page.status = (), status
        await site.get()
        await site.settle()
        assert ((await site.get()).body == b"answer 1") is kept

    async def test_shutting_down_ends_renewals(self) -> None:
        """The task is held, cancelled and waited for."""
        site = await stale_site(RENEWED)
        ended = []

        async def wait() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append(True)

        site.page.wait = wait
        await site.get()
        await site.settle()
        assert not ended
        await site.layer.stages.response_cache().aclose()
        assert ended


class TestWhenTheApplicationFails:
    """`stale-if-error`: the old stands in."""

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_for_an_error_of_the_server(self, status: int) -> None:
        """The client is not told."""
        site = await stale_site(ON_ERROR)
        site.page.status = status
        answer = await site.get()
        assert (answer.status, answer.body) == (200, b"answer 1")
        assert answer.get("cache-status") == "perfkit; fwd=stale"
        assert (await site.get()).body == b"answer 1"
        assert site.calls == 2  # it rests

    async def test_for_an_exception(self) -> None:
        """It is told to the probe in place of the server."""
        site = await stale_site(ON_ERROR)
        site.page.error = RuntimeError("down")
        answer = await site.get()
        assert (answer.error, answer.body) == (None, b"answer 1")
        assert [type(event) for event in site.events] == [RenewalFailed]

    async def test_not_for_an_error_of_the_client_or_another_answer(self) -> None:
        """A 404 is an answer."""
        site = await stale_site(ON_ERROR)
        site.page.status = 404
        assert (await site.get()).status == 404

    async def test_not_past_its_time(self) -> None:
        """Half a minute past the end."""
        site = await stale_site(ON_ERROR)
        site.now_s += 25
        site.page.status = 503
        assert (await site.get()).status == 503

    @pytest.mark.parametrize("strict", ["must-revalidate", "proxy-revalidate", "no-cache"])
    async def test_not_where_the_answer_forbids_it(self, strict: str) -> None:
        """RFC 9111 §4.2.4."""
        site = await stale_site(("cache-control", f"max-age=60, stale-if-error=600, {strict}"))
        site.page.error = RuntimeError("down")
        assert isinstance((await site.get()).error, RuntimeError)

    async def test_the_knob_says_it_for_answers_that_do_not(self) -> None:
        """For thirty seconds here."""
        site = await stale_site(("cache-control", "max-age=60"), response_cache_stale_if_error_seconds=30.0)
        site.page.status = 503
        assert (await site.get()).body == b"answer 1"

    def test_when_it_takes_too_long(self) -> None:
        """`response_cache_patience_seconds`; what the application does then is cancelled."""

        async def play() -> tuple[Answer, float]:
            site = await stale_site(ON_ERROR, response_cache_patience_seconds=5.0)
            site.page.wait = lambda: asyncio.sleep(60)
            answer = await site.get()
            return answer, asyncio.get_running_loop().time()

        answer, took_s = run_virtual(play())
        assert (answer.body, took_s) == (b"answer 1", 5.0)

    def test_not_when_the_answer_has_begun_in_time(self) -> None:
        """A body may take as long as it takes."""

        async def play() -> Answer:
            site = await stale_site(ON_ERROR, response_cache_patience_seconds=5.0)

            async def app(scope: object, receive: object, send: object) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
                await asyncio.sleep(60)
                await send({"type": "http.response.body", "body": b"new", "more_body": False})  # type: ignore[operator]

            site.layer.app = app
            return await site.get()

        assert run_virtual(play()).raw == b"new"

    async def test_the_client_is_answered_though_the_application_goes_on(self) -> None:
        """Background tasks run inside the same call."""
        site = await stale_site(ON_ERROR)
        answered: list[int] = []

        async def app(scope: object, receive: object, send: object) -> None:
            await send({"type": "http.response.start", "status": 503, "headers": []})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b"sorry", "more_body": False})  # type: ignore[operator]
            answered.append(len(answer.messages))

        site.layer.app = app
        answer = Answer()
        await hear(site.layer, scope(), into=answer)
        assert answered == [2]
        assert answer.body == b"answer 1"
