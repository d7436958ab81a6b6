"""The file a recorder writes, and how it is read back; its form is described in `perfkit.cache.record`."""

from __future__ import annotations

import gzip
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from perfkit.errors import WorkloadError

__all__ = ["COLUMNS", "MAGIC", "RecordFile", "Recording", "Row", "header_of", "read_records", "whole_text"]

MAGIC = "# perfkit-trace 1 "
COLUMNS = "t_s,obj,size,load_s,namespace,tier,cost"
_MOST_WAITING = 16
"""Batches that may wait for a slow disk; what comes then is lost, and counted."""
_GZIP_LEVEL = 3
_MOST_NUMBERS = 100_000


class Row(NamedTuple):
    """One recorded request."""

    t_s: float
    obj: str
    size: int
    load_s: float
    namespace: str
    tier: str
    cost: float


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded file: its requests, and what the header and the totals say."""

    share: float
    secret: str
    began_epoch_s: float
    total_requests: int
    rows: Sequence[Row]


class RecordFile:
    """Appends batches to a file from a thread, within a bound; the first error ends it."""

    def __init__(
        self,
        path: Path,
        *,
        header: str,
        max_bytes: int,
        max_files: int,
        write_aside: Callable[[Callable[[], None]], None] | None,
    ) -> None:
        self.path = path
        self.bytes_written = 0
        self.error = ""
        self._wanted = path
        self._header = header
        self._max_bytes, self._max_files = max_bytes, max_files
        self._thread: ThreadPoolExecutor | None = None
        self._aside = write_aside or self._in_thread
        # One of each pair belongs to the thread that appends, the other to the one that writes.
        self._appended = self._written = 0
        self._lost_waiting = self._lost_writing = 0
        self._in_file = 0
        self._before = 0
        self._number = 0
        self._files: deque[Path] = deque()

    @property
    def ended(self) -> bool:
        """Whether no more is written."""
        return bool(self.error)

    @property
    def lost(self) -> int:
        """Lines that were not written: the disk was slow, full or away."""
        return self._lost_waiting + self._lost_writing

    def append(self, rows: list[str], requests: int, total: str) -> None:
        """Write lines and the total after them, soon."""
        if self.error or self._appended - self._written >= _MOST_WAITING:
            self._lost_waiting += len(rows)
            return
        self._appended += 1
        try:
            self._aside(lambda: self._write(rows, requests, total))
        except RuntimeError as error:  # no thread can be begun any more: the interpreter is ending
            self._lost_waiting += len(rows)
            self.error = f"{type(error).__name__}: {error}"

    def close(self) -> None:
        """Wait for what was appended."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
        self.error = self.error or "closed"

    def _in_thread(self, write: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="perfkit-record")
        self._thread.submit(write)

    def _write(self, rows: list[str], requests: int, total: str) -> None:
        try:
            if self.error:
                self._lost_writing += len(rows)
                return
            if self._files and not rows and requests == self._before:
                return
            if not self._files or (rows and self._in_file >= self._max_bytes and self._max_files > 1):
                self._begin()
            packed = self._packed("".join((*rows, total)))
            with self.path.open("ab") as file:
                file.write(packed)
            self._wrote(packed)
            self._before = requests
            if self._in_file >= self._max_bytes and self._max_files == 1:
                self.error = f"{self.path.name} is full: {self._in_file} of {self._max_bytes} bytes"
        except OSError as error:
            self._lost_writing += len(rows)
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self._written += 1

    def _begin(self) -> None:
        """Make a new file under a free name: what was recorded before is never written over."""
        self._wanted.parent.mkdir(parents=True, exist_ok=True)
        head = self._packed(f"{MAGIC}{self._header} requests_before={self._before}\n{COLUMNS}\n")
        for number in range(self._number + 1, _MOST_NUMBERS):
            name = self._wanted.name
            stem, dot, rest = name.partition(".")
            path = self._wanted if number == 1 else self._wanted.with_name(f"{stem}-{number}{dot}{rest}")
            try:
                with path.open("xb") as file:
                    file.write(head)
            except FileExistsError:
                continue
            break
        else:
            raise FileExistsError(f"{_MOST_NUMBERS} files named like {self._wanted.name} exist already")
        self.path = path
        self._number = number
        self._in_file = 0
        self._wrote(head)
        self._files.append(path)
        while len(self._files) > self._max_files:
            self._files.popleft().unlink(missing_ok=True)

    def _packed(self, text: str) -> bytes:
        plain = text.encode("utf-8", "replace")
        return gzip.compress(plain, _GZIP_LEVEL, mtime=0) if self._wanted.suffix == ".gz" else plain

    def _wrote(self, packed: bytes) -> None:
        self._in_file += len(packed)
        self.bytes_written += len(packed)


def whole_text(path: Path) -> bytes | None:
    """Return the whole lines of a recorded file, or None when it is not one.

    What a killed process left half written at the end is left out.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(2)
        packed = begin == b"\x1f\x8b"
        data = begin + file.read(1 << 12 if packed else len(MAGIC))
        start = zlib.decompressobj(31).decompress(data, len(MAGIC)) if packed else data
        if not start.startswith(MAGIC.encode()):
            return None
        data += file.read()
    text = _unpacked(data) if packed else data
    return text[: text.rfind(b"\n") + 1]


def read_records(path: Path) -> Recording:
    """Read what a recorder wrote.

    Raises:
        WorkloadError: the file is missing, or was not written by a recorder.
    """
    try:
        text = whole_text(path)
    except (OSError, zlib.error) as trouble:
        raise WorkloadError(f"The recording cannot be read: {trouble}.", file=str(path)) from None
    if text is None:
        raise WorkloadError(
            f"This is not a recording: it does not begin with {MAGIC.strip()!r}.", file=str(path), line=1
        )
    share, secret, began, total = header_of(text, path)
    rows = []
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        if line.startswith(("#", "t_s,")):
            continue
        try:
            t_s, obj, size, load_s, namespace, tier, cost = line.split(",")
            rows.append(
                Row(float(t_s), obj, int(size), float(load_s), unquote(namespace), unquote(tier), float(cost))
            )
        except ValueError:
            raise WorkloadError(
                f"{line[:80]!r} is not a recorded request.", file=str(path), line=number
            ) from None
    return Recording(share, secret, began, total, rows)


def header_of(text: bytes, path: Path) -> tuple[float, str, float, int]:
    """Return a recording's share, secret's fingerprint, beginning and total of requests.

    Raises:
        WorkloadError: the header is not whole.
    """
    first = text.split(b"\n", 1)[0].decode("utf-8", "replace")
    fields = dict(field.split("=", 1) for field in first[len(MAGIC) :].split() if "=" in field)
    try:
        share, secret, began = float(fields["share"]), fields["secret"], float(fields["began"])
        before = int(fields["requests_before"])
    except (KeyError, ValueError):
        raise WorkloadError(
            f"The header {first[:80]!r} is not whole. Record anew.", file=str(path), line=1
        ) from None
    if not 0 < share <= 1:
        raise WorkloadError(f"share={share:g} is no share of keys.", file=str(path), line=1)
    at = text.rfind(b"\n# total ")
    last = before if at < 0 else int(text[at + 9 :].split(b" ", 1)[0])
    return share, secret, began, last - before


def _unpacked(data: bytes) -> bytes:
    """Unpack gzip members until one is torn, whose whole part still counts."""
    parts = []
    while data:
        member = zlib.decompressobj(31)
        try:
            parts.append(member.decompress(data))
        except zlib.error:
            break
        if not member.eof:
            break
        data = member.unused_data
    return b"".join(parts)
