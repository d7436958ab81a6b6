"""The knobs of the Redis pools: one section per workload, so that no workload can starve another."""

from typing import Annotated

from perfkit.knobs import Field, Knob, Section


class PoolSettings(Section):
    """One workload's share of Redis."""

    max_connections: Annotated[
        int, Field(ge=1, le=1000), Knob("connections", "concurrency against server memory", scale="log")
    ] = 8
    """The most connections one instance opens for this workload; further callers wait their turn."""

    acquire_timeout_seconds: Annotated[
        float, Field(gt=0, le=60), Knob("s", "patience against a quick refusal", scale="log")
    ] = 0.5
    """How long a caller waits for a free connection before it is refused."""

    connect_timeout_seconds: Annotated[
        float, Field(gt=0, le=60), Knob("s", "slow networks against dead servers", scale="log")
    ] = 1.0
    """How long opening a connection may take."""

    command_timeout_seconds: Annotated[
        float, Field(gt=0, le=300), Knob("s", "slow commands against stuck callers", scale="log")
    ] = 1.0
    """How long one command, or one chunk of a batch, may take."""

    batch_chunk: Annotated[
        int, Field(ge=1, le=10_000), Knob("commands", "fewer round trips against longer stalls", scale="log")
    ] = 500
    """How many commands of a batch travel together."""


class PoolsSettings(Section):
    """How Redis connections are shared out between workloads."""

    default: PoolSettings = PoolSettings()
    read_heavy: PoolSettings = PoolSettings(acquire_timeout_seconds=0.25, command_timeout_seconds=0.5)
    write_heavy: PoolSettings = PoolSettings(batch_chunk=250)
    analytics: PoolSettings = PoolSettings(
        max_connections=4,
        acquire_timeout_seconds=5.0,
        connect_timeout_seconds=2.0,
        command_timeout_seconds=10.0,
        batch_chunk=1000,
    )
    cache: PoolSettings = PoolSettings(
        max_connections=16,
        acquire_timeout_seconds=0.05,
        connect_timeout_seconds=0.25,
        command_timeout_seconds=0.1,
    )
