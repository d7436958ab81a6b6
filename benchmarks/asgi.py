"""ASGI: what the middleware adds to a response and takes from it, beside named peers.

Each question is a file of `asgi_questions/`. What is timed runs in one process, in interleaved rounds; for
throughput each arm is a real server. A peer that is not installed is left out, and the table says so
(`bash scripts/peers.sh`).

    perfkit bench asgi [--peers] [--rounds N]
    python benchmarks/asgi.py [--rounds N] [--only WORD]
"""

from __future__ import annotations

from asgi_questions import compressing, events, fields, hits, layers, throughput
from harness import Questions, ask

ROUNDS = 10

QUESTIONS: Questions = {
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
    ask(
        QUESTIONS,
        rounds=ROUNDS,
        about=__doc__ or "",
        judged="What a middleware adds is processor time above that of the bare application in its round.",
    )


if __name__ == "__main__":
    main()
