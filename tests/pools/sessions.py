"""What is asked of a client and of redis-py's own alike: whole sessions, whose answers must be the same.

Each takes a client and a function that makes keys (on a cluster, all of one slot) and returns its answers.
What differs between two askings of the same server, such as times and ids, is reduced to its shape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from redis.exceptions import ResponseError

Key: TypeAlias = Callable[[str], str]
Session: TypeAlias = Callable[[Any, Key], Awaitable[list[Any]]]

SESSIONS: dict[str, Session] = {}
SERVER_SESSIONS: dict[str, Session] = {}
"""About the server and the connection itself: a stand-in lacks much of it, and a cluster has many of each."""


def session(function: Session) -> Session:
    SESSIONS[function.__name__] = function
    return function


def server_session(function: Session) -> Session:
    SERVER_SESSIONS[function.__name__] = function
    return function


def shape(value: Any) -> Any:
    """Return what kind of answer it is, down to the names of its fields."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(shape, value[:1])]
    return type(value).__name__


async def refusal(asked: Awaitable[Any]) -> Any:
    """Return the error as a value, so that it can be compared."""
    try:
        return await asked
    except ResponseError as error:
        return type(error), str(error)


@session
async def strings(r: Any, k: Key) -> list[Any]:
    return [
        await r.set(k("s"), "grün"),
        await r.get(k("s")),
        await r.set(k("s"), b"\x00\xff", nx=True),
        await r.set(k("s"), 1.5, xx=True, get=True),
        await r.set(k("s"), 7, keepttl=True),
        await r.get(k("absent")),
        await r.getset(k("s"), "new"),
        await r.append(k("s"), "er"),
        await r.strlen(k("s")),
        await r.getrange(k("s"), 1, 2),
        await r.setrange(k("s"), 1, "xx"),
        await r.incr(k("n")),
        await r.incr(k("n"), 41),
        await r.decr(k("n")),
        await r.incrbyfloat(k("f"), 0.1),
        await r.setnx(k("n"), 1),
        await r.execute_command("SETEX", k("e"), 100, "v"),
        await r.execute_command("PSETEX", k("e"), 100_000, "v"),
        await r.getex(k("e"), persist=True),
        await r.getdel(k("e")),
        await r.mset({k("a"): 1, k("b"): "zwei"}),
        await r.msetnx({k("a"): 1, k("c"): 3}),
        await r.mget([k("a"), k("absent"), k("b")]),
        await r.mget(k("a"), k("b")),
        await refusal(r.incr(k("b"))),
        await r.execute_command("GET", k("a")),
        await r.execute_command("get", k("a")),
        await r.execute_command("LCS", k("a"), k("b")),
    ]


@session
async def keyspace(r: Any, k: Key) -> list[Any]:
    await r.mset({k("a"): 1, k("b"): 2})
    return [
        await r.exists(k("a"), k("b"), k("absent")),
        await r.type(k("a")),
        await r.ttl(k("a")),
        await r.pttl(k("absent")),
        await r.expire(k("a"), 100),
        await r.expire(k("a"), 50, gt=True),
        await r.expireat(k("a"), 4_102_444_800),
        await r.expiretime(k("a")),
        await r.persist(k("a")),
        await r.copy(k("a"), k("c")),
        await r.rename(k("c"), k("d")),
        await refusal(r.rename(k("absent"), k("e"))),
        await r.renamenx(k("a"), k("b")),
        await r.delete(k("a"), k("absent")),
        await r.unlink(k("b")),
    ]


@session
async def hashes(r: Any, k: Key) -> list[Any]:
    return [
        await r.hset(k("h"), mapping={"a": 1, "b": "zwei"}),
        await r.hset(k("h"), "c", 3.5),
        await r.hget(k("h"), "a"),
        await r.hget(k("h"), "absent"),
        await r.hmget(k("h"), ["a", "absent"]),
        await r.hgetall(k("h")),
        await r.hgetall(k("absent")),
        await r.hkeys(k("h")),
        await r.hvals(k("h")),
        await r.hlen(k("h")),
        await r.hexists(k("h"), "a"),
        await r.hstrlen(k("h"), "b"),
        await r.hincrby(k("h"), "a", 5),
        await r.hincrbyfloat(k("h"), "c", 0.25),
        await r.hsetnx(k("h"), "a", 1),
        await r.hdel(k("h"), "a", "absent"),
        sorted([pair async for pair in r.hscan_iter(k("h"))]),
        (await r.hscan(k("h")))[0],
        len(await r.hrandfield(k("h"), 2, withvalues=True)),
    ]


