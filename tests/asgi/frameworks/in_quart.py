"""The small service in Quart."""

from __future__ import annotations

from typing import Any

from quart import Quart, Response, jsonify, websocket

from tests.asgi.frameworks.service import USERS, Made

__all__ = ["make"]


def make() -> Made:
    """Return it."""
    made = Made()
    app = made.app = Quart(__name__)

    @app.get("/users")
    async def users() -> Response:
        return jsonify(USERS)

    @app.get("/users/<int:number>")
    async def user(number: int) -> dict[str, Any]:
        return USERS[number]

    @app.get("/events")
    async def events() -> Response:
        return Response(made.events(), content_type="text/event-stream")

    @app.get("/later")
    async def later() -> dict[str, str]:
        app.add_background_task(made.note, "done")
        return {"status": "accepted"}

    @app.get("/broken")
    async def broken() -> str:
        raise LookupError("the application failed")

    @app.websocket("/echo")
    async def echo() -> None:
        await websocket.send(await websocket.receive())

    @app.before_serving
    async def started() -> None:
        made.noted.append("started")

    @app.after_serving
    async def stopped() -> None:
        made.noted.append("stopped")

    return made
