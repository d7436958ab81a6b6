"""What tests of the middleware share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from tests.asgi.served import Server, serving
from tests.asgi.service import Service


@pytest.fixture(scope="module")
def service() -> Service:
    """The application behind the server."""
    return Service()


@pytest.fixture(scope="module")
def server(service: Service) -> Iterator[Server]:
    """A real server with every stage of the middleware, stopped when the module's tests are done."""
    with serving(PerformanceMiddleware(service, AsgiSettings())) as server:
        yield server
