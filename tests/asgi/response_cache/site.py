"""A site behind the response cache whose clock the test moves, and whose answers it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from perfkit.asgi.messages import Receive, Scope, Send
from perfkit.cache import CacheSettings, TieredCache, Tiers
from perfkit.events import Event
from tests.asgi.imitated import Answer, body, hear, scope, start

__all__ = ["EPOCH_S", "Page", "Site", "quiet"]

EPOCH_S = 1_767_225_600.0
"""2026-01-01 00:00:00 UTC."""

Fields = Iterable[tuple[str, str]]


def quiet(**knobs: Any) -> AsgiSettings:
    """Return settings with every stage off but validators and the response cache."""
    off = {"add_cache_control": False, "compress_responses": False, "track_response_time": False}
    return AsgiSettings(**(off | knobs))


class Page:
    """What the application answers: fields, a body that says how often it was made, and a wait before it."""

    def __init__(self, *fields: tuple[str, str], status: int = 200, content: bytes | None = None) -> None:
        self.fields = fields
        self.status = status
        self.content = content
        self.error: BaseException | None = None
        self.wait: Callable[[], Any] | None = None
        self.pieces = 1
        self.messages: list[Any] = []


class Site:
    """One instance: an application, the middleware around it, and what was asked of either."""

    def __init__(
        self, *fields: tuple[str, str], redis: Any = None, site: Site | None = None, **knobs: Any
    ) -> None:
        self.now_s = 1_000.0
        self.page = Page(*fields)
        self.pages: dict[str, Page] = {}
        self.asked: list[Scope] = []
        self.events: list[Event] = []
        self._time = site or self
        clock, epoch = (lambda: self._time.now_s), (lambda: EPOCH_S + self._time.now_s - 1_000.0)
        cache_settings = CacheSettings(ttl_jitter=0)
        if redis is None:
            cache = TieredCache(cache_settings, clock=clock, epoch=epoch, probe=self.events.append)
        else:
            tiers = Tiers.over(
                redis,
                cache_settings,
                prefix="test:",
                clock=clock,
                epoch=epoch,
                probe=self.events.append,
            )
            cache = TieredCache(tiers=tiers)
        self.cache = cache
        self.layer = PerformanceMiddleware(self._app, quiet(**knobs), cache=cache, clock=clock)

    @property
    def calls(self) -> int:
        """How often the application was asked."""
        return len(self.asked)

    async def get(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET", **more: Any
    ) -> Answer:
        """Return what a client gets."""
        return await hear(self.layer, scope(method, path, fields, **more))

    async def settle(self) -> None:
        """Let what is under way in the background go on."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope)
        number = len(self.asked)
        page = self.pages.get(scope["path"], self.page)
        if page.wait is not None:
            await page.wait()
        if page.error is not None:
            raise page.error
        content = b"answer %d" % number if page.content is None else page.content
        etag = dict(page.fields).get("etag")
        fields = dict(scope["headers"])
        if etag is not None and fields.get(b"if-none-match") == etag.encode():
            await send(start(304, *page.fields))
            await send(body())
            return
        await send(start(page.status, *page.fields))
        for piece in range(page.pieces - 1):
            await send(body(b"piece %d " % piece, more=True))
        await send(body(b"" if page.status in (204, 304) else content))
        for message in page.messages:
            await send(message)
