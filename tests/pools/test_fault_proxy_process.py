"""The fault proxy in a process of its own: on time, missed when it is gone, and gone when we are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest

from perfkit.errors import Unavailable
from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy import process as fault_proxy_process
from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.server import RedisServer

Proxy: TypeAlias = FaultProxy | FaultProxyProcess
Started: TypeAlias = Callable[[str], AbstractAsyncContextManager[Proxy]]
Connected: TypeAlias = Callable[[Proxy], AbstractAsyncContextManager[Any]]
Until: TypeAlias = Callable[[Callable[[], bool]], Awaitable[bool]]

INCR = b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"
FOREVER_MS = 600_000.0
PATIENCE_S = 10.0


def test_it_is_on_time(server: RedisServer) -> None:
    """Half a millisecond is not rounded up to one and more, as an asyncio loop's timer would be."""
    took_s = []
    with FaultProxyProcess.start(server.url, rtt_ms=0.5) as proxy:
        where = urlsplit(proxy.url)
        with socket.create_connection((where.hostname, where.port)) as connection:
            for _ in range(300):
                began = time.perf_counter()
                connection.sendall(PING)
                connection.recv(100)
                took_s.append(time.perf_counter() - began)

    assert 0.0005 <= min(took_s) < 0.0009


def test_closing_ends_the_process(server: RedisServer) -> None:
    """Once is enough, twice does no harm, and afterwards it says that it has ended."""
    with FaultProxyProcess.start(server.url) as proxy:
        assert proxy.alive()
    proxy.close()

    assert not proxy.alive()
    assert not runs(proxy.pid)
    with pytest.raises(Unavailable, match="has ended"):
        proxy.clear()


def test_one_that_was_killed_is_missed(server: RedisServer) -> None:
    """What goes on being measured would be something else."""
    with FaultProxyProcess.start(server.url) as proxy:
        os.kill(proxy.pid, signal.SIGKILL)

        with pytest.raises(Unavailable, match=f"process {proxy.pid}, has ended"):
            proxy.set(rtt_ms=1)
        assert proxy.rtt_ms == 0


def test_a_stopped_one_is_given_up_and_killed(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends, both for an answer and for its end."""
    with FaultProxyProcess.start(server.url) as proxy:
        monkeypatch.setattr(fault_proxy_process, "_PATIENCE_S", 0.05)
        os.kill(proxy.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
            proxy.clear()

    assert not runs(proxy.pid)


def test_a_password_is_in_its_address_only() -> None:
    """Not among its arguments, which every user of the machine may read, nor in its repr."""
    with FaultProxyProcess.start("redis://:hunter2@127.0.0.1:6379/0") as proxy:
        arguments = subprocess.run(
            ["ps", "-o", "args=", "-p", str(proxy.pid)], capture_output=True, text=True, check=True
        )
        assert "perfkit" in arguments.stdout
        assert "hunter2" not in arguments.stdout + repr(proxy)
        assert ":hunter2@" in proxy.url


@pytest.mark.parametrize("ending", ["kill", "term", "end", "fork"])
async def test_it_never_outlives_its_owner(ending: str, until: Until) -> None:
    """Killed, asked to go, ended without closing, or survived by a forked worker: all the same."""
    owner = owner_that_ends_by(ending)
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        pids = dict(owner.stdout.readline().split() for _ in range(1 + (ending == "fork")))
        proxy = int(pids["proxy"])
        assert ending == "end" or runs(proxy)
        if ending != "end":
            owner.send_signal(signal.SIGTERM if ending == "term" else signal.SIGKILL)
        owner.wait()
        if ending == "fork":
            assert runs(int(pids["worker"])), "the worker must outlive the owner for this to prove anything"

        assert await until(lambda: not runs(proxy))


def owner_that_ends_by(ending: str) -> subprocess.Popen[str]:
    """Start a process that starts a proxy."""
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


_OWNER = """
import os, sys
from perfkit.pools.fault_proxy.process import FaultProxyProcess
proxy = FaultProxyProcess.start("redis://127.0.0.1:6379/0")
if "fork" in sys.argv and os.fork() == 0:
    os.write(1, b"worker %d\\n" % os.getpid())
    sys.stdin.read()  # a worker that outlives us
    os._exit(0)
os.write(1, b"proxy %d\\n" % proxy.pid)  # in one piece, whatever the other process writes
if "end" not in sys.argv:
    sys.stdin.read()
"""


def runs(pid: int) -> bool:
    """Tell whether a process exists; one that has ended and was not yet reaped does not run."""
    status = Path(f"/proc/{pid}/status")
    if status.parent.parent.joinpath("self").exists():
        return status.exists() and "State:\tZ" not in status.read_text()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
