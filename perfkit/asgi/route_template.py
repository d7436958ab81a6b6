"""Which pattern of the application a request matched, where its framework leaves word of it in the scope.

Metrics need `/users/{id}`, never `/users/17`: a path is the client's, and each new one would be a new series.
"""

from __future__ import annotations

from perfkit.asgi.messages import Scope

__all__ = ["route_template"]


def route_template(scope: Scope) -> str:
    """Return the pattern that was matched, after the application ran; "" where none was, or none is told."""
    return getattr(scope.get("route"), "path_format", "")
