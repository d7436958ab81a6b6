"""Whatever is asked, answered and varied by: nobody is given what was made for another."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.asgi.imitated import Answer, body, hear, scope, start
from tests.asgi.response_cache.site import Site

NAMES = (b"authorization", b"cookie", b"x-tenant", b"accept-language")

whose = st.sampled_from(
    (
        {},
        {"authorization": "Bearer a"},
        {"authorization": "Bearer b"},
        {"cookie": "id=a"},
        {"cookie": "id=b"},
        {"authorization": "Bearer a", "cookie": "id=b"},
        {"x-tenant": "a", "accept-language": "de"},
        {"x-tenant": "b", "accept-language": "de"},
    )
)
wanted = st.sampled_from(
    (
        *({}, {}, {}, {}),
        {"cache-control": "no-cache"},
        {"cache-control": "max-stale"},
        {"cache-control": "only-if-cached"},
        {"cache-control": "no-store"},
        {"if-none-match": '"0"'},
        {"range": "bytes=0-"},
    )
)
requests = st.tuples(whose, wanted).map(lambda both: both[0] | both[1])
directives = st.sampled_from(
    (
        *("max-age=60", "public, max-age=60", "s-maxage=60", "max-age=60, must-revalidate"),
        *("private, max-age=60", "max-age=60, no-store", "max-age=60, no-cache", ""),
        *("max-age=0, stale-while-revalidate=60", "public, max-age=0, stale-if-error=60"),
    )
)
varied = st.one_of(st.just([]), st.lists(st.sampled_from((*NAMES, b"*")), max_size=3, unique=True))
steps = st.lists(
    st.tuples(requests, directives, varied, st.sampled_from((False, False, True)), st.integers(0, 40)),
    min_size=2,
    max_size=8,
)


def may_see(asker: dict[bytes, bytes], other: dict[bytes, bytes], said: str, vary: list[bytes]) -> bool:
    """Tell whether an answer to one request may be given to another, by the words of the response alone."""
    if any(asker.get(name) != other.get(name) for name in vary) or b"*" in vary:
        return False
    if "private" in said or "no-store" in said:
        return False
    if b"authorization" in other or b"authorization" in asker:
        return any(word in said for word in ("public", "s-maxage", "must-revalidate")) and (
            b"cookie" not in other or "public" in said or "s-maxage" in said
        )
    return b"cookie" not in other or "public" in said or "s-maxage" in said


@settings(max_examples=300, deadline=None)
@given(steps=steps, at_once=st.booleans(), tagged=st.booleans())
def test_an_answer_reaches_only_whom_its_words_allow(steps: Any, at_once: bool, tagged: bool) -> None:
    """Each answer tells the request it was made for; one after another, or all at once."""
    site = Site(
        response_cache_stale_while_revalidate_seconds=30.0, response_cache_stale_if_error_seconds=30.0
    )
    made: list[tuple[dict[bytes, bytes], str, list[bytes]]] = []

    async def app(asked: Any, receive: Any, send: Any) -> None:
        fields = dict(asked["headers"])
        _, said, vary, fails, _ = steps[int(fields[b"step"])]
        made.append((fields, said, vary))
        number = len(made) - 1
        await asyncio.sleep(0)
        tag = [("etag", f'"{number}"')] if tagged else []
        lines = [*tag, ("cache-control", said), ("vary", b", ".join(vary))]
        await send(start(503 if fails else 200, *lines))
        await send(body(b"made for %d" % number))

    site.layer.app = app

    async def one(number: int) -> tuple[int, Answer]:
        fields, _, _, _, wait = steps[number]
        if not at_once:
            site.now_s += wait
        lines = [*fields.items(), ("step", str(number))]
        return number, await hear(site.layer, scope("GET", "/", lines))

    async def play() -> list[tuple[int, Answer]]:
        numbers = range(len(steps))
        if at_once:
            return await asyncio.gather(*map(one, numbers))
        return [await one(number) for number in numbers]

    for number, answer in asyncio.run(play()):
        assert answer.error is None
        if not answer.raw.startswith(b"made for "):
            continue  # 304, 504
        asker = {name.encode(): value.encode() for name, value in steps[number][0].items()}
        other, said, vary = made[int(answer.raw.removeprefix(b"made for "))]
        if other[b"step"] != b"%d" % number:
            assert may_see(asker, other, said, vary), (asker, other, said, vary)
