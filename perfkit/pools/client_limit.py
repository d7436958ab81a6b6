"""How many clients of Redis a service becomes when it is scaled out, against how many the server admits.

    instances × connections of an instance ≤ 4/5 × the clients the server admits

A server that is full refuses every further connection, of old instances and new ones alike, and the time when
it is full is the time of most load. So the bound is on what may be opened, not on what usually is, and a
fifth is kept for those who are not this service's instances: operators, jobs, and during a rollout the
instances of the revision before.

An instance opens, for each pool, its shared connections (none on transport `classic`) and the ones it lends
to one caller each, and one more over which it may hear of invalidations for its cache. That is for one event
loop, as most services have; each further one, or each further worker process, has as many again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfkit.knobs import Section
from perfkit.pools.settings import PoolSettings, PoolsSettings

__all__ = ["ClientDemand", "client_demand"]

_INVALIDATION = 1


@dataclass(frozen=True, slots=True)
class ClientDemand:
    """What a service may ask of its server's client limit.

    >>> demand = client_demand(PoolsSettings(server_max_clients=100), instances=10)
    >>> demand.of_an_instance, demand.clients, demand.limit, demand.fits
    (33, 330, 80, False)
    """

    instances: int
    pools: Mapping[str, int]
    """The most connections each pool opens in one instance."""
    server_max_clients: int
    partitioned: bool

    @property
    def of_an_instance(self) -> int:
        """The most connections one instance opens."""
        return sum(self.pools.values()) + _INVALIDATION

    @property
    def clients(self) -> int:
        """The most connections all instances open."""
        return self.instances * self.of_an_instance

    @property
    def limit(self) -> int:
        """How many they may open: four fifths of what the server admits."""
        return self.server_max_clients * 4 // 5

    @property
    def fits(self) -> bool:
        """Whether the server has room for all of them."""
        return self.clients <= self.limit

    @property
    def sentence(self) -> str:
        """The sum and the bound, in words."""
        parts = " + ".join(f"{pool} {count}" for pool, count in self.pools.items())
        return (
            f"{self.instances} instances × {self.of_an_instance} connections ({parts} + invalidation "
            f"{_INVALIDATION}) may be {self.clients:,} clients of Redis; four fifths of the "
            f"{self.server_max_clients:,} it admits are {self.limit:,}"
        )

    @property
    def remedy(self) -> str:
        """What to lower, the largest first, and how far where one knob alone is enough."""
        ways = []
        if fewer := self.limit // self.of_an_instance:
            ways.append(f"cloudrun.max_instances to {fewer}")
        largest = max(self.pools, key=lambda pool: self.pools[pool])
        ways.append(f"pools.{largest}.max_connections and the other pools'")
        if self.partitioned:
            ways.append("set pools.partitioned to false")
        return (
            f"Lower {', or '.join(ways)}. Raise pools.server_max_clients only if the server does admit more."
        )


def client_demand(pools: PoolsSettings, *, instances: int) -> ClientDemand:
    """Return what so many instances with these pools may ask of the server's client limit."""
    names = [name for name in type(pools).model_fields if isinstance(getattr(pools, name), Section)]
    if not pools.partitioned:
        names = ["default"]
    return ClientDemand(
        instances=instances,
        pools={name: _connections(getattr(pools, name)) for name in names},
        server_max_clients=pools.server_max_clients,
        partitioned=pools.partitioned,
    )


def _connections(pool: PoolSettings) -> int:
    return pool.max_connections + (pool.mux_connections if pool.transport == "mux" else 0)
