"""Vertex: what waiting for company costs and brings, under quota and without, beside named peers.

Each question is a file of `vertex_questions/`. Recorded arrivals lie beside the checkout, in
shared/data/arrivals; `ARRIVALS` names another folder, and every trace in it is asked. Where there are none,
arrivals are generated. A peer that is not installed is left out, and the table says so (`bash
scripts/peers.sh`).

    [ARRIVALS=FOLDER] perfkit bench vertex [--peers] [--rounds N]
    [ARRIVALS=FOLDER] python benchmarks/vertex.py [--rounds N] [--only WORD]
"""

from __future__ import annotations

from harness import Questions, ask
from vertex_questions import (
    agreement,
    batcher,
    client,
    decode,
    healing,
    imports,
    low_traffic,
    policies,
    quota,
    stalls,
)

ROUNDS = 10

QUESTIONS: Questions = {
    "policies": ("How long to wait, against the offline optimum", policies.against_the_optimum),
    "quota": ("1,500 requests a minute", quota.kept),
    "low": ("Low traffic", low_traffic.untaxed),
    "batcher": ("What the batcher costs", batcher.costs),
    "decode": ("Vectors off the wire", decode.read),
    "client": ("What a text costs the client", client.costs),
    "stalls": ("The event loop while vectors come in", stalls.longest),
    "agreement": ("The virtual clock beside real gRPC", agreement.agree),
    "import": ("Loading", imports.weighed),
    "healing": ("A server that changes its mind, and a text it will not have", healing.isolated),
}


def main() -> None:
    """Print one table a question, in Markdown."""
    ask(
        QUESTIONS,
        rounds=ROUNDS,
        about=__doc__ or "",
        judged="What is simulated or modelled has no interval: the same seed gives the same figures.",
    )


if __name__ == "__main__":
    main()
