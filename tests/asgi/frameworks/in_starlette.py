"""The small service in Starlette."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.asgi.frameworks.service import USERS, Made, hello

__all__ = ["make"]


def make() -> Made:
    """Return it."""
    made = Made()

    async def users(request: Request) -> JSONResponse:
        return JSONResponse(USERS)

    async def user(request: Request) -> JSONResponse:
        return JSONResponse(USERS[request.path_params["number"]])

    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(made.events(), media_type="text/event-stream")

    async def later(request: Request) -> JSONResponse:
        return JSONResponse({"status": "accepted"}, background=BackgroundTask(made.noted.append, "done"))

    async def broken(request: Request) -> JSONResponse:
        raise LookupError("the application failed")

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    made.app = Starlette(
        lifespan=made.life,
        routes=[
            Route("/users", users),
            Route("/users/{number:int}", user),
            Route("/events", events),
            Route("/later", later),
            Route("/broken", broken),
            WebSocketRoute("/echo", echo),
            Mount("/inner", hello),
        ],
    )
    return made
