"""The recorder: which keys were asked for and when, for the laboratory, without a key being written down.

Keys are drawn, not requests (SHARDS [1]): a key whose hash lies below a threshold is recorded with all of its
requests, every other with none, so that a cache of R times the size behaves towards the sample as the whole
cache does towards everything. The draw depends on the key alone; every instance draws the same keys.

The file
--------
Text, one line a request, gzip members one after another where the name ends in .gz:

    # perfkit-trace 1 share=0.015625 secret=9c1e07ab began=1767225600.000 requests_before=0
    t_s,obj,size,load_s,namespace,tier,cost
    0.000125,5f1c0a9be27d44f0,512,0,users,l1,0
    0.730001,5f1c0a9be27d44f0,512,0.041,users,origin,0.0002
    # total 812 at 5.000000

`t_s` counts seconds from `began` (epoch seconds); `obj` is the key's BLAKE2b digest of 64 bits, keyed with a
secret (RFC 7693 §2.9), so nobody can try out keys without the secret; `size` is in bytes and 0 where it is
not known; `load_s` and `cost` are what asking the origin took, 0 where it was not asked. A `total` line ends
each batch: how many requests there had been, drawn or not, which SHARDS-adj needs. `secret` in the header is
a digest too: only files with the same can be joined by `obj`. Batches are only ever appended, so a killed
process leaves at most a torn last batch, and a reader takes what is whole.

[1] C. Waldspurger, N. Park, A. Garthwaite, I. Ahmad: Efficient MRC construction with SHARDS. FAST 2015.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from perfkit.cache.record_file import RecordFile
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.errors import SettingsError

__all__ = ["Hears", "RecordStats", "Recorder", "object_of", "sample_hash"]

_SPACE = 1 << 32
_MIX = 0x9E3779B1
_REMEMBERED = 8_192
"""Keys of which it is remembered that they are not drawn: a look-up instead of a hash."""

_ROWS = 1_000
_FLUSH_SECONDS = 5.0
_AWKWARD = re.compile(r'[%,"#\s]')


class Hears(Protocol):
    """Hears of the requests that were drawn; `perfkit.cache.advise.Advisor` does."""

    def heard(self, hashed: int, now: float, requests: int) -> None:
        """Hear of one request: its key's `sample_hash`, when, and how many requests there had been in all."""


@dataclass(frozen=True, slots=True)
class RecordStats:
    """What was recorded, and what was not."""

    requests: int
    recorded: int
    lost: int
    """Drawn, but not written: the disk was slow, full or away."""
    bytes_written: int
    error: str
    """Why recording to the file has ended; empty while it goes on."""


def sample_hash(full_key: str) -> int:
    """Return the 32 bits a key is drawn by: the same in every process, for every version of this file format.

    >>> sample_hash("users:1") == sample_hash("users:1"), 0 <= sample_hash("users:1") < 2**32
    (True, True)
    """
    crc = zlib.crc32(full_key.encode("utf-8", "surrogatepass"))
    # A checksum is linear in its bits; the product and the shift are not, and number keys spread evenly.
    return (((crc ^ (crc >> 15)) * _MIX) ^ (crc >> 7)) & (_SPACE - 1)


def object_of(full_key: str, secret: bytes) -> str:
    """Return what stands for a key in a recorded file: 16 hex digits that only the secret leads to."""
    encoded = full_key.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=8, key=secret).hexdigest()


