"""A real Redis-compatible server of our own, for as long as a run needs it.

It listens on a Unix socket in a private folder and on a free loopback port, keeps nothing that outlasts it,
and is checked to be the process we started. It never outlives us (`guard` says how), and what it is
told nobody else can read (`config`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

import redis

from perfkit.errors import Unavailable
from perfkit.pools.server.binary import INSTALL, ServerBinary, find_server
from perfkit.pools.server.config import ServerConfig
from perfkit.pools.server.guard import GuardedProcess
from perfkit.pools.server.port import free_port, port_was_taken
from perfkit.pools.server.version import info_of, name_and_version

__all__ = ["EvictionPolicy", "RedisServer"]

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


class RedisServer:
    """A running server; leaving the block, or the end of this process however it comes, stops it.

    `with RedisServer.start(maxmemory_bytes=64 * 1024**2, maxmemory_policy="allkeys-lru") as server:` runs one
    that evicts; `Endpoint.from_url(server.url)` is how to reach it. Faults are made with `stall`, `kill` and
    `restart`, which block for milliseconds:

    >>> with RedisServer.start(password="hunter2") as server:
    ...     server.kill()
    ...     gone = not server.alive()
    ...     server.restart()
    ...     gone, server.alive(), "hunter2" in repr(server)
    (True, True, False)
    """

    def __init__(self, binary: Path, port: int, config: ServerConfig) -> None:
        self.port = port
        """On loopback; the same after a restart."""
        self.version = ""
        """Name and version, as in `valkey 9.1.2`."""
        self._binary = binary
        self._config = config
        self._folder = _private_folder()
        self._process = self._spawn()
        self._owner_pid = os.getpid()
        atexit.register(self.close)

    @classmethod
    def start(
        cls,
        *,
        binary: ServerBinary | None = None,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        users: Mapping[str, str] | None = None,
        maxclients: int | None = None,
        maxmemory_bytes: int | None = None,
        maxmemory_policy: EvictionPolicy | None = None,
        options: Mapping[str, str | int] | None = None,
    ) -> RedisServer:
        """Start a server and wait until it answers; blocks for about 60 ms, so do it before a loop runs.

        Args:
            binary: Default: what `find_server` finds.
            port: On loopback; default: a free one.
            username: The only one who may log in, with every right. Default: the server's own `default`.
            password: Of that user. It stands in `url` and `tcp_url`, and in no repr, message or command line.
            users: Further users, each with its ACL rules, as in `{"reader": "on >secret ~cache:* +get"}`.
            maxclients: How many connections it takes; default: its own, 10,000.
            maxmemory_bytes: How much it may hold; default: no limit.
            maxmemory_policy: What it does when full; default: refuse writes.
            options: Further lines of its configuration file, as in `{"proto-max-bulk-len": "1mb"}`.

        Raises:
            SettingsError: `options` sets what is not its own, or a user has no password.
            Unavailable: there is none, or it did not start; the message holds the last line of its log.
        """
        binary = binary or find_server()
        if binary is None:
            raise Unavailable(f"There is no Redis server to start. {INSTALL}", dependency="redis")
        limits = {
            "maxclients": maxclients,
            "maxmemory": maxmemory_bytes,
            "maxmemory-policy": maxmemory_policy,
        }
        given = {name: value for name, value in limits.items() if value is not None} | dict(options or {})
        config = ServerConfig(username=username, password=password, users=users or {}, options=given)
        for tries_left in reversed(range(1 if port else _PORTS_TO_TRY)):
            server = cls(binary.path, port or free_port(), config)
            try:
                server._wait_for_answer()
                break
            except BaseException as failure:
                server.close()
                if not (tries_left and port_was_taken(failure)):
                    raise
        return server

    @property
    def pid(self) -> int:
        """The server's own process id; another one after a restart."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The address of the Unix socket, with the password if there is one; the faster of the two."""
        return f"unix://{self._config.credentials}{_socket_in(self._folder)}"

    @property
    def tcp_url(self) -> str:
        """The address on loopback, with the password if there is one."""
        return f"redis://{self._config.credentials}127.0.0.1:{self.port}/0"

    def alive(self) -> bool:
        """Tell whether the server still runs; one that is stalled does."""
        return not self._process.ended()

    def stall(self) -> None:
        """Stop the server where it is: connections stay open and are accepted, and nothing is answered.

        What it has when a machine swaps, a disk hangs or a hypervisor pauses it. `resume` undoes it.

        Raises:
            Unavailable: it has ended.
        """
        if not self.alive():
            raise Unavailable(f"{self!r} has ended and cannot stall. restart() it first.", dependency="redis")
        self._process.signal(signal.SIGSTOP)
        for _ in range(_POLLS):
            if _stopped(self.pid) or self._process.ended(within_s=0.0005):
                break

    def resume(self) -> None:
        """Let a stalled server go on; it answers what has come in meanwhile."""
        self._process.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server as a crash would, whether it runs or is stalled; returns when it is gone."""
        self._process.signal(signal.SIGKILL)
        self._process.ended(within_s=_PATIENCE_S)

    def restart(self) -> None:
        """Start it anew on the same port and socket, ending it first if it runs; what was in memory is gone.

        Raises:
            Unavailable: it did not start, as when something else has taken its port; it may be tried again.
        """
        self._end()
        before, self._process = self._process, self._spawn()
        before.let_go(keep_folder=True)
        self._wait_for_answer()

    def close(self) -> None:
        """Stop the server and remove its folder; twice does no harm, and a forked child cannot do it."""
        if os.getpid() != self._owner_pid:
            return
        atexit.unregister(self.close)
        self._end()
        self._process.let_go()  # a server that ignored SIGTERM is killed now
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RedisServer({self.version or 'of unknown version'!r}, port={self.port}, pid={self.pid})"

    def _spawn(self) -> GuardedProcess:
        file = self._folder / "server.conf"
        self._config.write(
            file,
            port=self.port,
            bind="127.0.0.1",
            daemonize="no",
            unixsocket=str(_socket_in(self._folder)),
            unixsocketperm="700",
            dir=str(self._folder),
        )
        return GuardedProcess([str(self._binary), str(file)], self._folder)

    def _end(self) -> None:
        self._process.signal(signal.SIGTERM)
        self._process.signal(signal.SIGCONT)  # a stalled one cannot obey
        if not self._process.ended(within_s=_PATIENCE_S):
            self.kill()

    def _wait_for_answer(self) -> None:
        """Return once the answer on its port is certainly its own."""
        for _ in range(_POLLS):
            with contextlib.suppress(redis.RedisError):
                info = info_of(self.tcp_url)
                if info.get("process_id") == self.pid:
                    self.version = name_and_version(info)
                    return
            if self._process.ended(within_s=_POLL_S):
                break
        raise Unavailable(f"{self._binary} did not start: {self._last_words()}", dependency="redis")

    def _last_words(self) -> str:
        if self.alive():
            return f"no answer on port {self.port}"
        words = self._config.without_secrets(self._process.last_words())
        return " ".join(words.split("\n")) or "it said nothing"


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


def _stopped(pid: int) -> bool:
    """Tell whether a process has come to its stop; where there is no /proc, it is taken for granted."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "T"
