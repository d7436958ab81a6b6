"""The flow of a request through the response cache (RFC 9111).

    GET, HEAD ──▶ at hand and fresh ─────────────────────────────────▶ answer
                  past its end, may be renewed meanwhile (RFC 5861) ─▶ answer, and renew in the background
                  another request is asking already ─────────────────▶ wait for what it gets
                  Redis has it ──────────────────────────────────────▶ answer
                  else ask the application: with validators where something is kept
                       304 ──▶ freshen what is kept, answer with it
                       5xx, an exception, too slow ──▶ answer with what is kept, if it allows that
                       else ──▶ to the client as it comes, and kept on the way if it may be
    others    ──▶ the application; without an error, what is kept of the target is taken back

The first line is a function that waits for nothing: it is what a service does most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.asgi.cache_control import Directives, directives_of
from perfkit.asgi.messages import App, Receive
from perfkit.asgi.policy import CachePolicies
from perfkit.asgi.request import Request
from perfkit.asgi.response_cache import status
from perfkit.asgi.response_cache.asking import Asking
from perfkit.asgi.response_cache.flights import Flight, Flights
from perfkit.asgi.response_cache.invalidation import Invalidation, is_unsafe
from perfkit.asgi.response_cache.kept import Kept
from perfkit.asgi.response_cache.key import Keys
from perfkit.asgi.response_cache.shelf import Shelf
from perfkit.asgi.settings import AsgiSettings
from perfkit.cache import TieredCache

if TYPE_CHECKING:
    from perfkit.asgi.response_cache.protocols import Exchange

__all__ = ["ResponseCache"]

_ROUNDS = 8
"""How often a request looks again before it asks the application itself."""


class ResponseCache:
    """A shared HTTP cache of one application's responses."""

    def __init__(
        self,
        cache: TieredCache,
        settings: AsgiSettings,
        *,
        policies: CachePolicies | None = None,
        fields_parameter: str | None = None,
    ) -> None:
        """Keep responses in a namespace of a tiered cache.

        Args:
            cache: Where they are kept, in a namespace of their own below this one's.
            settings: `response_cache_…`.
            policies: Applied to what is renewed in the background, as the exchange does to the rest.
            fields_parameter: The query parameter of the field filter, which is no part of the key and which
                the application does not see: masks are applied to what is kept. Empty: no filter is on.
                Default: `fields` where `optimize_payloads` is on.
        """
        if fields_parameter is None:
            fields_parameter = "fields" if settings.optimize_payloads else ""
        self._settings = settings
        self._policies = policies
        self._shelf = Shelf(cache, settings)
        self._clock = self._shelf.clock
        self._keys = Keys(self._shelf.prefix, parameter=fields_parameter)
        self._key_of = self._keys.of
        self._at_hand = self._shelf.at_hand
        self._flights = Flights(self._clock)
        self._asking = Asking(self._shelf, self._flights, settings, policies)
        self._invalidation = Invalidation(self._shelf, self._keys, self._asking)

    async def serve(self, request: Request, app: App, receive: Receive, exchange: Exchange) -> None:
        """Answer a request from what is kept, or have the application answer and keep that."""
        method = request.method
        if method == "GET" or method == "HEAD":
            target = self._key_of(request)
            kept = self._at_hand(target, request)
            if kept is not None:
                now, get = self._clock(), request.get
                if (
                    now < kept.fresh_until_s
                    and get(b"cache-control") is None
                    and get(b"pragma") is None
                    and (kept.for_all or get(b"authorization") is None)
                    and get(b"if-match") is None
                    and get(b"if-unmodified-since") is None
                ):
                    await exchange.reply(
                        kept,
                        age_seconds=int(now - kept.born_s),
                        cache_status=b"perfkit; hit; ttl=%d" % (kept.fresh_until_s - now),
                    )
                    return
            app = self._keys.hiding_parameter(request, app)
            await self._serve_otherwise(request, target, kept, app, receive, exchange)
        elif is_unsafe(method):
            exchange.cache_status = status.forwarded(status.METHOD)
            await app(request.scope, receive, self._invalidation.listening(request, exchange.send))
        else:
            exchange.cache_status = status.forwarded(status.METHOD)
            await app(request.scope, receive, exchange.send)

    async def invalidate(self, url: str) -> None:
        """Take back what is kept of a URL, `https://shop.example/items/7` say, on all instances."""
        await self._invalidation.take_back(self._keys.of_url(url))

    async def clear(self) -> None:
        """Take back everything that is kept, on all instances."""
        await self._shelf.clear()

    async def aclose(self) -> None:
        """Cancel what is under way in the background."""
        await self._shelf.aclose()

    async def _serve_otherwise(
        self,
        request: Request,
        target: str,
        kept: Kept | None,
        app: App,
        receive: Receive,
        exchange: Exchange,
    ) -> None:
        """Answer a request that is no plain hit."""
        said = _wanted(request)
        if said.no_store or _is_for_the_origin(request):
            exchange.cache_status = status.forwarded(status.REQUEST)
            await app(request.scope, receive, exchange.send)
            return
        asking, flights, shelf = self._asking, self._flights, self._shelf
        loop_until = self._clock() + self._settings.response_cache_patience_seconds
        for _ in range(_ROUNDS):
            if kept is not None and await self._served(kept, request, said, target, app, exchange):
                return
            key, others = shelf.key_at_hand(target, request)
            why = status.VARY_MISS if others else status.URI_MISS
            if kept is not None and not kept.for_all and request.get(b"authorization") is not None:
                kept, why = None, status.BYPASS
            elif kept is not None:
                why = status.REQUEST if self._clock() < kept.fresh_until_s else status.STALE
            joins = _may_be_joined(request, said) and not flights.is_not_shared(key, request)
            flight: Flight | None = None
            if joins:
                under_way = flights.get(key)
                left = loop_until - self._clock()
                if under_way is not None and left > 0:
                    word = await flights.wait(under_way, request, left)
                    if isinstance(word, Kept):
                        if word.for_all or request.get(b"authorization") is None:
                            await self._reply(exchange, word, status.collapsed(why))
                            return
                        break
                    if word == "go":
                        break
                    kept = shelf.at_hand(target, request)
                    continue
                if under_way is None:
                    flight = flights.lead(key)
            await self._lead(request, target, kept, said, flight, why, app, receive, exchange)
            return
        await asking.ask(
            request, app, receive, exchange, target=target, kept=kept, flight=None, why=status.URI_MISS
        )

    async def _lead(
        self,
        request: Request,
        target: str,
        kept: Kept | None,
        said: Directives,
        flight: Flight | None,
        why: bytes,
        app: App,
        receive: Receive,
        exchange: Exchange,
    ) -> None:
        """Look in Redis, then ask the application; whoever waits meanwhile hears of either."""
        flights, shelf = self._flights, self._shelf
        try:
            if (
                kept is None
                and why is not status.BYPASS
                and (said.only_if_cached or not flights.is_not_shared(target, request))
            ):
                key, kept, others = await shelf.find(target, request)
                if others:
                    why = status.VARY_MISS
                if flight is not None and key != flight.key:
                    flights.end(flight, "again")
                    flight = flights.lead(key) if flights.get(key) is None else None
                if kept is not None:
                    if await self._served(kept, request, said, target, app, exchange):
                        self._pass_on(kept, flight)
                        return
                    why = status.REQUEST if self._clock() < kept.fresh_until_s else status.STALE
                    if not kept.for_all and request.get(b"authorization") is not None:
                        kept, why = None, status.BYPASS
            elif kept is not None and why is status.STALE:
                younger = await shelf.younger(shelf.key_at_hand(target, request)[0], kept)
                if younger is not None:
                    kept = younger
                    if await self._served(kept, request, said, target, app, exchange):
                        self._pass_on(kept, flight)
                        return
            if said.only_if_cached:
                await _gateway_timeout(exchange)
                return
            await self._asking.ask(
                request, app, receive, exchange, target=target, kept=kept, flight=flight, why=why
            )
        finally:
            if flight is not None:
                flights.end(flight, "again")

    def _pass_on(self, kept: Kept, flight: Flight | None) -> None:
        """Give those who wait what Redis had, though memory may have no room for it."""
        if flight is not None and self._clock() < kept.fresh_until_s:
            self._flights.end(flight, kept)

    async def _served(
        self,
        kept: Kept,
        request: Request,
        said: Directives,
        target: str,
        app: App,
        exchange: Exchange,
    ) -> bool:
        """Answer with a stored response if the request and the response allow it."""
        now = self._clock()
        if not kept.for_all and request.get(b"authorization") is not None:
            return False
        if said.no_cache or _too_old(kept, said, now):
            return False
        left = kept.fresh_until_s - now
        if left > 0:
            await self._reply(exchange, kept, status.hit(left))
            return True
        if kept.must_ask:
            return False
        if now < kept.while_renewed_until_s:
            if now >= kept.rests_until_s:
                self._asking.renew(request, app, target=target, kept=kept)
        elif not (now < kept.rests_until_s and now < kept.if_error_until_s) and (
            kept.never_stale or said.max_stale is None or -left > said.max_stale
        ):
            return False
        await self._reply(exchange, kept, status.hit(left))
        return True

    async def _reply(self, exchange: Exchange, kept: Kept, cache_status: bytes) -> None:
        age = max(int(self._clock() - kept.born_s), 0)
        await exchange.reply(kept, age_seconds=age, cache_status=cache_status)


