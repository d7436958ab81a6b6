"""The knobs of the Vertex AI client."""

from typing import Annotated

from perfkit.knobs import Field, Knob, Section


class VertexSettings(Section):
    """How requests to Vertex AI are gathered, and when an old answer will do."""

    batch_window_ms: Annotated[
        float, Field(ge=0, le=10_000), Knob("ms", "request rate against latency", scale="log")
    ] = 10.0
    """How long a text may wait for others to share its request."""

    batch_max_texts: Annotated[
        int, Field(ge=1, le=250), Knob("texts", "request rate against latency", scale="log")
    ] = 100
    """How many texts share one request at the most."""

    semantic_cache_threshold: Annotated[
        float, Field(ge=0, le=1), Knob("cosine", "paid calls against wrong answers")
    ] = 0.85
    """How similar two prompts must be for one's answer to serve the other."""
