"""What is bolted up to be measured, one rig an area."""

from perfkit.lab.rigs.asgi import ASGI
from perfkit.lab.rigs.cache import CACHE
from perfkit.lab.rigs.pools import POOLS
from perfkit.lab.rigs.rig import Asked, Observation, OpenRig, Rig
from perfkit.lab.rigs.vertex import VERTEX

__all__ = ["RIGS", "Asked", "Observation", "OpenRig", "Rig"]

RIGS: dict[str, Rig] = {"cache": CACHE, "pools": POOLS, "asgi": ASGI, "vertex": VERTEX}
"""Every rig by the word of its area."""