@session
async def lists(r: Any, k: Key) -> list[Any]:
    return [
        await r.rpush(k("l"), "a", "b", 3),
        await r.lpush(k("l"), "z"),
        await r.lrange(k("l"), 0, -1),
        await r.lindex(k("l"), 1),
        await r.llen(k("l")),
        await r.lpos(k("l"), "b"),
        await r.lset(k("l"), 0, "y"),
        await r.linsert(k("l"), "before", "a", "x"),
        await r.lrem(k("l"), 1, "x"),
        await r.lmove(k("l"), k("m"), "LEFT", "RIGHT"),
        await r.rpoplpush(k("l"), k("m")),
        await r.lpop(k("l")),
        await r.lpop(k("l"), 5),
        await r.lpop(k("absent")),
        await r.ltrim(k("m"), 0, 0),
        await r.sort(k("m"), alpha=True),
        await refusal(r.hget(k("m"), "f")),
    ]


@session
async def sets(r: Any, k: Key) -> list[Any]:
    return [
        await r.sadd(k("s"), "a", "b", "c"),
        await r.sadd(k("t"), "b", "d"),
        await r.smembers(k("s")),
        await r.smembers(k("absent")),
        await r.sismember(k("s"), "a"),
        await r.smismember(k("s"), ["a", "z"]),
        await r.scard(k("s")),
        await r.sinter(k("s"), k("t")),
        await r.sunion([k("s"), k("t")]),
        await r.sdiff(k("s"), k("t")),
        await r.sinterstore(k("u"), k("s"), k("t")),
        await r.sintercard(2, [k("s"), k("t")]),
        await r.smove(k("s"), k("t"), "a"),
        await r.srem(k("s"), "b"),
        await r.srandmember(k("s")),
        await r.srandmember(k("s"), 2),
        await r.spop(k("s")),
        sorted(await r.spop(k("t"), 5)),
        sorted([member async for member in r.sscan_iter(k("u"))]),
    ]


@session
async def sorted_sets(r: Any, k: Key) -> list[Any]:
    return [
        await r.zadd(k("z"), {"a": 1, "b": 2.5, "c": float("inf")}),
        await r.zadd(k("z"), {"a": 3}, incr=True),
        await r.zadd(k("z"), {"b": 9}, nx=True, incr=True),
        await r.zadd(k("z"), {"b": 2}, ch=True),
        await r.zscore(k("z"), "b"),
        await r.zscore(k("z"), "absent"),
        await r.zmscore(k("z"), ["a", "absent"]),
        await r.zrange(k("z"), 0, -1),
        await r.zrange(k("z"), 0, -1, withscores=True),
        await r.zrange(k("z"), 0, -1, withscores=True, desc=True),
        await r.zrange(k("z"), 0, -1, withscores=True, score_cast_func=str),
        await r.zrevrange(k("z"), 0, 1, withscores=True),
        await r.zrangebyscore(k("z"), "-inf", "(10", withscores=True),
        await r.zrevrangebyscore(k("z"), "+inf", 0, withscores=True, start=0, num=1),
        await r.zrank(k("z"), "a"),
        await r.zrank(k("z"), "a", withscore=True),
        await r.zrank(k("z"), "absent"),
        await r.zincrby(k("z"), 0.5, "a"),
        await r.zcard(k("z")),
        await r.zcount(k("z"), 0, 10),
        await r.zadd(k("y"), {"a": 10}),
        await r.zunionstore(k("x"), [k("z"), k("y")], aggregate="MAX"),
        await r.zinter([k("z"), k("y")], withscores=True),
        await r.zunion([k("z"), k("y")], withscores=True),
        await r.zdiff([k("z"), k("y")], withscores=True),
        await r.zrangestore(k("w"), k("z"), 0, 0),
        [pair async for pair in r.zscan_iter(k("z"))],
        await r.zpopmin(k("z")),
        await r.zpopmax(k("z"), 2),
        await r.zpopmin(k("absent")),
        len(await r.zrandmember(k("x"), 2, withscores=True)),
        await r.zremrangebyrank(k("x"), 0, 0),
        await r.zrem(k("x"), "a", "absent"),
    ]


@session
async def streams(r: Any, k: Key) -> list[Any]:
    return [
        await r.xadd(k("x"), {"a": 1, "b": "zwei"}, id="1-1"),
        await r.xadd(k("x"), {"a": 2}, id="2-1"),
        await r.xlen(k("x")),
        await r.xrange(k("x")),
        await r.xrevrange(k("x"), count=1),
        await r.xread({k("x"): "0"}, count=1),
        await r.xread({k("x"): "9"}),
        await r.xread({k("x"): "0"}, block=10),
        await r.xread({k("x"): "9"}, block=1),
        await r.xgroup_create(k("x"), "g", id="0"),
        await refusal(r.xgroup_create(k("x"), "g", id="0")),
        await r.xreadgroup("g", "c", {k("x"): ">"}, count=1),
        await r.xpending(k("x"), "g"),
        shape(await r.xpending_range(k("x"), "g", "-", "+", 10)),
        await r.xclaim(k("x"), "g", "d", 0, ["1-1"]),
        await r.xautoclaim(k("x"), "g", "d", 0),
        await r.xack(k("x"), "g", "1-1"),
        shape(await r.xinfo_stream(k("x"))),
        shape(await r.xinfo_groups(k("x"))),
        shape(await r.xinfo_consumers(k("x"), "g")),
        await r.xdel(k("x"), "1-1"),
        await r.xtrim(k("x"), maxlen=0),
    ]


