"""Ports of loopback for servers of our own."""

from __future__ import annotations

import contextlib
import secrets
import socket

from perfkit.errors import Unavailable

__all__ = ["free_port", "port_was_taken"]

_PORTS = range(20_000, 32_000)
"""Below those that kernels give to outgoing connections: a client that kept trying a dead server's port would
one day be given that very port, be connected to itself and keep the server from coming back."""


def port_was_taken(failure: BaseException) -> bool:
    """Tell whether a server did not start because something else listens on a port of its own."""
    return isinstance(failure, Unavailable) and "already in use" in str(failure)


def free_port() -> int:
    """Return a port of loopback on which nothing listens now."""
    for _ in range(len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", secrets.choice(_PORTS)))
            port: int = probe.getsockname()[1]
            return port
    raise Unavailable(
        f"No port of 127.0.0.1 from {_PORTS.start} to {_PORTS.stop} is free. End what listens there.",
        dependency="redis",
    )
