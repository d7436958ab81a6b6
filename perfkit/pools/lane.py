"""One workload's way to one server: through the gate, over a shared connection, and again where that is safe.

    execute_command ──▶ gate ──▶ connection ──▶ reply ──▶ ok
                          │           │
                          ▼           ▼
                       rejected     failed ──▶ again? ──▶ an empty answer? ──▶ raised
                                      ▲   repeatable,      pool `cache`,
                                      │   budget, retries  a read or a set
                                      └─────── after a jittered wait

A command is repeated only if it had not left, or if sending it twice leaves Redis as once does. Repeating has
a budget, so that a struggling server does not meet several times its load. What the gate refuses is never
repeated: it was refused to spare the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.errors import CircuitOpen, PoolExhausted, Unavailable
from perfkit.pools.commands import NO_MISS
from perfkit.pools.failures import PoolClosed, as_redis, blames_server, is_passing, may_have_happened
from perfkit.pools.gate import Gate
from perfkit.pools.mux import MuxTransport
from perfkit.pools.settings import PoolSettings
from perfkit.pools.wire import pack
from perfkit.resilience import full_jitter_s

__all__ = ["Lane", "Recovered"]

_GATE = (CircuitOpen, PoolExhausted)
_PING = pack(("PING",))
_NO_GENERATION = -1
"""Of the breaker's: outcomes of another than the present one tell it nothing."""


class Recovered(NamedTuple):
    """What came of a call that failed at first."""

    reply: Any
    missed: bool
    """Whether Redis gave no reply, and this is what an empty one would have said."""


class Lane:
    """A gate, and behind it the shared connections to one server; none where each caller gets its own."""

    def __init__(self, gate: Gate, settings: PoolSettings, mux: MuxTransport | None) -> None:
        self.gate = gate
        self.mux = mux
        self._retries = settings.retries
        self._degrades = settings.when_unavailable == "miss"

    @property
    def metrics(self) -> Mapping[str, str | int | float]:
        """What the lane has done and is doing, by name."""
        gate, mux = self.gate, self.mux
        counts, breaker, limiter = gate.counts, gate.breaker, gate.limiter
        return {
            "pool": gate.name,
            "circuit_state": breaker.state,
            "circuit_opened": breaker.opened,
            "calls": counts.calls,
            "ok": counts.ok,
            "failed": counts.failed,
            "rejected": counts.rejected,
            "rejected_breaker_open": counts.rejected_breaker_open,
            "rejected_limit": counts.rejected_limit,
            "rejected_closed": counts.rejected_closed,
            "cancelled": counts.cancelled,
            "missed": counts.missed,
            "timeouts": counts.timeouts,
            "retries": counts.retries,
            "retries_denied": gate.budget.denied,
            "under_way": counts.under_way,
            "in_flight": limiter.in_flight,
            "limit": limiter.limit.value,
            "waiting": limiter.waiting,
            "waits": limiter.waits,
            "refusals": limiter.refusals,
            "connections": mux.open if mux else 0,
            "connections_used": mux.busy if mux else 0,
            "connects": counts.connects,
            "disconnects": counts.disconnects,
            "loop_stalls": mux.stalls if mux else 0,
        }

    async def send(self, packed: bytes, commands: int | None = None) -> Any:
        """Send one command, or several as one, and return the reply, or the list of replies.

        Raises:
            CircuitOpen, PoolExhausted: it was not let through.
            RedisLost, RedisTimeout: Redis did not answer.
            redis.exceptions.RedisError: Redis answered with an error.
        """
        assert self.mux is not None  # noqa: S101  # for the type checker: only lanes with shared connections send
        gate = self.gate
        generation = await gate.enter()
        try:
            connection = self.mux.ready() or await self.mux.connected()
        except BaseException as failure:
            if blames_server(failure):
                gate.unreached(generation)
            else:
                gate.leave(generation)
            raise
        if commands is None:
            return await connection.call(packed, generation)
        return await connection.call_many(packed, commands, generation)

    async def send_serving(self, packed: bytes, commands: int) -> list[Any]:
        """Send several commands as one; when Redis can serve none of them, raise its first refusal."""
        replies: list[Any] = await self.send(packed, commands)
        if all(map(blames_server, replies)):
            raise replies[0]
        return replies

    async def ping(self) -> bool:
        """Ask whether Redis answers, past breaker and limit, and without telling them how it went.

        Raises:
            RedisLost, RedisTimeout: it does not.
        """
        assert self.mux is not None  # noqa: S101  # as above
        connection = self.mux.ready() or await self.mux.connected()
        self.gate.limiter.in_flight += 1  # one more than the limit if need be: a probe does not stand in line
        return bool(await connection.call(_PING, _NO_GENERATION) == b"PONG")

    async def recover(
        self,
        failure: BaseException,
        send: Callable[[], Awaitable[Any]] | None,
        *,
        calls: int = 1,
        repeatable: Callable[[], bool],
        miss: Callable[[], Any] = lambda: NO_MISS,
    ) -> Recovered:
        """Go on after a failure: try again, answer with nothing, or raise; count how it ended.

        Args:
            failure: Of the first attempt.
            send: Makes another attempt; None where there can be none.
            calls: How many calls these were, for the counts.
            repeatable: Tells whether the commands may be sent twice.
            miss: What an empty Redis would answer.
        """
        counts = self.gate.counts
        attempt = 0
        try:
            while (
                send is not None and attempt < self._retries and self._may_repeat(failure, calls, repeatable)
            ):
                try:
                    await asyncio.sleep(full_jitter_s(attempt, self.gate.rng))
                    attempt += 1
                    counts.retries += 1
                    reply = await send()
                except BaseException as again:
                    failure = again
                    continue
                counts.ok += calls
                return Recovered(reply, missed=False)
            self._count(failure, calls)
            if self._degrades and (blames_server(failure) or isinstance(failure, Unavailable)):
                answer = miss()
                if answer is not NO_MISS:
                    counts.missed += calls
                    return Recovered(answer, missed=True)
            raise as_redis(failure) if isinstance(failure, _GATE) else failure
        finally:
            del failure  # its traceback holds this frame; gone at once instead of at the next collection

    def _count(self, failure: BaseException, calls: int) -> None:
        counts = self.gate.counts
        if isinstance(failure, CircuitOpen):
            counts.rejected_breaker_open += calls
        elif isinstance(failure, PoolExhausted):
            counts.rejected_limit += calls
        elif isinstance(failure, PoolClosed):
            counts.rejected_closed += calls
        elif isinstance(failure, Exception):
            counts.failed += calls
            counts.timeouts += calls * isinstance(failure, RedisTimeoutError)
        else:
            counts.cancelled += calls

    def _may_repeat(self, failure: BaseException, calls: int, repeatable: Callable[[], bool]) -> bool:
        if isinstance(failure, _GATE) or not is_passing(failure):
            return False
        partly = calls > 1 and not isinstance(
            failure, Unavailable
        )  # one was refused; others may have happened
        if (partly or may_have_happened(failure)) and not repeatable():
            return False
        return self.gate.may_retry()
