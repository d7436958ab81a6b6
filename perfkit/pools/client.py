"""A Redis client for one workload: redis-py's commands on shared connections, behind the workload's gate."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.client import EMPTY_RESPONSE
from redis.exceptions import ResponseError

from perfkit.pools.answers import Answers, made_by
from perfkit.pools.batch import BatchCommands, Command
from perfkit.pools.commands import (
    changes_connection,
    is_repeatable,
    longest_wait_s,
    miss_of,
    misses_of,
    needs_own_connection,
    waits_by_design,
)
from perfkit.pools.counts import PoolCounts
from perfkit.pools.deadline import CommandDeadline
from perfkit.pools.failures import as_ours, blames_server
from perfkit.pools.fair import FairPool
from perfkit.pools.health import PoolHealth, health_of
from perfkit.pools.held import HeldRedis
from perfkit.pools.lane import Lane
from perfkit.pools.listener import Listener
from perfkit.pools.pipeline import OptimizedPipeline
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import pack, pack_many

__all__ = ["OptimizedRedis"]


@dataclass(slots=True)
class _Took:
    """How long a command took once it had its connection; travels through redis-py as an option."""

    seconds: float = 0.0


class OptimizedRedis(BatchCommands, Redis):  # type: ignore[misc]  # two of redis-py's own bases disagree
    """One workload's client: every command of redis-py, plus batches, within the pool's limits.

    Commands of all callers travel together on few connections. Subscriptions, `WATCH` and commands that wait
    by design (`BLPOP`, `XREAD BLOCK`) get a connection of their own, at most `max_connections` at a time.
    A command that takes longer than `command_timeout_seconds` is given up; a cancelled caller costs nobody
    else anything. What has effects is never sent twice.

    It belongs to a `RedisPools`, which closes it; see there for an example.
    """

    def __init__(self, lane: Lane, pool: FairPool, settings: PoolSettings, *, backend: str) -> None:
        Redis.__init__(self, connection_pool=pool)
        BatchCommands.__init__(self, settings)
        self.backend = backend
        self._lane = lane
        self._mux = lane.mux
        self._counts = lane.gate.counts
        self._breaker = lane.gate.breaker
        self._limiter = lane.gate.limiter
        self._fair_pool = pool
        self._settings = settings
        self._deadline = CommandDeadline(pool.name, settings.command_timeout_seconds)
        self.answers = Answers(self.response_callbacks)
        self._listeners: WeakSet[Listener] = WeakSet()
        self._strict: OptimizedRedis | None = None

    @property
    def lane(self) -> Lane:
        """The way to the server."""
        return self._lane

    @property
    def raising(self) -> OptimizedRedis:
        """The same pool for callers who want to know: what would be answered with a miss is raised."""
        if self._settings.when_unavailable == "raise":
            return self
        if self._strict is None:
            settings = self._settings.model_copy(update={"when_unavailable": "raise"})
            lane = Lane(self._lane.gate, settings, self._mux)
            self._strict = OptimizedRedis(lane, self._fair_pool, settings, backend=self.backend)
            self._strict.response_callbacks = self.response_callbacks
            self._strict._listeners = self._listeners
            self._strict.answers = self.answers
        return self._strict

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command.

        Raises:
            CircuitOpen: Redis failed so often that it is left alone for a while.
            PoolExhausted: there was no room in time.
            RedisTimeout, RedisLost: Redis did not answer; both are redis-py's exceptions too.
            redis.exceptions.RedisError: Redis refused the command.
        """
        kind = self.answers.known.get(args[0]) or self.answers.learn(args[0])
        mux = self._mux
        if mux is None or (kind.may_need_own and needs_own_connection(args)):
            return await self._execute_alone(args, options)
        packed = pack(args)
        counts, breaker = self._counts, self._breaker
        counts.calls += 1
        try:
            if breaker.state == "closed" and (connection := mux.ready()) and self._limiter.take():
                reply = await connection.call(packed, breaker.generation)
            else:
                reply = await self._lane.send(packed)
        except BaseException as failure:
            if EMPTY_RESPONSE in options and isinstance(failure, ResponseError):
                counts.ok += 1
                return options[EMPTY_RESPONSE]
            recovered = await self._lane.recover(
                failure,
                partial(self._lane.send, packed),
                repeatable=partial(is_repeatable, args),
                miss=partial(miss_of, args),
            )
            if recovered.missed:
                return recovered.reply
            reply = recovered.reply
        else:
            counts.ok += 1
        if kind.callback is None:
            return reply
        answer = made_by(kind.callback, reply, options)
        return await answer if inspect.isawaitable(answer) else answer

    def set_response_callback(self, command: str, callback: Callable[..., Any]) -> None:
        """Let a function of your own make the answer out of the reply, as in redis-py."""
        super().set_response_callback(command, callback)
        self.answers.forget()

    def client(self) -> Redis:
        """Return redis-py's client on one connection of the pool, held until it is closed."""
        return HeldRedis(self._fair_pool, self._deadline)

    async def open_listener(self) -> Listener:
        """Open a connection on which Redis speaks first, beside all others; it is the caller's to close.

        Raises:
            RedisTimeout, RedisLost, redis.exceptions.RedisError: there was no connection to be had.
        """
        listener = await Listener.over(self._fair_pool)
        self._listeners.add(listener)
        return listener

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> OptimizedPipeline:
        """Return a pipeline under the pool's deadline; as in redis-py, a transaction unless told no."""
        return OptimizedPipeline(
            self, self._lane, self._deadline, transaction=transaction, shard_hint=shard_hint
        )

    @property
    def counts(self) -> PoolCounts:
        """The pool's totals, its durations and the breaker's transitions among them."""
        return self._counts

    @property
    def metrics(self) -> dict[str, str | int | float]:
        """What this pool has done since it was made, and what it is doing, read in any thread.

        `calls` is `ok + failed + rejected + cancelled` when nothing is `under_way`; `circuit_state` is
        `closed`, `open` or `half_open`; `limit` is how many commands may be `in_flight`. `own_connections`
        are those lent to one caller each, of which there are at most `max_connections`.
        """
        pool, mux = self._fair_pool, self._mux
        lane = self._lane.metrics
        connections = int(lane["connections"]) + pool.in_use + pool.idle
        used = int(lane["connections_used"]) + pool.in_use
        return {
            **lane,
            "backend": self.backend,
            "connections": connections,
            "connections_used": used,
            "connections_idle": max(0, connections - used),
            "connections_max": pool.max_connections + (mux.most if mux else 0),
            "own_connections": pool.in_use,
            "max_connections": pool.max_connections,
            "waiting": int(lane["waiting"]) + pool.waiting,
            "waits": int(lane["waits"]) + pool.waits,
            "refusals": int(lane["refusals"]) + pool.refusals,
        }

    async def get_metrics(self) -> dict[str, str | int | float]:
        """Return `metrics`."""
        return self.metrics

    async def health(self, within_seconds: float | None = None) -> PoolHealth:
        """Ask whether the pool can serve now, and if not, why; nothing is raised but a cancellation.

        Args:
            within_seconds: How long the answer may take; default: a new connection and a command.
        """
        settings = self._settings
        patience_s = within_seconds or settings.connect_timeout_seconds + settings.command_timeout_seconds
        return await health_of(self._fair_pool.name, self.ping, self._ping_past_circuit, within_s=patience_s)

    async def ready(self) -> bool:
        """Tell whether Redis answers within the pool's deadlines, be the circuit open or not."""
        settings = self._settings
        patience_s = settings.connect_timeout_seconds + settings.command_timeout_seconds
        ask = self._ping_past_circuit
        return (await health_of(self._fair_pool.name, ask, ask, within_s=patience_s)).answers

    async def close_pool(self) -> None:
        """Close every connection of the pool for good; whoever waits for a reply is told so."""
        if self._mux is not None:
            await self._mux.aclose()
        for listener in list(self._listeners):
            await listener.aclose()
        await self._fair_pool.aclose()

    async def _ping_past_circuit(self) -> None:
        if self._mux is not None:
            await self._lane.ping()
            return
        async with self.client() as own:
            await own.ping()

    async def _run_many(self, commands: Sequence[Command]) -> list[Any]:
        if self._mux is None or any(needs_own_connection(command) for command in commands):
            pipe = self.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            return await pipe.execute(raise_on_error=False)
        packed, lane = pack_many(commands), self._lane
        lane.gate.counts.calls += 1
        send = partial(lane.send_serving, packed, len(commands))
        try:
            replies = await send()
        except BaseException as failure:
            recovered = await lane.recover(
                failure,
                send,
                repeatable=lambda: all(map(is_repeatable, commands)),
                miss=lambda: misses_of(commands),
            )
            if recovered.missed:
                return list(recovered.reply)
            replies = recovered.reply
        else:
            lane.gate.counts.ok += 1
        answer = self.answers.answer
        return await self.answers.settled(
            [answer(command, reply, {}) for command, reply in zip(commands, replies, strict=True)]
        )

    async def _execute_alone(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run a command on a connection lent to it: what may not share one, and everything on `classic`."""
        lane = self._lane
        lane.gate.counts.calls += 1
        send = partial(self.send_alone, args, options)
        try:
            reply = await send()
        except BaseException as failure:
            recovered = await lane.recover(
                failure, send, repeatable=partial(is_repeatable, args), miss=partial(miss_of, args)
            )
            return recovered.reply
        lane.gate.counts.ok += 1
        return reply

    async def send_alone(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Run a command on a connection lent to it, once, and tell the breaker; calls are not counted."""
        gate = self._lane.gate
        generation = gate.breaker.admit()
        took = _Took()
        try:
            reply = await super().execute_command(*args, **options, took=took)  # type: ignore[no-untyped-call]  # redis-py's
        except BaseException as trouble:
            failure = as_ours(trouble, gate.name)
            if blames_server(failure):
                gate.breaker.record(generation, failed=1)
            elif isinstance(failure, ResponseError):
                gate.breaker.record(generation, ok=1)
            else:
                gate.breaker.release(generation)
            if failure is trouble:
                raise
            raise failure from None
        took_s = 0.0 if waits_by_design(args) else took.seconds  # its waiting says nothing of the server
        gate.counts.observe(took_s)
        now_s = gate.clock()
        slow = took_s > gate.slow_s and not gate.pulse.was_away(since_s=now_s - took_s, now_s=now_s)
        gate.breaker.record(generation, ok=1, slow=int(slow))
        return reply

    async def _send_command_parse_response(
        self, conn: AbstractConnection, command_name: str, *args: Any, took: _Took, **options: Any
    ) -> Any:
        # redis-py's seam between having a connection and using it: waiting in line and connecting are over.
        deadline = self._deadline.over(str(command_name), waits_s=longest_wait_s(args))
        if changes_connection(args):
            conn.mark_for_reconnect()  # type: ignore[no-untyped-call]  # redis-py's; closed when given back
        gate = self._lane.gate
        gate.pulse.wake()
        began_s = gate.clock()
        async with deadline:
            reply = await super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]  # redis-py's
        took.seconds = gate.clock() - began_s
        return reply
