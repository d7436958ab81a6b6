"""Addresses are read, checked and kept from showing passwords."""

from __future__ import annotations

import re

import pytest

from perfkit.errors import RealServerRequired, SettingsError
from perfkit.events import EmbeddedDefaultLoaded, Event
from perfkit.pools import Endpoint, endpoint


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@cache:6379/0",
        "rediss://app:hunter2@cache:6380/1",
        "unix:///run/redis.sock?db=2&password=hunter2",
        "redis://:hunter2@cache:port/0",
        "redis://:hunter2@cache/0?max_connections=3",
        "http://app:hunter2@cache",
        "redis://[hunter2",
    ],
)
def test_a_password_shows_neither_in_a_repr_nor_in_a_refusal(url: str) -> None:
    """Whatever is wrong with an address, its secret stays out of logs."""
    try:
        shown = repr(Endpoint.from_url(url))
    except SettingsError as refusal:
        shown = str(refusal)

    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://cache", "not an address of Redis"),
        ("cache:6379", "not an address of Redis"),
        ("redis://cache:99999", "not an address of Redis"),
        ("unix://", "names no socket"),
        ("redis://cache?socket_timeout=1", "sets 'socket_timeout'"),
        ("redis://cache?clientname=me", "Did you mean 'client_name'?"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason(url: str, part: str) -> None:
    """The refusal says which part is wrong."""
    with pytest.raises(SettingsError, match=re.escape(part)) as refused:
        Endpoint.from_url(url)

    assert refused.value.path == "PERFKIT_REDIS_URL"


def test_the_environment_names_the_server() -> None:
    """`PERFKIT_REDIS_URL` is all that is needed, and it satisfies `PERFKIT_REQUIRE_REAL`."""
    env = {"PERFKIT_REDIS_URL": "redis://cache:6379/3", "PERFKIT_REQUIRE_REAL": "1"}

    found = Endpoint.from_env(env)

    assert (found.backend, found.connection["db"]) == ("redis", 3)


def test_the_stand_in_is_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use in a process tells the probe; later ones are silent."""
    monkeypatch.setattr(endpoint, "_said_once", False)
    heard: list[Event] = []

    kinds = [Endpoint.from_env({}, probe=heard.append).backend for _ in range(2)]

    assert kinds == ["fakeredis", "fakeredis"]
    assert [type(event) for event in heard] == [EmbeddedDefaultLoaded]


def test_the_stand_in_is_refused_where_only_real_servers_may_answer() -> None:
    """Production never falls back to a toy in silence."""
    with pytest.raises(RealServerRequired, match="PERFKIT_REDIS_URL"):
        Endpoint.from_env({"PERFKIT_REQUIRE_REAL": "1"})
