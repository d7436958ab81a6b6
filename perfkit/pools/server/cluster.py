"""A real Redis Cluster of our own on loopback, whose nodes never outlive us.

Each node is a `RedisServer`. No redis-cli is needed to join them:

    every primary   CLUSTER ADDSLOTSRANGE first last    its share of the 16,384 slots
                    CLUSTER SET-CONFIG-EPOCH n          distinct, so that no two claim one
    the first       CLUSTER MEET host port bus-port     each other node; gossip spreads the rest
    every replica   CLUSTER REPLICATE primary           once it has heard of its primary

A slot moves in the steps of https://valkey.io/topics/cluster-spec/#live-reshard-ing: between `begin_move` and
`finish_move` its keys may be on either node, and clients are redirected with ASK and not with MOVED.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from perfkit.errors import SettingsError, Unavailable
from perfkit.pools.server.binary import ServerBinary
from perfkit.pools.server.cluster_view import SeenNode, parse_nodes
from perfkit.pools.server.config import quoted
from perfkit.pools.server.port import free_port, port_was_taken
from perfkit.pools.server.redis_server import RedisServer

__all__ = ["ClusterServer", "SlotMove"]

SLOTS = 16_384

_POLL_S = 0.02
_PORTS_TO_TRY = 5
_ANSWER_S = 5.0
_JOIN_S = 20.0
_KEYS_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class SlotMove:
    """A slot on its way from one node to another, both named by their index in `ClusterServer.nodes`."""

    slot: int
    source: int
    target: int


class ClusterServer:
    """A running cluster; leaving the block, or the end of this process however it comes, stops every node.

    Its methods block, for milliseconds where they do not say otherwise; from a coroutine call them with
    `asyncio.to_thread`.

    >>> with ClusterServer.start(nodes=3) as cluster:
    ...     cluster.move_slot(0, to=2)
    ...     cluster.owner(0), cluster.url == f"redis://127.0.0.1:{cluster.nodes[0].port}/0?cluster=true"
    (2, True)
    """

    def __init__(self, nodes: Sequence[RedisServer], *, primaries: int, auth: Sequence[str]) -> None:
        self.nodes = tuple(nodes)
        """First the primaries in the order of their slots; node `i` replicates node `i % primaries`."""
        self.primaries = primaries
        """How many nodes were started as primaries; a failover changes who is one, not this."""
        self.version = nodes[0].version
        """Name and version, as in `valkey 9.1.2`."""
        self._auth = tuple(auth)
        self._index = {node.port: number for number, node in enumerate(self.nodes)}

    @classmethod
    def start(
        cls,
        *,
        nodes: int = 3,
        replicas: int = 0,
        binary: ServerBinary | None = None,
        password: str | None = None,
        node_timeout_ms: int = 2_000,
        options: Mapping[str, str | int] | None = None,
    ) -> ClusterServer:
        """Start a cluster and wait until every node says that it is whole.

        Blocks for about 2.3 s, of which the servers take 2 s on principle: a primary that has just started
        waits that long before it takes part, in case it has been replaced.

        Args:
            nodes: How many primaries; from three on they can outvote one that is dead.
            replicas: How many copies of each primary.
            binary: Default: what `find_server` finds. Needs Valkey, or Redis 7.0 or newer.
            password: Of every node, for clients and for each other.
            node_timeout_ms: For how long a node may be silent before the others call it dead. Less makes
                failovers faster, and makes a busy machine see deaths that were none.
            options: Further lines of each node's configuration file.

        Raises:
            SettingsError: there is to be no node, or less than no replica.
            Unavailable: there is no server to start, or they did not find together.
        """
        if nodes < 1 or replicas < 0 or nodes > SLOTS:
            raise SettingsError(
                f"A cluster cannot have {nodes} primaries with {replicas} replicas each: every one of the "
                f"{SLOTS} slots needs a primary. Ask for nodes=3, replicas=0 or more.",
                path="nodes, replicas",
                value=(nodes, replicas),
            )
        settings: dict[str, str | int] = {
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-announce-ip": "127.0.0.1",
            "cluster-node-timeout": node_timeout_ms,
            "cluster-allow-replica-migration": "no",  # a primary whose last slot is moved away remains one
            "repl-diskless-sync-delay": 0,
            "shutdown-timeout": 0,  # no replica is waited for: nothing is to be kept
        }
        if password is not None:
            settings["masterauth"] = quoted(password)
        settings |= options or {}
        with contextlib.ExitStack() as started:
            each = [
                started.enter_context(_start_node(binary, password, settings))
                for _ in range(nodes * (1 + replicas))
            ]
            cluster = cls(each, primaries=nodes, auth=("AUTH", password) if password else ())
            cluster._join(replicas)
            started.pop_all()
        return cluster

    @property
    def url(self) -> str:
        """The address of a living node, with the password if there is one, and the word `cluster`."""
        number = next(self._living(), 0)
        return f"{self.nodes[number].tcp_url}?cluster=true"

    def owner(self, slot: int) -> int:
        """Return the index of the node that serves a slot, by the word of the first living node.

        Raises:
            Unavailable: no node lives, or none serves the slot.
        """
        for number in self._living():
            for seen in self._view(number):
                if any(slot in slots for slots in seen.slots):
                    return self._index[seen.port]
        raise Unavailable(f"No node of {self!r} serves slot {slot}.", dependency="redis")

    def move_slot(self, slot: int, *, to: int) -> None:
        """Move a slot with its keys to another primary, while clients go on, and wait until all know it."""
        self.finish_move(self.begin_move(slot, to))

    def begin_move(self, slot: int, to: int) -> SlotMove:
        """Open a slot for its move: from now on its old owner answers ASK for a key that it does not have.

        Raises:
            SettingsError: there is no such slot or primary, or the slot is there already.
        """
        source = self._checked_source(slot, to)
        move = SlotMove(slot, source, to)
        self._ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", self._id(source))
        self._ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self._id(to))
        return move

    def migrate_keys(self, move: SlotMove, *, at_most: int | None = None) -> int:
        """Carry over keys of a slot that is being moved, and return how many; default: all there are.

        With some keys here and some there, a command that names both gets TRYAGAIN.
        """
        moved = 0
        while at_most is None or moved < at_most:
            want = _KEYS_AT_A_TIME if at_most is None else min(_KEYS_AT_A_TIME, at_most - moved)
            keys = self._ask(move.source, "CLUSTER", "GETKEYSINSLOT", move.slot, want)
            if not keys:
                break
            to = ("127.0.0.1", self.nodes[move.target].port, "", 0, int(_ANSWER_S * 1_000))
            self._ask(move.source, "MIGRATE", *to, *self._auth, "KEYS", *keys)
            moved += len(keys)
        return moved

    def finish_move(self, move: SlotMove) -> None:
        """Carry over what keys are left and give the slot to its new owner; all nodes know it on return."""
        self.migrate_keys(move)
        target = self._id(move.target)
        others = {self._index[seen.port] for seen in self._view(move.target) if seen.serves}
        for number in (move.target, move.source, *sorted(others - {move.target, move.source})):
            self._ask(number, "CLUSTER", "SETSLOT", move.slot, "NODE", target)
        self.wait_until_whole()

    def kill_node(self, number: int) -> None:
        """End a node as a crash would.

        The others notice after `node_timeout_ms`: a replica takes over, and without one all say CLUSTERDOWN.
        `nodes[number].restart()` brings it back, without its keys; `wait_until_whole` waits for either.
        """
        self.nodes[number].kill()

    def wait_until_whole(self, *, within_seconds: float = 20.0) -> None:
        """Wait until all living nodes know each other, agree on who serves what, and every slot is served.

        Raises:
            Unavailable: they do not come to it in that time; the message holds what each one says.
        """
        self._wait_while(self._why_not_whole, within_seconds)

    def close(self) -> None:
        """Stop every node and remove what it wrote; twice does no harm."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> ClusterServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ClusterServer({self.version!r}, ports={[node.port for node in self.nodes]})"

    def _join(self, replicas: int) -> None:
        first = self.nodes[0]
        for number in range(self.primaries):
            share = (SLOTS * number // self.primaries, SLOTS * (number + 1) // self.primaries - 1)
            self._ask(number, "CLUSTER", "ADDSLOTSRANGE", *share)
        for number, node in enumerate(self.nodes):
            self._ask(number, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if node is not first:
                (alone,) = self._view(number)
                self._ask(0, "CLUSTER", "MEET", "127.0.0.1", node.port, alone.bus_port)
        if replicas:
            self._wait_while(self._why_not_acquainted, _JOIN_S)
            for number in range(self.primaries, len(self.nodes)):
                self._ask(number, "CLUSTER", "REPLICATE", self._id(number % self.primaries))
        self._wait_while(self._why_not_whole, _JOIN_S)

    def _wait_while(self, reason: Callable[[], str], within_seconds: float) -> None:
        deadline_s = time.monotonic() + within_seconds  # real processes take real time, whatever loop runs
        while why := reason():
            if time.monotonic() > deadline_s:
                raise Unavailable(
                    f"{self!r} is not whole after {within_seconds:g} s: {why}. Nothing can be measured or "
                    "tested on it. Start or resume the nodes that are missing, or allow it more time.",
                    dependency="redis",
                )
            time.sleep(_POLL_S)

    def _why_not_acquainted(self) -> str:
        """Return which node has not met which, or nothing once the living know the living and no others."""
        living = {self.nodes[number].port for number in self._living()}
        for number in self._living():
            view = self._view(number)
            if missing := living - {seen.port for seen in view if seen.met}:
                return f"node {number} does not know those on ports {sorted(missing)}"
            if gone := {seen.port for seen in view if not seen.dead} - living:
                return f"node {number} has not noticed that those on ports {sorted(gone)} have ended"
        return "" if living else "no node lives"

    def _why_not_whole(self) -> str:
        """Return the first thing that is amiss, or nothing."""
        try:
            if why := self._why_not_acquainted():
                return why
            views = set()
            for number in self._living():
                if "cluster_state:ok" not in self._ask(number, "CLUSTER", "INFO").decode():
                    return f"node {number} says that the cluster is not in order"
                if self._replicates_in_vain(number):
                    return f"node {number} has no copy of its primary yet"
                view = [seen for seen in self._view(number) if seen.met]
                if missing := SLOTS - sum(len(slots) for seen in view for slots in seen.slots):
                    return f"node {number} knows of no one who serves {missing} slots"
                views.add(frozenset((seen.port, seen.primary_id, seen.slots) for seen in view))
        except Unavailable as trouble:
            return str(trouble)
        return "" if len(views) == 1 else "the nodes do not agree on who serves what"

    def _replicates_in_vain(self, number: int) -> bool:
        role, *rest = self._ask(number, "ROLE")
        return bool(role == b"slave" and rest[2] != b"connected")

    def _checked_source(self, slot: int, to: int) -> int:
        if not 0 <= slot < SLOTS:
            raise SettingsError(f"There is no slot {slot}; they run from 0 to {SLOTS - 1}.", path="slot")
        source = self.owner(slot)
        primaries = sorted(self._index[seen.port] for seen in self._view(source) if seen.serves)
        if to not in primaries or to == source:
            raise SettingsError(
                f"Slot {slot} is served by node {source} and cannot move to node {to}. Name another of the "
                f"living primaries, which are {primaries}.",
                path="to",
                value=to,
            )
        return source

    def _living(self) -> Iterator[int]:
        return (number for number, node in enumerate(self.nodes) if node.alive())

    def _id(self, number: int) -> str:
        name: str = self._ask(number, "CLUSTER", "MYID").decode()
        return name

    def _view(self, number: int) -> tuple[SeenNode, ...]:
        return parse_nodes(self._ask(number, "CLUSTER", "NODES").decode())

    def _ask(self, number: int, *command: Any) -> Any:
        node = self.nodes[number]
        with contextlib.closing(redis.Redis.from_url(node.url, socket_timeout=_ANSWER_S)) as client:
            try:
                return client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own
            except redis.RedisError as trouble:
                asked = " ".join(str(word) for word in command[:2])
                raise Unavailable(
                    f"Node {number}, {node!r}, did not do {asked}: {trouble}", dependency="redis"
                ) from None


def _start_node(
    binary: ServerBinary | None, password: str | None, options: Mapping[str, str | int]
) -> RedisServer:
    """Start a node whose bus, too, has a port to itself; the usual one, 10,000 above, may not exist."""
    for tries_left in reversed(range(_PORTS_TO_TRY)):
        try:
            return RedisServer.start(
                binary=binary, password=password, options={**options, "cluster-port": free_port()}
            )
        except Unavailable as failure:
            if not (tries_left and port_was_taken(failure)):
                raise
    raise AssertionError("the last try returns or raises")
