"""What one node of a cluster says of all: the lines of CLUSTER NODES.

https://valkey.io/commands/cluster-nodes/ has the format.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SeenNode", "parse_nodes"]


@dataclass(frozen=True, slots=True)
class SeenNode:
    """One node, as another or it itself sees it."""

    id: str
    port: int
    bus_port: int
    """Where the nodes speak with each other."""
    flags: frozenset[str]
    primary_id: str
    """Of the node it replicates; `-` for a primary."""
    slots: tuple[range, ...]
    """What it serves, without slots on their way."""

    @property
    def dead(self) -> bool:
        """Whether a majority holds it for dead; only then does the cluster act on it."""
        return "fail" in self.flags

    @property
    def met(self) -> bool:
        """Whether it has been met, not only heard of, and answers as far as is known."""
        return self.flags.isdisjoint({"handshake", "noaddr", "fail", "fail?"})

    @property
    def serves(self) -> bool:
        """Whether it is a living primary."""
        return "master" in self.flags and self.met


def parse_nodes(text: str) -> tuple[SeenNode, ...]:
    """Return the nodes that a reply to CLUSTER NODES lists.

    >>> (node,) = parse_nodes("07c3 127.0.0.1:7000@7001 myself,master - 0 0 1 connected 0-99 120 [99->-29ba]")
    >>> node.port, node.slots, node.serves
    (7000, (range(0, 100), range(120, 121)), True)
    """
    return tuple(_parse_node(line.split(" ")) for line in text.splitlines() if line)


def _parse_node(words: list[str]) -> SeenNode:
    name, addresses, flags, primary_id, _ping, _pong, _epoch, _link, *slots = words
    address, _at, bus_port = addresses.partition(",")[0].partition("@")  # a host name may follow
    return SeenNode(
        id=name,
        port=int(address.rpartition(":")[2]),
        bus_port=int(bus_port),
        flags=frozenset(flags.split(",")),
        primary_id=primary_id,
        slots=tuple(_parse_range(slot) for slot in slots if not slot.startswith("[")),
    )


def _parse_range(text: str) -> range:
    first, _dash, last = text.partition("-")
    return range(int(first), int(last or first) + 1)
