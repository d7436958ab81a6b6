"""The knobs of the Cloud Run service; they land as attributes of the Terraform resource."""

from typing import Annotated, Literal

from perfkit.knobs import Field, Knob, Section


class CloudrunSettings(Section):
    """The shape of the service and of its instances."""

    cpu: Annotated[
        Literal["1", "2", "4", "6", "8"], Knob("vCPU", "latency against cost", lands="terraform")
    ] = "1"
    """vCPU of one instance."""

    memory_mib: Annotated[
        int, Field(ge=512, le=32_768), Knob("MiB", "headroom against cost", scale="log", lands="terraform")
    ] = 512
    """Memory of one instance."""

    concurrency: Annotated[
        int, Field(ge=1, le=1_000), Knob("requests", "cost against latency", scale="log", lands="terraform")
    ] = 80
    """How many requests one instance serves at once."""

    min_instances: Annotated[
        int, Field(ge=0, le=1_000), Knob("instances", "cold starts against cost", lands="terraform")
    ] = 0
    """How many instances stay warm."""

    max_instances: Annotated[
        int,
        Field(ge=1, le=1_000),
        Knob("instances", "load spikes against cost", scale="log", lands="terraform"),
    ] = 10
    """How many instances may run."""

    request_timeout_seconds: Annotated[
        int,
        Field(ge=1, le=3_600),
        Knob("s", "long answers against stuck requests", scale="log", lands="terraform"),
    ] = 300
    """How long a request may take before Cloud Run ends it."""

    cpu_always_allocated: Annotated[bool, Knob("", "background work against cost", lands="terraform")] = True
    """Whether the processor stays on between requests (`run.googleapis.com/cpu-throttling: false`)."""

    session_affinity: Annotated[bool, Knob("", "warm memory tiers against even load", lands="terraform")] = (
        True
    )
    """Whether a client returns to the instance that served it before."""

    startup_cpu_boost: Annotated[bool, Knob("", "cold starts against cost", lands="terraform")] = True
    """Whether an instance gets more processor while it starts."""
