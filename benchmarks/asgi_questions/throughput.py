"""Requests a second of a real uvicorn, a process for each arm, asked in turns by a closed loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from shutil import which

from asgi_questions.apps import BARE, BROTLI, CODINGS, COMPRESS, GZIP, NOT_INSTALLED, OURS, OURS_ALL, peers
from harness import Arm, Estimate, Target, interleaved, level, ratio, shown, table, times, verdict
from harness.rounds import Reading
from perfkit.errors import MeasurementError

CALLERS = 8
TURN_S = 1.0
RATE = "requests a second"
TARGETS = {COMPRESS: Target(1.4), GZIP: Target(2.2)}


async def served(rounds: int) -> str:
    """Ask for 10 kB of orders as Chrome does, on 8 connections."""
    absent: dict[str, str] = {}
    found = peers(absent)
    names = [OURS, OURS_ALL, *(name for name in (COMPRESS, GZIP, BROTLI) if name in found), BARE]
    async with contextlib.AsyncExitStack() as servers:
        ports = {name: await servers.enter_async_context(_server(name)) for name in names}
        ask = _wrk if which("wrk") else _closed_loop
        arms: dict[str, Arm] = {name: _arm(ask, port) for name, port in ports.items()}
        readings = await interleaved(arms, rounds, turns=1)
    ours = readings[OURS][RATE]
    rows = []
    for name in names:
        rate = readings[name][RATE]
        row = [name, shown(Estimate(level(rate).point))]
        if name == OURS:
            rows.append([*row, "", "", ""])
            continue
        more = ratio(ours, rate)
        target = TARGETS.get(name)
        rows.append([*row, times(more), str(target or ""), verdict(more, target)])
    rows += [[f"{n}: {NOT_INSTALLED}", "", "", str(TARGETS.get(n, "")), ""] for n in absent if n in TARGETS]
    client = "wrk" if which("wrk") else "a closed loop in Python, which is slower than wrk"
    return f"{table(['', RATE, 'perfkit ÷ this', 'target', 'met'], rows)}\n\nAsked by {client}."


def _arm(ask: Callable[[int], Awaitable[float]], port: int) -> Arm:
    async def turn() -> Reading:
        return {RATE: await ask(port)}

    return turn


@contextlib.asynccontextmanager
async def _server(name: str) -> AsyncIterator[int]:
    """Start an arm's server, and end it."""
    folder = Path(__file__).parents[1]
    path = os.pathsep.join([str(folder), str(folder.parent), os.environ.get("PYTHONPATH", "")])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "asgi_questions.served",
        name,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None  # noqa: S101  # asked for above
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            raise MeasurementError(
                f"The server of {name!r} ended before it listened; see what it said above."
            )
        port = int(line)
        await _listening(port)
        yield port
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(port: int) -> None:
    """Wait until a server answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await _request(reader, writer)
    writer.close()


async def _wrk(port: int) -> float:
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", f"-c{CALLERS}", f"-d{TURN_S:g}s", "-H", f"Accept-Encoding: {CODINGS}"),
        f"http://127.0.0.1:{port}/",
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    rate = re.search(r"Requests/sec:\s*([\d.]+)", out.decode())
    if rate is None or "Non-2xx" in out.decode():
        raise MeasurementError(f"wrk did not say what it found: {out.decode().strip()!r}")
    return float(rate[1])


async def _closed_loop(port: int) -> float:
    """Ask on several connections, each waiting for its answer."""
    until_s = time.perf_counter() + TURN_S

    async def caller() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.perf_counter() < until_s:
            await _request(reader, writer)
            done += 1
        writer.close()
        return done

    begun_s = time.perf_counter()
    done = await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return sum(done) / (time.perf_counter() - begun_s)


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {CODINGS}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    if length is None or not head.startswith(b"HTTP/1.1 200"):
        raise MeasurementError(f"A server answered what this client does not read: {head[:200]!r}")
    await reader.readexactly(int(length[1]))
