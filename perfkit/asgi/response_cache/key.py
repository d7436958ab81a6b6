"""What a stored response is found by: the target of a GET, as one text.

    scheme :// host without the default port, path as it travelled ? query

The query is taken as it is. Sorting it would find more, and would be wrong for every application that reads
`?a=1&a=2` or a signed URL; so only the parameter of the field filter, which is ours, is left out. The decoded
path is added where it is not what travelled, because layers before this one may have changed it, and
applications route by it. A long text is replaced by its BLAKE2b digest (RFC 7693).
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote, unquote, urljoin, urlsplit

from perfkit.asgi.memo import remembering_short
from perfkit.asgi.messages import App, Receive, Scope, Send
from perfkit.asgi.request import Request

__all__ = ["Keys", "without_parameter"]

_LONGEST_PLAIN = 240
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_AS_IT_TRAVELS = "/:@!$&'()*+,;=-._~%"


class Keys:
    """Makes keys, each with the prefix of the cache's namespace.

    >>> keys = Keys("responses:", parameter="fields")
    >>> scope = {"scheme": "https", "path": "/a", "query_string": b"x=1&fields=id", "method": "GET"}
    >>> keys.of(Request(scope | {"headers": [(b"host", b"Shop.example:443")]}))
    'responses:https://shop.example/a?x=1'
    """

    __slots__ = ("_marker", "_parameter", "_prefix")

    def __init__(self, prefix: str, *, parameter: str = "") -> None:
        self._prefix = prefix
        self._parameter = parameter.encode("ascii")
        self._marker = self._parameter or b"\n"  # which stands in no query

    def of(self, request: Request) -> str:
        """Return the key of a request's target."""
        scope = request.scope
        query = scope["query_string"]
        if self._marker in query:
            query = without_parameter(self._parameter, query)
        raw, path = scope.get("raw_path"), scope["path"]
        travelled = raw.decode("latin-1") if raw else quote(path, safe=_AS_IT_TRAVELS)
        host = request.get(b"host") or _server_of(scope)
        key = (
            f"{self._prefix}{_origin(scope.get('scheme', 'http'), host)}{travelled}?{query.decode('latin-1')}"
        )
        root = scope.get("root_path")
        if travelled != path or (root and not path.startswith(root)):
            key = f"{key}\n{path}\n{root}"
        return key if len(key) <= _LONGEST_PLAIN else self._digest(key)

    def of_reference(self, request: Request, reference: bytes) -> str | None:
        """Return the key of what a request's response refers to; None where it is of another origin."""
        scope = request.scope
        origin = _origin(scope.get("scheme", "http"), request.get(b"host") or _server_of(scope))
        raw = scope.get("raw_path")
        base = origin + (raw.decode("latin-1") if raw else quote(scope["path"], safe=_AS_IT_TRAVELS))
        try:
            parts = urlsplit(urljoin(base, reference.decode("latin-1")))
            host = parts.netloc.rpartition("@")[2]
        except ValueError:
            return None
        if _origin(parts.scheme, host.encode("latin-1")) != origin:
            return None
        target: Scope = {
            **scope,
            "path": unquote(parts.path) or "/",
            "raw_path": parts.path.encode("latin-1") or b"/",
            "query_string": parts.query.encode("latin-1"),
        }
        return self.of(Request(target))

    def of_url(self, url: str) -> str:
        """Return the key of an absolute URL."""
        parts = urlsplit(url)
        return self.of(
            Request(
                {
                    "method": "GET",
                    "scheme": parts.scheme,
                    "headers": [(b"host", parts.netloc.encode("latin-1"))],
                    "path": unquote(parts.path) or "/",
                    "raw_path": parts.path.encode("latin-1") or b"/",
                    "query_string": parts.query.encode("latin-1"),
                }
            )
        )

    def hiding_parameter(self, request: Request, app: App) -> App:
        """Return the application behind a query without the field filter's parameter."""
        query = request.scope["query_string"]
        if self._marker not in query:
            return app
        hidden = without_parameter(self._parameter, query)

        async def behind(scope: Scope, receive: Receive, send: Send) -> None:
            request.scope = {**scope, "query_string": hidden}
            await app(request.scope, receive, send)

        return behind

    def _digest(self, key: str) -> str:
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=20)
        return f"{self._prefix}#{digest.hexdigest()}"


@remembering_short(1_024)
def without_parameter(parameter: bytes, query: bytes) -> bytes:
    """Return a query without a parameter.

    >>> without_parameter(b"fields", b"fields=id&page=2&fieldset=x")
    b'page=2&fieldset=x'
    """
    pieces = query.split(b"&")
    return b"&".join([piece for piece in pieces if piece.partition(b"=")[0] != parameter])


def _server_of(scope: Scope) -> bytes:
    """Return what stands for the host in a request that names none."""
    server = scope.get("server")
    return b"" if server is None else f"{server[0]}:{server[1]}".encode("latin-1")


@remembering_short(256)
def _origin(scheme: str, host: bytes) -> str:
    return f"{scheme}://{host.decode('latin-1').lower().removesuffix(_DEFAULT_PORTS.get(scheme, chr(10)))}"
