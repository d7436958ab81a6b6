"""Pools: what each of their promises is worth, beside named peers, on one real server.

Each question is a file of `pool_questions/`. All arms of a question run in one process, on one event loop,
against one server on TCP loopback, in interleaved rounds. A peer that is not installed is left out, and the
table says so (`bash scripts/peers.sh`).

    perfkit bench pools [--peers] [--rounds N]
    python benchmarks/pools.py [--rounds N] [--only WORD]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from perfkit.lab.environment import Contention
from perfkit.pools.server import RedisServer
from pool_questions import batches, breaker, connect, distance, fairness, gets, partition, stack
from pool_questions.clients import Clients, clients

ROUNDS = 10

QUESTIONS: dict[str, tuple[str, Callable[[Clients, str, int], Awaitable[str]]]] = {
    "concurrent": ("64 concurrent GETs of 100 bytes", gets.concurrent),
    "sequential": ("One GET after the other", gets.sequential),
    "batch_get": ("Reading 100 keys at a time", batches.read),
    "batch_set": ("Writing 100 keys at a time, with a time to live", batches.written),
    "breaker": ("The circuit breaker", breaker.cost),
    "stack": ("The whole stack against the bare transport, 64 concurrent GETs", stack.cost),
    "partition": ("CACHE under a load of ANALYTICS: MGETs of 1 MB by 8 callers", partition.under_load),
    "connect": ("Connecting", connect.round_trips),
    "fairness": ("32 workers on 4 connections", fairness.of_waiting),
    "distance": ("64 concurrent GETs of 100 bytes, further away", distance.away),
}


def main() -> None:
    """Print one table a question, in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="6 at least for intervals")
    arguments.add_argument("--only", choices=QUESTIONS, help="ask one question")
    given = arguments.parse_args()
    asked = [given.only] if given.only else list(QUESTIONS)
    with RedisServer.start() as server, Contention() as contention:
        print(
            f"Server: {server.version}, on TCP loopback. {given.rounds} interleaved rounds; in parentheses "
            "the 95 % interval, from 6 rounds on.\nA target is met when the whole interval keeps it. Where "
            "wall and processor time judge differently, both are said.",
            flush=True,
        )
        asyncio.run(ask(server.tcp_url, asked, given.rounds))
    waited = f"{contention.run_queue_share:.0%}"
    print(f"\nWhile it measured, this process waited {waited} of the time for a processor.")


async def ask(url: str, asked: list[str], rounds: int) -> None:
    """Ask questions one after the other, each with clients of its own."""
    for name in asked:
        title, question = QUESTIONS[name]
        async with clients(url) as found:
            print(f"\n### {title}\n\n{await question(found, url, rounds)}", flush=True)


if __name__ == "__main__":
    main()
