"""A decorated function remembers its answers, each under a key no other call can have."""

import asyncio
import inspect
from dataclasses import dataclass
from typing import Any

import pytest

from perfkit.cache import cached, get_tiered_cache


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERFKIT_REDIS_URL", "PERFKIT_REQUIRE_REAL"):
        monkeypatch.delenv(name, raising=False)


async def test_the_missions_own_lines_work_with_no_server() -> None:
    calls = []

    @cached(ttl_seconds=300, namespace="my_function")
    async def expensive_operation(param1: int, param2: int = 2) -> dict[str, int]:
        calls.append((param1, param2))
        return {"sum": param1 + param2}

    cache = get_tiered_cache()
    await cache.set("my_key", {"data": "value"}, l1_ttl_seconds=60, l2_ttl_seconds=3600)

    assert await cache.get("my_key") == {"data": "value"}
    assert (await cache.get_stats()).l1_entries == 1
    assert await expensive_operation(1) == await expensive_operation(param1=1, param2=2) == {"sum": 3}
    assert calls == [(1, 2)]
    await expensive_operation.invalidate(1)
    await expensive_operation(1)
    assert len(calls) == 2


async def test_no_two_calls_share_a_key() -> None:
    @cached(ttl_seconds=300, namespace="collisions")
    async def same(a: Any, b: Any = 0) -> list[Any]:
        return [a, b]

    values = [
        1,
        "1",
        True,
        None,
        "None",
        "",
        1.0,
        b"1",
        [1],
        (1,),
        {"a": 1},
        "a:b",
        ("a", "b:c"),
        ("a:b", "c"),
    ]
    keys = {same.key_for(value, other) for value in values for other in values}

    assert len(keys) == len(values) ** 2


def test_only_coroutine_functions_can_be_cached() -> None:
    with pytest.raises(TypeError, match="not an async function"):

        @cached(ttl_seconds=1, namespace="sync")
        def plain() -> int:  # type: ignore[misc]  # wrong on purpose
            return 1


async def test_a_warm_call_gives_each_argument_its_own_answer_whatever_it_resembles() -> None:
    """Keys are remembered by their arguments, and equal arguments of different types are not the same."""

    @cached(ttl_seconds=300, namespace="warm")
    async def echo(value: Any, other: Any = 0) -> Any:
        return repr((value, other))

    values = [1, True, 1.0, "1", b"1", None, "None", (1,), (True,), (1.0,), 0.0, -0.0, [1], frozenset({1})]
    for _ in range(3):
        for value in values:
            assert await echo(value) == repr((value, 0))
            for other in values:
                assert await echo(value, other) == repr((value, other))
                assert await echo(value, other=other) == repr((value, other))


async def test_what_users_type_never_reaches_another_users_answer() -> None:
    @cached(ttl_seconds=300, namespace="users")
    async def answer(user: str, question: str) -> tuple[str, str]:
        return user, question

    awkward = [
        "a",
        "a:b",
        "b:c",
        "c",
        ":",
        "",
        "s1:a",
        "a,b",
        "\0",
        "\ud800",
        "é",
        "e\u0301",
        "#",
        "*",
        "%3A",
    ]
    for user in awkward:
        for question in awkward:
            assert await answer(user, question) == (user, question)
    assert answer.stats().loads == len(awkward) ** 2


async def test_an_argument_that_does_not_matter_is_left_out_of_the_key() -> None:
    calls = 0

    @cached(ttl_seconds=300, namespace="ignoring", ignore=("session",))
    async def fetch(user: int, session: object) -> int:
        nonlocal calls
        calls += 1
        return user

    assert [await fetch(1, object()), await fetch(1, session=object()), await fetch(2, object())] == [1, 1, 2]
    assert calls == 2
    with pytest.raises(TypeError, match="Did you mean 'session'"):
        cached(ttl_seconds=1, namespace="x", ignore=("sesion",))(fetch.__wrapped__)  # type: ignore[attr-defined]


