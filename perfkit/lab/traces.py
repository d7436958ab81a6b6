"""Recorded workloads, read from the formats they are published in.

    csv             t_s,obj[,size] with or without that header; obj may be any text
    cache2k         big-endian 32-bit keys, one a request, without times
    oracle-general  libCacheSim's packed records: u32 time, u64 object, u32 size, i64 next use
    perfkit         what `perfkit.cache.record.Recorder` writes, known by its first line, not by its name; the
                    workload keeps the share of keys that was recorded and the total of requests
    azure-llm, servegen    arrivals at language models, known by their first lines (`perfkit.lab.arrivals`)

Each may be compressed: .gz, .bz2, .xz, .zst (a recording: .gz). Times in whole seconds are spread evenly
within their second: nobody sends a second's requests all at once, though the recorder's clock says so.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perfkit.cache.record_file import header_of, whole_text
from perfkit.errors import WorkloadError
from perfkit.lab import arrivals
from perfkit.lab.trace_files import PACKED, bytes_of, check_sizes, column_of, first_fields, refuse_going_back
from perfkit.lab.workload import Stretch, Workload

__all__ = ["read_trace"]

_ORACLE = np.dtype([("time", "<u4"), ("object", "<u8"), ("size", "<u4"), ("next_use", "<i8")])
_DEFAULT_BYTES = 1_000
_FORMATS = ("csv", "cache2k", "oracle-general", "perfkit", "azure-llm", "servegen")


def read_trace(
    path: Path,
    *,
    format: str = "auto",  # noqa: A002  # as scenarios call it
    rate_per_s: float | None = None,
    stretch: Stretch | None = None,
    speed: float = 1.0,
    tokens: Path | None = None,
    seed: int = 1,
) -> Workload:
    """Read a recorded workload.

    Args:
        path: The file, compressed or not.
        format: One of the formats above, or `auto` to go by the file's first line and its name.
        rate_per_s: Spaces the requests of a trace without times.
        stretch: Which part of it; all of it unless said, and of `servegen` one window.
        speed: By how much its time is compressed: 20 lets an hour pass in three minutes.
        tokens: A distribution that gives each object its size, in place of the trace's own.
        seed: Of what is drawn: `servegen`'s gaps, and sizes from a distribution.

    Raises:
        WorkloadError: the file is missing, empty, torn, unsorted, or not what it should be.
    """
    stretch = stretch or Stretch()
    workload = _whole(path, format, rate_per_s, stretch, seed).within(stretch)
    if tokens is not None:
        own = arrivals.TokenLaw.read(tokens).sizes(workload.n_objects, seed)
        workload = workload.sized(own, by=tokens.name)
    return workload.at_speed(speed)


def _whole(path: Path, format: str, rate_per_s: float | None, stretch: Stretch, seed: int) -> Workload:  # noqa: A002  # as above
    if format in ("auto", "perfkit"):
        recorded = _recorded(path)
        if recorded is not None:
            return _perfkit(recorded, path, rate_per_s)
        if format == "perfkit":
            raise WorkloadError(
                "This was not written by perfkit's recorder: its first line does not say so.",
                file=str(path),
                line=1,
            )
    data = bytes_of(path)
    if not data:
        raise WorkloadError("The trace is empty. Name a file with at least one request.", file=str(path))
    kind = _kind(path, data) if format == "auto" else format
    name, origin = path.name.split(".")[0], f"trace: {path.name}"
    if kind in ("azure-llm", "servegen"):
        _refuse_rate(rate_per_s, path)
        if kind == "azure-llm":
            times, sizes = arrivals.azure_llm(data, path)
        else:
            times, sizes = arrivals.servegen(data, path, seed=seed, stretch=stretch), None
            origin = f"rates: {path.name}, seed {seed}"
        names: NDArray[np.generic] = np.arange(len(times))
    elif kind == "csv":
        times, names, sizes = _csv(data, path)
        times = _timed(times, len(names), rate_per_s, path)
    elif kind == "oracle-general":
        times, names, sizes = _oracle_general(data, path)
        times = _timed(times, len(names), rate_per_s, path)
    else:
        names, sizes = _cache2k(data, path), None
        times = _timed(None, len(names), rate_per_s, path)
    if sizes is None:
        sizes = np.full(len(names), _DEFAULT_BYTES, dtype=np.int64)
    return Workload(name, origin, times, _numbered(names), sizes.astype(np.int32))


def _recorded(path: Path) -> bytes | None:
    """Return the whole lines of a recording; None for everything else, which tells its own troubles."""
    try:
        return whole_text(path)
    except (OSError, zlib.error):
        return None


def _perfkit(text: bytes, path: Path, rate_per_s: float | None) -> Workload:
    share, _, _, total = header_of(text, path)
    lines = [line for line in text.split(b"\n") if line and not line.startswith(b"#")]
    if len(lines) < 2:
        raise WorkloadError(
            f"No request was recorded, of {total} that came. Record for longer, or a larger share.",
            file=str(path),
        )
    times, names, sizes = _csv(b"\n".join(lines), path, texts=("obj", "namespace", "tier"))
    objects = _numbered(names)
    return Workload(
        path.name.split(".")[0],
        f"recorded: {path.name}, {share:.4g} of keys",
        _timed(times, len(names), rate_per_s, path),
        objects,
        _last_known(objects, sizes),
        sample_share=share,
        total_requests=max(total, len(names)) if share < 1 else None,
    )


def _last_known(objects: NDArray[np.int64], sizes: NDArray[np.int64] | None) -> NDArray[np.int32]:
    """Replace sizes that were not known (0) by the object's last known one, else by the default."""
    known = np.full(int(objects.max()) + 1, _DEFAULT_BYTES, dtype=np.int32)
    if sizes is None:
        return known[objects]
    told = sizes > 0
    known[objects[told]] = sizes[told]
    return np.where(told, sizes, known[objects]).astype(np.int32)


