"""Cache: what its memory tier answers, costs and takes, beside named peers and the bounds none can pass.

Each question is a file of `cache_questions/`. What is timed runs in one process, in interleaved rounds. A
peer that is not installed is left out, and the table says so (`bash scripts/peers.sh`).

    perfkit bench cache [--peers] [--rounds N]
    python benchmarks/cache.py [--rounds N] [--only WORD]
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine

from cache_questions import (
    adaptive_ttl,
    coherence,
    decorated,
    lookups,
    prefetch,
    ratios,
    room,
    surface,
    values,
)
from perfkit.lab.environment import Contention

ROUNDS = 10

QUESTIONS: dict[str, tuple[str, Callable[[int], Coroutine[None, None, str]]]] = {
    "hit": ("A hit in memory", lookups.hits),
    "set": ("A set that pushes another entry out", lookups.sets),
    "decorated": ("A decorated coroutine function whose answer is at hand", decorated.hits),
    "room": ("What an entry takes: 200,000 entries with a time to live", room.overhead),
    "stall": ("100,000 entries that end at once", room.stalls),
    "ratios": ("Hit ratios on recorded traces", ratios.beside_peers),
    "ttl": ("Hit ratios where entries expire", ratios.with_ttl),
    "libcachesim": ("The policies beside libcachesim", ratios.beside_libcachesim),
    "models": ("A pydantic model, to bytes and back", values.models),
    "embeddings": ("An embedding, to bytes and back", values.embeddings),
    "untyped": ("Untyped values, to bytes and back", values.untyped),
    "dictionaries": ("Small records, compressed", values.dictionaries),
    "scripts": ("A write that gives way to the younger", values.scripts),
    "coherence": ("How soon a change is heard", coherence.heard),
    "adaptive": ("Times to live that follow how often answers change", adaptive_ttl.kept),
    "prefetch": ("Fetching ahead", prefetch.worth),
    "surface": ("The surface of sizes and times to live", surface.modelled),
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
            "rounds on.\nA target is met when the whole interval keeps it. Where wall and processor time "
            "judge differently, both are said.",
            flush=True,
        )
        for name in asked:
            title, question = QUESTIONS[name]
            print(f"\n### {title}\n\n{asyncio.run(question(given.rounds))}", flush=True)
    waited = f"{contention.run_queue_share:.0%}"
    print(f"\nWhile it measured, this process waited {waited} of the time for a processor.")


if __name__ == "__main__":
    main()
