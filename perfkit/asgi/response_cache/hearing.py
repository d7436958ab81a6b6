"""What the cache hears of a response on its way out: it decides with the head, and keeps at the end.

Memory is bounded: what will not be kept is not held, and what turns out larger than the bound is let go of at
that moment. A response is kept only when all of it was heard: the application ended it, and its length is
what its head said.
"""

from __future__ import annotations

from collections.abc import Callable

from perfkit.asgi.head import Head
from perfkit.asgi.messages import Message
from perfkit.asgi.request import Request
from perfkit.asgi.response_cache import status
from perfkit.asgi.response_cache.flights import Flight, Flights, Word, is_personal
from perfkit.asgi.response_cache.kept import Kept, keepable_fields, written_response
from perfkit.asgi.response_cache.protocols import Exchange
from perfkit.asgi.response_cache.shelf import Shelf
from perfkit.asgi.response_cache.terms import age_of, may_be_shared, terms_of
from perfkit.asgi.response_cache.vary import names_of, selecting
from perfkit.asgi.settings import AsgiSettings

__all__ = ["Hearing"]

_NOT_TO_BE_KEPT = frozenset(
    {"http.response.trailers", "http.response.pathsend", "http.response.zerocopysend"}
)

_SAYS_WHAT_IS_TRUE_NOW = frozenset({200, 203, 204, 301, 308, 404, 410})
"""An answer of these that may not be kept takes the place of what is; a 403 or 429 is about the client."""