async def test_a_method_is_cached_by_its_instance() -> None:
    @dataclass(frozen=True)
    class Shop:
        name: str

        @cached(ttl_seconds=300, namespace="shops")
        async def price(self, item: str) -> str:
            return f"{item} at {self.name}"

    one, other = Shop("one"), Shop("other")

    assert [await one.price("tea"), await other.price("tea"), await Shop("one").price("tea")] == [
        "tea at one",
        "tea at other",
        "tea at one",
    ]
    assert Shop.price.stats().loads == 2


async def test_a_kept_answer_can_be_looked_at_refreshed_and_taken_back() -> None:
    number = 0

    @cached(ttl_seconds=300, namespace="handles")
    async def count(name: str) -> int:
        nonlocal number
        number += 1
        return number

    assert await count.peek("a") is None
    assert await count("a") == 1
    peeked = await count.peek("a")
    assert peeked is not None
    assert (peeked.value, peeked.tier) == (1, "l1")
    assert await count.refresh("a") == 2
    assert await count("a") == 2
    assert await count.invalidate("a")
    assert await count("a") == 3
    assert (count.stats().requests, count.stats().loads) == (3, 2)


async def test_answers_are_taken_back_by_tag_together() -> None:
    calls: list[int] = []

    @cached(ttl_seconds=300, namespace="tagged", tags=lambda user: [f"team {user % 2}"])
    async def profile(user: int) -> int:
        calls.append(user)
        return user

    for user in range(4):
        await profile(user)
    await asyncio.sleep(0.002)  # a tag takes back what was born before it was taken back
    await profile.cache().invalidate_tag("team 1")
    for user in range(4):
        await profile(user)

    assert calls == [0, 1, 2, 3, 1, 3]


async def test_clearing_a_namespace_leaves_the_others() -> None:
    calls: list[str] = []

    @cached(ttl_seconds=300, namespace="left")
    async def left(name: str) -> str:
        calls.append(name)
        return name

    @cached(ttl_seconds=300, namespace="right")
    async def right(name: str) -> str:
        calls.append(name)
        return name

    await left("l"), await right("r")
    await asyncio.sleep(0.002)
    await left.cache().clear()
    await left("l"), await right("r")

    assert calls == ["l", "r", "l"]


def test_each_loop_has_its_own_cache() -> None:
    calls = 0

    @cached(ttl_seconds=300, namespace="loops")
    async def once(name: str) -> int:
        nonlocal calls
        calls += 1
        return calls

    async def twice() -> tuple[int, int]:
        return await once("a"), await once("a")

    assert [asyncio.run(twice()), asyncio.run(twice())] == [(1, 1), (2, 2)]


async def test_a_failure_is_not_kept() -> None:
    calls = 0

    @cached(ttl_seconds=300, namespace="failing")
    async def fails() -> None:
        nonlocal calls
        calls += 1
        raise ValueError("broken")

    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await fails()
    assert calls == 2


async def test_a_cached_function_looks_like_the_function() -> None:
    """Frameworks ask whether a handler is a coroutine function, and read its signature."""

    @cached(ttl_seconds=300, namespace="looks")
    async def handler(user: int, *, detail: str = "low") -> str:
        """Say who it is."""
        return f"{user} {detail}"

    assert inspect.iscoroutinefunction(handler)
    assert list(inspect.signature(handler).parameters) == ["user", "detail"]
    assert handler.__doc__ == "Say who it is."


async def test_a_caller_that_changes_a_copy_changes_nobody_elses() -> None:
    async def basket(user: int) -> dict[str, list[str]]:
        return {"items": ["tea"]}

    shared = cached(ttl_seconds=300, namespace="shared")(basket)
    shallow = cached(ttl_seconds=300, namespace="shallow", copies="shallow")(basket)
    deep = cached(ttl_seconds=300, namespace="deep", copies="deep")(basket)
    for function in (shared, shallow, deep):
        (await function(1))["items"].append("milk")
        (await function(1))["other"] = []

    assert await shared(1) == {"items": ["tea", "milk"], "other": []}
    assert await shallow(1) == {"items": ["tea", "milk"]}
    assert await deep(1) == {"items": ["tea"]}
