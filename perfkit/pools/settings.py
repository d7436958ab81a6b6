"""The knobs of the Redis pools: one section per workload, so that no workload can starve another."""

from typing import Annotated, Literal

from perfkit.knobs import Field, Knob, Section


class PoolSettings(Section):
    """One workload's share of Redis."""

    transport: Annotated[
        Literal["mux", "classic"], Knob("", "many callers on one connection against one connection a caller")
    ] = "mux"
    """How commands travel: everybody's on shared connections, or each on a connection of its own."""

    mux_connections: Annotated[
        int, Field(ge=1, le=64), Knob("connections", "isolation of large replies against processor time")
    ] = 1
    """How many connections the callers of one instance share."""

    max_connections: Annotated[
        int, Field(ge=1, le=1000), Knob("connections", "concurrency against server memory", scale="log")
    ] = 8
    """The most connections lent to one caller each; on `mux` only for subscriptions, `BLPOP`, `WATCH`."""

    acquire_timeout_seconds: Annotated[
        float, Field(gt=0, le=60), Knob("s", "patience against a quick refusal", scale="log")
    ] = 0.5
    """How long a caller waits for its turn before it is refused."""

    connect_timeout_seconds: Annotated[
        float, Field(gt=0, le=60), Knob("s", "slow networks against dead servers", scale="log")
    ] = 1.0
    """How long opening a connection may take, handshake included."""

    command_timeout_seconds: Annotated[
        float, Field(gt=0, le=300), Knob("s", "slow commands against stuck callers", scale="log")
    ] = 1.0
    """How long one command, or one chunk of a batch, may take."""

    slow_call_seconds: Annotated[
        float, Field(gt=0, le=300), Knob("s", "early warning against false alarms", scale="log")
    ] = 0.1
    """A command that takes longer counts as slow; when most do, the breaker opens."""

    limit: Annotated[
        Literal["gradient2", "aimd", "fixed"], Knob("", "following the server against a known number")
    ] = "gradient2"
    """How the number of commands under way is bounded: by their delay, by their losses, or always alike."""

    inflight_min: Annotated[
        int, Field(ge=1, le=10_000), Knob("commands", "a floor under load against a slow server", scale="log")
    ] = 16
    """The adaptive limit never falls below this."""

    inflight_initial: Annotated[
        int, Field(ge=1, le=10_000), Knob("commands", "a quick start against a gentle one", scale="log")
    ] = 128
    """Where the limit begins; the number itself where it is fixed."""

    inflight_max: Annotated[
        int, Field(ge=1, le=10_000), Knob("commands", "throughput against queues", scale="log")
    ] = 1024
    """The limit never rises above this."""

    flush_max_commands: Annotated[
        int, Field(ge=1, le=100_000), Knob("commands", "fewer writes against longer ones", scale="log")
    ] = 512
    """The most commands that leave in one write."""

    flush_max_bytes: Annotated[
        int, Field(ge=1_024, le=67_108_864), Knob("bytes", "fewer writes against longer ones", scale="log")
    ] = 262_144
    """A write is sent once it holds this much."""

    batch_chunk: Annotated[
        int, Field(ge=1, le=10_000), Knob("commands", "fewer round trips against longer stalls", scale="log")
    ] = 500
    """How many keys or commands of a batch travel together."""

    batch_max_bytes: Annotated[
        int,
        Field(ge=1_024, le=67_108_864),
        Knob("bytes", "fewer round trips against longer stalls", scale="log"),
    ] = 262_144
    """A chunk of a batch is sent once it holds this much, though it be short."""

    retries: Annotated[int, Field(ge=0, le=10), Knob("retries", "answers against load and delay")] = 2
    """How often a command that failed on its way is tried again, if repeating it can do no harm."""

    breaker_window_seconds: Annotated[
        float, Field(ge=0.1, le=600), Knob("s", "quick opening against false alarms", scale="log")
    ] = 2.0
    """How far back the circuit breaker looks."""

    breaker_min_calls: Annotated[
        int, Field(ge=1, le=10_000), Knob("calls", "quick opening against false alarms", scale="log")
    ] = 20
    """Fewer calls than this in the window open nothing by their ratio."""

    breaker_failure_ratio: Annotated[
        float, Field(gt=0, le=1), Knob("", "quick opening against false alarms")
    ] = 0.5
    """The share of failed calls in the window that opens the breaker."""

    breaker_open_seconds: Annotated[
        float, Field(ge=0.01, le=600), Knob("s", "rest for the server against a late return", scale="log")
    ] = 0.5
    """How long an open breaker refuses before it tries; doubled each time in a row."""

    read_from: Annotated[
        Literal["primary", "replica_preferred", "replica"], Knob("", "load on the primary against staleness")
    ] = "primary"
    """Which nodes of a cluster answer reads."""

    when_unavailable: Annotated[
        Literal["raise", "miss"], Knob("", "errors that are seen against answers that are late")
    ] = "raise"
    """What a caller gets when Redis cannot be asked: an error, or for reads the answer of an empty Redis."""


class PoolsSettings(Section):
    """How Redis connections are shared out between workloads."""

    partitioned: Annotated[bool, Knob("", "isolation against connections")] = True
    """Whether each workload has a pool of its own; otherwise all share that of `default`."""

    default: PoolSettings = PoolSettings()
    read_heavy: PoolSettings = PoolSettings(
        mux_connections=2,
        max_connections=4,
        acquire_timeout_seconds=0.25,
        connect_timeout_seconds=0.5,
        command_timeout_seconds=0.5,
        slow_call_seconds=0.05,
        inflight_min=32,
        inflight_initial=256,
        inflight_max=2048,
        read_from="replica_preferred",
    )
    write_heavy: PoolSettings = PoolSettings(
        inflight_min=8,
        inflight_initial=64,
        inflight_max=512,
        flush_max_commands=256,
        flush_max_bytes=1_048_576,
        batch_chunk=250,
        retries=1,
    )
    analytics: PoolSettings = PoolSettings(
        max_connections=4,
        acquire_timeout_seconds=5.0,
        connect_timeout_seconds=2.0,
        command_timeout_seconds=10.0,
        slow_call_seconds=2.0,
        # Redis carries out one command at a time: several large ones are no faster, and all wait for them.
        inflight_min=1,
        inflight_initial=1,
        inflight_max=1,
        flush_max_commands=1000,
        flush_max_bytes=1_048_576,
        batch_chunk=1000,
        retries=0,
        breaker_window_seconds=10.0,
        breaker_min_calls=5,
        breaker_open_seconds=2.0,
        read_from="replica",
    )
    cache: PoolSettings = PoolSettings(
        max_connections=2,
        acquire_timeout_seconds=0.02,
        connect_timeout_seconds=0.25,
        command_timeout_seconds=0.1,
        slow_call_seconds=0.02,
        inflight_min=32,
        inflight_initial=256,
        inflight_max=2048,
        retries=0,
        breaker_open_seconds=0.25,
        when_unavailable="miss",
    )

    server_max_clients: Annotated[
        int,
        Field(ge=10, le=1_000_000),
        Knob("clients", "room for instances against memory of the server", scale="log"),
    ] = 10_000
    """How many clients the server admits; instances times connections may take four fifths of it."""
