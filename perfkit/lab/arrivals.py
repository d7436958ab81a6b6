"""When requests came to services of others: traces and fitted laws that were published for language models.

    azure-llm   TIMESTAMP,ContextTokens,GeneratedTokens: one request a line, in ticks of 100 ns [1]
    servegen    client,window_start_s,rate_rps,cv,dist,param1,param2: for each client and each 600 s of a
                fortnight, how fast requests came and the law of their gaps, Gamma or Weibull [2]
    tokens      field,tokens,prob: how many tokens a request has [2]

Every request asks for an object of its own, since neither says what was asked. Its size is its context at
four bytes a token, which is how the rigs turn sizes into tokens and back.

ServeGen's laws give back requests as its authors generate them: as many gaps as a window had requests are
drawn from its law and stretched to fill it. One gap more than requests is drawn, so that no client's last
request falls on the border itself, where those of all clients would meet. What is drawn depends on seed,
client and window alone: a stretch has the same requests whichever longer one it is part of.

[1] Patel et al., *Splitwise*, ISCA 2024; AzurePublicDataset, CC-BY-4.0. [2] Xiang et al., *ServeGen*,
arXiv:2505.09999; Apache-2.0.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.errors import WorkloadError
from perfkit.lab.trace_files import bytes_of, check_sizes, column_of, first_fields, refuse_going_back
from perfkit.lab.workload import Stretch

__all__ = ["BYTES_PER_TOKEN", "TokenLaw", "azure_llm", "kind_by_header", "servegen"]

BYTES_PER_TOKEN = 4
"""English prose has about four bytes a token; a size stands for so many tokens, and the other way round."""

_AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_SERVEGEN = ("client", "window_start_s", "rate_rps", "cv", "dist", "param1", "param2")
_TOKENS = ("field", "tokens", "prob")
_WINDOW_S = 600.0
_MOST_ARRIVALS = 20_000_000


def kind_by_header(fields: list[str]) -> str | None:
    """Return the format that a file's first line names; None where it names none of these.

    >>> kind_by_header(["TIMESTAMP", "ContextTokens", "GeneratedTokens"])
    'azure-llm'
    """
    return {_AZURE: "azure-llm", _SERVEGEN: "servegen", _TOKENS: "tokens"}.get(tuple(fields))


def azure_llm(data: bytes, path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return times in seconds and sizes in bytes.

    Raises:
        WorkloadError: another header, a torn line, or a time before the one above it.
    """
    table = _table(data, path, _AZURE, texts=("TIMESTAMP",))
    times = _ticks(table["TIMESTAMP"], path)
    refuse_going_back(times, path, 2, "TIMESTAMP")
    sizes = column_of(table["ContextTokens"], "ContextTokens", path, 2) * BYTES_PER_TOKEN
    check_sizes(sizes, path, 2)
    column_of(table["GeneratedTokens"], "GeneratedTokens", path, 2)  # a line torn here is torn all the same
    return times, sizes.astype(np.int64)


def servegen(data: bytes, path: Path, *, seed: int, stretch: Stretch) -> NDArray[np.float64]:
    """Return the times of a stretch, in seconds of the fortnight; one window where the stretch has no end.

    Raises:
        WorkloadError: another header, a torn line, an unknown law, or nobody asked in the stretch.
    """
    table = _table(data, path, _SERVEGEN, texts=("client", "dist"))
    numbers = {
        name: column_of(table[name], name, path, 2) for name in ("window_start_s", "rate_rps", "param1")
    }
    laws = table["dist"].to_numpy()
    _check_laws(laws, numbers, path)
    end_s = stretch.start_s + (_WINDOW_S if stretch.span_s is None else stretch.span_s)
    begins = numbers["window_start_s"]
    rows = np.flatnonzero((begins > stretch.start_s - _WINDOW_S) & (begins < end_s))
    counts = np.rint(numbers["rate_rps"] * _WINDOW_S).astype(np.int64)
    if counts[rows].sum() > _MOST_ARRIVALS:
        raise WorkloadError(
            f"About {counts[rows].sum():,} requests came between {stretch.start_s:g} and {end_s:g} s. "
            "Name a shorter stretch: workload.span_s.",
            file=str(path),
        )
    clients, times = table["client"].to_numpy(), []
    for row in rows.tolist():
        number = int(begins[row])
        rng = np.random.default_rng([seed, number, *str(clients[row]).encode()])
        times.append(begins[row] + _filling(int(counts[row]), laws[row], numbers["param1"][row], rng))
    drawn = np.sort(np.concatenate(times)) if times else np.array([])
    drawn = drawn[(drawn >= stretch.start_s) & (drawn < end_s)]
    if not len(drawn):
        raise WorkloadError(
            f"Nobody asked between {stretch.start_s:g} and {end_s:g} s; there are rates from "
            f"{begins.min():g} to {begins.max() + _WINDOW_S:g} s. "
            "Name another stretch: workload.start_s, workload.span_s.",
            file=str(path),
        )
    return drawn


