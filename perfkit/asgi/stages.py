"""The stages a response passes, as one middleware has them: each is there, or None.

cache policy ──▶ response cache ──▶ fields ──▶ ETag and 304 ──▶ compression ──▶ timing
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

from perfkit.asgi.compress import Compression
from perfkit.asgi.counts import RequestCounts
from perfkit.asgi.fields import FieldFilter
from perfkit.asgi.policy import CachePolicies, CachePolicy
from perfkit.asgi.response_cache import ResponseCache
from perfkit.asgi.settings import AsgiSettings
from perfkit.asgi.timing import Timing
from perfkit.cache import TieredCache, get_tiered_cache
from perfkit.clock import Clock, now_s

__all__ = ["Stages"]


@dataclass(slots=True)
class Stages:
    """What a middleware does to responses, in the order in which it is done."""

    policies: CachePolicies | None = None
    response_cache: Callable[[], ResponseCache] | None = None
    """Returns the running loop's; asked when the first request comes."""
    fields: FieldFilter | None = None
    fields_max_bytes: int = 0
    validators: bool = False
    """Whether bodies get an ETag, and clients who have them already get 304."""
    compression: Compression | None = None
    small_bytes: int = 0
    """A body that comes in pieces is waited for while it is smaller, as long as nothing else is due."""
    timing: Timing | None = None
    repeatable: bool = True
    """Whether two clients who ask alike may get the very same bytes."""

    @property
    def are_compression_alone(self) -> bool:
        """Whether nothing else is done to responses."""
        others = self.policies, self.response_cache, self.fields, self.timing
        return self.compression is not None and not self.validators and others == (None,) * 4

    @property
    def leave_bodies(self) -> bool:
        """Whether nothing is done to a body of which all fields are wanted."""
        return self.compression is None and self.response_cache is None and not self.validators

    @classmethod
    def of(
        cls,
        settings: AsgiSettings,
        *,
        policies: Mapping[str, CachePolicy] | None = None,
        cache: TieredCache | None = None,
        counts: RequestCounts | None = None,
        fingerprint: str = "",
        fields_parameter: str = "fields",
        fields_root: str | None = None,
        clock: Clock = now_s,
    ) -> Stages:
        """Return the stages that the settings switch on.

        Args:
            settings: Each stage has a switch among them.
            policies: What may be kept for how long, by path.
            cache: Keeps whole answers, whatever `asgi.response_cache` says; else the process's own does.
            counts: Counts requests; default: counts of its own.
            fingerprint: Of all settings, for `Server-Timing`.
            fields_parameter: The query parameter that chooses fields.
            fields_root: The member of an envelope whose fields are meant.
            clock: What durations are read on.
        """
        stages = cls()
        if settings.add_cache_control or policies or settings.edge.enabled:
            stages.policies = CachePolicies(policies or {}, settings)
        if settings.optimize_payloads:
            stages.fields = FieldFilter(settings, parameter=fields_parameter, root=fields_root)
            stages.fields_max_bytes = settings.fields_max_bytes
            stages.validators = True
        if cache is not None or settings.response_cache:
            parameter = "" if stages.fields is None else fields_parameter
            stages.response_cache = _of_the_loop(
                cache,
                partial(
                    ResponseCache, settings=settings, policies=stages.policies, fields_parameter=parameter
                ),
            )
        if settings.compress_responses:
            stages.compression = Compression(settings, clock=clock)
            stages.small_bytes = settings.compress_min_bytes
            stages.repeatable = not settings.compress_noise_bytes and settings.compress_cross_site
        if settings.track_response_time:
            counts = RequestCounts() if counts is None else counts
            if stages.compression is not None:
                counts.compression, counts.governor = stages.compression.counts, stages.compression.governor
            if stages.fields is not None:
                counts.fields = stages.fields.counts
            stages.timing = Timing(settings, fingerprint=fingerprint, clock=clock, counts=counts)
        return stages


def _of_the_loop(
    cache: TieredCache | None, over: Callable[[TieredCache], ResponseCache]
) -> Callable[[], ResponseCache]:
    """Return what opens the running loop's response cache at its first request; a given cache serves all."""
    if cache is not None:
        given = over(cache)
        return lambda: given
    of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, ResponseCache] = WeakKeyDictionary()

    def response_cache() -> ResponseCache:
        loop = asyncio.get_running_loop()
        opened = of_loop.get(loop)
        if opened is None:
            opened = of_loop[loop] = over(get_tiered_cache("asgi"))
        return opened

    return response_cache
