"""Many commands over the nodes of a cluster: each node gets its own as one piece, all nodes at once.

    commands ──▶ by node ──▶ one piece each ──▶ replies in the order of the commands
                    ▲              │
                    └─ redirected ◀┘  together again, so that those of one key keep their order

A command that concerns no single slot (`DBSIZE`, `FLUSHALL`) or waits by design divides the batch: what comes
before it has been answered when it is sent, and what comes after is sent when it is answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, groupby
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from perfkit.errors import Unavailable
from perfkit.pools.answers import Answers
from perfkit.pools.batch import Command
from perfkit.pools.cluster_pieces import Part, Piece, all_of, by_node, redirected_by_node, slot_of_part
from perfkit.pools.commands import NO_MISS, is_repeatable, miss_of, misses_of
from perfkit.pools.failures import blames_server
from perfkit.pools.lane import Lane
from perfkit.pools.routing import REDIRECTIONS, NodeClients
from perfkit.pools.slots import slot_of
from perfkit.pools.wire import pack

__all__ = ["ClusterBatches"]

_ASKING: Final = pack(("ASKING",))
_NONE_YET: Final = object()


class ClusterBatches:
    """Runs batches for one workload's client of a cluster."""

    def __init__(
        self,
        lane: Lane,
        nodes: NodeClients,
        answers: Answers,
        slot_found: Callable[[Command], Awaitable[int | None]],
        run_one: Callable[..., Awaitable[Any]],
        *,
        degrades: bool,
    ) -> None:
        """Make it.

        Args:
            lane: Counts the pieces and decides what is tried again.
            nodes: Carry the pieces.
            answers: Make answers of replies.
            slot_found: Returns the slot of a command, None where it concerns none or several.
            run_one: Runs a command of the latter kind.
            degrades: Whether what Redis cannot answer is a miss.
        """
        self._lane = lane
        self._nodes = nodes
        self._answers = answers
        self._slot_found = slot_found
        self._run_one = run_one
        self._degrades = degrades

    async def run(self, commands: Sequence[Command], options: Sequence[dict[str, Any]] = ()) -> list[Any]:
        """Return the answers in order, refusals among them.

        Args:
            commands: Names and arguments.
            options: What redis-py makes the answers by, for each command; default: nothing.

        Raises:
            redis.exceptions.DataError: an argument cannot be stored; nothing was sent.
            Unavailable: a node could not be asked; what the others were sent has happened.
        """
        each = options or [{} for _ in commands]
        packed = [pack(command) for command in commands]
        with suppress(RedisError, Unavailable):  # told where it is counted, when the commands are sent
            await self._nodes.map.read()
        parts = [
            Part(command, given, bytes_, await self._slot_of(command))
            for command, given, bytes_ in zip(commands, each, packed, strict=True)
        ]
        answers: list[Any] = []
        for of_slots, run in groupby(parts, key=lambda part: part.slot is not None):
            if of_slots:
                answers += await self._run_by_node(list(run))
            else:
                answers += [await self._run_alone(part) for part in run]
        return await self._answers.settled(answers)

    async def _slot_of(self, command: Command) -> int | None:
        kind = self._answers.known.get(command[0]) or self._answers.learn(command[0])
        slot = None if kind.may_need_own else slot_of(command)
        return await self._slot_found(command) if slot is None else slot

    async def _run_alone(self, part: Part) -> Any:
        try:
            return await self._run_one(*part.command, **part.options)
        except RedisClusterException as refusal:
            return refusal
        except RedisError as failure:
            redis_pys_own = type(failure) is RedisError  # such as of a command that no server knows
            if redis_pys_own or isinstance(failure, ResponseError):
                return failure
            raise

    async def _run_by_node(self, parts: list[Part]) -> list[Any]:
        """Send commands of known slots, and what is redirected again, until all are answered."""
        answers: list[Any] = [None] * len(parts)
        known, learn = self._answers.known, self._answers.learn
        names = [part.command[0] for part in parts]
        reads = all((known.get(name) or learn(name)).reads for name in names)  # after a write: of the primary
        pieces = by_node(self._nodes, parts, range(len(parts)), reads=reads)
        since_s = self._lane.gate.clock()
        for round_ in count():
            outcomes = await all_of(
                [self._send_piece(piece, [parts[at] for at in piece.ats]) for piece in pieces]
            )
            redirected: list[tuple[ClusterNode, int, Exception]] = []
            for piece, outcome in zip(pieces, outcomes, strict=True):
                for at, answer in zip(piece.ats, outcome, strict=True):
                    answers[at] = answer
                    if isinstance(answer, REDIRECTIONS):
                        node = piece.node or self._nodes.node_of(slot_of_part(parts[at]), reads=False)
                        redirected.append((node, at, answer))
            pieces = await redirected_by_node(self._nodes, redirected, round_, since_s)
            if not pieces:
                break
        return [self._or_miss(part, answer) for part, answer in zip(parts, answers, strict=True)]

    async def _send_piece(self, piece: Piece, parts: list[Part]) -> list[Any]:
        """Send a node its part and return the answers; redirections and refusals among them."""
        counts = self._lane.gate.counts
        counts.calls += 1
        replies: list[Any] = [_NONE_YET] * len(parts)
        again = partial(self._sent_anew, parts, replies)
        try:
            try:
                if piece.node is None:
                    await again()
                else:
                    replies[:] = await self._sent(piece.node, piece.asking, parts)
            except BaseException as failure:
                if piece.node is None:
                    raise
                self._nodes.note(piece.node, failure)
                if not self._nodes.has_substitute(piece.node, failure):
                    raise
                await again()
        except BaseException as failure:
            commands = [part.command for part in parts]
            recovered = await self._lane.recover(
                failure,
                again,
                repeatable=lambda: all(map(is_repeatable, commands)),
                miss=lambda: misses_of(commands),
            )
            if recovered.missed:
                return list(recovered.reply)
        else:
            counts.ok += 1
        answer = self._answers.answer
        return [answer(part.command, reply, part.options) for part, reply in zip(parts, replies, strict=True)]

    async def _sent(self, node: ClusterNode, asking: bool, parts: list[Part]) -> list[Any]:
        lane = self._nodes.lane_of(node)
        if not asking:
            return await lane.send_serving(b"".join([part.packed for part in parts]), len(parts))
        packed = b"".join([_ASKING + part.packed for part in parts])
        replies: list[Any] = await lane.send(packed, 2 * len(parts))
        return [
            asked if isinstance(asked, Exception) else reply
            for asked, reply in zip(replies[::2], replies[1::2], strict=True)
        ]

    async def _sent_anew(self, parts: list[Part], replies: list[Any]) -> None:
        """Send what is without its reply, to the primaries that serve the slots by now."""
        await self._nodes.map.read()
        missing = [at for at, reply in enumerate(replies) if reply is _NONE_YET]
        for piece in by_node(self._nodes, parts, missing, reads=False):
            node = piece.node or self._nodes.node_of(slot_of_part(parts[piece.ats[0]]), reads=False)
            try:
                found = await self._sent(node, False, [parts[at] for at in piece.ats])
            except BaseException as failure:
                self._nodes.note(node, failure)
                raise
            for at, reply in zip(piece.ats, found, strict=True):
                replies[at] = reply

    def _or_miss(self, part: Part, answer: Any) -> Any:
        """Return a miss for what its node cannot serve, where the workload wants that."""
        if self._degrades and (isinstance(answer, REDIRECTIONS) or blames_server(answer)):
            miss = miss_of(part.command)
            return answer if miss is NO_MISS else miss
        return answer