class TokenLaw:
    """How many tokens requests have, as it was counted somewhere."""

    def __init__(self, tokens: NDArray[np.int64], reached: NDArray[np.float64]) -> None:
        self._tokens = tokens
        self._reached = reached

    @classmethod
    def read(cls, path: Path) -> TokenLaw:
        """Read a distribution: the input's where the file has both, as ServeGen's have.

        Raises:
            WorkloadError: the file is missing or is no distribution.
        """
        data = bytes_of(path)
        if not data:
            raise WorkloadError("The distribution is empty.", file=str(path))
        table = _table(data, path, _TOKENS, texts=("field",))
        tokens = column_of(table["tokens"], "tokens", path, 2)
        check_sizes(tokens * BYTES_PER_TOKEN, path, 2)
        prob = column_of(table["prob"], "prob", path, 2)
        if (prob < 0).any():
            line = int((prob < 0).argmax()) + 2
            raise WorkloadError(f"prob {prob[line - 2]:g} is below zero.", file=str(path), line=line)
        fields = table["field"].to_numpy()
        mine = fields == "input_tokens" if (fields == "input_tokens").any() else fields == fields[0]
        if not prob[mine].sum() > 0:
            raise WorkloadError(f"All of {fields[mine][0]} is improbable: prob sums to 0.", file=str(path))
        order = np.argsort(tokens[mine], kind="stable")
        reached = np.cumsum(prob[mine][order])
        return cls(tokens[mine][order].astype(np.int64), reached / reached[-1])

    def sizes(self, count: int, seed: int) -> NDArray[np.int32]:
        """Draw sizes in bytes, the same for the same seed."""
        rng = np.random.default_rng([seed, 5])  # a stream apart from those of `perfkit.lab.generate`
        at = np.searchsorted(self._reached, rng.random(count), side="right")
        drawn = self._tokens[np.minimum(at, len(self._tokens) - 1)] * BYTES_PER_TOKEN
        return drawn.astype(np.int32)


def _table(data: bytes, path: Path, columns: tuple[str, ...], *, texts: tuple[str, ...]) -> Any:
    import pandas as pd

    fields = first_fields(data, path)
    if tuple(fields) != columns:
        raise WorkloadError(
            f"The first line is {','.join(fields)!r}; this format begins with {','.join(columns)!r}.",
            file=str(path),
            line=1,
        )
    try:
        table = pd.read_csv(io.BytesIO(data), on_bad_lines="error", dtype=dict.fromkeys(texts, str))
    except (ValueError, UnicodeDecodeError) as trouble:
        raise WorkloadError(f"This is not CSV: {str(trouble).strip()}.", file=str(path)) from None
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    if not len(table):
        raise WorkloadError("The file has a header and nothing else.", file=str(path), line=1)
    for name in texts:
        if table[name].isna().any():
            line = int(table[name].isna().to_numpy().argmax()) + 2
            raise WorkloadError(f"{name} is missing: the line is torn.", file=str(path), line=line)
    return table


def _ticks(column: Any, path: Path) -> NDArray[np.float64]:
    """Seconds from the first time on; a tick of 100 ns is kept, which a float of the epoch would not."""
    import pandas as pd

    moments = pd.to_datetime(column, format="ISO8601", errors="coerce")
    if moments.isna().any():
        at = int(moments.isna().to_numpy().argmax())
        raise WorkloadError(f"TIMESTAMP {column.iloc[at]!r} is no time.", file=str(path), line=at + 2)
    ticks = moments.to_numpy().astype("datetime64[ns]").astype(np.int64)
    seconds: NDArray[np.float64] = (ticks - ticks[0]) / 1e9
    return seconds


def _check_laws(laws: NDArray[Any], numbers: dict[str, NDArray[np.float64]], path: Path) -> None:
    unknown = np.flatnonzero((laws != "Gamma") & (laws != "Weibull"))
    if len(unknown):
        at = int(unknown[0])
        raise WorkloadError(
            f"dist {laws[at]!r} is unknown; ServeGen's are Gamma and Weibull.", file=str(path), line=at + 2
        )
    for name in ("rate_rps", "param1"):
        low = np.flatnonzero(numbers[name] < 0 if name == "rate_rps" else numbers[name] <= 0)
        if len(low):
            raise WorkloadError(
                f"{name} {numbers[name][low[0]]:g} is refused: it must be above 0.",
                file=str(path),
                line=int(low[0]) + 2,
            )


def _filling(count: int, law: str, shape: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """As many moments as requests came, spread over a window by gaps of its law."""
    gaps = rng.gamma(shape, size=count + 1) if law == "Gamma" else rng.weibull(shape, size=count + 1)
    total = float(gaps.sum())
    if not (math.isfinite(total) and total > 0):  # a law so uneven that every gap drawn rounds to nothing
        gaps, total = np.ones(count + 1), float(count + 1)
    moments: NDArray[np.float64] = np.cumsum(gaps)[:-1] * (_WINDOW_S / total)
    return np.minimum(moments, _WINDOW_S * (1 - 1e-9))  # the last gap may round to nothing
