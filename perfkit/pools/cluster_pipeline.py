"""redis-py's pipelines over a cluster: spread over the nodes, or as a transaction on the node of one slot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import (
    CrossSlotTransactionError,
    RedisClusterException,
    RedisError,
    TryAgainError,
    WatchError,
)

from perfkit.pools.batch import Command
from perfkit.pools.deadline import CommandDeadline
from perfkit.pools.lane import Lane
from perfkit.pools.pipeline import OptimizedPipeline, raise_first
from perfkit.pools.routing import REDIRECTIONS, NodeClients

if TYPE_CHECKING:
    from perfkit.pools.cluster import OptimizedRedisCluster

__all__ = ["NodesPipeline", "SlotTransaction"]

_AS_IF_BUSY = TryAgainError("TRYAGAIN the slot is being moved")


class NodesPipeline(Pipeline):
    """Queues commands and sends each node its own as one piece; no transaction."""

    def __init__(
        self,
        client: OptimizedRedisCluster,
        run_many: Callable[[Sequence[Any], Sequence[dict[str, Any]]], Awaitable[list[Any]]],
    ) -> None:
        super().__init__(None, client.response_callbacks, False, None)  # type: ignore[arg-type]  # it has no pool
        self._client = client
        self._run_many = run_many

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the queued commands and return their answers, in order.

        Raises:
            Unavailable: a node could not be asked; what others were sent has happened.
            redis.exceptions.RedisError: a node refused a command, if `raise_on_error`.
        """
        stack = self.command_stack
        try:
            if self.scripts:
                await self._load_missing_scripts()
            answers = await self._run_many(
                [args for args, _ in stack], [dict(options) for _, options in stack]
            )
        finally:
            await self.reset()  # type: ignore[no-untyped-call]  # redis-py's
        raise_first(self, stack, answers, raise_on_error)
        return answers

    def multi(self) -> None:
        """Refuse: commands on several nodes are no transaction."""
        raise _no_transaction("MULTI")

    async def immediate_execute_command(self, *args: Any, **_options: Any) -> Any:
        """Refuse, as `multi`: only `WATCH` asks for it."""
        raise _no_transaction(args[0])

    async def _load_missing_scripts(self) -> None:
        scripts = list(self.scripts)
        present = await self._client.script_exists(*(script.sha for script in scripts))
        for script, there in zip(scripts, present, strict=True):
            if not there:
                script.sha = await self._client.script_load(script.script)


class SlotTransaction(OptimizedPipeline):
    """A transaction on the node that serves the slot of all its keys; `WATCH` included.

    It travels as `perfkit.pools.pipeline.OptimizedPipeline` does. When the slot has moved, it is sent again
    where it is served: what is redirected was not carried out. Keys that were being watched have then to be
    watched anew, so their caller gets a `WatchError` and goes again.
    """

    def __init__(
        self, client: OptimizedRedisCluster, lane: Lane, nodes: NodeClients, deadline: CommandDeadline
    ) -> None:
        Pipeline.__init__(self, None, client.response_callbacks, True, None)  # type: ignore[arg-type]  # it gets that of a node
        self._cluster = client
        self._nodes = nodes
        self._lane = lane  # and so with these, once a key has named the slot
        self._client = client  # type: ignore[assignment]
        self._deadline = deadline
        self._slot: int | None = None

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the transaction and return its answers, in order.

        Raises:
            redis.exceptions.CrossSlotTransactionError: its keys lie in several slots; nothing was sent.
            redis.exceptions.WatchError: a key that is watched was changed, or moves to another node.
            CircuitOpen, PoolExhausted, RedisTimeout, RedisLost: as on one server.
            redis.exceptions.RedisError: Redis refused the transaction or a command.
        """
        watching = self.watching
        try:
            if self.command_stack:
                await self._place([args for args, _options in self.command_stack])
            return await super().execute(raise_on_error)
        except REDIRECTIONS as pointer:
            raise (_slot_moves(pointer) if watching else pointer) from None
        finally:
            await self.reset()

    async def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command at once, as `WATCH` and what follows it do until `multi`."""
        if len(args) > 1:
            await self._place([args])
        since_s = self._lane.gate.clock()
        for hop in count():
            try:
                return await super().immediate_execute_command(*args, **options)
            except REDIRECTIONS as pointer:
                if self.watching:
                    raise _slot_moves(pointer) from None
                stack, slot = self.command_stack, self._slot
                await self.reset()
                self.command_stack, self._slot = stack, slot
                await self._follow(pointer, hop, since_s)
        raise AssertionError("a redirection is followed until it has taken too long")

    async def reset(self) -> None:  # type: ignore[override]  # as in OptimizedPipeline
        """Give back the connection and forget the slot."""
        await super().reset()
        self._slot = None

    async def _send_shared(self, raise_on_error: bool) -> list[Any]:
        assert self._slot is not None  # noqa: S101  # for the type checker: it was placed
        self._settle_on(self._nodes.node_of(self._slot, reads=False))
        since_s = self._lane.gate.clock()
        for hop in count():
            try:
                return await super()._send_shared(raise_on_error)
            except REDIRECTIONS as pointer:
                await self._follow(pointer, hop, since_s)
            except BaseException as failure:
                self._nodes.note(self._node, failure)
                raise
        raise AssertionError("a redirection is followed until it has taken too long")

    async def _place(self, commands: Sequence[Command]) -> None:
        """Find the slot of commands and take the node that serves it."""
        await self._cluster.initialize()
        slots = {await self._cluster.slot_found(command) for command in commands} - {None}
        if self._slot is not None:
            slots.add(self._slot)
        if len(slots) > 1:
            names = ", ".join(sorted({str(command[0]) for command in commands}))
            raise CrossSlotTransactionError(
                f"A transaction's keys must lie in one slot, and those of this one ({names}) lie in "
                f"{len(slots)}: a cluster carries out a transaction on one node. Give its keys a common part "
                "in braces, as in {user:7}:name and {user:7}:mail, or use a pipeline without transaction."
            )
        if not slots:
            raise RedisClusterException(
                "None of the transaction's commands names a key, so there is no node to send it to. Let one "
                "name a key, or use a pipeline without transaction."
            )
        if self._slot is None:
            self._slot = slots.pop()
            assert self._slot is not None  # noqa: S101  # for the type checker
            self._settle_on(self._nodes.node_of(self._slot, reads=False))

    def _settle_on(self, node: ClusterNode) -> None:
        client = self._nodes.client_of(node)
        self._node, self._client, self._lane = node, client, client.lane
        if self.connection is None:
            self.connection_pool = client.connection_pool

    async def _follow(self, pointer: RedisError, hop: int, since_s: float) -> None:
        """Go where a node points. `ASKING` is for one command only, so within `ASK` a transaction waits."""
        there, asking = await self._nodes.follow(self._node, pointer, hop, since_s)
        if asking:
            there, _ = await self._nodes.follow(self._node, _AS_IF_BUSY, hop, since_s)
        self._settle_on(there)


def _no_transaction(name: object) -> RedisClusterException:
    return RedisClusterException(
        f"{name} needs a transaction, and this pipeline is spread over the nodes of a cluster. Ask for "
        "pipeline(transaction=True), whose keys lie in one slot."
    )


def _slot_moves(pointer: RedisError) -> WatchError:
    return WatchError(f"The slot of the watched keys is being moved to another node ({pointer}); go again.")
