"""The conformance suite of a client: redis-py's answers, and perfkit's promises, whatever carries them.

A test class inherits `ClientCase` and brings the fixtures `client` and `plain`: the client under test, with
`batch_chunk=3`, and a plain one of redis-py on the same server, both on an empty database.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import DataError, NoScriptError, ResponseError, WatchError

from perfkit.errors import SettingsError
from tests.pools.sessions import SERVER_SESSIONS, SESSIONS
from tests.pools.waiting import until

BIG = b"\r\n$-1*+x" * 1_048_576  # 8 MB that look like protocol


class ClientCase:
    """What every client passes."""

    tag = ""
    """Precedes every key; a cluster's brings them into one slot."""
    lacks: frozenset[str] = frozenset()
    """Sessions and commands that this server has not."""

    def k(self, name: str) -> str:
        return self.tag + name

    def needs(self, *names: str) -> None:
        if missing := self.lacks.intersection(names):
            pytest.skip(f"this server has no {', '.join(sorted(missing))}")

    async def balanced(self, client: Any) -> dict[str, Any]:
        """Return the metrics of an idle client, whose books must balance."""
        metrics: dict[str, Any] = await client.get_metrics()
        ends = metrics["ok"] + metrics["failed"] + metrics["rejected"] + metrics["cancelled"]
        assert metrics["calls"] == ends
        assert (metrics["in_flight"], metrics["own_connections"], metrics["waiting"]) == (0, 0, 0)
        return metrics

    @pytest.mark.parametrize("name", [*SESSIONS, *SERVER_SESSIONS])
    async def test_answers_are_those_of_redis_py(self, client: Any, plain: Any, name: str) -> None:
        """A whole session, command by command, on the same server."""
        self.needs(name)
        session = SESSIONS.get(name) or SERVER_SESSIONS[name]
        expected = await session(plain, self.k)
        await plain.flushall()

        answers = await session(client, self.k)

        for number, (answer, theirs) in enumerate(zip(answers, expected, strict=True)):
            assert (number, answer) == (number, theirs)
        assert [type(answer) for answer in answers] == [type(answer) for answer in expected]
        await self.balanced(client)

    @pytest.mark.parametrize("transaction", [True, False])
    async def test_pipelines_answer_as_redis_pys(self, client: Any, plain: Any, transaction: bool) -> None:
        """Every kind of answer, in order, and the pipeline can be used again."""

        async def ask(r: Any) -> list[Any]:
            pipe = r.pipeline(transaction=transaction)
            pipe.set(self.k("a"), 1).incr(self.k("a")).hset(self.k("h"), mapping={"x": 1}).hgetall(
                self.k("h")
            )
            pipe.zadd(self.k("z"), {"m": 1.5}).zrange(self.k("z"), 0, -1, withscores=True)
            pipe.get(self.k("absent")).expire(self.k("a"), 9).sadd(self.k("s"), "x").smembers(self.k("s"))
            first = await pipe.execute()
            return [first, await pipe.get(self.k("a")).execute(), await pipe.execute()]

        expected = await ask(plain)
        await plain.flushall()
        assert await ask(client) == expected
        await self.balanced(client)

    @pytest.mark.parametrize("transaction", [True, False])
    async def test_an_error_in_a_pipeline_is_redis_pys(
        self, client: Any, plain: Any, transaction: bool
    ) -> None:
        """Raised with the command's number, or put among the answers; the others were carried out."""

        async def ask(r: Any) -> list[Any]:
            await r.set(self.k("text"), "x")
            pipe = r.pipeline(transaction=transaction)
            pipe.set(self.k("a"), 1).incr(self.k("text")).incr(self.k("a"))
            with pytest.raises(ResponseError) as raised:
                await pipe.execute()
            pipe.incr(self.k("text")).incr(self.k("a"))
            error, count = await pipe.execute(raise_on_error=False)
            return [str(raised.value), type(error), str(error), count]

        expected = await ask(plain)
        await plain.flushall()
        assert await ask(client) == expected
        await self.balanced(client)

    async def test_a_transaction_with_a_command_that_is_none_is_carried_out_not_at_all(
        self, client: Any, plain: Any
    ) -> None:
        """EXECABORT, told as redis-py tells it."""
        self.needs("execabort")

        async def ask(r: Any) -> str:
            pipe = r.pipeline().set(self.k("a"), 1)
            pipe.execute_command("NOSUCH", self.k("a"))
            with pytest.raises(ResponseError) as raised:
                await pipe.execute()
            return str(raised.value)

        assert await ask(client) == await ask(plain)
        assert await client.get(self.k("a")) is None

    async def test_watch_guards_a_transaction(self, client: Any, plain: Any) -> None:
        """Unchanged it is carried out; changed by another it is not; `transaction` goes again by itself."""
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(self.k("n"))
            assert await pipe.get(self.k("n")) is None
            pipe.multi()
            pipe.set(self.k("n"), 1)
            assert await pipe.execute() == [True]

            await pipe.watch(self.k("n"))
            await plain.set(self.k("n"), 5)
            pipe.multi()
            pipe.set(self.k("n"), 2)
            with pytest.raises(WatchError):
                await pipe.execute()
        assert await client.get(self.k("n")) == b"5"
        await self.balanced(client)

    async def test_transaction_goes_again_when_a_key_changed(self, client: Any, plain: Any) -> None:
        """redis-py's convenience: the function is run again with the new value."""
        self.needs("transaction")
        changes = iter([5, None])

        async def count(pipe: Any) -> None:
            value = int(await pipe.get(self.k("n")) or 0)
            if change := next(changes):
                await plain.set(self.k("n"), change)
            pipe.multi()
            pipe.set(self.k("n"), value + 1)

        assert await client.transaction(count, self.k("n")) == [True]
        assert await client.get(self.k("n")) == b"6"

    async def test_a_script_comes_back_after_it_was_forgotten(self, client: Any) -> None:
        """After SCRIPT FLUSH, as after a failover, a registered script is loaded again, in pipelines too."""
        self.needs("scripts")
        script = client.register_script("return redis.call('incrby', KEYS[1], 2)")
        assert await script(keys=[self.k("n")]) == 2
        await client.script_flush()
        assert await script(keys=[self.k("n")]) == 4
        with pytest.raises(NoScriptError):
            await client.evalsha("f" * 40, 0)

    @pytest.mark.parametrize("transaction", [True, False])
    async def test_a_pipeline_loads_the_scripts_it_needs(self, client: Any, transaction: bool) -> None:
        """redis-py asks which are missing before it sends."""
        self.needs("scripts", "pipeline scripts")
        script = client.register_script("return redis.call('incrby', KEYS[1], 2)")
        await client.script_flush()
        pipe = client.pipeline(transaction=transaction)
        await script(keys=[self.k("n")], client=pipe)
        pipe.get(self.k("n"))

        assert await pipe.execute() == [2, b"2"]
        await self.balanced(client)

    async def test_a_lock_keeps_others_out(self, client: Any, plain: Any) -> None:
        """Ours against redis-py's on the same server."""
        self.needs("scripts")
        async with client.lock(self.k("lock"), timeout=10) as lock:
            assert not await plain.lock(self.k("lock"), blocking=False).acquire()
            assert await lock.extend(5)
            assert await lock.owned()
        async with plain.lock(self.k("lock"), timeout=10, blocking=False):
            assert not await client.lock(self.k("lock"), blocking=False).acquire()
        await self.balanced(client)

    async def test_what_is_published_is_heard(self, client: Any) -> None:
        """A subscription holds a connection of its own and gives it back."""
        self.needs("pubsub")
        async with client.pubsub() as listener:
            await listener.subscribe(self.k("news"))
            await listener.psubscribe(self.k("n*"))
            heard = [await listener.get_message(timeout=5) for _ in range(2)]
            assert await client.publish(self.k("news"), "all is well") == 2
            heard += [await listener.get_message(timeout=5) for _ in range(2)]
            assert (await client.get_metrics())["own_connections"] == 1
        assert [message["type"] for message in heard] == ["subscribe", "psubscribe", "message", "pmessage"]
        assert heard[2]["data"] == b"all is well"
        await self.balanced(client)

    async def test_who_waits_for_an_element_holds_up_nobody(self, client: Any) -> None:
        """BLPOP waits on a connection of its own; the push comes on another."""
        waiting = asyncio.create_task(client.blpop([self.k("q")], timeout=10))
        await until(lambda: client.metrics["own_connections"] == 1)
        assert await client.rpush(self.k("q"), "element") == 1
        assert await waiting == (self.k("q").encode(), b"element")
        await self.balanced(client)

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 100])
    @pytest.mark.parametrize("ttl_seconds", [None, 0.5, 60])
    async def test_batches_of_every_size_are_whole(
        self, client: Any, count: int, ttl_seconds: float | None
    ) -> None:
        """Nothing is lost, doubled or out of order at a chunk's edge; every key lives as long as told."""
        values = {f"key {n}": f"{n}\r\n".encode() for n in range(count)}  # of many slots on purpose

        await client.batch_set(values, ttl_seconds=ttl_seconds)

        keys = [*reversed(values), "absent", *values]
        assert await client.batch_get(keys) == [values.get(key) for key in keys]
        left_ms = await client.execute_many([("PTTL", key) for key in values])
        most_ms = -1 if ttl_seconds is None else ttl_seconds * 1000
        assert all(left == most_ms if ttl_seconds is None else 0 < left <= most_ms for left in left_ms)
        assert await client.batch_delete(keys) == count
        assert await client.dbsize() == 0
        await self.balanced(client)

    @pytest.mark.parametrize("has_msetex", [True, False])
    async def test_a_server_without_msetex_stores_the_same(self, client: Any, has_msetex: bool) -> None:
        """Found out by asking, once; then each key is set alone."""
        client._has_msetex = has_msetex
        await client.batch_set({f"k{n}": n for n in range(8)}, ttl_seconds=60)

        assert await client.batch_get([f"k{n}" for n in range(8)]) == [b"%d" % n for n in range(8)]
        assert all(
            0 < left <= 60_000 for left in await client.execute_many([("PTTL", f"k{n}") for n in range(8)])
        )

    async def test_chunks_end_by_their_bytes_too(self, client: Any) -> None:
        """Values larger than a chunk may hold still travel, each alone."""
        client._chunk, client._chunk_bytes = 1_000, 10_000
        values = {f"k{n}": bytes([n]) * 9_000 for n in range(20)}
        before = (await client.get_metrics())["calls"]
        await client.batch_set(values)
        calls = (await client.get_metrics())["calls"] - before

        assert calls >= 10
        assert await client.batch_get(values) == list(values.values())

    async def test_many_commands_answer_in_order_errors_among_them(self, client: Any) -> None:
        """All run; then the first error is raised, or all are told."""
        b = self.k("b")
        commands = [
            ("SET", self.k("a"), "x"),
            ("INCR", self.k("a")),
            ("GET", self.k("a")),
            ("GET", self.k("b")),
        ]
        answers = await client.execute_many(commands, return_exceptions=True)
        assert (answers[0], answers[2], answers[3]) == (True, b"x", None)
        assert isinstance(answers[1], ResponseError)
        with pytest.raises(ResponseError):
            await client.execute_many([*commands, ("SET", b, "ran")])
        assert await client.get(b) == b"ran"

    async def test_a_wrong_time_to_live_is_refused(self, client: Any) -> None:
        """Nothing is stored."""
        with pytest.raises(SettingsError):
            await client.batch_set({self.k("a"): 1}, ttl_seconds=0)
        assert await client.exists(self.k("a")) == 0

    async def test_a_callback_of_ones_own_makes_the_answer(self, client: Any) -> None:
        """In single commands, pipelines and batches, be it asynchronous or not."""

        async def later(reply: Any, **_options: Any) -> Any:
            return "later", reply

        await client.set(self.k("a"), 1)
        await client.set(self.k("n"), 1)
        client.set_response_callback("GET", lambda reply, **_options: ("mine", reply))
        client.set_response_callback("INCRBY", later)
        assert await client.get(self.k("a")) == ("mine", b"1")
        assert await client.incr(self.k("n")) == ("later", 2)
        pipe = client.pipeline(transaction=False).get(self.k("a")).incr(self.k("n"))
        assert await pipe.execute() == [("mine", b"1"), ("later", 3)]
        asked = [("GET", self.k("a")), ("INCRBY", self.k("n"), 1)]
        assert await client.execute_many(asked) == [("mine", b"1"), ("later", 4)]

    @pytest.mark.parametrize(
        ("value", "stored"),
        [
            (b"\x00\r\n$5\r\n", b"\x00\r\n$5\r\n"),
            (bytearray(b"abc"), b"abc"),
            (memoryview(b"abcdef"), b"abcdef"),
            (memoryview(b"abcdef")[::2], b"ace"),
            ("grün 🌳", "grün 🌳".encode()),
            ("", b""),
            (12345678901234567890, b"12345678901234567890"),
            (-0.1, b"-0.1"),
            (1e22, b"1e+22"),
        ],
    )
    async def test_what_redis_can_store_is_stored(self, client: Any, value: Any, stored: bytes) -> None:
        """As redis-py encodes it, in every way to store it."""
        if isinstance(value, memoryview) and not value.contiguous:
            self.needs("memoryview with gaps")
        await client.set(self.k("a"), value)
        await client.pipeline(transaction=False).set(self.k("b"), value).execute()
        await client.execute_many([("SET", self.k("c"), value)])
        assert await client.mget(self.k("a"), self.k("b"), self.k("c")) == [stored] * 3

    @pytest.mark.parametrize("value", [None, True, object(), [1], {"a": 1}])
    async def test_what_redis_cannot_store_is_refused(self, client: Any, value: Any) -> None:
        """Before anything is sent; the connection is as fit as it was."""
        for ask in (
            lambda: client.set(self.k("a"), value),
            lambda: client.pipeline(transaction=False).set(self.k("b"), 1).set(self.k("a"), value).execute(),
            lambda: client.execute_many([("SET", self.k("b"), 1), ("SET", self.k("a"), value)]),
        ):
            with pytest.raises(DataError):
                await ask()
        assert await client.exists(self.k("a")) == 0
        await self.balanced(client)

    @pytest.mark.parametrize("name", ["hgetall", "HGETALL", "HgetAll"])
    async def test_a_commands_name_may_be_written_in_any_case(
        self, client: Any, plain: Any, name: str
    ) -> None:
        """redis-py's callbacks apply all the same."""
        await client.hset(self.k("h"), mapping={"a": 1})
        assert await client.execute_command(name, self.k("h")) == {b"a": b"1"}

    async def test_a_name_of_several_words_is_several_arguments(self, client: Any) -> None:
        """As redis-py's own methods use it."""
        self.needs("the_server")
        assert "maxmemory" in await client.execute_command("CONFIG GET", "maxmemory")
        assert await client.execute_command("CLIENT GETNAME") is not False

    async def test_8_mb_travel_both_ways_beside_small_ones(self, client: Any) -> None:
        """Whatever they look like; what was asked meanwhile is not mixed up with it."""
        small = [client.set(self.k(f"s{n}"), n) for n in range(50)]
        await asyncio.gather(client.set(self.k("big"), BIG), *small)
        asked = [client.get(self.k(f"s{n}")) for n in range(50)]
        found = await asyncio.gather(client.get(self.k("big")), *asked)
        assert found[0] == BIG
        assert found[1:] == [b"%d" % n for n in range(50)]

    async def test_an_error_is_redis_pys_and_leaves_the_connection_fit(self, client: Any) -> None:
        """WRONGTYPE and an unknown command are answers like any other."""
        await client.set(self.k("text"), "x")
        for ask in (lambda: client.hget(self.k("text"), "f"), lambda: client.execute_command("NOSUCH")):
            with pytest.raises(ResponseError):
                await ask()
        assert await client.get(self.k("text")) == b"x"
        metrics = await self.balanced(client)
        assert (metrics["failed"], metrics["circuit_state"]) == (2, "closed")

    async def test_it_says_that_it_is_ready_and_raising_is_itself(self, client: Any) -> None:
        """A pool that raises anyway needs no second face."""
        assert await client.ready()
        assert client.raising is client

    async def test_a_held_client_has_a_connection_of_its_own(self, client: Any) -> None:
        """Its state is nobody else's, and it gives the connection back."""
        self.needs("held client")
        async with client.client() as own:
            await own.set(self.k("a"), 1)
            assert (await client.get_metrics())["own_connections"] == 1
        assert await client.get(self.k("a")) == b"1"
        await self.balanced(client)

    async def test_replies_reach_their_callers_whoever_leaves(self, client: Any) -> None:
        """Of 600 callers every third is cancelled at another moment; each other hears its own answer."""
        await client.batch_set({f"k{n}": n for n in range(600)})

        async def ask(n: int) -> Any:
            await asyncio.sleep(0)
            return await client.get(f"k{n}")

        for first in range(0, 600, 60):
            tasks = [asyncio.create_task(ask(n)) for n in range(first, first + 60)]
            for turn in range(4):
                await asyncio.sleep(0)
                for task in tasks[turn::12]:
                    task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for n, (task, result) in enumerate(zip(tasks, results, strict=True), first):
                if task.cancelled():
                    assert isinstance(result, asyncio.CancelledError)
                else:
                    assert result == str(n).encode()
        assert await client.ping()
        await self.balanced(client)
