"""The small service in FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from tests.asgi.frameworks.service import USERS, Made, hello

__all__ = ["make"]


def make() -> Made:
    """Return it."""
    made = Made()
    app = made.app = FastAPI(lifespan=made.life)

    @app.get("/users")
    async def users() -> list[dict[str, Any]]:
        return USERS

    @app.get("/users/{number}")
    def user(number: int) -> dict[str, Any]:
        return USERS[number]

    @app.get("/events")
    async def events() -> StreamingResponse:
        return StreamingResponse(made.events(), media_type="text/event-stream")

    @app.get("/later")
    async def later(tasks: BackgroundTasks) -> dict[str, str]:
        tasks.add_task(made.noted.append, "done")
        return {"status": "accepted"}

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("the application failed")

    @app.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    app.mount("/inner", hello)
    return made
