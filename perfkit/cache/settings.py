"""The knobs of the tiered cache."""

from typing import Annotated, Literal

from perfkit.knobs import Field, Knob, Section


class CacheSettings(Section):
    """How long answers live, and where."""

    l1_max_entries: Annotated[
        int, Field(ge=1, le=10_000_000), Knob("entries", "memory against hit rate", scale="log")
    ] = 1_000
    """How many entries the memory tier of one instance holds."""

    l1_max_bytes: Annotated[
        int, Field(ge=1_024, le=64 * 1024**3), Knob("bytes", "memory against hit rate", scale="log")
    ] = 64 * 1024**2
    """How many bytes of values the memory tier of one instance holds."""

    l1_ttl_seconds: Annotated[
        float,
        Field(gt=0, le=86_400),
        Knob("s", "freshness between instances against Redis reads", scale="log"),
    ] = 60.0
    """How long the memory tier answers without asking Redis again."""

    l1_policy: Annotated[
        Literal["lru", "sieve", "s3fifo", "adaptive"],
        Knob("", "hit rate on scans against hit rate on drifting favourites"),
    ] = "s3fifo"
    """Which entry leaves first when the memory tier is full; `adaptive` chooses by measuring."""

    l2_ttl_seconds: Annotated[
        float, Field(gt=0, le=2_592_000), Knob("s", "freshness against paid calls", scale="log")
    ] = 3_600.0
    """How long an answer may be served before the origin is asked again."""

    l2_compress_min_bytes: Annotated[
        int, Field(ge=0, le=64 * 1024**2), Knob("bytes", "Redis memory against processor time", scale="log")
    ] = 4_096
    """Values at least this large are compressed on their way to Redis; 0 compresses all."""

    l2_entry_max_bytes: Annotated[
        int,
        Field(ge=1_024, le=512 * 1024**2),
        Knob("bytes", "paid calls against stalls of Redis", scale="log"),
    ] = 8 * 1024**2
    """Values that are larger once encoded stay in memory only."""

    ttl_jitter: Annotated[float, Field(ge=0, le=0.5), Knob("", "calls in bursts against calls in all")] = 0.1
    """By up to which share a time to live is shortened, so that what came together does not end together."""

    negative_ttl_seconds: Annotated[
        float, Field(gt=0, le=86_400), Knob("s", "late news against calls for what is not there", scale="log")
    ] = 30.0
    """How long the answer None is served at most."""

    refresh: Annotated[
        Literal["off", "xfetch", "eager"], Knob("", "waiting for expired answers against calls in all")
    ] = "xfetch"
    """Whether answers in demand are renewed early: by chance near their end, or after a share of life."""

    refresh_beta: Annotated[float, Field(gt=0, le=10), Knob("", "waiting against calls in all")] = 1.0
    """How early `xfetch` renews, in multiples of what renewing takes; above 1 is earlier."""

    refresh_share: Annotated[float, Field(ge=0.1, le=0.99), Knob("", "waiting against calls in all")] = 0.8
    """From which share of an answer's life on `eager` renews it."""

    stale_while_revalidate_seconds: Annotated[
        float, Field(ge=0, le=2_592_000), Knob("s", "waiting against freshness")
    ] = 0.0
    """How long past its end an answer is served while a new one is fetched (RFC 5861); 0 is never."""

    stale_if_error_seconds: Annotated[
        float, Field(ge=0, le=2_592_000), Knob("s", "failed requests against freshness")
    ] = 0.0
    """How long past its end an answer is served when no new one can be had (RFC 5861); 0 is never."""

    retry_after_error_seconds: Annotated[
        float, Field(ge=0, le=3_600), Knob("s", "calls to a failing origin against freshness")
    ] = 10.0
    """How long a stale answer is served after a failure before the origin is asked again."""

    soft_timeout_seconds: Annotated[float, Field(ge=0, le=600), Knob("s", "waiting against freshness")] = 0.0
    """How long a caller waits for a new answer when a stale one is at hand; 0 is as long as it takes."""

    hard_timeout_seconds: Annotated[float, Field(ge=0, le=600), Knob("s", "waiting against failures")] = 0.0
    """How long a caller waits at all; the answer is still fetched and kept. 0 is as long as it takes."""

    lock_lease_seconds: Annotated[
        float, Field(ge=0, le=600), Knob("s", "calls made twice against a round trip for each call")
    ] = 10.0
    """How long one instance may keep the others from asking the origin for the same; 0 lets all ask."""

    coherence: Annotated[
        Literal["off", "backplane", "tracking"], Knob("", "messages between instances against stale memory")
    ] = "backplane"
    """How instances hear of each other's changes: not at all, by messages, or from Redis itself."""

    adaptive_ttl: Annotated[bool, Knob("", "freshness against paid calls")] = False
    """Whether times to live follow how often answers turn out to have changed."""

    adaptive_ttl_staleness: Annotated[
        float, Field(gt=0, le=0.5), Knob("", "paid calls against answers that have changed", scale="log")
    ] = 0.05
    """Which share of answers may have changed by the end of an adaptive time to live."""

    adaptive_ttl_min_seconds: Annotated[
        float, Field(gt=0, le=86_400), Knob("s", "freshness against paid calls", scale="log")
    ] = 5.0
    """The shortest adaptive time to live."""

    adaptive_ttl_max_seconds: Annotated[
        float, Field(gt=0, le=2_592_000), Knob("s", "freshness against paid calls", scale="log")
    ] = 86_400.0
    """The longest adaptive time to live."""

    prefetch: Annotated[bool, Knob("", "waiting against calls made in vain")] = False
    """Whether what probably will be asked for next is fetched beforehand."""

    prefetch_min_probability: Annotated[
        float, Field(gt=0, le=1), Knob("", "waiting against calls made in vain")
    ] = 0.5
    """How probable a successor must be to be fetched beforehand."""

    prefetch_budget: Annotated[
        float, Field(gt=0, le=10), Knob("", "waiting against calls made in vain", scale="log")
    ] = 0.2
    """How many fetches made in vain are allowed for each call that somebody waited for."""

    record_share: Annotated[
        float, Field(ge=0, le=1), Knob("", "knowledge of traffic against processor time")
    ] = 0.0
    """Of which share of keys requests are recorded for the laboratory; 0 records none."""
