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
        Literal["lru", "sieve", "s3fifo"], Knob("", "which entry leaves first when the memory tier is full")
    ] = "s3fifo"
    """Which entry leaves first when the memory tier is full."""

    l2_ttl_seconds: Annotated[
        float, Field(gt=0, le=2_592_000), Knob("s", "freshness against paid calls", scale="log")
    ] = 3_600.0
    """How long an answer may be served before the origin is asked again."""

    l2_compress_min_bytes: Annotated[
        int, Field(ge=0, le=64 * 1024**2), Knob("bytes", "Redis memory against processor time", scale="log")
    ] = 4_096
    """Values at least this large are compressed on their way to Redis; 0 compresses all."""
