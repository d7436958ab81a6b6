"""One connection through the fault proxy: a socket on each side, and a stream in each direction."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
from collections.abc import Callable

from perfkit.pools.fault_proxy.stream import End, Stream
from perfkit.pools.fault_proxy.toxics import Toxics

__all__ = ["Link", "reset_socket"]

_DRAIN_READS = 64
_DRAIN_BYTES = 64 * 1024


class Link:
    """A client's connection and its counterpart to the server, for as long as either lives."""

    def __init__(
        self,
        client: socket.socket,
        upstream: socket.socket,
        rng: random.Random,
        ended: Callable[[Link], None],
    ) -> None:
        self._sockets = (client, upstream)
        self._ended = ended
        self._open = True
        self.requests = Stream(self, client, upstream, rng)
        self.replies = Stream(self, upstream, client, rng)

    def apply(self, toxics: Toxics, rtt_ms: float) -> None:
        """Take on other toxics; half of the round trip falls to each stream."""
        self.requests.apply(toxics.requests, rtt_ms / 2)
        if self._open:
            self.replies.apply(toxics.replies, rtt_ms / 2)

    def close(self) -> None:
        """End both connections in order: each side reads an end of file."""
        self._end(_close_socket)

    def reset(self) -> None:
        """End both connections with RST: each side gets `ECONNRESET`."""
        self._end(reset_socket)

    def stream_ended(self, stream: Stream) -> None:
        """Close once neither stream has anything left to say."""
        if self.requests.ended and self.replies.ended:
            self.close()

    def hang_up(self, deaf: Stream) -> None:
        """Let the target of one stream, which takes nothing any more, be missed at its source."""
        (self.replies if deaf is self.requests else self.requests).end(End.RESET)
        self.stream_ended(deaf)

    def _end(self, end_socket: Callable[[socket.socket], None]) -> None:
        if not self._open:
            return
        self._open = False
        self.requests.stop()
        self.replies.stop()
        for each in self._sockets:
            end_socket(each)
        self._ended(self)


def reset_socket(connection: socket.socket) -> None:
    """Close with RST and throw away what is unsent; a Unix socket, which knows no RST, just closes."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _close_socket(connection: socket.socket) -> None:
    """Close with FIN. Unread bytes would make the kernel send RST instead, so they are read first."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        for _ in range(_DRAIN_READS):
            if not connection.recv(_DRAIN_BYTES):
                break
    connection.close()
