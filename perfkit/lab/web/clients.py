"""The clients of a traffic: each kind asks in its own words, behind a line of its own bandwidth.

The bandwidth is imposed, not computed. Between a kind of client and the service stands a proxy in a process
of its own (`perfkit.pools.fault_proxy.process`), which lets the answers of each connection through at the
line's rate: a socket stays taken for as long as the transfer lasts, and a large body is held back at the
service. Requests are small and pass at once. What a line does not imitate is a round trip, TCP's slow start
and loss.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from perfkit.lab.web.client import Answered, HttpClient, request_bytes
from perfkit.lab.web.payloads import FIELDS, Shape, shape_of
from perfkit.lab.web.service import is_private
from perfkit.lab.web.traffic import Client, Http
from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.fault_proxy.toxics import StreamToxics, Toxics

__all__ = ["Clients", "Drawn", "mask_of"]

_BYTES_PER_MBIT = 125_000


class Drawn:
    """What each request of a workload is, beside its object: drawn once, the same for every arm."""

    def __init__(self, http: Http, objects: NDArray[np.int64], seed: int) -> None:
        kinds, masked = (np.random.default_rng([seed, 20, number]) for number in range(2))
        shares = np.array([client.share for client in http.clients])
        self._http = http
        self._objects = objects
        self.kinds: NDArray[np.int64] = kinds.choice(
            len(shares), size=len(objects), p=shares / shares.sum()
        ).astype(np.int64)
        """Of each request, which of the traffic's clients sends it."""
        self.masks: NDArray[np.int64] = np.full(len(objects), -1, dtype=np.int64)
        """Of each request, which set of fields it names; −1 is all of the answer."""
        if http.masks is not None:
            asks = masked.random(len(objects)) < http.masks.share
            popular = np.arange(1, http.masks.count + 1, dtype=np.float64) ** -http.masks.zipf_alpha
            drawn = masked.choice(http.masks.count, size=len(objects), p=popular / popular.sum())
            self.masks[asks] = drawn[asks]

    def request(self, index: int) -> bytes:
        """Return one request of the workload as it travels."""
        number, mask = int(self._objects[index]), int(self.masks[index])
        client = self._http.clients[int(self.kinds[index])]
        shape = shape_of(self._http.payload, number)
        named = "" if mask < 0 else f"?fields={mask_of(shape, mask)}"
        fields = [("accept-encoding", client.accept)] if client.accept else []
        if is_private(number, self._http.private_share):
            fields.append(("authorization", f"Bearer of-{number}"))
        return request_bytes(f"/answers/{number}{named}", fields)


class Clients:
    """A connection pool for each kind of client, through a line where it has one.

    `async with await Clients.connect(...)` ends lines and connections.
    """

    def __init__(self, address: str, lines: Sequence[FaultProxyProcess | None]) -> None:
        self._lines = lines
        self._pools = [HttpClient(_through(line) if line else address) for line in lines]
        self._near = HttpClient(address)

    @classmethod
    async def connect(cls, clients: Sequence[Client], address: str) -> Self:
        """Set up the lines to a service, all at once; takes about half a second where there are any.

        Raises:
            Unavailable: a line's process did not start.
        """
        starting = [asyncio.to_thread(_line, client, address) for client in clients]
        lines = await asyncio.gather(*starting, return_exceptions=True)
        failures = [line for line in lines if isinstance(line, BaseException)]
        started = [line for line in lines if not isinstance(line, BaseException)]
        if failures:
            _end(started)
            raise failures[0]
        return cls(address, started)

    async def ask(self, kind: int, request: bytes) -> Answered:
        """Send a request as one kind of client, on its line."""
        return await self._pools[kind].ask(request)

    async def ask_near(self, request: bytes) -> Answered:
        """Send a request without a line, for what is not counted."""
        return await self._near.ask(request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for pool in (self._near, *self._pools):
            await pool.aclose()
        _end(self._lines)


def mask_of(shape: Shape, number: int) -> str:
    """Return one of the sets of fields that requests for a shape may name, the first ones the shortest.

    >>> mask_of("llm", 0), mask_of("llm", 2)
    ('items(id)', 'items(id,role)')
    """
    fields = FIELDS[shape]
    subset = number % (2 ** len(fields) - 2) + 1
    named = [field for place, field in enumerate(fields) if subset >> place & 1]
    if number >= 2 ** len(fields) - 2:
        named.append(f"x{number}")  # a name nobody has: another mask that picks the same
    return f"items({','.join(named)})"


def _line(client: Client, address: str) -> FaultProxyProcess | None:
    if client.mbit_per_s is None:
        return None
    rate = StreamToxics(bandwidth_bytes_per_s=client.mbit_per_s * _BYTES_PER_MBIT)
    return FaultProxyProcess.start(f"unix://{address}", toxics=Toxics(replies=rate))


def _through(line: FaultProxyProcess) -> tuple[str, int]:
    place = urlsplit(line.url)
    assert place.hostname is not None and place.port is not None  # noqa: S101, PT018  # a proxy's address has both
    return place.hostname, place.port


def _end(lines: Sequence[FaultProxyProcess | None]) -> None:
    for line in lines:
        if line is not None:
            line.close()
