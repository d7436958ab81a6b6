"""Which slot a command belongs to, by its name alone, beside what the server and redis-py say."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.crc import key_slot
from redis.utils import str_if_bytes

from perfkit.pools.commands import needs_own_connection
from perfkit.pools.server import RedisServer
from perfkit.pools.slots import _ALL_KEYS, _NUMBER_OF_KEYS_AT, _TWO_KEYS, ONE_KEY, slot_of, slot_of_key


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("a", b"a"),
        (b"a", b"a"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"a"), b"a"),
        ("grün", "grün".encode()),
        (7, b"7"),
        (-0.5, b"-0.5"),
        ("x{tag}y", b"tag"),
        ("{}whole", b"{}whole"),
        ("{open", b"{open"),
        ("{a}{b}", b"a"),
        ("", b""),
    ],
)
def test_a_keys_slot_is_that_of_what_is_sent(key: Any, text: bytes) -> None:
    """Encoded as for the wire; of a part in braces if it is not empty."""
    assert slot_of_key(key) == key_slot(text)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", "a"), "a"),
        (("get", "a"), "a"),
        ((b"Get", b"a"), "a"),
        (("SET", 1, "v"), "1"),
        (("MGET", "{t}1", "{t}2"), "t"),
        (("MSET", "a", 1, "b", 2), "a"),
        (("MSETEX", 2, "a", 1, "b", 2, "PX", 5), "a"),
        (("COPY", "{t}1", "{t}2", "REPLACE"), "t"),
        (("EVAL", "return 1", 2, "{t}1", "{t}2", "argument"), "t"),
        (("EVALSHA", "f", "1", "a", "b"), "a"),
        (("FCALL", "f", b"1", "a"), "a"),
        (("ZUNION", 2, "{t}1", "{t}2", "WITHSCORES"), "t"),
        (("SINTERCARD", 2, "{t}1", "{t}2", "LIMIT", 1), "t"),
        (("LMPOP", 1, "a", "LEFT"), "a"),
    ],
)
def test_the_slot_is_that_of_the_keys(command: tuple[Any, ...], key: str) -> None:
    """Whatever else is among the arguments."""
    assert slot_of(command) == slot_of_key(key)


@pytest.mark.parametrize(
    "command",
    [
        ("PING",),
        ("GET",),
        ("MGET", "a", "b"),
        ("DEL", "a", "b"),
        ("EVAL", "return 1", 0, "argument"),
        ("EVAL", "return 1"),
        ("EVAL", "return 1", "many", "a"),
        ("EVAL", "return 1", 2, "a", "b"),
        ("MSETEX", 1),
        ("DBSIZE",),
        ("NOSUCH", "a"),
        ("BITOP", "NOT", "a", "b"),
    ],
)
def test_what_this_file_cannot_tell_is_left_to_redis_py(command: tuple[Any, ...]) -> None:
    """No key, keys of several slots, a command it does not know, or one that is wrong."""
    assert slot_of(command) is None


def test_the_tables_agree_with_the_server(server: RedisServer) -> None:
    """COMMAND says of each command where its keys are; none in the tables may say otherwise."""
    wants = {"LMPOP": ["LEFT"], "ZMPOP": ["MIN"]}
    with redis.Redis.from_url(server.url) as client:
        told = {name.upper(): each for name, each in client.command().items()}
        for names, ends in ((ONE_KEY, (1,)), (_TWO_KEYS, (2,)), (_ALL_KEYS, (2, -1))):
            for name in sorted(names & told.keys()):
                assert told[name]["first_key_pos"] == 1, name
                assert told[name]["last_key_pos"] in ends, name
                assert told[name]["step_count"] == 1, name
                assert not needs_own_connection((name,)), name
        for name in sorted(_NUMBER_OF_KEYS_AT.keys() & told.keys()):
            before = ["x"] * (_NUMBER_OF_KEYS_AT[name] - 1)
            keys = client.command_getkeys(name, *before, 2, "{t}1", "{t}2", *wants.get(name, []))
            assert [str_if_bytes(key) for key in keys] == ["{t}1", "{t}2"], name
