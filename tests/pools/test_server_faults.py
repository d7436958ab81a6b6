"""What fault tests do to a server: stall it, kill it, bring it back; and who may log in."""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from perfkit.errors import SettingsError, Unavailable
from perfkit.pools import Endpoint
from perfkit.pools.server import RedisServer, find_server, free_port
from perfkit.pools.server.config import ServerConfig

pytestmark = pytest.mark.skipif(
    find_server() is None, reason="no Redis server to start; install perfkit[server]"
)

SECRET = "hunter2"  # noqa: S105  # not one of anything real
ODD_SECRET = "p\"w\\ %@:/?#é'\n"  # noqa: S105  # likewise


def client_of(url: str, **options: float) -> redis.Redis:
    """A client that tries once and waits briefly."""
    return redis.Redis.from_url(url, **{"socket_timeout": 2, **options})


def command_lines_naming(text: str) -> list[str]:
    """The command lines of this machine's processes that hold a text, as any user could list them."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in line:
            lines.append(line)
    return lines


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server this test may do anything to."""
    with RedisServer.start() as started:
        yield started


def test_a_stalled_server_takes_connections_and_answers_nothing_until_it_goes_on(own: RedisServer) -> None:
    """What was sent meanwhile is done once, when it resumes."""
    with client_of(own.tcp_url) as before:
        before.set("n", 0)
    own.stall()

    with client_of(own.tcp_url, socket_timeout=0.05) as during, pytest.raises(redis.TimeoutError):
        during.incr("n")
    assert own.alive()
    own.resume()
    with client_of(own.tcp_url) as after:
        assert after.get("n") in (b"0", b"1")
        assert after.ping()


def test_a_killed_server_is_gone_at_once_and_its_folder_waits(own: RedisServer) -> None:
    """Connections are refused, on both addresses; a second kill does no harm, and it cannot be stalled."""
    own.kill()
    own.kill()

    assert not own.alive()
    for url in (own.url, own.tcp_url):
        with client_of(url) as client, pytest.raises(redis.ConnectionError, match=r"refused"):
            client.ping()
    with pytest.raises(Unavailable, match=r"has ended and cannot stall\. restart\(\) it first"):
        own.stall()


@pytest.mark.parametrize("ending", ["kill", "stall", "nothing"])
def test_a_restarted_server_is_a_fresh_one_on_both_old_addresses(own: RedisServer, ending: str) -> None:
    """Whether it was killed, stalled or running; its keys are gone, and it still ends with the block."""
    addresses, pid = (own.url, own.tcp_url), own.pid
    with client_of(own.url) as client:
        client.set("a", 1)
    getattr(own, ending, lambda: None)()
    own.restart()

    assert (own.url, own.tcp_url) == addresses
    assert own.pid != pid
    for url in addresses:
        with client_of(url) as client:
            assert client.info("server")["process_id"] == own.pid
            assert client.get("a") is None


def test_a_restart_is_refused_while_another_has_the_port_and_works_afterwards(own: RedisServer) -> None:
    """A server that is not ours is never taken for it."""
    own.kill()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # past connections may linger
        squatter.bind(("127.0.0.1", own.port))
        squatter.listen()
        with pytest.raises(Unavailable, match="already in use"):
            own.restart()
    own.restart()

    with client_of(own.tcp_url) as client:
        assert client.ping()


def test_what_a_server_was_told_to_keep_survives_its_crash_and_not_its_end() -> None:
    """With a log of its writes it comes back with its keys; closing removes the folder with all in it."""
    with RedisServer.start(options={"appendonly": "yes", "appendfsync": "always"}) as own:
        folder = Path(own.url.removeprefix("unix://")).parent
        with client_of(own.url) as client:
            client.set("a", 1)
        own.kill()
        own.restart()
        with client_of(own.url) as client:
            assert client.get("a") == b"1"
    assert not folder.exists()


def test_a_given_port_is_the_one() -> None:
    """And when it is taken, no other is tried."""
    port = free_port()
    with RedisServer.start(port=port) as own:
        assert own.tcp_url == f"redis://127.0.0.1:{port}/0"
        with pytest.raises(Unavailable, match="already in use"):
            RedisServer.start(port=port)


