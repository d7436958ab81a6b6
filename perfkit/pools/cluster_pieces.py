"""What each node of a cluster is sent of a batch: the commands of its slots, and those pointed to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

from redis.asyncio.cluster import ClusterNode

from perfkit.pools.batch import Command
from perfkit.pools.failures import RedisLost, RedisTimeout
from perfkit.pools.routing import NodeClients

__all__ = ["Part", "Piece", "all_of", "by_node", "redirected_by_node", "slot_of_part"]

T = TypeVar("T")


class Part(NamedTuple):
    """One command of a batch, ready to be sent."""

    command: Command
    options: dict[str, Any]
    packed: bytes
    slot: int | None


class Piece(NamedTuple):
    """What one node is sent at once."""

    node: ClusterNode | None
    """None where no node is known to serve the slot."""
    asking: bool
    """Whether each command is preceded by `ASKING`."""
    ats: list[int]
    """Which commands, by their places in the batch."""


def by_node(nodes: NodeClients, parts: Sequence[Part], ats: Iterable[int], *, reads: bool) -> list[Piece]:
    """Return what each node is to be sent of some of the commands; reads may go to replicas."""
    pieces: dict[str, Piece] = {}
    chosen: dict[int, ClusterNode | None] = {}
    for at in ats:
        slot = slot_of_part(parts[at])
        if slot not in chosen:
            try:
                chosen[slot] = nodes.node_of(slot, reads=reads)
            except RedisLost:
                chosen[slot] = None  # found out again, and told, where it is sent
        node = chosen[slot]
        pieces.setdefault(node.name if node else "", Piece(node, False, [])).ats.append(at)
    return list(pieces.values())


async def redirected_by_node(
    nodes: NodeClients, redirected: Sequence[tuple[ClusterNode, int, Exception]], round_: int, since_s: float
) -> list[Piece]:
    """Return where to send what was redirected, without that for which it has taken too long."""

    async def follow(node: ClusterNode, to: Exception) -> tuple[ClusterNode, bool] | None:
        try:
            return await nodes.follow(node, to, round_, since_s)
        except RedisTimeout:
            return None  # its answer is then where it was pointed to last

    followed = await all_of([follow(node, to) for node, _at, to in redirected])
    pieces: dict[tuple[str, bool], Piece] = {}
    for (_node, at, _to), found in zip(redirected, followed, strict=True):
        if found is not None:
            there, asking = found
            pieces.setdefault((there.name, asking), Piece(there, asking, [])).ats.append(at)
    for piece in pieces.values():
        piece.ats.sort()
    return list(pieces.values())


def slot_of_part(part: Part) -> int:
    """Return the slot of a command that is known to have one."""
    assert part.slot is not None  # noqa: S101  # for the type checker: commands without are run alone
    return part.slot


async def all_of(pieces: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what all come to, or raise the first failure, once all have ended: none is left running."""
    if len(pieces) == 1:
        return [await pieces[0]]
    outcomes = await asyncio.gather(*pieces, return_exceptions=True)
    failure = next((outcome for outcome in outcomes if isinstance(outcome, BaseException)), None)
    if failure is None:
        return cast("list[T]", outcomes)
    try:
        raise failure
    finally:
        del failure, outcomes  # its traceback holds this frame
