"""ASGI: what the middleware adds to a response and takes from it, beside named peers.

Each question is a file of `asgi_questions/`. What is timed runs in one process, in interleaved rounds; for
throughput each arm is a real server. A peer that is not installed is left out, and the table says so
(`bash scripts/peers.sh`).

    perfkit bench asgi [--peers] [--rounds N]
    python benchmarks/asgi.py [--rounds N] [--only WORD]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine

from asgi_questions import compressing, events, fields, hits, layers, throughput
from perfkit.lab.environment import Contention

ROUNDS = 10

QUESTIONS: dict[str, tuple[str, Callable[[int], Coroutine[None, None, str]]]] = {
    "uncompressed": ("A client that accepts no coding", compressing.uncompressed),
    "best": ("A client that accepts all codings", compressing.best),
    "gzip": ("A client that accepts gzip alone", compressing.gzip_alone),
    "throughput": ("10 kB from a real server, by clients that accept all codings", throughput.served),
    "hit": ("An answer out of the response cache", hits.beside_bare),
    "fields": ("Some fields of a document", fields.filtering),
    "events": ("Server-sent events", events.delivered),
    "layers": ("Five layers", layers.five),
    "cost": ("Levels that aim at the least money", compressing.cost),
}


def main() -> None:
    """Print one table a question, in Markdown."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=ROUNDS, help="6 at least for intervals")
    arguments.add_argument("--only", choices=QUESTIONS, help="ask one question")
    given = arguments.parse_args()
    asked = [given.only] if given.only else list(QUESTIONS)
    with Contention() as contention:
        print(
            f"{given.rounds} interleaved rounds of what is timed; in parentheses the 95 % interval, from 6 "
            "rounds on.\nA target is met when the whole interval keeps it. What a middleware adds is "
            "processor time above that of the bare application in the same round.",
            flush=True,
        )
        for name in asked:
            title, question = QUESTIONS[name]
            print(f"\n### {title}\n\n{asyncio.run(question(given.rounds))}", flush=True)
    waited = f"{contention.run_queue_share:.0%}"
    print(f"\nWhile it measured, this process waited {waited} of the time for a processor.")


if __name__ == "__main__":
    main()
