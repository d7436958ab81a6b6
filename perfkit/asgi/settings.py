"""The knobs of the ASGI middleware."""

from typing import Annotated

from perfkit.knobs import Field, Knob, Section


class AsgiSettings(Section):
    """What happens to a response on its way out."""

    compress_responses: Annotated[bool, Knob("", "bandwidth against processor time")] = True
    """Whether responses are compressed when the client accepts it."""

    compress_min_bytes: Annotated[
        int, Field(ge=0, le=16 * 1024**2), Knob("bytes", "bandwidth against processor time", scale="log")
    ] = 1_024
    """Responses smaller than this travel as they are."""

    browser_ttl_seconds: Annotated[
        int, Field(ge=0, le=31_536_000), Knob("s", "freshness against requests", scale="log")
    ] = 60
    """The `max-age` given to cacheable responses that say nothing themselves."""
