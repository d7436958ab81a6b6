"""Cache: what its memory tier answers, costs and takes, beside named peers and the bounds none can pass.

Each question is a file of `cache_questions/`. What is timed runs in one process, in interleaved rounds. A
peer that is not installed is left out, and the table says so (`bash scripts/peers.sh`).

    perfkit bench cache [--peers] [--rounds N]
    python benchmarks/cache.py [--rounds N] [--only WORD]
"""

from __future__ import annotations

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
from harness import Questions, ask

ROUNDS = 10

QUESTIONS: Questions = {
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
    ask(
        QUESTIONS,
        rounds=ROUNDS,
        about=__doc__ or "",
        judged="Where wall and processor time judge differently, both are said.",
    )


if __name__ == "__main__":
    main()
