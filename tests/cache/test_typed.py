"""The cache of a model: what comes out is an instance, whole and checked, or nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import fakeredis
import pytest
from pydantic import BaseModel, ConfigDict

from perfkit.cache import CacheSettings, ModelCache, RemoteTier, get_tiered_cache, train_dictionary
from perfkit.cache.envelope import pack, unpack
from perfkit.clock import epoch_s
from perfkit.errors import SettingsError
from perfkit.events import Event, null_probe
from perfkit.lab.virtual import run_virtual


class User(BaseModel):
    """What is cached."""

    name: str
    roles: list[str] = []


class Admin(User):
    """More than what is cached."""

    level: int = 1


ADA = User(name="Ada", roles=["author"])
Opened = Callable[..., ModelCache[Any]]


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Redis configured: the embedded one answers."""
    for name in ("PERFKIT_REDIS_URL", "PERFKIT_REQUIRE_REAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(
        "PERFKIT_CACHE__COHERENCE", "off"
    )  # when hearing begins, what memory held is read again


@pytest.fixture
async def redis() -> AsyncIterator[fakeredis.FakeAsyncRedis]:
    """What instances share."""
    async with fakeredis.FakeAsyncRedis() as client:
        yield client


@pytest.fixture
def opened(redis: fakeredis.FakeAsyncRedis) -> Opened:
    """Makes caches as instances of a service would, over one Redis."""

    def make(model: type[BaseModel] = User, **options: Any) -> ModelCache[Any]:
        options = {"prefix": "users:", "client": redis, "probe": null_probe} | options
        return ModelCache(model, **options)

    return make


async def test_the_missions_own_lines_work_with_no_server() -> None:
    """Verbatim."""
    user_cache = ModelCache[User](model_class=User, prefix="users:", l1_max_size=1000, l2_default_ttl=3600)
    await user_cache.set("user:123", User(name="Ada"))
    user = await user_cache.get("user:123")

    assert user == User(name="Ada")
    assert type(user) is User


async def test_another_instance_gets_an_instance_of_its_own_from_redis(opened: Opened) -> None:
    """Not the JSON, and not a dictionary."""
    one, other = opened(), opened()
    await one.set("ada", ADA)
    found = await other.get("ada")

    assert (type(found), found, found is ADA) == (User, ADA, False)
    assert await other.get("nobody") is None


async def test_what_stands_in_redis_is_the_models_json(
    opened: Opened, redis: fakeredis.FakeAsyncRedis
) -> None:
    """Under the prefix; its colon counts once."""
    await opened(prefix="users:").set("ada", ADA)
    await opened(prefix="users").set("bob", ADA)

    assert sorted(await redis.keys()) == [b"perfkit:users:ada", b"perfkit:users:bob"]
    envelope = unpack(await redis.get("perfkit:users:ada"))
    assert (envelope.kind, envelope.payload) == (b"P", b'{"name":"Ada","roles":["author"]}')


async def test_loading_asks_the_origin_once(opened: Opened) -> None:
    """However many ask, here and at another instance."""
    calls = 0

    async def load() -> User:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return ADA

    one, other = opened(), opened()
    found = await asyncio.gather(*(one.get_or_load("ada", load) for _ in range(10)))
    found.append(await other.get_or_load("ada", load))

    assert found == [ADA] * 11
    assert calls == 1


async def test_an_origin_that_has_nothing_is_not_asked_again_by_anyone(opened: Opened) -> None:
    """None is an answer, kept in Redis as well."""
    calls = 0

    async def load() -> User | None:
        nonlocal calls
        calls += 1
        return None

    one, other = opened(), opened()
    found = [await cache.get_or_load("nobody", load) for cache in (one, one, other)]

    assert (found, calls) == ([None, None, None], 1)
    assert await one.get("nobody") is None


async def test_many_are_stored_and_found_together(opened: Opened) -> None:
    """What is not there is left out."""
    one, other = opened(), opened()
    await one.set_many({"ada": ADA, "bob": User(name="Bob")})

    assert await other.get_many(["bob", "nobody", "ada", "bob"]) == {"ada": ADA, "bob": User(name="Bob")}
    assert await other.get_many([]) == {}


async def test_what_is_invalidated_is_gone_for_all(opened: Opened) -> None:
    """From memory and from Redis."""
    one, other = opened(), opened()
    await one.set("ada", ADA)
    await one.invalidate("ada")

    assert [await one.get("ada"), await other.get("ada")] == [None, None]


