"""The small service in Litestar."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, WebSocket, asgi, get, websocket
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath
from litestar.response import Response, Stream

from tests.asgi.frameworks.service import USERS, Made, hello

__all__ = ["make"]


def make() -> Made:
    """Return it."""
    made = Made()

    @get("/users", sync_to_thread=False)
    def users() -> list[dict[str, Any]]:
        return USERS

    @get("/users/{number:int}", sync_to_thread=False)
    def user(number: FromPath[int]) -> dict[str, Any]:
        return USERS[number]

    @get("/events", sync_to_thread=False)
    def events() -> Stream:
        return Stream(made.events(), media_type="text/event-stream")

    @get("/later", sync_to_thread=False)
    def later() -> Response[dict[str, str]]:
        return Response({"status": "accepted"}, background=BackgroundTask(made.note, "done"))

    @get("/broken", sync_to_thread=False)
    def broken() -> None:
        raise LookupError("the application failed")

    @websocket("/echo")
    async def echo(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    inner = asgi("/inner", is_mount=True, copy_scope=True)(hello)
    handlers = [users, user, events, later, broken, echo, inner]
    made.app = Litestar(handlers, lifespan=[made.life], openapi_config=None, logging_config=None)
    return made
