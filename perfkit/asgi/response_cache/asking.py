"""Asking the application for a response, in the foreground and behind the backs of those served already.

Where something is kept, the request carries its validators, and the answer is looked at before anybody else
sees it: a 304 freshens what is kept, an error lets it stand in if it allows that. The client is answered at
that moment, though the application may go on for a while (its background tasks run inside the same call).
"""

from __future__ import annotations

import asyncio

from perfkit.asgi.head import Head
from perfkit.asgi.messages import App, Message, Receive, Scope
from perfkit.asgi.policy import CachePolicies
from perfkit.asgi.request import Request
from perfkit.asgi.response_cache import status
from perfkit.asgi.response_cache.flights import Flight, Flights
from perfkit.asgi.response_cache.hearing import Hearing
from perfkit.asgi.response_cache.kept import Kept
from perfkit.asgi.response_cache.protocols import Exchange
from perfkit.asgi.response_cache.renewal import Unseen, nobody, silent, unconditional, validating
from perfkit.asgi.response_cache.shelf import Shelf
from perfkit.asgi.settings import AsgiSettings
from perfkit.events import RenewalFailed

__all__ = ["Asking"]

_FAILURES = frozenset({500, 502, 503, 504})
"""What RFC 5861 §4 calls an error."""


class Asking:
    """Asks the application, and knows what is under way."""

    def __init__(
        self, shelf: Shelf, flights: Flights, settings: AsgiSettings, policies: CachePolicies | None
    ) -> None:
        self._shelf = shelf
        self._flights = flights
        self._settings = settings
        self._policies = policies
        self._under_way: set[Hearing] = set()
        self._rest_seconds = shelf.cache.tiers.settings.retry_after_error_seconds

    @staticmethod
    def has_body(request: Request) -> bool:
        """Tell whether a request has a body; a GET's may change the answer, so that is nobody else's."""
        length = request.get(b"content-length")
        return (length is not None and length != b"0") or request.get(b"transfer-encoding") is not None

    def overtake(self, target: str) -> None:
        """Let nothing be kept of what was asked for before a target was taken back."""
        for hearing in self._under_way:
            if hearing.target == target:
                hearing.overtaken = True

    async def ask(
        self,
        request: Request,
        app: App,
        receive: Receive,
        exchange: Exchange,
        *,
        target: str,
        kept: Kept | None,
        flight: Flight | None,
        why: bytes,
    ) -> None:
        """Have the application answer.

        Args:
            request: What is asked for.
            app: The application.
            receive: Brings the request's body.
            exchange: Takes the response to the client.
            target: The key of the request's target.
            kept: What is kept for this request and may not be served as it is.
            flight: Those who wait for the answer.
            why: Why the application is asked, as `Cache-Status` says it.
        """
        hearing = Hearing(
            self._shelf,
            self._flights,
            self._settings,
            request=request,
            target=target,
            flight=flight,
            why=why,
            exchange=exchange,
            may_keep=request.method == "GET" and not self.has_body(request),
            replaces=kept is not None,
        )
        exchange.tee = hearing
        exchange.cache_status = status.forwarded(why)
        self._under_way.add(hearing)
        began, cancelled = self._shelf.clock(), False
        try:
            scope = request.scope if flight is None else unconditional(request.scope)
            request.scope = scope  # where the application's router leaves the route for those who count
            if kept is None:
                await app(scope, receive, exchange.send)
            else:
                await self._ask_about(kept, request, scope, app, receive, exchange, hearing, why)
        except asyncio.CancelledError:
            cancelled = True
            raise
        finally:
            self._under_way.discard(hearing)
            hearing.lost(cancelled=cancelled)
            self._shelf.loaded(self._shelf.clock() - began)

    def renew(self, request: Request, app: App, *, target: str, kept: Kept) -> None:
        """Renew a response in the background, unless somebody is asking for it already."""
        key, _ = self._shelf.key_at_hand(target, request)
        if self._flights.get(key) is None:
            flight = self._flights.lead(key)
            behind = Request(nobody(request.scope))
            self._shelf.behind(self._renewed(behind, app, target, kept, flight, key))

    async def _renewed(
        self, request: Request, app: App, target: str, kept: Kept, flight: Flight, key: str
    ) -> None:
        try:
            if await self._shelf.younger(key, kept) is None:
                unseen = Unseen(request, self._policies)
                await self.ask(
                    request, app, silent(), unseen, target=target, kept=kept, flight=flight, why=status.STALE
                )
        except Exception as error:
            self._failed(kept, f"{type(error).__name__}: {error}")
        finally:
            self._flights.end(flight, "again")

    async def _ask_about(
        self,
        kept: Kept,
        request: Request,
        scope: Scope,
        app: App,
        receive: Receive,
        exchange: Exchange,
        hearing: Hearing,
        why: bytes,
    ) -> None:
        """Ask the application what has become of something that is kept."""
        attempt = _Attempt(self, kept, request, exchange, hearing, why)
        if kept.can_be_validated and request.method == "GET" and request.get(b"range") is None:
            attempt.validates = True
            scope = request.scope = validating(scope, kept)
        try:
            if attempt.may_stand_in() and not isinstance(exchange, Unseen):
                async with asyncio.timeout(self._settings.response_cache_patience_seconds) as attempt.limit:
                    await app(scope, receive, attempt.send)
            else:
                await app(scope, receive, attempt.send)
        except Exception as error:
            if not attempt.ended and (hearing.began or not attempt.may_stand_in()):
                raise
            if not attempt.ended:
                await attempt.stand_in(f"{type(error).__name__}: {error}")
            else:
                self._failed(kept, f"{type(error).__name__}: {error}")

    def _failed(self, kept: Kept, error: str) -> None:
        """Let the application rest for a while: others are given what is kept at once."""
        kept.rests_until_s = self._shelf.clock() + self._rest_seconds
        self._shelf.cache.tiers.probe(RenewalFailed(self._shelf.cache.namespace, error))


