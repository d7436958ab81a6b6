"""A shared HTTP cache (RFC 9111) in front of the application, over the tiered cache."""

from perfkit.asgi.response_cache.cache import ResponseCache
from perfkit.asgi.response_cache.kept import Kept
from perfkit.asgi.response_cache.protocols import Exchange, Tee

__all__ = ["Exchange", "Kept", "ResponseCache", "Tee"]
