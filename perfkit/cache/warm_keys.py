"""Where the keys to warm come from: a file, or what a recorded trace was asked for most."""

from __future__ import annotations

import gzip
import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from perfkit.cache.record import object_of
from perfkit.cache.record_file import read_records
from perfkit.errors import WorkloadError

__all__ = ["Call", "keys_from_file", "most_requested"]


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call of a decorated function."""

    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, key: object) -> Call:
        """Take a tuple for arguments in order, a dictionary for named ones, else an only argument.

        >>> Call.of(7), Call.of((7, "low")).args
        (Call(args=(7,), kwargs={}), (7, 'low'))
        """
        if isinstance(key, Call):
            return key
        if isinstance(key, tuple):
            return cls(key)
        if isinstance(key, dict):
            return cls((), key)
        return cls((key,))


def keys_from_file(path: Path | str) -> Iterator[object]:
    """Read keys one a line; in a `.jsonl` file each line is JSON. Either may be gzipped.

    Of JSON, a list is a call's arguments in order, an object its named ones, anything else a key or an only
    argument. Empty lines are left out. A line that is no JSON comes as the exception that says so, which a
    `Warmer` counts as failed before it goes on.

    Raises:
        OSError: the file cannot be opened or read.
    """
    path = Path(path)
    as_json = ".jsonl" in path.suffixes
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            text = line.rstrip("\r\n")
            if not text.strip():
                continue
            if not as_json:
                yield text
                continue
            try:
                yield _key_of(json.loads(text))
            except (ValueError, RecursionError) as trouble:
                yield WorkloadError(f"{text[:80]!r} is not JSON: {trouble}.", file=str(path), line=number)


def most_requested(
    path: Path | str, candidates: Iterable[str], *, secret: bytes, limit: int, namespace: str | None = None
) -> list[str]:
    """Return those of the candidates that a recorded trace was asked for most, the most wanted first.

    A recording holds no key, only what a secret makes of it; so somebody must name the keys that there are
    (out of a database, say), and this tells which of them are worth loading.

    Args:
        path: What a `Recorder` wrote.
        candidates: Full keys: `cache.full_key(key)`.
        secret: The recorder's.
        limit: At most so many are returned; what was never asked for, or not drawn, is left out.
        namespace: Counts the requests of this one only.

    Raises:
        WorkloadError: the file is no recording, or another secret was used for it.
    """
    recording = read_records(Path(path))
    if recording.secret != object_of("", secret)[:8]:
        raise WorkloadError(
            "This was recorded with another secret, so no key can be found in it. Give the recorder's.",
            file=str(path),
        )
    asked = Counter(row.obj for row in recording.rows if namespace is None or row.namespace == namespace)
    counted = ((asked[object_of(key, secret)], key) for key in candidates)
    wanted = heapq.nlargest(limit, ((count, key) for count, key in counted if count))
    return [key for _, key in wanted]


def _key_of(tree: object) -> object:
    return tuple(tree) if isinstance(tree, list) else tree


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")