def test_ports_are_none_a_kernel_gives_to_outgoing_connections() -> None:
    """A client that keeps trying a dead server's port must not be given that port and meet itself."""
    outgoing = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not outgoing.exists():
        pytest.skip("this system does not say which ports it gives to outgoing connections")
    first, last = map(int, outgoing.read_text().split())

    assert not {free_port() for _ in range(50)} & set(range(first, last + 1))


def test_the_limit_on_clients_and_any_other_option_reach_the_server() -> None:
    """A third connection is one too many; options stand in the server's own words."""
    with (
        RedisServer.start(maxclients=2, options={"slowlog-max-len": 7, "save": "3600 1"}) as own,
        client_of(own.url) as first,
        client_of(own.url) as second,
    ):
        assert first.config_get("slowlog-max-len", "save") == {"slowlog-max-len": "7", "save": "3600 1"}
        assert second.ping()
        with socket.create_connection(("127.0.0.1", own.port), timeout=5) as third:
            assert third.recv(100) == b"-ERR max number of clients reached\r\n"


@pytest.mark.parametrize("secret", [SECRET, ODD_SECRET])
@pytest.mark.parametrize("username", [None, "ada"])
def test_only_who_knows_the_password_may_do_anything(username: str | None, secret: str) -> None:
    """Both addresses carry it, whatever is in it; a named user is the only one."""
    with RedisServer.start(username=username, password=secret) as own:
        for url in (own.url, own.tcp_url):
            with client_of(url) as client:
                assert client.acl_whoami() == (username or "default")
        with (
            client_of(f"redis://127.0.0.1:{own.port}") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_further_users_have_their_rules_also_after_a_restart() -> None:
    """A reader reads what it may and nothing else."""
    with RedisServer.start(users={"reader": f"on >{SECRET} ~cache:* +get"}) as own:
        own.restart()
        with client_of(f"redis://reader:{SECRET}@127.0.0.1:{own.port}") as reader:
            assert reader.get("cache:a") is None
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.get("a")


def test_the_password_shows_nowhere() -> None:
    """Not in a repr, not in a list of processes, not in a file that others can read."""
    secret = f"unheard-of-{free_port()}"
    with RedisServer.start(password=secret) as own:
        (config,) = Path(own.url.rpartition("@")[2]).parent.glob("*.conf")

        assert secret in config.read_text()
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert secret not in repr(own)
        assert secret not in repr(ServerConfig(username="ada", password=secret))
        assert secret not in repr(Endpoint.from_url(own.tcp_url))
        assert [line for line in command_lines_naming(str(config)) if secret in line] == []
        assert command_lines_naming(str(config)), "the server must be in the list for this to prove anything"
        assert command_lines_naming(secret) == []


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ({"password": SECRET, "options": {"maxmemory-policy": "nonsense"}}, "maxmemory-policy .*allkeys-lru"),
        ({"users": {"ada": f"on >{SECRET} +nonsense"}}, "nonsense"),
        ({"users": {"ada": f"on <{SECRET}"}}, "does not exist"),
        ({"users": {"ada": f"on nonsense>{SECRET}"}}, "user"),
        ({"options": {"masterauth": f"{SECRET} nonsense"}}, "masterauth"),
    ],
)
def test_a_server_that_refuses_what_it_is_told_says_so_without_the_password(told: dict, part: str) -> None:
    """The server quotes the line that it does not understand; we do not."""
    with pytest.raises(Unavailable, match=part) as refused:
        RedisServer.start(**told)

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("told", "part"),
    [
        ({"options": {"Port": 1}}, "'port' is not free"),
        ({"options": {"requirepass": SECRET}}, "'requirepass' is not free"),
        ({"options": {"maxclients": "1\nuser ada on nopass"}}, "'maxclients' has more than one line"),
        ({"users": {"ada": f"on >{SECRET}\nport 1"}}, "'ada' has more than one line"),
        ({"username": "ada"}, "'ada' has no password"),
    ],
)
def test_what_would_make_another_server_of_it_is_refused(told: dict, part: str) -> None:
    """Before anything is started, and without the value."""
    with pytest.raises(SettingsError, match=re.escape(part)) as refused:
        RedisServer.start(**told)

    assert SECRET not in str(refused.value)
