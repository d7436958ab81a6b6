"""The command line of a benchmark that asks its questions one after the other, each for itself."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TypeAlias

from perfkit.lab.environment import Contention

Questions: TypeAlias = Mapping[str, tuple[str, Callable[[int], Coroutine[None, None, str]]]]
"""By a word for the command line: the title, and what answers in Markdown after so many rounds."""


def ask(questions: Questions, *, rounds: int, about: str, judged: str) -> None:
    """Print one table a question, in Markdown.

    Args:
        questions: In the order in which they are asked.
        rounds: How many interleaved rounds, where the command line does not say.
        about: What `--help` says.
        judged: How targets are judged here, in a sentence.
    """
    arguments = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=rounds, help="6 at least for intervals")
    arguments.add_argument("--only", choices=questions, help="ask one question")
    given = arguments.parse_args()
    asked = [given.only] if given.only else list(questions)
    with Contention() as contention:
        print(
            f"{given.rounds} interleaved rounds of what is timed; in parentheses the 95 % interval, from 6 "
            f"rounds on.\nA target is met when the whole interval keeps it. {judged}",
            flush=True,
        )
        for name in asked:
            title, question = questions[name]
            print(f"\n### {title}\n\n{asyncio.run(question(given.rounds))}", flush=True)
    waited = f"{contention.run_queue_share:.0%}"
    print(f"\nWhile it measured, this process waited {waited} of the time for a processor.")
