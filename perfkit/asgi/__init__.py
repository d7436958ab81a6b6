"""Responses on their way out: what is compressed, and for how long a browser may keep it."""

from perfkit.asgi.settings import AsgiSettings

__all__ = ["AsgiSettings"]
