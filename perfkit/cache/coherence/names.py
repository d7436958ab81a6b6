"""Names under a prefix of Redis: of entries, and of what stands beside them.

    perfkit:users:7          an entry: the prefix, then the full key, which is `namespace:` and the key
    perfkit:%lock:users:7    the lock of that entry
    perfkit:%tags            the times of all tags
    perfkit:%said            the channel of the backplane

A namespace writes its own `%` as `%25` and its own `:` as `%3A` (`perfkit.cache.keys`), so no full key begins
with `%lock:` or is `%tags`. All of them begin with the prefix, by which a server's access rules may be set.
"""

from __future__ import annotations

from typing import Final

from perfkit.cache.keys import namespace_prefix

__all__ = ["EVERYTHING", "Names", "full_tag"]

EVERYTHING: Final = "*"
"""The tag that every entry of a namespace has without being told: `full_tag(EVERYTHING, "users")`."""

_LOCK: Final = "%lock:"
_TAGS: Final = "%tags"
_CHANNEL: Final = "%said"


def full_tag(tag: str, namespace: str = "") -> str:
    """Return a tag's name among all namespaces.

    >>> full_tag("team 7", "users"), full_tag(EVERYTHING, "users")
    ('users:team 7', 'users:*')
    """
    return namespace_prefix(namespace) + tag


class Names:
    """Names under one prefix, as Redis has them: bytes.

    >>> names = Names("perfkit:")
    >>> names.entry("users:7"), names.lock("users:7"), names.full_key(b"perfkit:users:7")
    (b'perfkit:users:7', b'perfkit:%lock:users:7', 'users:7')
    >>> names.full_key(b"perfkit:%lock:users:7"), names.full_key(b"other:users:7")
    (None, None)
    """

    __slots__ = ("_prefix", "channel", "prefix", "tags")

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.prefix = _bytes_of(prefix)
        self.tags = _bytes_of(prefix + _TAGS)
        """The sorted set of all tags' times."""
        self.channel = _bytes_of(prefix + _CHANNEL)
        """Where the backplane's messages travel."""

    def entry(self, full_key: str) -> bytes:
        """Return where an entry stands."""
        return _bytes_of(self._prefix + full_key)

    def lock(self, full_key: str) -> bytes:
        """Return where an entry's lock stands."""
        return _bytes_of(self._prefix + _LOCK + full_key)

    def full_key(self, name: bytes) -> str | None:
        """Return the full key of the entry of a name; None when it is no entry's."""
        if not name.startswith(self.prefix):
            return None
        try:
            full_key = name[len(self.prefix) :].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None
        return None if full_key.startswith(_LOCK) or full_key in (_TAGS, _CHANNEL) else full_key


def _bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")  # a lone surrogate is no reason to fail
