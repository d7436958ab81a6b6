"""How far a run has come, on stderr: bars for a person, a line now and then for a log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

__all__ = ["Progress"]

_LINE_EVERY_S = 5.0


class Progress:
    """Draws one bar a stage. `PERFKIT_BATCH=1`, or a stderr that is no terminal, makes it sparse lines."""

    def __init__(self, *, show: bool = True) -> None:
        self._show = show
        self._live = sys.stderr.isatty() and not os.environ.get("PERFKIT_BATCH")

    @contextmanager
    def stage(self, name: str, trials: int) -> Iterator[Callable[[], None]]:
        """Show a stage of so many trials; call what is yielded once for each that ends."""
        with tqdm(
            total=trials,
            desc=f"{name:>8}",
            unit="trial",
            file=sys.stderr,
            disable=not self._show,
            mininterval=0.1 if self._live else _LINE_EVERY_S,
            ncols=80,
        ) as bar:
            yield lambda: (bar.update(), None)[1]
