"""What a layer costs that does nothing, or one job: five of perfkit's, and five of `BaseHTTPMiddleware`."""

from __future__ import annotations

from typing import Any

from asgi_questions.apps import BARE, NOT_INSTALLED, OURS_ALL, Wrap, bare, named, perfkit
from asgi_questions.direct import added_table, check, requests, scope_of
from asgi_questions.payloads import SIZES, payload
from harness import Arm, Target, Timed, interleaved
from perfkit.asgi import (
    CacheControlMiddleware,
    CompressionMiddleware,
    FieldsMiddleware,
    TimingMiddleware,
    ValidatorsMiddleware,
)
from perfkit.asgi.messages import App, Receive, Scope, Send

LAYERS = 5
FIVE = f"perfkit, {LAYERS} layers of one stage each"
PLAIN = f"{LAYERS} plain ASGI layers that do nothing"
BASE = f"{named('starlette')}, {LAYERS} layers of BaseHTTPMiddleware that do nothing"


async def five(rounds: int) -> str:
    """Put five layers around an application, for a client that accepts no coding."""
    body, scope = payload("orders", SIZES["10 kB"]), scope_of("")
    absent: dict[str, str] = {}
    wraps: dict[str, Wrap] = {
        f"{OURS_ALL}, one layer": perfkit()[OURS_ALL],
        FIVE: _single_stages,
        PLAIN: _plain,
    }
    try:
        wraps[BASE] = _base()
    except ImportError:
        absent[BASE] = NOT_INSTALLED
    arms: dict[str, Arm] = {BARE: Timed(requests(bare(body), scope))}
    for name, wrap in wraps.items():
        app = wrap(bare(body))
        await check(app, scope, body)
        arms[name] = Timed(requests(app, scope))
    readings = await interleaved(arms, rounds)
    targets = {BASE: Target(1 / 50, at_most=True)}
    fused = added_table(readings, targets, bare=BARE, absent=absent)
    apart = {name: found for name, found in readings.items() if name in (BARE, FIVE, BASE)}
    return f"{fused}\n\n{added_table(apart, targets, bare=BARE, absent=absent)}"


def _single_stages(app: App) -> App:
    return CompressionMiddleware(
        ValidatorsMiddleware(FieldsMiddleware(CacheControlMiddleware(TimingMiddleware(app))))
    )


class _Plain:
    """A layer that hands each message on."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hand_on(message: Any) -> None:
            await send(message)

        await self.app(scope, receive, hand_on)


def _plain(app: App) -> App:
    for _ in range(LAYERS):
        app = _Plain(app)
    return app


def _base() -> Wrap:
    from starlette.middleware.base import BaseHTTPMiddleware

    async def hand_on(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    def wrap(app: App) -> App:
        for _ in range(LAYERS):
            app = BaseHTTPMiddleware(app, dispatch=hand_on)
        return app

    return wrap