def _wanted(request: Request) -> Directives:
    """Return what a request asks of caches; `Pragma: no-cache` counts where nothing else is said."""
    value = request.get(b"cache-control")
    if value is None and b"no-cache" in (request.get(b"pragma") or b""):
        value = b"no-cache"
    return directives_of(value)


def _is_for_the_origin(request: Request) -> bool:
    """Tell whether a condition is one that only the application can judge (RFC 9111 §4.3.2)."""
    return request.get(b"if-match") is not None or request.get(b"if-unmodified-since") is not None


def _too_old(kept: Kept, said: Directives, now: float) -> bool:
    """Tell whether a request wants something younger, or fresh for longer."""
    age = now - kept.born_s
    if said.max_age is not None and (age > said.max_age or not said.max_age):
        return True
    return said.min_fresh is not None and kept.fresh_until_s - now < said.min_fresh


def _may_be_joined(request: Request, said: Directives) -> bool:
    """Tell whether an answer to another request, asked for a moment ago, would do."""
    get = request.get
    return (
        request.method == "GET"
        and not (said.no_cache or said.only_if_cached or said.min_fresh)
        and said.max_age is None
        and get(b"range") is None
        and not Asking.has_body(request)
    )


async def _gateway_timeout(exchange: Exchange) -> None:
    """Say that nothing is kept, to a client that wanted nothing else (RFC 9111 §5.2.1.7)."""
    exchange.cache_status = status.not_forwarded()
    fields = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
    await exchange.send({"type": "http.response.start", "status": 504, "headers": fields})
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
