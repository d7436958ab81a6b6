"""Applications behind a real server, and a client of bare sockets that reads what travels."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from perfkit.asgi.messages import App, Fields

__all__ = ["Answered", "Server", "Wire", "serving", "serving_apart"]

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20


@dataclass
class Server:
    """A server that answers, where it is, and its loop when it is of this process."""

    port: int
    loop: asyncio.AbstractEventLoop | None = None
    pid: int = 0

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def call(self, what: object) -> None:
        """Call something on the server's loop."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(what)  # type: ignore[arg-type]

    def peak_bytes(self) -> int:
        """Return the most memory the server's process ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


@contextlib.contextmanager
def serving(app: App) -> Iterator[Server]:
    """Serve an application from a thread on a free port; the thread has ended when this returns."""
    ready = threading.Event()
    server = Server(0)

    class Telling(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            server.loop = asyncio.get_running_loop()
            ready.set()

    config = uvicorn.Config(
        app, lifespan="auto", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=2
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server.port = listening.getsockname()[1]
        running = Telling(config)
        thread = threading.Thread(target=running.run, args=([listening],), daemon=True)
        thread.start()
        try:
            assert ready.wait(PATIENCE_S), "the server did not start"
            yield server
        finally:
            running.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the server did not stop"


@contextlib.contextmanager
def serving_apart(name: str, **environment: str) -> Iterator[Server]:
    """Serve `module:application` from a process of its own, which has ended when this returns."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", name, "--fd", str(listening.fileno()), "--no-access-log"]
        process = subprocess.Popen(
            [*command, "--log-level", "warning", "--ws", "none"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            pass_fds=[listening.fileno()],
        )
    try:
        yield Server(port, pid=process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@dataclass
class Answered:
    """A response as it came over the wire, in its coding."""

    status: int
    fields: Fields
    raw: bytes

    def get(self, name: str) -> str | None:
        """Return a field's value, its lines joined, or None."""
        lines = [value.decode("latin-1") for key, value in self.fields if key == name.encode()]
        return ", ".join(lines) if lines else None


class Wire:
    """A connection one can write anything to, and read HTTP/1.1 from, chunk by chunk."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._held = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, path: str, *fields: str, method: str = "GET") -> None:
        """Write a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: service.example", *fields, "", ""]
        self._socket.sendall("\r\n".join(lines).encode("latin-1"))

    def head(self) -> Answered:
        """Read a response as far as its empty line."""
        first, *lines = self._until(b"\r\n\r\n").split(b"\r\n")
        pairs = [line.split(b":", 1) for line in lines]
        return Answered(int(first.split()[1]), [(name.lower(), value.strip()) for name, value in pairs], b"")

    def chunk(self) -> bytes:
        """Read a chunk of a chunked body; the last is empty."""
        size = int(self._until(b"\r\n"), 16)
        data = self._exactly(size)
        assert self._exactly(2) == b"\r\n"
        return data

    def pieces(self, head: Answered) -> Iterator[bytes]:
        """Yield a body as it comes, in chunks or not."""
        length = head.get("content-length")
        if length is None:
            assert head.get("transfer-encoding") == "chunked"
            yield from iter(self.chunk, b"")
            return
        left = int(length)
        while left:
            if not self._held:
                self._more()
            piece, self._held = self._held[:left], self._held[left:]
            left -= len(piece)
            yield piece

    def answer(self, *, bodiless: bool = False) -> Answered:
        """Read a whole response."""
        answered = self.head()
        if not bodiless and answered.status not in (204, 304):
            answered.raw = b"".join(self.pieces(answered))
        return answered

    def silent(self) -> bool:
        """Tell whether nothing more has come."""
        self._socket.settimeout(0)
        try:
            return not self._held and not self._socket.recv(1)
        except BlockingIOError:
            return not self._held
        finally:
            self._socket.settimeout(PATIENCE_S)

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        text, self._held = self._held.split(end, 1)
        return text

    def _exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        text, self._held = self._held[:count], self._held[count:]
        return text

    def _more(self) -> None:
        more = self._socket.recv(256 * 1024)
        assert more, "the server hung up"
        self._held += more
