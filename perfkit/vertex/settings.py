"""The knobs of the Vertex AI client."""

from typing import Annotated, Literal

from perfkit.knobs import Field, Knob, Section


class VertexSettings(Section):
    """How requests to Vertex AI are gathered and paced, and when an old answer will do."""

    batch_policy: Annotated[
        Literal["adaptive", "fixed", "off"], Knob("", "request rate against latency, learned against fixed")
    ] = "adaptive"
    """Who decides how long texts wait for others: the gaps between them, a fixed window, or nobody."""

    request_worth_ms: Annotated[
        float, Field(gt=0, le=10_000), Knob("ms", "request rate against latency", scale="log")
    ] = 25.0
    """How much waiting of one caller a saved request is worth; only for `adaptive`."""

    batch_window_ms: Annotated[
        float, Field(ge=0, le=10_000), Knob("ms", "request rate against latency", scale="log")
    ] = 10.0
    """How long a text waits for others to share its request; only for `fixed`."""

    batch_max_texts: Annotated[
        int, Field(ge=1, le=250), Knob("texts", "request rate against latency", scale="log")
    ] = 250
    """How many texts share one request at the most; the model's own limit counts as well."""

    batch_max_tokens: Annotated[
        int, Field(ge=1, le=200_000), Knob("tokens", "request rate against latency", scale="log")
    ] = 20_000
    """How many tokens share one request at the most; the model's own limit counts as well."""

    bulk_texts: Annotated[
        int, Field(ge=1, le=100_000), Knob("texts", "single queries against bulk work", scale="log")
    ] = 32
    """A call with more texts than this travels in the bulk lane, behind single queries."""

    bulk_share: Annotated[float, Field(gt=0, le=1), Knob("", "single queries against bulk work")] = 0.5
    """The share of requests that bulk work may have while single queries wait."""

    inflight_max: Annotated[
        int, Field(ge=1, le=1_000), Knob("requests", "request rate against queues at the server", scale="log")
    ] = 32
    """How many requests for embeddings are under way at once at the most."""

    requests_per_minute: Annotated[
        int, Field(ge=0, le=10_000_000), Knob("requests", "pace against refusals", scale="log")
    ] = 1_500
    """The project's quota of requests for a base model; 0 where there is none."""

    tokens_per_minute: Annotated[
        int, Field(ge=0, le=1_000_000_000), Knob("tokens", "pace against refusals", scale="log")
    ] = 0
    """The project's quota of input tokens for a base model; 0 where there is none."""

    quota_headroom: Annotated[
        float, Field(gt=0, le=0.99), Knob("", "a steady pace against room for bursts")
    ] = 0.95
    """The share of the quota that flows steadily; the rest may be spent in a burst."""

    quota_price: Annotated[
        float, Field(ge=0, le=100), Knob("", "latency now against refusals later", scale="log")
    ] = 1.0
    """How much dearer a request becomes as the quota runs out; 0 lets texts wait no longer for that."""

    deadline_seconds: Annotated[
        float, Field(gt=0, le=600), Knob("s", "patience against stuck callers", scale="log")
    ] = 30.0
    """How long a call for embeddings may take, waiting and retries included, unless it says otherwise."""

    request_timeout_seconds: Annotated[
        float, Field(gt=0, le=600), Knob("s", "slow answers against stuck requests", scale="log")
    ] = 10.0
    """How long one request for embeddings may take."""

    attempts: Annotated[int, Field(ge=1, le=10), Knob("requests", "answers against load and delay")] = 3
    """How often a text is sent at the most."""

    retry_share: Annotated[float, Field(ge=0, le=1), Knob("", "answers against load on a failing server")] = (
        0.1
    )
    """How many retries there may be for each request, on average."""

    breaker_window_seconds: Annotated[
        float, Field(ge=0.1, le=600), Knob("s", "quick opening against false alarms", scale="log")
    ] = 10.0
    """How far back the circuit breaker of a model looks."""

    breaker_min_calls: Annotated[
        int, Field(ge=1, le=10_000), Knob("requests", "quick opening against false alarms", scale="log")
    ] = 20
    """Fewer requests than this in the window open nothing by their ratio."""

    breaker_failure_ratio: Annotated[
        float, Field(gt=0, le=1), Knob("", "quick opening against false alarms")
    ] = 0.5
    """The share of failed requests in the window that opens the breaker; a spent quota is no failure."""

    breaker_open_seconds: Annotated[
        float, Field(ge=0.01, le=600), Knob("s", "rest for the server against a late return", scale="log")
    ] = 1.0
    """How long an open breaker refuses before it tries; doubled each time in a row."""

    text_timeout_seconds: Annotated[
        float, Field(gt=0, le=600), Knob("s", "long answers against stuck requests", scale="log")
    ] = 60.0
    """How long one generation may take, and a stream until its next piece."""

    text_inflight_initial: Annotated[
        int, Field(ge=1, le=1_000), Knob("requests", "a quick start against a gentle one", scale="log")
    ] = 8
    """How many generations are under way at first; their number follows the refusals."""

    text_inflight_max: Annotated[
        int, Field(ge=1, le=1_000), Knob("requests", "request rate against refusals", scale="log")
    ] = 64
    """How many generations are under way at the most."""

    embedding_ttl_seconds: Annotated[
        float, Field(gt=0, le=31_536_000), Knob("s", "paid calls against room in Redis", scale="log")
    ] = 604_800.0
    """How long an embedding is kept; a text's embedding changes only with its model."""

    text_ttl_seconds: Annotated[
        float, Field(gt=0, le=31_536_000), Knob("s", "paid calls against old answers", scale="log")
    ] = 3_600.0
    """How long a generated text is kept, where its caller lets it be."""

    semantic_cache_threshold: Annotated[
        float, Field(ge=0, le=1), Knob("cosine", "paid calls against wrong answers")
    ] = 0.85
    """How similar two prompts must be for one's answer to serve the other."""
