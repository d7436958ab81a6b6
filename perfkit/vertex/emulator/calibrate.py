"""A latency for the emulator from calls that were really made.

The median of a call's time is taken to be base + a × texts + b × tokens. Real calls have outliers that would
pull least squares along, so the three are found by least absolute deviations (iteratively reweighted;
Schlossmacher, JASA 1973), none of them negative. The spread is that of the logarithm of what is left for the
base, by its quartiles, so that a few stuck calls do not widen it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perfkit.errors import WorkloadError
from perfkit.vertex.emulator.latency import Latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Fitted", "Sample", "fit_from", "read_samples"]

Sample = tuple[int, int, float]
"""Texts, tokens in all, seconds."""

_FEWEST: Final = 8
_ROUNDS: Final = 60
_FORM: Final = (
    "Write a header texts,tokens,seconds and a row for each call (CSV), or a list of objects (JSON)."
)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A latency that was fitted, and how well."""

    latency: Latency
    samples: int
    r2: float
    """The share of the variance of the seconds that texts and tokens explain; near 0 for a flat service."""


def fit_from(samples: Iterable[Sample]) -> Fitted:
    """Return the latency that calls of (texts, tokens, seconds) came from.

    >>> fit_from([(n, 20 * n, 0.060 + 0.002 * n) for n in range(1, 21)]).latency.base_ms
    60.0

    Raises:
        WorkloadError: there are too few calls, or one of them is no call.
    """
    rows = list(samples)
    if len(rows) < _FEWEST:
        raise WorkloadError(
            f"{len(rows)} calls say too little about a latency: a base, two slopes and a spread are to be "
            f"found. Measure {_FEWEST} at least, with few and with many texts."
        )
    for number, row in enumerate(rows, 1):
        _check(row, line=number)
    table = np.array(rows, np.float64)
    design = np.column_stack([np.ones(len(rows)), table[:, 0], table[:, 1]])
    seconds = table[:, 2]
    base, per_text, per_token = (float(found) for found in _least_absolute(design, seconds))
    slopes = per_text * design[:, 1] + per_token * design[:, 2]
    left = seconds - slopes
    left = np.log(left[left > 0] / base) if base > 0 else np.zeros(1)
    low, high = np.quantile(left, (0.25, 0.75)) if len(left) else (0.0, 0.0)
    explained = float(np.square(seconds - base - slopes).sum())
    spent = float(np.square(seconds - seconds.mean()).sum())
    return Fitted(
        Latency(
            base_ms=round(base * 1e3, 4),
            per_text_ms=round(per_text * 1e3, 6),
            per_token_ms=round(per_token * 1e3, 6),
            spread=round(float(high - low) / 1.349, 4),
        ),
        len(rows),
        max(0.0, 1 - explained / spent) if spent > 0 else 0.0,
    )


def read_samples(path: Path | str) -> list[Sample]:
    """Read calls from a CSV or JSON file.

    Raises:
        WorkloadError: the file cannot be read, or a row of it is no call; it says which.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as trouble:
        raise WorkloadError(f"The calls cannot be read ({trouble}). {_FORM}", file=str(path)) from None
    if path.suffix == ".json":
        return _from_json(text, str(path))
    reader = csv.DictReader(text.splitlines())
    return [_sample(row, file=str(path), line=reader.line_num) for row in reader]


def _from_json(text: str, file: str) -> list[Sample]:
    try:
        rows = json.loads(text)
    except ValueError as trouble:
        raise WorkloadError(f"This is no JSON ({trouble}). {_FORM}", file=file) from None
    if not isinstance(rows, list):
        raise WorkloadError(f"A list of calls is wanted, not {type(rows).__name__}. {_FORM}", file=file)
    return [_sample(row, file=file, line=number) for number, row in enumerate(rows, 1)]


def _sample(row: Any, *, file: str, line: int) -> Sample:
    try:
        sample = (int(row["texts"]), int(row["tokens"]), float(row["seconds"]))
    except (KeyError, TypeError, ValueError):
        raise WorkloadError(f"This is no call. {_FORM}", file=file, line=line) from None
    return _check(sample, file=file, line=line)


def _check(sample: Sample, *, line: int, file: str = "") -> Sample:
    texts, tokens, seconds = sample
    if texts < 1 or tokens < 0 or not 0 < seconds < math.inf:
        raise WorkloadError(
            f"No call has {texts} texts, {tokens} tokens and takes {seconds} s: a fit over it would be "
            "wrong. Leave out calls that failed.",
            file=file,
            line=line,
        )
    return sample


def _least_absolute(design: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return coefficients that are not negative; a column that would need it is left out."""
    columns = list(range(design.shape[1]))
    found = np.zeros(design.shape[1])
    while columns:
        part = _reweighted(design[:, columns], seconds)
        if part.min() >= 0:
            found[columns] = part
            break
        columns.pop(int(part.argmin()))
    return found


def _reweighted(design: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.maximum(np.abs(design).max(axis=0), 1e-12)
    scaled = design / scale
    floor = 1e-6 * float(np.median(seconds))
    weights = np.ones(len(seconds))
    found = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        found = np.linalg.lstsq(scaled * root[:, None], seconds * root, rcond=1e-9)[0]
        weights = 1 / np.maximum(np.abs(seconds - scaled @ found), floor)
    clean: NDArray[np.float64] = np.where(np.abs(found) < 1e-9, 0.0, found) / scale
    return clean
