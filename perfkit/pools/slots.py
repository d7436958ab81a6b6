"""Which of a cluster's 16,384 slots a command belongs to, without asking the server where its keys are.

The slot is CRC16 of the key, or of the part in its first braces, modulo 16,384
(https://valkey.io/topics/cluster-spec/). redis-py finds the keys of a command by a table it fetches from the
server, through several coroutines; where the name alone tells, or the number of keys is among the arguments,
this file says it at once.
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
    | {"HINCRBY", "HINCRBYFLOAT", "HSETNX", "HSCAN", "HRANDFIELD", "HGETEX", "HSETEX", "HGETDEL", "HPERSIST"}
    | {"HEXPIRE", "HPEXPIRE", "HEXPIREAT", "HPEXPIREAT", "HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME"}
    | {"LPUSH", "RPUSH", "LPUSHX", "RPUSHX", "LPOP", "RPOP", "LRANGE", "LINDEX", "LLEN", "LSET", "LREM"}
    | {"LTRIM", "LINSERT", "LPOS", "SADD", "SREM", "SMEMBERS", "SISMEMBER", "SMISMEMBER", "SCARD", "SPOP"}
    | {"SRANDMEMBER", "SSCAN", "ZADD", "ZREM", "ZSCORE", "ZMSCORE", "ZINCRBY", "ZCARD", "ZCOUNT", "ZRANGE"}
    | {"ZLEXCOUNT", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZREVRANGE", "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE"}
    | {"ZRANK", "ZREVRANK", "ZPOPMIN", "ZPOPMAX", "ZRANDMEMBER", "ZREMRANGEBYLEX", "ZREMRANGEBYRANK"}
    | {"ZREMRANGEBYSCORE", "ZSCAN", "SETBIT", "GETBIT", "BITCOUNT", "BITPOS", "BITFIELD", "BITFIELD_RO"}
    | {"PFADD", "GEOADD", "GEOPOS", "GEODIST", "GEOHASH", "GEOSEARCH", "XADD", "XLEN", "XRANGE", "XREVRANGE"}
    | {"XDEL", "XTRIM", "XACK", "XCLAIM", "XAUTOCLAIM", "XPENDING", "SPUBLISH", "DELEX", "DELIFEQ", "DIGEST"}
)
"""Commands whose only key is their first argument."""
_ALL_KEYS = frozenset(
    {"MGET", "DEL", "UNLINK", "EXISTS", "TOUCH", "SINTER", "SUNION", "SDIFF", "SINTERSTORE", "SUNIONSTORE"}
    | {"SDIFFSTORE", "PFCOUNT", "PFMERGE", "RENAME", "RENAMENX", "RPOPLPUSH"}
)
"""Every argument is a key."""
_TWO_KEYS = frozenset({"COPY", "LMOVE", "SMOVE", "GEOSEARCHSTORE", "ZRANGESTORE"})
"""The first two arguments are keys."""
_NUMBER_OF_KEYS_AT = {
    **dict.fromkeys(("EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"), 2),
    **dict.fromkeys(("ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD", "SINTERCARD", "LMPOP", "ZMPOP"), 1),
}
"""Where a command says how many keys follow."""


def slot_of_key(key: Any) -> int:
    """Return the slot of a key.

    >>> slot_of_key("user:{7}:name") == slot_of_key(b"user:{7}:mail")
    True
    """
    if isinstance(key, str):
        text = key.encode("utf-8", "surrogatepass")
    elif isinstance(key, int | float):
        text = repr(key).encode()
    else:
        text = bytes(key)
    slot: int = key_slot(text)
    return slot


def slot_of(args: Sequence[Any]) -> int | None:
    """Return the slot of a command where this file can tell; None where redis-py must find it or refuse it.

    Of the keys of `MSET` and `MSETEX` only the first is looked at; the server refuses those of several slots.

    >>> slot_of(("GET", "a")) == slot_of_key("a") == slot_of(("EVAL", "return 1", 1, "a"))
    True
    >>> slot_of(("MGET", "a", "b")), slot_of(("EVAL", "return 1", 0)), slot_of(("PING",))
    (None, None, None)
    """
    name = word(args[0])
    if len(args) < 2:
        return None
    if name in ONE_KEY or name == "MSET":
        return slot_of_key(args[1])
    if name in _ALL_KEYS:
        return _common_slot(args[1:])
    if name in _TWO_KEYS:
        return _common_slot(args[1:3])
    if name == "MSETEX":
        return _common_slot(args[2:3])
    if at := _NUMBER_OF_KEYS_AT.get(name):
        return _common_slot(args[at + 1 : at + 1 + _number(args[at : at + 1])])
    return None


def _common_slot(keys: Sequence[Any]) -> int | None:
    if len(keys) == 1:
        return slot_of_key(keys[0])
    slots = set(map(slot_of_key, keys))
    return slots.pop() if len(slots) == 1 else None


def _number(argument: Sequence[Any]) -> int:
    try:
        return int(argument[0])
    except (IndexError, TypeError, ValueError):
        return 0  # Redis will say what is wrong with it
