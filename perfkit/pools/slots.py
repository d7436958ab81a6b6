"""Which of a cluster's 16,384 slots a command belongs to, without asking the server where its keys are.

The slot is CRC16 of the key, or of the part in its first braces, modulo 16,384
(https://valkey.io/topics/cluster-spec/). redis-py finds the keys of a command by a table it fetches from the
server, through several coroutines; for commands with one key, which is the first argument, this file says it
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.crc import key_slot

from perfkit.pools.commands import word

__all__ = ["ONE_KEY", "slot_of", "slot_of_key"]

ONE_KEY = frozenset(
    {"GET", "SET", "SETEX", "PSETEX", "SETNX", "GETSET", "GETEX", "GETDEL", "GETRANGE", "SETRANGE", "STRLEN"}
    | {"APPEND", "INCR", "INCRBY", "INCRBYFLOAT", "DECR", "DECRBY", "EXPIRE", "PEXPIRE", "EXPIREAT"}
    | {"PEXPIREAT", "EXPIRETIME", "PEXPIRETIME", "PERSIST", "TTL", "PTTL", "TYPE", "DUMP", "RESTORE"}
    | {"HGET", "HSET", "HMGET", "HMSET", "HGETALL", "HDEL", "HEXISTS", "HKEYS", "HVALS", "HLEN", "HSTRLEN"}
    | {"HINCRBY", "HINCRBYFLOAT", "HSETNX", "HSCAN", "HRANDFIELD", "LPUSH", "RPUSH", "LPUSHX", "RPUSHX"}
    | {"LPOP", "RPOP", "LRANGE", "LINDEX", "LLEN", "LSET", "LREM", "LTRIM", "LINSERT", "LPOS", "SADD", "SREM"}
    | {"SMEMBERS", "SISMEMBER", "SMISMEMBER", "SCARD", "SPOP", "SRANDMEMBER", "SSCAN", "ZADD", "ZREM"}
    | {"ZSCORE", "ZMSCORE", "ZINCRBY", "ZCARD", "ZCOUNT", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE"}
    | {"ZREVRANGEBYSCORE", "ZRANK", "ZREVRANK", "ZPOPMIN", "ZPOPMAX", "ZREMRANGEBYSCORE", "ZSCAN"}
    | {"SETBIT", "GETBIT", "BITCOUNT", "BITPOS", "BITFIELD", "PFADD", "GEOADD", "GEOPOS", "GEODIST"}
    | {"GEOSEARCH", "XADD", "XLEN", "XRANGE", "XREVRANGE", "XDEL", "XTRIM", "XACK"}
)
"""Commands whose only key is their first argument."""
_SAME_SLOT = frozenset({"MGET", "DEL", "UNLINK", "EXISTS", "TOUCH"})
"""Every argument is a key."""


def slot_of_key(key: Any) -> int:
    """Return the slot of a key.

    >>> slot_of_key("user:{7}:name") == slot_of_key(b"user:{7}:mail")
    True
    """
    if isinstance(key, str):
        key = key.encode("utf-8", "surrogatepass")
    elif isinstance(key, int | float):
        key = repr(key).encode()
    slot: int = key_slot(bytes(key))
    return slot


def slot_of(args: Sequence[Any]) -> int | None:
    """Return the slot of a command whose keys are known by its name; None where redis-py must find them.

    >>> slot_of(("GET", "a")) == slot_of_key("a"), slot_of(("EVAL", "return 1", 0))
    (True, None)
    """
    name = word(args[0])
    if len(args) < 2:
        return None
    if name in ONE_KEY:
        return slot_of_key(args[1])
    if name in _SAME_SLOT:
        slots = set(map(slot_of_key, args[1:]))
        return slots.pop() if len(slots) == 1 else None
    if name == "MSETEX" and len(args) > 2:
        return slot_of_key(args[2])
    return slot_of_key(args[1]) if name == "MSET" else None
