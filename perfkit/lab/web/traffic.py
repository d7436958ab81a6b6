"""What a scenario about responses asks of the service: who asks, on what line, for what, and what it costs.

The workload says when requests come, for which object and how large its answer is; this says the rest. One
service answers all its clients with one setting, so clients are shares of the requests, never an average: a
level that pays on a slow line is paid for on a fast one too.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from perfkit.lab.results import Record

__all__ = ["Client", "Http", "Masks", "Payload", "Prices"]

Payload: TypeAlias = Literal["orders", "users", "llm", "embeddings", "mixed"]
"""What an answer holds; `mixed` is each of the others for a quarter of the objects."""


class Client(Record):
    """A kind of client: what it accepts, and the line it is on."""

    accept: Annotated[str, Field(pattern=r"^[ -~]*$", max_length=200)] = "gzip, deflate, br, zstd"
    """Its `Accept-Encoding`; empty sends none."""
    mbit_per_s: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """What its line carries towards it, each connection alone; null is loopback as it is."""
    share: Annotated[float, Field(gt=0)] = 1.0
    """Against the other shares; they need not sum to one."""


class Masks(Record):
    """Requests for some fields of an answer only."""

    share: Annotated[float, Field(gt=0, le=1)]
    """Of the requests."""
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many different sets of fields are asked for."""
    zipf_alpha: Annotated[float, Field(ge=0, le=3)] = 1.0
    """How unequally often: the k-th is asked for in proportion to k^-alpha."""


class Prices(Record):
    """What processor and bytes cost; by default as Cloud Run lists a vCPU (2026-11) and bills a GiB."""

    vcpu_second_dollars: Annotated[float, Field(ge=0, le=1)] = 0.000024
    """A second of one processor."""
    egress_gib_dollars: Annotated[float, Field(ge=0, le=10)] = 0.12
    """A GiB to the Internet."""

    def dollars_per_million(self, *, cpu_s: float, sent_bytes: float) -> float:
        """Return what a million requests cost that each take so much.

        >>> round(Prices().dollars_per_million(cpu_s=0.001, sent_bytes=10_000), 3)
        1.142
        """
        return 1e6 * (cpu_s * self.vcpu_second_dollars + sent_bytes / 1024**3 * self.egress_gib_dollars)


class Http(Record):
    """What the requests are, beside when and for what they come."""

    payload: Payload = "mixed"
    clients: Annotated[tuple[Client, ...], Field(min_length=1, max_length=8)] = (Client(),)
    masks: Masks | None = None
    """Requests that name fields; null is none."""
    private_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the objects whose answers are one user's own: they are never kept for others."""
    max_age_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """The freshness that public answers name; null names none and leaves it to the settings."""
    prices: Prices = Prices()

    @model_validator(mode="after")
    def _each_once(self) -> Http:
        kinds = [(client.accept, client.mbit_per_s) for client in self.clients]
        if len(set(kinds)) < len(kinds):
            raise ValueError("two kinds of clients accept the same on the same line; add up their shares")
        return self