@pytest.mark.parametrize(
    "wrong", [Admin(name="Root"), {"name": "Ada"}, "Ada", None], ids=lambda v: type(v).__name__
)
async def test_another_type_is_refused_with_what_to_do(opened: Opened, wrong: object) -> None:
    """By set, by set_many, which then stores none, and when an origin returns it."""
    cache = opened()

    async def load() -> object:
        return wrong

    expected = rf"{type(wrong).__qualname__} is not User, which this cache holds; .*make a ModelCache\["
    with pytest.raises(TypeError, match=expected):
        await cache.set("k", wrong)
    with pytest.raises(TypeError, match=expected):
        await cache.set_many({"ada": ADA, "k": wrong})
    if wrong is not None:
        with pytest.raises(TypeError, match=expected):
            await cache.get_or_load("k", load)
    assert await cache.get_many(["ada", "k"]) == {}


def newer_user() -> type[BaseModel]:
    """The model as the next version of the service has it."""

    class User(BaseModel):
        name: str
        roles: list[str] = []
        active: bool = True

    return User


async def test_after_a_change_of_the_model_what_was_stored_is_a_miss_and_counted(opened: Opened) -> None:
    """Though it would validate: the default would be made up. Each version then overwrites the other's."""
    old, new = opened(), opened(newer_user())
    await old.set("ada", ADA)
    found = await new.get("ada")
    stats = await new.get_stats()

    assert found is None
    assert (stats.drifted, stats.tiers.remote_errors) == (1, 0)

    async def load() -> BaseModel:
        return newer_user_instance

    newer_user_instance = new._class(name="Ada")
    assert await new.get_or_load("ada", load) == newer_user_instance
    assert await opened(type(newer_user_instance)).get("ada") == newer_user_instance
    assert await opened().get("ada") is None


async def test_what_no_longer_validates_is_a_miss_and_counted(
    opened: Opened, redis: fakeredis.FakeAsyncRedis
) -> None:
    """As after a validator became stricter, which no schema shows."""
    await opened().set("ada", ADA)
    name = "perfkit:users:ada"
    await redis.set(name, pack(replace(unpack(await redis.get(name)), payload=b'{"name":7}')))
    cache = opened()

    assert await cache.get("ada") is None
    assert (await cache.get_stats()).drifted == 1


@pytest.mark.parametrize("value", [{"name": "Ada"}, b"bytes", None], ids=["dictionary", "bytes", "none"])
async def test_what_an_untyped_cache_stored_under_the_key_is_never_handed_out(
    opened: Opened, redis: fakeredis.FakeAsyncRedis, value: object
) -> None:
    """A name taken twice must not turn instances into dictionaries."""
    untyped = RemoteTier(redis, prefix="perfkit:")
    await untyped.set("users:ada", value, ttl_seconds=60, born_epoch_s=epoch_s() - 1)
    cache = opened()

    assert await cache.get("ada") is None
    await cache.set("ada", ADA)
    assert await opened().get("ada") == ADA


@pytest.mark.parametrize(
    ("copy", "same_object", "after_assigning", "after_appending"),
    [
        ("none", True, "Eve", ["author", "thief"]),
        ("shallow", False, "Ada", ["author", "thief"]),
        ("deep", False, "Ada", ["author"]),
    ],
)
async def test_memory_hands_out_the_object_or_a_copy(
    opened: Opened, copy: str, same_object: bool, after_assigning: str, after_appending: list[str]
) -> None:
    """What is changed by one caller is seen by the next, unless copies were asked for."""
    cache = opened(copy=copy)
    mine = ADA.model_copy(deep=True)
    await cache.set("ada", mine)
    found = await cache.get("ada")
    found.name = "Eve"
    found.roles.append("thief")
    again = await cache.get("ada")

    assert (found is mine) is same_object
    assert (again.name, again.roles) == (after_assigning, after_appending)


async def test_an_instance_that_would_not_come_back_stays_in_memory_only(
    opened: Opened, redis: fakeredis.FakeAsyncRedis
) -> None:
    """It is counted as refused."""

    class Blob(BaseModel):
        raw: bytes

    cache = opened(Blob)
    await cache.set("k", Blob(raw=b"\xff"))

    assert await cache.get("k") == Blob(raw=b"\xff")
    assert await opened(Blob).get("k") is None
    assert (await cache.get_stats()).remote.refused == 1


