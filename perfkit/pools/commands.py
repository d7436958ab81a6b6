"""What a pool must know of a command: whether it may share a connection, be repeated, be answered by nothing.

The tables name commands of Redis 8 and Valkey 9. A command that is in none of them shares a connection, is
never repeated once it was sent, and has no answer but the server's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Final

__all__ = [
    "NO_MISS",
    "changes_connection",
    "is_read",
    "is_repeatable",
    "longest_wait_s",
    "miss_of",
    "misses_of",
    "needs_own_connection",
    "waits_by_design",
    "word",
]

NO_MISS: Final = object()
"""There is no answer but Redis's own."""

_WAITING = frozenset(
    {"BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "WAITAOF"}
)
"""Waiting is their purpose, so they would hold up everybody behind them."""

_TICK_S = 0.1
"""Of Redis's clock for those who wait, `hz 10`."""

_STATEFUL = frozenset(
    {"AUTH", "HELLO", "SELECT", "RESET", "QUIT", "MONITOR", "SYNC", "PSYNC", "MULTI", "EXEC", "DISCARD"}
    | {"WATCH", "UNWATCH", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE"}
    | {"SUNSUBSCRIBE", "ASKING", "READONLY", "READWRITE", "SHUTDOWN", "HIMPORT", "HIMPORT SET"}
)
"""They change the connection they are sent on, for all who would come after."""

_STATEFUL_CLIENT = frozenset(
    {"REPLY", "TRACKING", "CACHING", "NO-EVICT", "NO-TOUCH", "SETNAME", "CAPA", "IMPORT-SOURCE"}
)

_READS = frozenset(
    {"GET", "MGET", "GETRANGE", "STRLEN", "EXISTS", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "TYPE"}
    | {"HGET", "HMGET", "HGETALL", "HEXISTS", "HKEYS", "HVALS", "HLEN", "HSTRLEN", "HTTL", "HPTTL"}
    | {"LRANGE", "LINDEX", "LLEN", "LPOS", "SMEMBERS", "SISMEMBER", "SMISMEMBER", "SCARD", "SRANDMEMBER"}
    | {"ZSCORE", "ZMSCORE", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE", "ZRANK", "ZREVRANK", "ZCARD", "ZCOUNT"}
    | {"SINTER", "SUNION", "SDIFF", "SINTERCARD", "BITCOUNT", "BITPOS", "GETBIT", "PFCOUNT", "GEOPOS"}
    | {"GEODIST", "GEOSEARCH", "XRANGE", "XREVRANGE", "XLEN", "XREAD", "XINFO", "SCAN", "HSCAN", "SSCAN"}
    | {"ZSCAN", "KEYS", "DBSIZE", "RANDOMKEY", "DUMP", "OBJECT", "MEMORY", "PING", "ECHO", "TIME", "INFO"}
    | {"LASTSAVE", "ROLE", "COMMAND", "EVAL_RO", "EVALSHA_RO", "FCALL_RO", "SCRIPT EXISTS"}
)
"""They change nothing."""

_SAME_TWICE = frozenset(
    {"SET", "SETEX", "PSETEX", "MSET", "MSETEX", "DEL", "UNLINK", "EXPIRE", "PEXPIRE", "EXPIREAT"}
    | {"PEXPIREAT", "TOUCH", "HSET", "HMSET", "HSETEX", "HEXPIRE", "SETRANGE", "LSET", "GETEX", "SCRIPT LOAD"}
)
"""Twice leaves Redis as once does.

Left out is what callers ask to learn whether they were first (`SADD`, `SREM`, `HDEL`, `ZREM`, `SETBIT`,
`PERSIST`, `PFADD`): the second answer would say that they were not."""

_CONDITIONAL = frozenset({"SET", "MSETEX", "EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT", "HSETEX", "HEXPIRE"})
_CONDITIONS = frozenset({"NX", "XX", "FNX", "FXX", "GET", "IFEQ", "IFNE", "IFDEQ", "IFDNE", "GT", "LT"})
"""With one of these the second answer, and with it what the caller does next, would differ as well."""

_MISSES: dict[str, Callable[[Sequence[Any]], Any]] = {
    "GET": lambda _: None,
    "GETEX": lambda _: None,
    "MGET": lambda args: [None] * (len(args) - 1),
    "EXISTS": lambda _: 0,
    "STRLEN": lambda _: 0,
    "TTL": lambda _: -2,
    "PTTL": lambda _: -2,
    "HGET": lambda _: None,
    "HMGET": lambda args: [None] * (len(args) - 2),
    "HGETALL": lambda _: {},
    "SMEMBERS": lambda _: set(),
    "LRANGE": lambda _: [],
    "SET": lambda _: None,
    "MSET": lambda _: None,
    "MSETEX": lambda _: None,
    "SETEX": lambda _: None,
    "PSETEX": lambda _: None,
}


def word(argument: Any) -> str:
    """Return an argument as Redis reads a command's name: upper-case text."""
    return (argument.decode("latin-1") if isinstance(argument, bytes) else str(argument)).upper()


def waits_by_design(args: Sequence[Any]) -> bool:
    """Tell whether a command's waiting is its purpose, so that no deadline but its own applies.

    >>> waits_by_design(("BLPOP", "queue", 0)), waits_by_design(("XREAD", "STREAMS", "block", "0"))
    (True, False)
    """
    name = word(args[0])
    if name in ("XREAD", "XREADGROUP"):
        return "BLOCK" in takewhile(lambda each: each != "STREAMS", map(word, args[1:]))
    return name in _WAITING


def longest_wait_s(args: Sequence[Any]) -> float:
    """Return how long a command may wait on purpose, in seconds: 0 for most, infinity where it says for ever.

    Redis looks ten times a second who has waited long enough, so that much is added.

    >>> longest_wait_s(("GET", "a")), longest_wait_s(("BLPOP", "q", 2.5)), longest_wait_s(("WAIT", 1, 400))
    (0.0, 2.6, 0.5)
    >>> longest_wait_s(("XREAD", "BLOCK", 0, "STREAMS", "s", "$"))
    inf
    """
    if not waits_by_design(args):
        return 0.0
    name = word(args[0])
    unit_s = 0.001 if name in ("WAIT", "WAITAOF", "XREAD", "XREADGROUP") else 1.0
    if name in ("XREAD", "XREADGROUP"):
        at = next(at for at, each in enumerate(args) if at and word(each) == "BLOCK") + 1
    else:
        at = 1 if name in ("BLMPOP", "BZMPOP") else -1
    try:
        given_s = float(args[at]) * unit_s
    except (ValueError, TypeError, IndexError):
        return math.inf  # Redis will say what is wrong with it
    return given_s + _TICK_S if given_s else math.inf


def changes_connection(args: Sequence[Any]) -> bool:
    """Tell whether a command leaves its connection other than it was, so that nobody else may have it after.

    >>> changes_connection(("SELECT", 3)), changes_connection(("CLIENT", "TRACKING", "ON"))
    (True, True)
    """
    name = word(args[0])
    if name in _STATEFUL:
        return True
    verb, _, sub = name.partition(" ")
    if verb != "CLIENT":
        return False
    return (sub or (word(args[1]) if len(args) > 1 else "")) in _STATEFUL_CLIENT


def needs_own_connection(args: Sequence[Any]) -> bool:
    """Tell whether a command must not travel on a connection that others share."""
    return changes_connection(args) or waits_by_design(args)


def is_repeatable(args: Sequence[Any]) -> bool:
    """Tell whether sending a command twice leaves Redis as sending it once, and the caller none the wiser.

    >>> is_repeatable(("GET", "a")), is_repeatable(("INCR", "a"))
    (True, False)
    >>> is_repeatable(("SET", "a", 1, "PX", 5)), is_repeatable(("SET", "lock", 1, "NX"))
    (True, False)
    >>> is_repeatable(("SADD", "seen", "a")), is_repeatable(("HSETEX", "h", "FNX", "FIELDS", 1, "f", "v"))
    (False, False)
    """
    name = word(args[0])
    if name in _READS:
        return not waits_by_design(args)
    if name not in _SAME_TWICE:
        return False
    return name not in _CONDITIONAL or _CONDITIONS.isdisjoint(map(word, args[2:]))


def is_read(args: Sequence[Any]) -> bool:
    """Tell whether a command changes nothing, so that a replica may answer it."""
    return word(args[0]) in _READS


def miss_of(args: Sequence[Any]) -> Any:
    """Return what an empty Redis would answer, or `NO_MISS` where pretending would be wrong.

    A value that is not stored is what a full cache does too. A removal that did not happen is another thing:
    whoever asked for it must learn of it, so `DEL` and its like have no miss.

    >>> miss_of(("MGET", "a", "b")), miss_of(("DEL", "a")) is NO_MISS
    ([None, None], True)
    """
    miss = _MISSES.get(word(args[0]))
    return NO_MISS if miss is None else miss(args)


def misses_of(commands: Sequence[Sequence[Any]]) -> Any:
    """Return what an empty Redis would answer to each, or `NO_MISS` where that would be wrong for one."""
    misses = [miss_of(command) for command in commands]
    return NO_MISS if any(miss is NO_MISS for miss in misses) else misses