def _kind(path: Path, data: bytes) -> str:
    suffixes = [suffix for suffix in path.suffixes if suffix not in PACKED]
    known = {".csv": "csv", ".trace": "cache2k", ".bin": "oracle-general", ".oraclegeneral": "oracle-general"}
    last = suffixes[-1].lower() if suffixes else ""
    if last not in known:
        raise WorkloadError(
            f"The name does not tell the format. Say in the scenario, format: one of {', '.join(_FORMATS)}.",
            file=str(path),
        )
    if known[last] != "csv":
        return known[last]
    by_header = arrivals.kind_by_header(first_fields(data, path))
    if by_header == "tokens":
        raise WorkloadError(
            "This says how many tokens requests have, not when they come. Name it as workload.tokens.",
            file=str(path),
            line=1,
        )
    return by_header or "csv"


def _csv(
    data: bytes, path: Path, *, texts: tuple[str, ...] = ()
) -> tuple[NDArray[np.float64], NDArray[np.generic], NDArray[np.int64] | None]:
    import pandas as pd

    fields = first_fields(data, path)
    headed = not _is_number(fields[0])
    columns = fields if headed else ["t_s", "obj", "size"][: len(fields)]
    missing = [name for name in ("t_s", "obj") if name not in columns]
    if missing:
        raise WorkloadError(
            f"The column {missing[0]} is missing; there are {', '.join(columns)}. "
            "A trace has t_s (seconds), obj, and perhaps size (bytes).",
            file=str(path),
            line=1,
        )
    try:
        table = pd.read_csv(
            io.BytesIO(data),
            header=0 if headed else None,
            names=None if headed else columns,
            on_bad_lines="error",
            dtype=dict.fromkeys(texts, str),  # digits that look like a number, such as 12e4, stay apart
        )
    except (ValueError, UnicodeDecodeError) as trouble:
        raise WorkloadError(f"This is not CSV: {str(trouble).strip()}.", file=str(path)) from None
    table.columns = pd.Index([str(name).strip() for name in table.columns])
    shift = 2 if headed else 1
    if not len(table):
        raise WorkloadError("The trace has a header and no request.", file=str(path), line=1)
    times = column_of(table["t_s"], "t_s", path, shift)
    if table["obj"].isna().any():
        line = int(table["obj"].isna().to_numpy().argmax()) + shift
        raise WorkloadError("obj is missing: the line is torn.", file=str(path), line=line)
    sizes = None
    if "size" in table.columns:
        numbers = column_of(table["size"], "size", path, shift)
        check_sizes(numbers, path, shift)
        sizes = numbers.astype(np.int64)
    refuse_going_back(times, path, shift, "t_s")
    return times, table["obj"].to_numpy(), sizes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _oracle_general(
    data: bytes, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.generic], NDArray[np.int64]]:
    _whole_records(data, _ORACLE.itemsize, path)
    records = np.frombuffer(data, dtype=_ORACLE)
    times = records["time"].astype(np.float64)
    if (np.diff(times) < 0).any():
        at = int((np.diff(times) < 0).argmax()) + 1
        raise WorkloadError(
            f"The time goes back at record {at}: not this format, or not sorted.", file=str(path)
        )
    check_sizes(records["size"].astype(np.float64), path, None)
    return times, records["object"], records["size"].astype(np.int64)


def _cache2k(data: bytes, path: Path) -> NDArray[np.generic]:
    _whole_records(data, 4, path)
    return np.frombuffer(data, dtype=">i4").astype(np.int64)


def _whole_records(data: bytes, size: int, path: Path) -> None:
    if len(data) % size:
        raise WorkloadError(
            f"{len(data)} bytes are not whole records of {size}: the trace is torn, or of another format.",
            file=str(path),
        )


def _timed(
    times: NDArray[np.float64] | None, requests: int, rate_per_s: float | None, path: Path
) -> NDArray[np.float64]:
    if times is None:
        if rate_per_s is None:
            raise WorkloadError(
                "This trace has no times. Say in the scenario how fast its requests came: rate_per_s.",
                file=str(path),
            )
        return np.arange(requests) / rate_per_s
    _refuse_rate(rate_per_s, path)
    in_whole_seconds = bool((times == np.floor(times)).all())
    times = times - times[0]
    if in_whole_seconds:
        starts = np.searchsorted(times, times, side="left")
        counts = np.searchsorted(times, times, side="right") - starts
        times = times + (np.arange(requests) - starts) / counts
    return times


def _refuse_rate(rate_per_s: float | None, path: Path) -> None:
    if rate_per_s is not None:
        raise WorkloadError("This trace has times of its own. Remove rate_per_s.", file=str(path))


def _numbered(names: NDArray[np.generic]) -> NDArray[np.int64]:
    """Objects numbered from 0 in the order of their first request."""
    import pandas as pd

    codes: NDArray[np.int64] = pd.factorize(names)[0].astype(np.int64)
    return codes
