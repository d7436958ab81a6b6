"""Cache policies (stub)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings

__all__ = ["CachePolicies", "CachePolicy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """What caches may do with a response; seconds are whole."""

    public: bool = False
    private: bool = False
    no_store: bool = False
    no_cache: bool = False
    max_age_seconds: int | None = None
    s_maxage_seconds: int | None = None
    must_revalidate: bool = False
    immutable: bool = False
    stale_while_revalidate_seconds: int | None = None
    stale_if_error_seconds: int | None = None
    cdn_cache_control: str = ""
    vary: tuple[str, ...] = ()
    on_errors: bool = False


class CachePolicies:
    """Gives responses that say nothing of caching a `Cache-Control`."""

    def __init__(self, rules: Mapping[str, CachePolicy], settings: AsgiSettings) -> None:
        """Take rules by path: exact (`/health`) or prefix (`/api/*`)."""

    def apply(self, request: Request, head: Head) -> None:
        """Set the caching fields of a response; what the application said is never overridden."""