async def test_the_arguments_win_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    """And what is not given is as the environment says."""
    monkeypatch.setenv("PERFKIT_CACHE__L1_MAX_ENTRIES", "7")
    monkeypatch.setenv("PERFKIT_CACHE__L2_TTL_SECONDS", "70")
    settings = opened(l1_max_size=3)._settings

    assert (settings.l1_max_entries, settings.l2_ttl_seconds) == (3, 70)
    with pytest.raises(SettingsError, match="l1_max_entries"):
        opened(l1_max_size=0)


async def test_memory_holds_as_many_as_was_said(opened: Opened, redis: fakeredis.FakeAsyncRedis) -> None:
    """The others are found in Redis."""
    cache = opened(l1_max_size=2)
    await cache.set_many({str(number): ADA for number in range(5)})

    assert (await cache.get_stats()).tiers.l1_entries == 2
    assert len(await cache.get_many(map(str, range(5)))) == 5


def test_a_time_to_live_ends_an_instance() -> None:
    """The cache's own, or the call's."""

    async def play() -> list[User | None]:
        async with fakeredis.FakeAsyncRedis() as redis:
            settings = CacheSettings(ttl_jitter=0)
            cache = ModelCache(User, "users:", l2_default_ttl=100, settings=settings, client=redis)
            await cache.set("long", ADA)
            await cache.set("short", ADA, ttl_seconds=10)
            await asyncio.sleep(50)
            found = [await cache.get("long"), await cache.get("short")]
            await asyncio.sleep(51)
            return [*found, await cache.get("long")]

    assert run_virtual(play()) == [ADA, None, None]


async def test_a_dictionary_makes_instances_smaller(opened: Opened, redis: fakeredis.FakeAsyncRedis) -> None:
    """Trained on instances' JSON."""
    users = [User(name=f"the user number {n}", roles=["author", f"editor of {n * 7}"]) for n in range(1_000)]
    dictionary = train_dictionary((user.model_dump_json().encode() for user in users), max_bytes=1_024)
    plain, trained = opened(prefix="plain"), opened(prefix="trained", dictionaries=[dictionary])
    for cache in (plain, trained):
        await cache.set("k", users[77])

    assert await opened(prefix="trained", dictionaries=[dictionary]).get("k") == users[77]
    sizes = [await redis.strlen(f"perfkit:{prefix}:k") for prefix in ("trained", "plain")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("model", [dict, int, "User"])
def test_what_is_no_model_is_refused_when_the_cache_is_made(model: Any) -> None:
    """Not at the first request."""
    with pytest.raises(TypeError, match="is no pydantic model"):
        ModelCache(model, "users:")


def test_one_made_at_a_module_s_top_serves_one_loop_after_another() -> None:
    """As tests and scripts run them; connections of a closed loop are not used again."""
    cache = ModelCache[User](model_class=User, prefix="users:")

    async def there_and_back() -> User | None:
        await cache.set("ada", ADA)
        found = await cache.get("ada")
        await cache.aclose()
        return found

    assert [asyncio.run(there_and_back()) for _ in range(3)] == [ADA] * 3
    gc.collect()


async def test_closing_forgets_what_memory_held_and_leaves_redis_open(opened: Opened) -> None:
    """It may be used again."""
    cache = opened()
    await cache.set("ada", ADA)
    await cache.aclose()
    await cache.aclose()

    assert (await cache.get_stats()).tiers.l1_entries == 0
    assert await cache.get("ada") == ADA


async def test_a_cache_of_models_and_an_untyped_one_do_not_share_memory(opened: Opened) -> None:
    """Each has room of its own."""
    untyped = get_tiered_cache("users")
    await untyped.set("ada", {"name": "Ada"})

    assert await opened().get("ada") is None


async def test_frozen_models_are_cached_as_they_are(opened: Opened) -> None:
    """They need no copy."""

    class Point(BaseModel):
        model_config = ConfigDict(frozen=True)
        x: int

    cache = opened(Point)
    point = Point(x=1)
    await cache.set("p", point)

    assert await cache.get("p") is point
    assert await opened(Point).get("p") == point


def test_its_repr_names_the_model_and_the_prefix() -> None:
    """And no client, whose address may hold a password."""
    assert repr(ModelCache(User, "users:")) == "ModelCache[User](prefix='users:')"


async def test_redis_being_away_leaves_memory(opened: Opened) -> None:
    """Slower, not broken."""
    heard: list[Event] = []

    async def away() -> Any:
        raise OSError("away")

    cache = opened(client=away, probe=heard.append)
    await cache.set("ada", ADA)

    assert await cache.get("ada") == ADA
    assert await cache.get("bob") is None
    assert (await cache.get_stats()).remote.failures == len(heard) == 2
