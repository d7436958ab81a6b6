"""Which pattern of the application a request matched, where its framework leaves word of it in the scope.

Metrics need `/users/{id}`, never `/users/17`: a path is the client's, each new one would be a new series, and
some hold what is nobody's business. So what cannot be told as a pattern is not told at all.

Starlette leaves the route, FastAPI beside it the whole pattern of one that was included with a prefix, and
Litestar the pattern. Of the mounts above a route Starlette tells only the path that matched them, and of some
routes FastAPI only the endpoint; then the pattern is looked for once in the tree of routes. Django and Quart
leave nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[int, tuple[Any, str | None]] = {}
        """By identity: what was looked for, so that the identity stays its own, and what was found."""

    def of(self, scope: Scope) -> str:
        """Return the pattern that was matched, after the application ran; "" where none was, or none is told.

        Args:
            scope: The one the application was given: its router writes there.
        """
        route = scope.get("route")
        if route is None:
            template = scope.get("path_template")  # Litestar's
            return template if isinstance(template, str) else self._of_the_endpoint(scope)
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

    def _of_the_endpoint(self, scope: Scope) -> str:
        """Return the pattern of a route that is not FastAPI's own: of those it leaves only the endpoint."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return ""
        found = self._looked_up(
            endpoint,
            lambda: {
                above + str(getattr(node, "path_format", ""))
                for node, above in _tree(scope.get("router"))
                if getattr(node, "endpoint", None) is endpoint or getattr(node, "app", None) is endpoint
            },
        )
        root = scope.get("app_root_path", scope.get("root_path")) or ""
        return f"{root}{found}" if found else ""

    def _mounts_above(self, scope: Scope, route: Any) -> str | None:
        is_mount = hasattr(route, "routes")
        return self._looked_up(
            route,
            lambda: {
                above for node, above in _tree(scope.get("router")) if node is route and (above or is_mount)
            },
        )

    def _looked_up(self, key: Any, find: Callable[[], set[str]]) -> str | None:
        """Return the one text that is found, or None where it is not one."""
        known = self._found.get(id(key))
        if known is None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            texts = find()
            known = self._found[id(key)] = (key, texts.pop() if len(texts) == 1 else None)
        return known[1]


def _tree(router: Any, above: str = "") -> Iterator[tuple[Any, str]]:
    """Yield all routes and mounts, with the patterns of the mounts above; twice what was mounted twice."""
    for node in getattr(router, "routes", None) or ():
        yield node, above
        if inner := getattr(node, "original_router", None):  # FastAPI's: included, not mounted
            yield from _tree(inner, above)
        elif hasattr(node, "routes"):
            pattern = getattr(node, "path_format", _MOUNT_ENDS_WITH)  # a Host has none
            yield from _tree(node, above + pattern.removesuffix(_MOUNT_ENDS_WITH))