class Hearing:
    """One response the application makes, as the cache hears it."""

    __slots__ = (
        "_asked_epoch_s",
        "_flight",
        "_flights",
        "_head",
        "_is_kept",
        "_length",
        "_names",
        "_pieces",
        "_received_epoch_s",
        "_replaces",
        "_request",
        "_settings",
        "_shelf",
        "_size",
        "_status",
        "_why",
        "began",
        "may_keep",
        "overtaken",
        "target",
    )

    def __init__(
        self,
        shelf: Shelf,
        flights: Flights,
        settings: AsgiSettings,
        *,
        request: Request,
        target: str,
        flight: Flight | None,
        why: bytes,
        exchange: Exchange,
        may_keep: bool,
        replaces: bool,
    ) -> None:
        """Prepare to hear.

        Args:
            shelf: Where the response is kept.
            flights: Where those are who wait for it.
            settings: `asgi.response_cache_…`.
            request: What is answered.
            target: The key of its target.
            flight: Those who wait, if any may.
            why: The application is asked, as `Cache-Status` says it.
            exchange: Carries the response; its `Cache-Status` will say whether it is kept.
            may_keep: Whether an answer to this request may be kept at all.
            replaces: Whether something is kept that the response tells the successor of.
        """
        self._shelf = shelf
        self._flights = flights
        self._settings = settings
        self._request = request
        self._flight = flight
        self._why = why
        self._status: Callable[[bytes], None] = lambda value: setattr(exchange, "cache_status", value)
        self._asked_epoch_s = shelf.epoch()
        self._pieces: list[bytes] | None = None
        self._is_kept = False
        self._replaces = replaces and not is_personal(request)
        self.target = target
        self.began = False
        """Whether the client has been sent a head."""
        self.may_keep = may_keep
        self.overtaken = False
        """Whether the target was taken back since the application was asked."""

    def head(self, head: Head) -> None:
        """Decide whether the response will be kept, and tell those who wait."""
        self.began = True
        self._received_epoch_s = self._shelf.epoch()
        names = names_of(head.get(b"vary"))
        length = _length(head)
        keep = (
            self.may_keep
            and names is not None
            and length <= self._settings.response_cache_max_bytes
            and may_be_shared(self._request, head)
            and terms_of(head, self._received_epoch_s, self._settings) is not None
        )
        if keep:
            assert names is not None  # noqa: S101  # for the type checker: part of the question
            self._head, self._names, self._length = head.copy(), names, length
            self._pieces, self._size = [], 0
            if self._flight is not None:
                self._flights.shared(self._flight.key, self._request)
                self._flight.selects(selecting(names, self._request))
        elif self._flight is not None:
            if head.status < 500:
                self._flights.not_shared(self._flight.key, self._request)
            self._tell("go")
        if self._replaces and not keep and self.may_keep and head.status in _SAYS_WHAT_IS_TRUE_NOW:
            self._forget()
        self._status(status.forwarded(self._why, stored=keep))

    def body(self, chunk: bytes, more: bool) -> None:
        """Hold a piece of the body, and keep the response with the last."""
        pieces = self._pieces
        if pieces is None:
            return
        self._size += len(chunk)
        if self._size > self._settings.response_cache_max_bytes:
            self._give_up()
            return
        if chunk:
            pieces.append(chunk)
        if not more:
            self._pieces = None
            if self._length in (-1, self._size) or self._request.method == "HEAD":
                self._tell(self._keep(b"".join(pieces)))
            else:
                self._tell("go")

    def other(self, message: Message) -> None:
        """Keep nothing that has a part the cache does not hold."""
        if message["type"] not in _NOT_TO_BE_KEPT:
            return
        if self._is_kept:  # trailers come after the whole body
            self._forget()
        self._give_up()

    def freshened(self, kept: Kept, head: Head) -> Kept:
        """Return a stored response with the fields of the 304 that confirmed it, kept again.

        RFC 9111 §4.3.4: of the stored fields those are replaced that the 304 has, but for what describes the
        stored bytes. Only this response's validators were sent, so the 304 is about no other.
        """
        renewed = self._renewed(kept, head, keep=self.may_keep)
        self._tell(renewed)
        return renewed

    def updated(self, kept: Kept, head: Head) -> None:
        """Give a stored response the fields of the answer to a HEAD (§4.3.5), if they are about the same."""
        if _length(head) in (-1, len(kept.body)) and _is_about(kept, head):
            self._renewed(kept, head, keep=True)

    def _renewed(self, kept: Kept, head: Head, *, keep: bool) -> Kept:
        received = self._shelf.epoch()
        news = [field for field in keepable_fields(head.fields) if field[0] not in _OF_THE_BYTES]
        replaced = {name for name, _ in news}
        if head.get(b"date") is None:
            replaced.add(b"date")  # it would make the answer as old as it was
        merged = Head(kept.status, [field for field in kept.fields if field[0] not in replaced] + news)
        self._received_epoch_s = received
        self._head, self._names = merged, names_of(merged.get(b"vary")) or ()
        self._length = -1
        if age := head.get(b"age"):
            self._head.set(b"age", age)
        if keep and may_be_shared(self._request, merged):
            return self._keep(kept.body)
        return self._shelf.form(self._written(kept.body))

    def stands_in(self, kept: Kept) -> None:
        """Let those who wait look once more: an older answer stands in for the one that failed."""
        self._tell("again")

    def lost(self, *, cancelled: bool) -> None:
        """Take note that no more will come; nothing happens when all has."""
        self._pieces = None
        self._tell("again" if cancelled else "go")

    def _forget(self) -> None:
        """Take back what is kept of the target: it is not true any more."""
        self._shelf.drop(self.target)
        self._shelf.behind(self._shelf.take_back(self.target))

    def _give_up(self) -> None:
        self._pieces = None
        if self._flight is not None:
            self._flights.not_shared(self._flight.key, self._request)
        self._tell("go")

    def _keep(self, body: bytes) -> Kept:
        value = self._written(body)
        if self.overtaken:
            return self._shelf.form(value)
        self._is_kept = True
        return self._shelf.put(self.target, self._request, self._names, value, self._asked_epoch_s)

    def _written(self, body: bytes) -> tuple[object, ...]:
        head, received = self._head, self._received_epoch_s
        age = age_of(head, self._asked_epoch_s, received)
        return written_response(
            head.status,
            keepable_fields(head.fields),
            body,
            born_epoch_s=received - age,
            received_epoch_s=received,
        )

    def _tell(self, word: Word) -> None:
        if self._flight is not None:
            flight, self._flight = self._flight, None
            self._flights.end(flight, word)


_OF_THE_BYTES = frozenset(
    {b"content-encoding", b"content-length", b"content-md5", b"content-range", b"etag"}
    | {b"content-digest", b"repr-digest"}
)


def _is_about(kept: Kept, head: Head) -> bool:
    """Tell whether the answer to a HEAD has the validators of a stored response, as far as it has any."""
    tag, date = head.get(b"etag"), head.get(b"last-modified")
    if tag is not None and kept.etag is not None:
        return tag.removeprefix(b"W/") == kept.etag.removeprefix(b"W/")
    return date is None or kept.last_modified is None or date == kept.last_modified


def _length(head: Head) -> int:
    """Return the length a head gives; -1 when it gives none."""
    length = head.get(b"content-length")
    return int(length[:18]) if length is not None and length.isdigit() else -1
