"""The flow (stub)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.asgi.messages import App, Receive
from perfkit.asgi.policy import CachePolicies
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.cache import TieredCache

if TYPE_CHECKING:
    from perfkit.asgi.response_cache.protocols import Exchange

__all__ = ["ResponseCache"]


class ResponseCache:
    """A shared cache of whole responses."""

    def __init__(
        self,
        cache: TieredCache,
        settings: AsgiSettings,
        *,
        policies: CachePolicies | None = None,
        fields_parameter: str = "",
    ) -> None:
        """Keep responses in a namespace of the tiered cache.

        Args:
            cache: Where they are kept; the namespace is this cache's alone.
            settings: `response_cache_…`.
            policies: Applied to what is fetched in the background, as the exchange does to the rest.
            fields_parameter: The query parameter of the field filter, which is no part of the key: masks
                are applied to what is kept. Empty: no filter is on.
        """

    async def serve(self, request: Request, app: App, receive: Receive, exchange: Exchange) -> None:
        """Answer a request from what is kept, or have the application answer and keep that."""
        raise NotImplementedError

    async def invalidate(self, url: str) -> None:
        """Take back what is kept of a URL."""

    async def aclose(self) -> None:
        """Cancel what is being renewed in the background."""
