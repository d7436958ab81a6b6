"""Who may keep a response, and for how long: policies by path, and safe words where nobody said anything.

What the application says always wins: a response with `Cache-Control` or `Expires` keeps it. Where it says
nothing, the most specific rule of its path decides, and without a rule these do:

    GET, HEAD   2xx              no-cache, or max-age=asgi.browser_ttl_seconds; private beside credentials
                3xx              nothing: redirects are kept by their own meaning (RFC 9110 §15.4)
                4xx, 5xx         no-store: a proxy that guesses keeps a 404 (RFC 9111 §4.2.2)
    others      any              no-store; OPTIONS and TRACE, which nobody keeps, get nothing

`no-cache` costs no freshness: the browser asks each time, and is told by 304 that it has the answer. A
`public` that comes with `Set-Cookie` would hand one user's cookie to others; such an answer of a rule becomes
`private`, and a warning names the rule once.

With a cache of Google's before the service (`asgi.edge`) public answers also say how long it may keep them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

from perfkit.asgi.cache_control import directives_of
from perfkit.asgi.head import Head
from perfkit.asgi.request import Request
from perfkit.asgi.settings import AsgiSettings
from perfkit.asgi.structured import dictionary_of
from perfkit.errors import SettingsError

__all__ = ["CachePolicies", "CachePolicy"]

_log = logging.getLogger("perfkit")

_HEEDED_AT_THE_EDGE = frozenset({b"accept", b"accept-encoding", b"origin"})
"""The request fields that Cloud CDN keeps variants by; an answer that varies by another is not kept there."""

_WARNED_AT_MOST = 256
_SILENT = frozenset({"OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """What caches may do with the answers of a path; seconds are whole.

    `covers_errors` lets it speak for answers from 400 on, too. `vary` names request fields the answer depends
    on. `cdn_cache_control` is what caches before the service are told instead (RFC 9213).

    >>> CachePolicy(public=True, max_age_seconds=60, stale_while_revalidate_seconds=600).cache_control
    b'public, max-age=60, stale-while-revalidate=600'

    Raises:
        SettingsError: two of its parts contradict each other, or a number is negative.
    """

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
    covers_errors: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in _IN_SECONDS:
            seconds = getattr(self, name)
            if seconds is not None and (type(seconds) is not int or seconds < 0):
                raise _refused(
                    f"{name}={seconds!r} is refused: seconds are whole and not negative",
                    name,
                    seconds,
                    ">= 0",
                )
        for one, others, why in _CONTRADICTIONS:
            other = next((name for name in others if _is_said(self, name)), None)
            if _is_said(self, one) and other is not None:
                raise _refused(
                    f"{one} with {other} is refused: {why}. Take one of them out", other, getattr(self, other)
                )
        if not isinstance(self.vary, tuple):
            raise _refused(
                f"vary={self.vary!r} is refused: a text names its letters. Write a tuple, ('Origin',) say",
                "vary",
                self.vary,
            )
        if self.immutable and not self.max_age_seconds:
            raise _refused(
                "immutable without max_age_seconds is refused: it only means something while the answer is "
                "fresh. Say for how long",
                "immutable",
                True,
            )
        if self.cdn_cache_control and not dictionary_of(self.cdn_cache_control.encode("latin-1", "replace")):
            raise _refused(
                f"cdn_cache_control={self.cdn_cache_control!r} is refused: it is no dictionary of structured "
                "fields (RFC 8941), so caches would ignore it. Write 'max-age=600', say",
                "cdn_cache_control",
                self.cdn_cache_control,
            )

    @property
    def cache_control(self) -> bytes:
        """The value of `Cache-Control`; empty when nothing is said."""
        return _written(self)


_IN_SECONDS = tuple(field.name for field in fields(CachePolicy) if field.name.endswith("_seconds"))
_WITHOUT_VALUE = ("no_store", "public", "private", "no_cache", "must_revalidate", "immutable")
_STALE = ("stale_while_revalidate_seconds", "stale_if_error_seconds")
_CONTRADICTIONS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("public", ("private",), "either all may keep an answer, or the one client"),
    (
        "no_store",
        ("public", "private", "no_cache", "must_revalidate", "immutable", *_IN_SECONDS),
        "what is not stored has no time to live",
    ),
    ("private", ("s_maxage_seconds",), "only shared caches read it, and they may not keep the answer"),
    ("no_cache", ("immutable", *_STALE), "it has every use asked about first"),
    ("must_revalidate", _STALE, "it forbids to serve what is stale"),
)


class CachePolicies:
    """Gives each response the caching fields that its path's rule, or else the defaults, ask for.

    >>> rules = {"/static/*": CachePolicy(public=True, max_age_seconds=3600), "/static/me": CachePolicy()}
    >>> policies = CachePolicies(rules, AsgiSettings())
    >>> head = Head(200, [])
    >>> policies.apply(Request({"method": "GET", "path": "/static/a.js", "headers": []}), head)
    >>> head.fields
    [(b'cache-control', b'public, max-age=3600')]
    """

    def __init__(self, rules: Mapping[str, CachePolicy], settings: AsgiSettings) -> None:
        """Take rules by path: `/health` for itself, `/api/*` for all below it; the longest one counts.

        Args:
            rules: The paths are without `root_path`; a rule of a whole path wins over any with a star.
            settings: `add_cache_control`, `browser_ttl_seconds`, `edge`.

        Raises:
            SettingsError: a pattern does not begin with a slash, or has a star before its end.
        """
        for pattern in rules:
            if not pattern.startswith("/") or "*" in pattern[:-1]:
                raise SettingsError(
                    f"The path {pattern!r} is refused: it matches no request. Write a path as '/health', or "
                    "what all paths below it begin with as '/api/*'.",
                    path=pattern,
                    allowed="/path or /path/*",
                )
        self._whole = {pattern: _Rule(pattern, policy) for pattern, policy in rules.items()}
        begun = [rule for pattern, rule in self._whole.items() if pattern.endswith("*")]
        self._begun = sorted(((rule.pattern[:-1], rule) for rule in begun), key=lambda pair: -len(pair[0]))
        self._defaults = settings.add_cache_control
        seconds = settings.browser_ttl_seconds
        self._fresh = b"max-age=%d" % seconds if seconds else b"no-cache"
        self._fresh_private = b"private, " + self._fresh
        self._edge = settings.edge if settings.edge.enabled else None
        self._warned: set[str] = set()

    def apply(self, request: Request, head: Head) -> None:
        """Set the caching fields of a response; what the application said is never overridden."""
        method = request.method
        is_read = method == "GET" or method == "HEAD"
        get = head.get
        if get(b"cache-control") is None and get(b"expires") is None:
            rule = self._rule_of(request) if is_read and self._whole else None
            if rule is not None and (head.status < 400 or rule.policy.covers_errors):
                self._follow(rule, head)
            elif self._defaults:
                self._be_careful(request, head, is_read)
        elif get(b"set-cookie") is not None and directives_of(get(b"cache-control")).public:
            self._warn(
                _route(request), "answers 'public' with Set-Cookie: a shared cache may give it to others"
            )
        if self._edge is not None and is_read:
            self._speak_to_the_edge(request, head)

    def _rule_of(self, request: Request) -> _Rule | None:
        path, root = request.scope["path"], request.scope.get("root_path")
        if root and path.startswith(root):
            path = path[len(root) :]
        rule = self._whole.get(path)
        if rule is not None:
            return rule
        for begin, rule in self._begun:
            if path.startswith(begin):
                return rule
        return None

    def _follow(self, rule: _Rule, head: Head) -> None:
        status = head.status
        if status == 304 or status < 200:
            return
        value = rule.value
        if head.get(b"set-cookie") is not None and rule.policy.public:
            self._warn(rule.pattern, "says 'public' but the answer sets a cookie; it is made 'private'")
            value = rule.private_value
        elif rule.cdn_value:
            head.set(b"cdn-cache-control", rule.cdn_value)
        if value:
            head.set(b"cache-control", value)
        for name in rule.vary:
            head.vary_by(name)

    def _be_careful(self, request: Request, head: Head, is_read: bool) -> None:
        """Say what is safe for any answer."""
        status = head.status
        if not is_read:
            if request.method not in _SILENT:
                head.set(b"cache-control", b"no-store")
        elif 200 <= status < 300:
            is_personal = (
                request.get(b"authorization") is not None
                or request.get(b"cookie") is not None
                or head.get(b"set-cookie") is not None
            )
            head.set(b"cache-control", self._fresh_private if is_personal else self._fresh)
        elif status >= 400:
            head.set(b"cache-control", b"no-store")

    def _speak_to_the_edge(self, request: Request, head: Head) -> None:
        """Bound what the cache before the service keeps, and say so when it will keep nothing."""
        edge, value = self._edge, head.get(b"cache-control")
        assert edge is not None  # noqa: S101  # for the type checker: asked before
        said = directives_of(value)
        if value is None or not said.public or said.private or said.no_store:
            return
        if head.get(b"set-cookie") is not None:
            return
        bounded = _bounded(value, edge.default_ttl_seconds, edge.max_ttl_seconds)
        if bounded != value:
            head.set(b"cache-control", bounded)
        vary = head.get(b"vary")
        if vary is not None and not _is_heeded(vary):
            self._warn(
                _route(request),
                f"varies by {vary.decode('latin-1')!r}: Cloud CDN keeps only what varies by Accept, "
                "Accept-Encoding or Origin",
            )

    def _warn(self, route: str, what: str) -> None:
        if route not in self._warned and len(self._warned) < _WARNED_AT_MOST:
            self._warned.add(route)
            _log.warning("cache policy of %s: it %s", route, what)


class _Rule:
    """A policy with its words ready."""

    __slots__ = ("cdn_value", "pattern", "policy", "private_value", "value", "vary")

    def __init__(self, pattern: str, policy: CachePolicy) -> None:
        self.pattern = pattern
        self.policy = policy
        self.value = policy.cache_control
        self.private_value = _written(policy, private=True)
        self.cdn_value = policy.cdn_cache_control.encode("ascii")
        self.vary = tuple(name.lower().encode("ascii") for name in policy.vary)


def _is_said(policy: CachePolicy, name: str) -> bool:
    value = getattr(policy, name)
    return value is True or (value is not False and value is not None)


def _written(policy: CachePolicy, *, private: bool = False) -> bytes:
    """Return the directives of a policy; `private` in place of what only shared caches may do."""
    said = {name for name in _WITHOUT_VALUE if getattr(policy, name)}
    if private:
        said = said - {"public"} | {"private"}
    words = [name.replace("_", "-") for name in _WITHOUT_VALUE if name in said]
    for name in _IN_SECONDS:
        seconds = getattr(policy, name)
        if seconds is not None and not (name == "s_maxage_seconds" and private):
            words.append(f"{name.removesuffix('_seconds').replace('_', '-')}={seconds}")
    return ", ".join(words).encode("ascii")


@lru_cache(maxsize=256)
def _bounded(value: bytes, default_seconds: int, longest_seconds: int) -> bytes:
    """Return a public `Cache-Control` whose time for shared caches is at most `longest_seconds`."""
    said = directives_of(value)
    if said.no_cache:
        return value
    named = said.max_age if said.s_maxage is None else said.s_maxage
    if named is None:
        seconds = min(default_seconds, longest_seconds)
        return value + b", s-maxage=%d" % seconds if seconds else value
    if named <= longest_seconds:
        return value
    others = [piece for piece in value.split(b",") if piece.strip().partition(b"=")[0].lower() != b"s-maxage"]
    return b",".join(others).strip() + b", s-maxage=%d" % longest_seconds


@lru_cache(maxsize=256)
def _is_heeded(vary: bytes) -> bool:
    return _HEEDED_AT_THE_EDGE.issuperset(name.strip().lower() for name in vary.split(b","))


def _route(request: Request) -> str:
    """Return the pattern of the route that answered, or else the path."""
    route = request.scope.get("route")
    return str(getattr(route, "path_format", None) or getattr(route, "path", None) or request.scope["path"])


def _refused(message: str, name: str, value: object, allowed: str = "") -> SettingsError:
    return SettingsError(f"{message}.", path=name, value=value, allowed=allowed)
