"""redis-py's pipeline, over the shared connections of a pool.

Its commands leave as one piece, so a transaction needs no connection of its own: between `MULTI` and `EXEC`
nothing of anybody else comes. Only `WATCH` does, because it spans several round trips.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.asyncio.client import Pipeline
from redis.asyncio.connection import AbstractConnection, Connection
from redis.client import EMPTY_RESPONSE
from redis.exceptions import ExecAbortError, ResponseError, WatchError

from perfkit.pools.commands import NO_MISS, is_repeatable, longest_wait_s, misses_of, needs_own_connection
from perfkit.pools.deadline import CommandDeadline
from perfkit.pools.failures import RedisTimeout, as_ours, blames_server
from perfkit.pools.lane import Lane
from perfkit.pools.wire import pack_many

if TYPE_CHECKING:
    from perfkit.pools.client import OptimizedRedis

__all__ = ["OptimizedPipeline", "raise_first"]


class OptimizedPipeline(Pipeline):
    """Queues commands and sends them together; made by `OptimizedRedis.pipeline`."""

    def __init__(
        self,
        client: OptimizedRedis,
        lane: Lane,
        deadline: CommandDeadline,
        *,
        transaction: bool,
        shard_hint: str | None,
    ) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        self._client = client
        self._lane = lane
        self._deadline = deadline

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the queued commands and return their replies, in order.

        Raises:
            CircuitOpen, PoolExhausted, RedisTimeout, RedisLost: as for one command.
            redis.exceptions.RedisError: the server refused a command, if `raise_on_error`.
        """
        commands = [args for args, _options in self.command_stack]
        if not commands and not self.watching:
            return []
        counts = self._lane.gate.counts
        calls = max(len(commands), 1)
        counts.calls += calls
        shared = self._lane.mux is not None and self.connection is None and not self._needs_own(commands)
        if shared:
            send = partial(self._send_shared, raise_on_error)
        else:
            queued = (self.command_stack, self.scripts, self.explicit_transaction)
            send = partial(self._send_alone, raise_on_error, queued)
        watching = self.watching
        try:
            replies = await send()
        except BaseException as failure:
            repeatable = not self.is_transaction and all(map(is_repeatable, commands))
            recovered = await self._lane.recover(
                failure,
                None if watching else send,  # what was watched is not any more: its caller's to repeat
                calls=calls,
                repeatable=lambda: repeatable,
                miss=lambda: NO_MISS if self.is_transaction or watching else misses_of(commands),
            )
            replies = recovered.reply
        else:
            counts.ok += calls
        finally:
            await self.reset()
        return replies

    async def _send_shared(self, raise_on_error: bool) -> list[Any]:
        await self._load_missing_scripts()
        stack = self.command_stack
        if self.is_transaction or self.explicit_transaction:
            packed = pack_many([("MULTI",), *(args for args, _ in stack), ("EXEC",)])
            replies = self._of_exec(await self._lane.send(packed, len(stack) + 2))
        else:
            replies = await self._lane.send(pack_many(args for args, _ in stack), len(stack))
        raise_first(self, stack, replies, raise_on_error)
        answers = self._client.answers
        return await answers.settled(
            [
                answers.answer(args, reply, dict(options))
                for (args, options), reply in zip(stack, replies, strict=True)
            ]
        )

    def _of_exec(self, replies: Sequence[Any]) -> list[Any]:
        """Return the replies within EXEC's, or raise what kept the transaction from being carried out."""
        _multi, *queued, executed = replies
        if isinstance(executed, ExecAbortError):
            for number, (error, (args, _)) in enumerate(zip(queued, self.command_stack, strict=True), 1):
                if isinstance(error, Exception):
                    self.annotate_exception(error, number, args)
                    raise error
        if isinstance(executed, Exception):
            raise executed
        if executed is None:
            raise WatchError("Watched variable changed.")
        return list(executed)

    async def _load_missing_scripts(self) -> None:
        scripts = list(self.scripts)
        if not scripts:
            return
        present = await self._client.execute_command("SCRIPT EXISTS", *(script.sha for script in scripts))
        for script, there in zip(scripts, present, strict=True):
            if not there:
                script.sha = await self._client.execute_command("SCRIPT LOAD", script.script)

    def _needs_own(self, commands: Sequence[tuple[Any, ...]]) -> bool:
        if self.watching or any(EMPTY_RESPONSE in options for _, options in self.command_stack):
            return True
        return any(map(needs_own_connection, commands))

    async def _send_alone(self, raise_on_error: bool, queued: tuple[list[Any], set[Any], bool]) -> list[Any]:
        self.command_stack, self.scripts, self.explicit_transaction = queued  # redis-py's attempt empties it
        execute = super().execute

        async def send() -> list[Any]:
            replies = await execute(raise_on_error)
            raise_first(self, queued[0], replies, raise_on_error)
            return replies

        sent: list[Any] = await self._judged(send)
        return sent

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command at once, as `WATCH` and what follows it do until `multi`."""
        counts = self._lane.gate.counts
        counts.calls += 1
        send = partial(self._judged, super().immediate_execute_command, *args, **options)
        try:
            reply = await send()
        except BaseException as failure:
            recovered = await self._lane.recover(
                failure, None if self.watching else send, repeatable=lambda: False
            )
            return recovered.reply
        counts.ok += 1
        return reply

    async def reset(self) -> None:  # type: ignore[override]  # redis-py's Pipeline hides Redis.reset as well
        """Give back the connection; closed, if it does not answer `UNWATCH` in time."""
        if self.connection is not None and not self.connection.is_connected:
            self.watching = False  # nothing is watched on it; redis-py would connect again to say so
        with suppress(RedisTimeout):
            async with self._deadline.over("UNWATCH"):
                await super().reset()  # type: ignore[no-untyped-call]  # redis-py's

    async def _judged(self, send: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Any:
        """Use the connection lent to the pipeline and tell the breaker how it went."""
        breaker = self._lane.gate.breaker
        generation = breaker.admit()
        try:
            reply = await send(*args, **options)
        except BaseException as trouble:
            failure = as_ours(trouble, self._lane.gate.name)
            if blames_server(failure):
                breaker.record(generation, failed=1)
            else:
                breaker.release(generation)
            if failure is trouble:
                raise
            raise failure from None
        breaker.record(generation, ok=1)
        return reply

    async def _disconnect_raise_on_watching(
        self, conn: AbstractConnection, error: Exception, *_observed: Any
    ) -> None:
        # redis-py raises WatchError here, which means go again; but what was sent may have happened.
        await conn.disconnect()

    async def _disconnect_reset_raise_on_watching(
        self, conn: AbstractConnection, error: Exception, *_observed: Any
    ) -> None:
        await conn.disconnect()
        if self.watching:
            await self.reset()

    async def _execute_pipeline(self, connection: Connection, commands: Any, raise_on_error: bool) -> Any:
        waits_s = sum(longest_wait_s(args) for args, _options in commands)
        async with self._deadline.over(f"A pipeline of {len(commands)} commands", waits_s=waits_s):
            return await super()._execute_pipeline(connection, commands, raise_on_error)

    async def _execute_transaction(self, connection: Connection, commands: Any, raise_on_error: bool) -> Any:
        async with self._deadline.over(f"A transaction of {len(commands)} commands"):
            return await super()._execute_transaction(connection, commands, raise_on_error)

    async def _send_command_parse_response(
        self, conn: AbstractConnection, command_name: str, *args: Any, **options: Any
    ) -> Any:
        async with self._deadline.over(str(command_name), waits_s=longest_wait_s(args)):
            return await super()._send_command_parse_response(conn, command_name, *args, **options)  # type: ignore[no-untyped-call]  # redis-py's


def raise_first(pipeline: Pipeline, stack: Any, replies: Sequence[Any], raise_on_error: bool) -> None:
    """Raise the first refusal if asked to; that Redis serves nothing, or not us, is raised anyway."""
    raise_on_error = raise_on_error or all(map(blames_server, replies))
    for number, (reply, (args, _options)) in enumerate(zip(replies, stack, strict=True), 1):
        if isinstance(reply, Exception) and (raise_on_error or not isinstance(reply, ResponseError)):
            pipeline.annotate_exception(reply, number, args)
            raise reply
