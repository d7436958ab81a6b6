"""A trace file as bytes and columns: unpacked, and refused with the line where it is wrong."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfkit.errors import WorkloadError, did_you_mean

__all__ = ["PACKED", "bytes_of", "check_sizes", "column_of", "first_fields", "refuse_going_back"]

_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
PACKED = (*_OPENERS, ".zst")
"""How a packed file's name ends."""
_MOST_BYTES = 1 << 30


def bytes_of(path: Path) -> bytes:
    """Return a file's content, unpacked.

    Raises:
        WorkloadError: it is missing, a folder, or torn.
    """
    try:
        if path.suffix == ".zst":
            import zstandard

            with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
                data: bytes = stream.read()
            return data
        with _OPENERS.get(path.suffix, open)(path, "rb") as opened:
            unpacked: bytes = opened.read()
            return unpacked
    except FileNotFoundError:
        beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        raise WorkloadError(
            f"There is no such trace.{did_you_mean(path.name, beside)}", file=str(path)
        ) from None
    except IsADirectoryError:
        raise WorkloadError("This is a folder. Name a trace file in it.", file=str(path)) from None
    except (EOFError, OSError, lzma.LZMAError, zlib.error, ValueError) as trouble:
        raise WorkloadError(
            f"The file cannot be unpacked: {trouble}. It is torn, or not what its name says; fetch it again.",
            file=str(path),
        ) from None
    except Exception as trouble:  # zstandard's error class is only known once it is imported
        if type(trouble).__name__ != "ZstdError":
            raise
        raise WorkloadError(
            f"The file cannot be unpacked: {trouble}. Fetch it again.", file=str(path)
        ) from None


def column_of(column: object, name: str, path: Path, shift: int) -> NDArray[np.float64]:
    """Return a column as numbers; `shift` leads from index to line.

    Raises:
        WorkloadError: a number is missing, or none.
    """
    import pandas as pd

    numbers: NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)  # type: ignore[call-overload]  # a Series
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        line = int(bad[0]) + shift
        value = column.iloc[bad[0]]  # type: ignore[attr-defined]  # a Series
        if pd.isna(value):
            raise WorkloadError(f"{name} is missing: the line is torn.", file=str(path), line=line)
        raise WorkloadError(f"{name} {str(value)!r} is not a number.", file=str(path), line=line)
    return numbers


def check_sizes(sizes: NDArray[np.float64], path: Path, shift: int | None) -> None:
    """Refuse what cannot be an object's size; `shift` leads from index to line, where there are lines."""
    odd = np.flatnonzero((sizes < 0) | (sizes > _MOST_BYTES))
    if len(odd):
        line = None if shift is None else int(odd[0]) + shift
        record = "" if shift is not None else f" of record {odd[0]}"
        raise WorkloadError(
            f"size {sizes[odd[0]]:g}{record} is refused: an object has 0 to {_MOST_BYTES} bytes.",
            file=str(path),
            line=line,
        )


def first_fields(data: bytes, path: Path) -> list[str]:
    """Return the fields of the first line.

    Raises:
        WorkloadError: it is not text.
    """
    first = data[:4096].split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    if "\0" in first or "\ufffd" in first:
        raise WorkloadError(
            "This is not text. Name the format in the scenario if it is a binary trace.",
            file=str(path),
            line=1,
        )
    return [field.strip() for field in first.split(",")]


def refuse_going_back(times: NDArray[np.float64], path: Path, shift: int, by: str) -> None:
    """Refuse times that are not in order; `shift` leads from index to line, `by` names their column."""
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise WorkloadError(
            f"The time goes back from {times[back[0]]:g} to {times[back[0] + 1]:g}. Sort the trace by {by}.",
            file=str(path),
            line=int(back[0]) + 1 + shift,
        )
