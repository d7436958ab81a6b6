"""The fault proxy's own errors: how late its round trip is, and what it costs a command.

    python benchmarks/fault_proxy.py

Rounds are interleaved; a table of medians is printed. Nothing else should be busy on the machine: the client,
the proxy and the server take turns, so a round trip waits for a core four times.
"""

from __future__ import annotations

import select
import socket
import statistics
import time
from pathlib import Path
from urllib.parse import urlsplit

from perfkit.pools.fault_proxy.process import FaultProxyProcess
from perfkit.pools.server import RedisServer

ROUNDS, PINGS = 9, 60
RTTS_MS = (0.0, 0.5, 1.0, 2.0, 5.0)
CONNECTIONS, TURNS, PIPELINE = 64, 60, 64
PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


def main() -> None:
    """Measure and print."""
    with RedisServer.start() as server, FaultProxyProcess.start(server.tcp_url) as proxy:
        print(f"{server.version}; {ROUNDS} interleaved rounds")
        show_round_trips(server, proxy)
        show_capacity(server, proxy)


def show_round_trips(server: RedisServer, proxy: FaultProxyProcess) -> None:
    """One client, one command at a time."""
    times_ms: dict[str, list[float]] = {}
    with connected(server.tcp_url) as direct, connected(proxy.url) as through:
        for _ in range(ROUNDS):
            times_ms.setdefault("no proxy", []).extend(round_trip_ms(direct) for _ in range(PINGS))
            for rtt_ms in RTTS_MS:
                proxy.set(rtt_ms=rtt_ms)
                times_ms.setdefault(f"rtt_ms={rtt_ms:g}", []).extend(
                    round_trip_ms(through) for _ in range(PINGS)
                )
    proxy.set(rtt_ms=0)
    nothing_added = statistics.median(times_ms["rtt_ms=0"])
    print(f"\n{'PING, round trip in ms':28}{'median':>9}{'p90':>9}{'p99':>9}{'added over rtt_ms=0':>24}")
    for name, samples in times_ms.items():
        deciles = statistics.quantiles(samples, n=100)
        added = "" if name == "no proxy" else f"{statistics.median(samples) - nothing_added:.3f}"
        print(f"{name:28}{deciles[49]:9.3f}{deciles[89]:9.3f}{deciles[98]:9.3f}{added:>24}")


def show_capacity(server: RedisServer, proxy: FaultProxyProcess) -> None:
    """As many commands as the client can send, and the proxy's processor time for each."""
    print(f"\n{'PING':44}{'commands/s':>12}{'proxy µs a command':>20}")
    for each, count in ((1, CONNECTIONS), (PIPELINE, 1)):
        how = f"{count} connections, {each} at a time"
        for name, url, rtt_ms in (
            (f"{how}, no proxy", server.tcp_url, 0.0),
            *((f"{how}, rtt_ms={rtt_ms:g}", proxy.url, rtt_ms) for rtt_ms in (0.0, 1.0, 5.0)),
        ):
            proxy.set(rtt_ms=rtt_ms)
            rates, costs = zip(*(flood(url, proxy, count, each) for _ in range(ROUNDS)), strict=True)
            cost = "" if url == server.tcp_url else f"{statistics.median(costs):.2f}"
            print(f"{name:44}{statistics.median(rates):12,.0f}{cost:>20}")


def round_trip_ms(connection: socket.socket) -> float:
    """Send one PING and wait for its answer."""
    began = time.perf_counter()
    connection.sendall(PING)
    reply = connection.recv(100)
    took_ms = (time.perf_counter() - began) * 1000
    if reply != PONG:
        raise SystemExit(f"the server answered {reply!r} to PING, so there is nothing to measure")
    return took_ms


def flood(url: str, proxy: FaultProxyProcess, connections: int, each: int) -> tuple[float, float]:
    """Return commands a second and the proxy's microseconds of processor time a command."""
    poll, by_fd = select.epoll(), {}
    for _ in range(connections):
        opened = connected(url)
        by_fd[opened.fileno()] = opened
        poll.register(opened, select.EPOLLIN)
    request, reply_bytes = PING * each, len(PONG) * each
    waits = dict.fromkeys(by_fd, reply_bytes)
    turns = dict.fromkeys(by_fd, TURNS)
    before_s, began = processor_s(proxy.pid), time.perf_counter()
    for opened in by_fd.values():
        opened.sendall(request)
    busy = connections
    while busy:
        for fd, _event in poll.poll():
            waits[fd] -= len(by_fd[fd].recv(65_536))
            if waits[fd] == 0:
                waits[fd] = reply_bytes
                turns[fd] -= 1
                if turns[fd]:
                    by_fd[fd].sendall(request)
                else:
                    busy -= 1
    took_s, used_s = time.perf_counter() - began, processor_s(proxy.pid) - before_s
    poll.close()
    for opened in by_fd.values():
        opened.close()
    commands = connections * TURNS * each
    return commands / took_s, used_s / commands * 1e6


def processor_s(pid: int) -> float:
    """Return the processor time a process has used; Linux only."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def connected(url: str) -> socket.socket:
    """Return a connection that sends at once."""
    where = urlsplit(url)
    connection = socket.create_connection((where.hostname, where.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


if __name__ == "__main__":
    main()