@session
async def geography(r: Any, k: Key) -> list[Any]:
    return [
        await r.geoadd(k("g"), (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")),
        await r.geodist(k("g"), "Palermo", "Catania", unit="km"),
        await r.geopos(k("g"), "Palermo", "absent"),
        await r.geohash(k("g"), "Palermo"),
        await r.geosearch(k("g"), longitude=15, latitude=37, radius=200, unit="km", withdist=True),
        await r.geosearch(
            k("g"), member="Palermo", radius=200, unit="km", withcoord=True, withdist=True, sort="ASC"
        ),
    ]


@session
async def bits_and_sketches(r: Any, k: Key) -> list[Any]:
    return [
        await r.setbit(k("b"), 7, 1),
        await r.getbit(k("b"), 7),
        await r.bitcount(k("b")),
        await r.bitpos(k("b"), 1),
        await r.bitop("NOT", k("c"), k("b")),
        await r.bitfield(k("f")).set("u8", 0, 255).incrby("u8", 0, 10).get("u4", 0).execute(),
        await r.pfadd(k("p"), "a", "b"),
        await r.pfadd(k("q"), "b", "c"),
        await r.pfcount(k("p")),
        await r.pfcount(k("p"), k("q")),
        await r.pfmerge(k("r"), k("p"), k("q")),
    ]


@session
async def scripts(r: Any, k: Key) -> list[Any]:
    adds = r.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
    sha = await r.script_load("return {1, 'zwei', false, {3}}")
    return [
        await r.eval("return {KEYS[1] == ARGV[1], ARGV[2]}", 1, k("a"), k("a"), b"\xff"),
        await r.evalsha(sha, 0),
        await r.script_exists(sha, "0" * 40),
        await adds(keys=[k("n")], args=[5]),
        await adds(keys=[k("n")], args=[5]),
        await refusal(r.eval("return redis.error_reply('MINE told')", 0)),
        (await refusal(r.evalsha("0" * 40, 0)))[0],
    ]


@session
async def waiting(r: Any, k: Key) -> list[Any]:
    await r.rpush(k("l"), "a", "b", "c", "d")
    await r.zadd(k("z"), {"a": 1, "b": 2})
    return [
        await r.blpop([k("l")], timeout=1),
        await r.brpop(k("l"), timeout=1),
        await r.blmove(k("l"), k("m"), 1),
        await r.bzpopmin([k("z")], timeout=1),
        await r.bzpopmax([k("z")], timeout=1),
        await r.blpop([k("absent")], timeout=0.01),
        await r.bzpopmin([k("absent")], timeout=0.01),
    ]


@session
async def iterators(r: Any, k: Key) -> list[Any]:
    await r.mset({k(f"i{n:03}"): n for n in range(300)})
    found = [key async for key in r.scan_iter(match="*i0*", count=50)]
    return [
        len(found),
        sorted(found)[:3],
        sorted([key async for key in r.scan_iter(_type="hash")]),
        sorted(await r.keys("*i00*")),
        await r.dbsize(),
    ]


@server_session
async def the_server(r: Any, _k: Key) -> list[Any]:
    await r.set("a", 1)
    info = await r.info()
    return [
        {
            name: shape(info[name])
            for name in ("redis_version", "used_memory", "role", "db0", "maxmemory_policy")
        },
        await r.info("keyspace"),
        await r.config_set("maxmemory-samples", 6),
        await r.config_get("maxmemory*"),
        shape(await r.time()),
        shape(await r.lastsave()),
        shape(await r.role()),
        shape(await r.slowlog_get()),
        await r.acl_whoami(),
        shape(await r.memory_usage("a")),
        await r.touch("a", "b"),
        await r.object("encoding", "a"),
        await r.command_count(),
        await r.echo("hallo"),
        await r.ping(),
        shape(await r.client_id()),
        sorted((await r.client_list())[0]),
        sorted(await r.client_info()),
        await r.client_kill_filter(_id=9_999_999),
        await r.wait(0, 10),
        await r.swapdb(8, 9),
    ]
