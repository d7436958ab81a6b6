"""What a layer costs that does nothing, or one job: five of perfkit's, and five of `BaseHTTPMiddleware`."""

from __future__ import annotations

from typing import Any

from asgi_questions.apps import BARE, NOT_INSTALLED, OURS_ALL, Wrap, bare, named, perfkit
from asgi_questions.direct import added, added_table, check, requests, scope_of
from asgi_questions.payloads import SIZES, payload
from harness import Arm, Target, Timed, interleaved, ratio, table, times, verdict
from perfkit.asgi import (
    CacheControlMiddleware,
    CompressionMiddleware,
    FieldsMiddleware,
    TimingMiddleware,
    ValidatorsMiddleware,
)
from perfkit.asgi.messages import App, Receive, Scope, Send

LAYERS = 5
CHEAPER = Target(50)
FUSED = f"{OURS_ALL} in one layer"
FIVE = f"perfkit, {LAYERS} layers of one stage each"
PLAIN = f"{LAYERS} plain ASGI layers that do nothing"
BASE = f"{named('starlette')}, {LAYERS} layers of BaseHTTPMiddleware that do nothing"


async def five(rounds: int) -> str:
    """Put five layers around an application, for a client that accepts no coding."""
    body, scope = payload("orders", SIZES["10 kB"]), scope_of("")
    absent: dict[str, str] = {}
    wraps: dict[str, Wrap] = {
        FUSED: perfkit()[OURS_ALL],
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
    costs = added_table(readings, {}, bare=BARE, absent=absent)
    if BASE not in readings:
        return costs
    rows = []
    for name in (FUSED, FIVE):
        cheaper = ratio(added(readings, BASE, BARE), added(readings, name, BARE))
        rows.append([name, times(cheaper), str(CHEAPER), verdict(cheaper, CHEAPER)])
    header = [f"added by {BASE} ÷ added by", "ratio", "target", "met"]
    return f"{costs}\n\n{table(header, rows)}"


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