class Recorder:
    """Counts every request and records those for a share of the keys.

    `asked` is for every request; what it costs is a count and one look-up where the key is not drawn. Lines
    gather in memory and are written by a thread of their own, so that no disk stalls the loop. A file that
    cannot be written ends the recording and nothing else.

    >>> import tempfile
    >>> from perfkit.cache.record_file import read_records
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     recorder = Recorder(1.0, Path(folder) / "requests.csv.gz", secret=b"ours")
    ...     recorder.asked("users:7", "l1", namespace="users", size=120)
    ...     recorder.close()
    ...     recording = read_records(recorder.path)
    >>> recording.total_requests, recording.rows[0].obj == object_of("users:7", b"ours")
    (1, True)
    """

    __slots__ = (
        "_batch_rows", "_began", "_clock", "_file", "_flush_seconds", "_flushed", "_hears", "_limit",
        "_passed", "_recorded", "_rows", "_secret", "requests", "share",
    )  # fmt: skip

    def __init__(
        self,
        share: float,
        sink: Path | str | None = None,
        *,
        secret: bytes | None = None,
        hears: Hears | None = None,
        max_bytes: int = 256 * 1024**2,
        max_files: int = 1,
        batch_rows: int = _ROWS,
        flush_seconds: float = _FLUSH_SECONDS,
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        write_aside: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Begin recording.

        Args:
            share: Which share of keys is recorded, above 0 and up to 1.
            sink: The file, `.csv` or `.csv.gz`; where the name is taken, a number is put into it. None
                records to no file, for `hears` alone.
            secret: What keys are hashed with. Give all instances the same, out of the secret store, to join
                their files; None draws one at random, which nobody can then ever know.
            hears: Also hears of each request that was drawn.
            max_bytes: A file is full at this size.
            max_files: 1 ends the recording when the file is full; more begins a new one and keeps so many.
            batch_rows: So many lines are written at once.
            flush_seconds: And what is older than this, at the next request that is drawn.
            clock: When requests come.
            epoch: What stands in the header.
            write_aside: Runs a function elsewhere; default a thread. A test gives `lambda write: write()`.

        Raises:
            SettingsError: the share is not above 0 and at most 1, or the secret is empty or too long.
        """
        if not 0 < share <= 1:
            raise SettingsError(
                f"record_share={share:g} is refused: it is the share of keys to record. Write above 0, at "
                "most 1, or make no recorder.",
                path="record_share",
                value=share,
                allowed="> 0, <= 1",
            )
        if secret is None:
            secret = os.urandom(32)
        if not 0 < len(secret) <= hashlib.blake2b.MAX_KEY_SIZE:
            raise SettingsError(
                f"A secret of {len(secret)} bytes is refused: without one, keys could be found by trying. "
                f"Give 1 to {hashlib.blake2b.MAX_KEY_SIZE} bytes, best 32 at random, or None.",
                path="secret",
                allowed=f"1 to {hashlib.blake2b.MAX_KEY_SIZE} bytes",
            )
        self.share = share
        self.requests = 0
        self._limit = round(share * _SPACE)
        self._passed: set[str] = set()
        self._secret = secret
        self._hears = hears
        self._clock = clock
        self._began = self._flushed = clock()
        self._batch_rows = batch_rows
        self._flush_seconds = flush_seconds
        self._rows: list[str] = []
        self._recorded = 0
        self._file: RecordFile | None = None
        if sink is not None:
            fingerprint = object_of("", secret)[:8]
            self._file = RecordFile(
                Path(sink),
                header=f"share={share!r} secret={fingerprint} began={epoch():.3f}",
                max_bytes=max_bytes,
                max_files=max_files,
                write_aside=write_aside,
            )

    @property
    def path(self) -> Path:
        """The file that is written now.

        Raises:
            ValueError: there is none.
        """
        if self._file is None:
            raise ValueError("This recorder has no file; give it a sink.")
        return self._file.path

    def asked(
        self,
        full_key: str,
        tier: str,
        *,
        namespace: str = "",
        size: int = 0,
        load_seconds: float = 0.0,
        cost: float = 0.0,
    ) -> None:
        """Count a request, and record it if its key is drawn.

        Args:
            full_key: The key, its namespace before it.
            tier: Who answered: `l1`, `l2`, `origin`, `joined` or whatever word the caller has.
            namespace: Written as it is; name no user in it.
            size: The answer's bytes; 0 where that is not known.
            load_seconds: What asking the origin took, if it was asked.
            cost: And what it cost.
        """
        self.requests += 1
        if full_key in self._passed:
            return
        hashed = sample_hash(full_key)
        if hashed >= self._limit:
            if len(self._passed) >= _REMEMBERED:
                self._passed.clear()
            self._passed.add(full_key)
            return
        now = self._clock()
        self._recorded += 1
        if self._hears is not None:
            self._hears.heard(hashed, now, self.requests)
        if self._file is None or self._file.ended:
            return
        self._rows.append(
            f"{now - self._began:.6f},{object_of(full_key, self._secret)},{size:d},{load_seconds:.6g},"
            f"{_field(namespace)},{_field(tier)},{cost:.6g}\n"
        )
        if len(self._rows) >= self._batch_rows or now - self._flushed >= self._flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Hand what has gathered to the thread that writes; call it now and then where requests are few."""
        if self._file is None:
            return
        now = self._clock()
        self._flushed = now
        rows, self._rows = self._rows, []
        self._file.append(rows, self.requests, f"# total {self.requests} at {now - self._began:.6f}\n")

    def close(self) -> None:
        """Write what has gathered, wait until it is written, and write no more."""
        if self._file is not None and not self._file.ended:
            self.flush()
            self._file.close()

    def stats(self) -> RecordStats:
        """Return what was recorded so far."""
        file = self._file
        if file is None:
            return RecordStats(self.requests, self._recorded, 0, 0, "")
        return RecordStats(self.requests, self._recorded, file.lost, file.bytes_written, file.error)


@lru_cache(1_024)
def _field(text: str) -> str:
    """Write a name so that it stays one field of one line."""
    return _AWKWARD.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
