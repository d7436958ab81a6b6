"""The small service in Django under ASGI: a module of URLs, with neither lifespan nor WebSockets."""

from __future__ import annotations

import django
from django import conf
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path

from tests.asgi.frameworks.service import USERS, Made

__all__ = ["make", "urlpatterns"]

_made = Made()


if not conf.settings.configured:  # when imported: unconfigured, they raise at whoever looks at them
    conf.settings.configure(
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests alone",  # noqa: S106  # signs nothing
        LOGGING_CONFIG=None,
    )
    django.setup()


def make() -> Made:
    """Return it; there is one a process."""
    _made.app, _made.lifespan = ASGIHandler(), False
    _made.noted.clear()
    return _made


async def users(request: HttpRequest) -> JsonResponse:
    """All of them."""
    return JsonResponse(USERS, safe=False)


async def user(request: HttpRequest, number: int) -> JsonResponse:
    """One of them."""
    return JsonResponse(USERS[number])


async def events(request: HttpRequest) -> StreamingHttpResponse:
    """A stream."""
    return StreamingHttpResponse(_made.events(), content_type="text/event-stream")


async def later(request: HttpRequest) -> JsonResponse:
    """Something is done when the response is closed."""
    response = JsonResponse({"status": "accepted"})
    response._resource_closers.append(lambda: _made.noted.append("done"))  # Django has no other place for it
    return response


async def broken(request: HttpRequest) -> JsonResponse:
    """An error."""
    raise LookupError("the application failed")


urlpatterns = [
    path("users", users),
    path("users/<int:number>", user),
    path("events", events),
    path("later", later),
    path("broken", broken),
]