class _Attempt:
    """One answer about something that is kept, looked at before the exchange sees it."""

    __slots__ = (
        "_asking",
        "_exchange",
        "_hearing",
        "_kept",
        "_request",
        "_why",
        "ended",
        "limit",
        "validates",
    )

    def __init__(
        self,
        asking: Asking,
        kept: Kept,
        request: Request,
        exchange: Exchange,
        hearing: Hearing,
        why: bytes,
    ) -> None:
        self._asking = asking
        self._kept = kept
        self._request = request
        self._exchange = exchange
        self._hearing = hearing
        self._why = why
        self.validates = False
        self.ended = False
        """Whether the client is answered with what is kept, and the rest of the response is nobody's."""
        self.limit: asyncio.Timeout | None = None

    def may_stand_in(self) -> bool:
        """Tell whether what is kept may answer in place of an error."""
        kept = self._kept
        now = self._asking._shelf.clock()
        return not kept.must_ask and (now < kept.if_error_until_s or now < kept.while_renewed_until_s)

    async def send(self, message: Message) -> None:
        """Take a message of the application."""
        if self.ended:
            return
        if message["type"] == "http.response.start":
            if self.limit is not None:
                self.limit.reschedule(None)
            code = message["status"]
            if code == 304 and self.validates:
                await self._confirmed(Head(code, message.get("headers", ())))
                return
            if code in _FAILURES and self.may_stand_in():
                await self.stand_in(f"status {code}")
                return
            if code == 200 and self._request.method == "HEAD":
                self._hearing.updated(self._kept, Head(code, message.get("headers", ())))
        await self._exchange.send(message)

    async def stand_in(self, error: str) -> None:
        """Answer with what is kept in place of an error."""
        self.ended = True
        self._asking._failed(self._kept, error)
        self._hearing.stands_in(self._kept)
        await self._reply(self._kept, status.forwarded(self._why))

    async def _confirmed(self, head: Head) -> None:
        renewed = self._hearing.freshened(self._kept, head)
        self.ended = True
        await self._reply(renewed, status.forwarded(self._why, status=304, stored=True))

    async def _reply(self, kept: Kept, cache_status: bytes) -> None:
        age = max(int(self._asking._shelf.clock() - kept.born_s), 0)
        await self._exchange.reply(kept, age_seconds=age, cache_status=cache_status)
