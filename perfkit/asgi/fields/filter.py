"""The stage of the middleware that lets clients choose fields: what is asked for, and of which answers."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias
from weakref import WeakValueDictionary

from perfkit.asgi.fields.counts import FieldCounts
from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.mask import Mask
from perfkit.asgi.fields.query import texts
from perfkit.asgi.fields.tree import Branch, written
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.errors import FieldsError

__all__ = ["FieldFilter", "as_filtered"]

Form: TypeAlias = Literal["json", "lines", ""]

_LINES = frozenset(
    (b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/x-jsonlines")
)
_ABOUT_THE_WHOLE = (
    *(b"content-length", b"accept-ranges"),
    *(b"content-digest", b"repr-digest", b"digest", b"content-md5"),
)
_FEWEST_KNOWN = 64


class FieldFilter:
    """Reads `?fields=` of requests and tells which responses can be filtered; one a middleware.

    Sets of fields are kept by the text that asks for them, as many as have room for a decoder
    (`asgi.fields_compiled_masks`), the least recently used given up first. So whoever sends a new set each
    time never has one compiled.

    >>> fields = FieldFilter(AsgiSettings())
    >>> scope = {"type": "http", "method": "GET", "headers": [], "query_string": b"page=2&fields=id,name"}
    >>> mask = fields.mask_of(Request(scope))
    >>> mask.key, mask.apply(b'{"name": "Ada", "born": 1815, "id": 7}')
    ('id,name', b'{"id":7,"name":"Ada"}')
    >>> fields.form_of(Head(200, [(b"content-type", b"application/json; charset=utf-8")]))
    'json'
    """

    def __init__(
        self,
        settings: AsgiSettings,
        *,
        parameter: str = "fields",
        root: str | None = None,
        dots: bool = False,
    ) -> None:
        """Take the limits from the settings.

        Args:
            settings: `fields_max_bytes`, `fields_compile_after` and `fields_compiled_masks`.
            parameter: The query parameter's name.
            root: The member of an envelope that fields are chosen from; its neighbours stay. With `data`,
                `?fields=id` of `{"data": [{"id": 1, "name": "x"}], "next": 2}` leaves `next` and each `id`.
            dots: Whether `a.b` is `a/b`; a dot in a name is then written with a backslash before.
        """
        self.counts = FieldCounts()
        """What was done."""
        self.max_bytes = settings.fields_max_bytes
        """Larger documents pass as they are."""
        self._parameter = parameter.encode()
        self._root = root
        self._dots = dots
        self._compile_after = settings.fields_compile_after if settings.fields_compiled_masks else None
        self._by_key: WeakValueDictionary[str, Mask] = WeakValueDictionary()
        self._known = lru_cache(settings.fields_compiled_masks or _FEWEST_KNOWN)(self._read)

    def mask_of(self, request: Request) -> Mask | None:
        """Return the set of fields a request asks for, or None when it asks for no set, or for all.

        Raises:
            FieldsError: the set cannot be read, or is too long, too deep or too rich; answer with `problem`.
        """
        query: bytes = request.scope.get("query_string") or b""
        if self._parameter not in query and b"%" not in query:
            return None
        try:
            asked = texts(query, self._parameter)
            return self._known(asked) if asked else None
        except FieldsError:
            self.counts.refused += 1
            raise

    def form_of(self, head: Head) -> Form:
        """Tell how a response with this head can be filtered: as one document, by lines, or not at all.

        Only whole successful JSON can: no errors (their details would be gone), no parts (206), nothing that
        is encoded already. A response to HEAD has no body, but its head changes as if it had.
        """
        if not 200 <= head.status < 300 or head.status in (204, 205, 206):
            return ""
        if (head.get(b"content-encoding") or b"identity") != b"identity" or head.get(b"content-range"):
            return ""
        return _form(head.get(b"content-type") or b"")

    def _read(self, asked: tuple[str, ...]) -> Mask | None:
        branch = read(asked, dots=self._dots)
        if not isinstance(branch, Branch):  # everything
            return None
        key = written(branch)
        mask = self._by_key.get(key)
        if mask is None:
            mask = self._by_key[key] = Mask(
                branch,
                root=self._root,
                max_bytes=self.max_bytes,
                compile_after=self._compile_after,
                counts=self.counts,
            )
        return mask


def as_filtered(head: Head) -> None:
    """Take from a head what was said of the whole body: length, digests, ranges; a strong ETag is weakened.

    The application's ETag stays: it was given for this URL, choice included, and changes when the whole does.

    >>> head = Head(200, [(b"etag", b'"1"'), (b"content-length", b"7")])
    >>> as_filtered(head)
    >>> head.fields
    [(b'etag', b'W/"1"')]
    """
    head.drop(*_ABOUT_THE_WHOLE)
    etag = head.get(b"etag")
    if etag is not None and not etag.startswith(b"W/"):
        head.set(b"etag", b"W/" + etag)


@lru_cache(maxsize=256)
def _form(content_type: bytes) -> Form:
    kind, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name == b"charset" and value.strip(b'"') not in (b"utf-8", b"utf8", b"us-ascii"):
            return ""
    if kind in _LINES:
        return "lines"
    if kind == b"application/json":
        return "json"
    return "json" if kind.endswith(b"+json") and kind != b"application/problem+json" else ""
