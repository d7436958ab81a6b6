"""Which pattern of the application a request matched, where its framework leaves word of it in the scope.

Metrics need `/users/{id}`, never `/users/17`: a path is the client's, each new one would be a new series, and
some hold what is nobody's business. So what cannot be told as a pattern is not told at all.

Starlette leaves the route, FastAPI beside it the whole pattern of one that was included with a prefix, and
Litestar the pattern. Of the mounts above a route Starlette tells only the path that matched them, so their
patterns are looked for once in the tree of routes. Django and Quart leave nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from perfkit.asgi.messages import Scope

__all__ = ["RouteTemplates"]

_REMEMBERED: Final = 10_000
_MOUNT_ENDS_WITH: Final = "/{path}"


class RouteTemplates:
    """Finds the pattern of a request, and remembers what stands above the routes it has looked for.

    >>> class Route:
    ...     path_format = "/users/{id}"
    >>> templates = RouteTemplates()
    >>> templates.of({"path": "/api/users/17", "root_path": "/api", "route": Route})
    '/api/users/{id}'
    >>> templates.of({"path": "/users/17"})
    ''
    """

    __slots__ = ("_above",)

    def __init__(self) -> None:
        self._above: dict[int, tuple[Any, str | None]] = {}
        """By a route's identity: the route, so that it stays the same, and the patterns of its mounts."""

    def of(self, scope: Scope) -> str:
        """Return the pattern that was matched, after the application ran; "" where none was, or none is told.

        Args:
            scope: The one the application was given: its router writes there.
        """
        route = scope.get("route")
        if route is None:
            template = scope.get("path_template", "")  # Litestar's
            return template if isinstance(template, str) else ""
        told = route
        if included := scope.get("fastapi"):
            included = included.get("effective_route_context") if isinstance(included, dict) else None
            if getattr(included, "original_route", None) is route:
                told = included
        template = getattr(told, "path_format", None)
        if not isinstance(template, str):
            return ""
        root = scope.get("root_path") or ""
        configured = scope.get("app_root_path", root)  # where there is none, nothing is mounted
        if root == configured:
            return f"{root}{template}" if root else template
        above = self._mounts_above(scope, route)
        return "" if above is None else f"{configured}{above}{template}"

    def _mounts_above(self, scope: Scope, route: Any) -> str | None:
        known = self._above.get(id(route))
        if known is None:
            if len(self._above) >= _REMEMBERED:
                self._above.clear()
            found = set(_prefixes(scope.get("router"), route))
            if not hasattr(route, "routes"):  # no mount itself, so it is below one
                found.discard("")
            known = self._above[id(route)] = (route, found.pop() if len(found) == 1 else None)
        return known[1]


def _prefixes(router: Any, route: Any, above: str = "") -> Iterator[str]:
    """Yield the patterns of the mounts under which a route stands; several when it was mounted again."""
    for node in getattr(router, "routes", None) or ():
        if node is route:
            yield above
        elif inner := getattr(node, "original_router", None):  # FastAPI's: included, not mounted
            yield from _prefixes(inner, route, above)
        elif hasattr(node, "routes"):
            pattern = getattr(node, "path_format", _MOUNT_ENDS_WITH)  # a Host has none
            yield from _prefixes(node, route, above + pattern.removesuffix(_MOUNT_ENDS_WITH))
