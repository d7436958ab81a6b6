"""The knobs of the ASGI middleware, and of the edge cache before the service."""

from typing import Annotated, Literal

from perfkit.knobs import Field, Knob, Section


class EdgeSettings(Section):
    """What Cloud CDN in front of the service keeps, and for how long; lands in Terraform's `cdn_policy`."""

    enabled: Annotated[bool, Knob("", "requests that reach the service against freshness")] = False
    """Whether a shared cache stands before the service; public answers then say so in words it heeds."""

    default_ttl_seconds: Annotated[
        int, Field(ge=0, le=31_622_400), Knob("s", "freshness against requests", scale="log")
    ] = 0
    """The `s-maxage` of public answers that name none; 0 gives none, and the edge then asks every time."""

    max_ttl_seconds: Annotated[
        int, Field(ge=0, le=31_622_400), Knob("s", "freshness against requests", scale="log")
    ] = 86_400
    """No answer stays at the edge for longer, whatever it says."""

    client_ttl_seconds: Annotated[
        int,
        Field(ge=0, le=31_622_400),
        Knob("s", "freshness against requests", scale="log", lands="terraform"),
    ] = 3_600
    """No browser is told by the edge to keep an answer for longer."""

    negative_ttl_seconds: Annotated[
        int,
        Field(ge=0, le=1_800),
        Knob("s", "late news against requests for what is not there", lands="terraform"),
    ] = 0
    """How long the edge keeps a 404, 405, 410 or 501; 0 is not at all."""

    serve_while_stale_seconds: Annotated[
        int, Field(ge=0, le=604_800), Knob("s", "waiting against freshness", lands="terraform")
    ] = 0
    """How long past its end the edge serves an answer while it asks for a new one."""

    query_parameters: Annotated[
        str,
        Field(pattern=r"^([*]|[A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+)*)$"),
        Knob("", "hits against answers that must differ", lands="terraform"),
    ] = "*"
    """The query parameters that tell answers apart at the edge, with commas between; `*` is all of them."""


class AsgiSettings(Section):
    """What happens to a response on its way out."""

    compress_responses: Annotated[bool, Knob("", "bandwidth against processor time")] = True
    """Whether responses are compressed when the client accepts it."""

    compress_min_bytes: Annotated[
        int, Field(ge=0, le=16 * 1024**2), Knob("bytes", "bandwidth against processor time", scale="log")
    ] = 1_024
    """Responses smaller than this travel as they are."""

    compress_min_gain: Annotated[
        float, Field(ge=0, le=0.9), Knob("", "bandwidth against work for the client")
    ] = 0.05
    """A coding that saves a smaller share of the bytes than this is not used."""

    compress_objective: Annotated[
        Literal["latency", "cost"], Knob("", "answering sooner against paying less for bytes")
    ] = "latency"
    """What levels that are 0 aim at: the earliest last byte, or the least money for processor and bytes."""

    compress_codings: Annotated[
        Literal["all", "no-zstd", "no-brotli", "gzip"],
        Knob("", "bandwidth against what caches between can keep"),
    ] = "all"
    """Which codings are offered, of zstd, br, gzip and deflate, in this order where the client has none."""

    compress_zstd_level: Annotated[
        int, Field(ge=0, le=19), Knob("level", "bandwidth against processor time")
    ] = 0
    """The level of zstd; 0 is as `compress_objective` says."""

    compress_brotli_level: Annotated[
        int, Field(ge=0, le=11), Knob("level", "bandwidth against processor time")
    ] = 0
    """The quality of brotli; 0 is as `compress_objective` says."""

    compress_gzip_level: Annotated[
        int, Field(ge=0, le=9), Knob("level", "bandwidth against processor time")
    ] = 0
    """The level of gzip and deflate; 0 is as `compress_objective` says."""

    compress_offload_ms: Annotated[
        float,
        Field(ge=0.1, le=1_000),
        Knob("ms", "a free event loop against the price of a thread", scale="log"),
    ] = 1.0
    """A body that will take longer than this to compress is compressed in a thread."""

    compress_lag_ms: Annotated[
        float, Field(ge=0, le=10_000), Knob("ms", "bandwidth against waiting under load", scale="log")
    ] = 20.0
    """When the event loop is later than this, levels fall step by step until it is not; 0 is never."""

    compress_noise_bytes: Annotated[
        int, Field(ge=0, le=256), Knob("bytes", "secrets kept against bandwidth")
    ] = 0
    """Up to how many random bytes blur the size of compressed answers (against BREACH)."""

    compress_cross_site: Annotated[bool, Knob("", "bandwidth against secrets kept")] = True
    """Whether answers to other sites' requests that carry cookies are compressed (against BREACH)."""

    optimize_payloads: Annotated[bool, Knob("", "bytes against processor time")] = True
    """Whether clients may ask for some fields of an answer only, and get 304 for what they already have."""

    fields_max_bytes: Annotated[
        int, Field(ge=1_024, le=256 * 1024**2), Knob("bytes", "bytes against memory", scale="log")
    ] = 8 * 1024**2
    """Answers larger than this are sent whole, whatever fields are asked for."""

    fields_compile_after: Annotated[
        int, Field(ge=1, le=1_000), Knob("requests", "processor time once against processor time each time")
    ] = 3
    """From which request on a set of fields has a decoder of its own."""

    fields_compiled_masks: Annotated[
        int, Field(ge=0, le=10_000), Knob("masks", "memory against processor time", scale="log")
    ] = 256
    """How many sets of fields have one at once."""

    add_cache_control: Annotated[bool, Knob("", "requests against freshness")] = True
    """Whether answers that say nothing of caching are given a `Cache-Control`."""

    browser_ttl_seconds: Annotated[
        int, Field(ge=0, le=31_536_000), Knob("s", "freshness against requests", scale="log")
    ] = 0
    """How long a browser keeps an answer that says nothing itself; 0 lets it ask each time if it changed."""

    response_cache: Annotated[bool, Knob("", "work for each request against freshness")] = False
    """Whether whole answers that may be shared are kept in the tiered cache."""

    response_cache_ttl_seconds: Annotated[
        float, Field(ge=0, le=2_592_000), Knob("s", "freshness against work for each request", scale="log")
    ] = 0.0
    """How long public answers that name no time are kept; 0 keeps only those that name one."""

    response_cache_stale_while_revalidate_seconds: Annotated[
        float, Field(ge=0, le=2_592_000), Knob("s", "waiting against freshness")
    ] = 0.0
    """How long past its end an answer that says nothing of it is served while a new one is made."""

    response_cache_stale_if_error_seconds: Annotated[
        float, Field(ge=0, le=2_592_000), Knob("s", "failed requests against freshness")
    ] = 0.0
    """How long past its end an answer that says nothing of it is served when no new one can be made."""

    response_cache_max_bytes: Annotated[
        int,
        Field(ge=1_024, le=512 * 1024**2),
        Knob("bytes", "work for each request against memory", scale="log"),
    ] = 1024**2
    """Larger answers are not kept."""

    response_cache_patience_seconds: Annotated[
        float, Field(gt=0, le=300), Knob("s", "work for each request against waiting", scale="log")
    ] = 5.0
    """How long a request waits for the answer another has begun to make, before it makes its own."""

    track_response_time: Annotated[bool, Knob("", "seeing against bytes")] = True
    """Whether answers carry `X-Response-Time` and `Server-Timing`, and durations are counted."""

    edge: EdgeSettings = EdgeSettings()
