"""A trace is read as it was recorded, or refused with the place where it is wrong."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from perfkit.errors import WorkloadError
from perfkit.lab.traces import read_trace

PLAIN = b"t_s,obj,size\n0.5,a,10\n1.5,b,20\n1.5,a,10\n"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    file = tmp_path / name
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("suffix", PACKERS)
def test_csv_is_read_from_any_packing(tmp_path: Path, suffix: str) -> None:
    trace = read_trace(written(tmp_path, f"t.csv{suffix}", PACKERS[suffix](PLAIN)))

    assert trace.times_s.tolist() == [0.0, 1.0, 1.0]
    assert trace.objects.tolist() == [0, 1, 0]
    assert trace.sizes.tolist() == [10, 20, 10]


def test_the_header_and_the_size_may_be_left_out(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "t.csv", b"0.5,x\n0.75,y\n"))

    assert trace.objects.tolist() == [0, 1]
    assert trace.sizes.tolist() == [1000, 1000]


def test_whole_seconds_are_spread_within_their_second(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "t.csv", b"5,a\n5,b\n6,a\n6,a\n6,b\n6,c\n"))

    assert trace.times_s.tolist() == [0.0, 0.5, 1.0, 1.25, 1.5, 1.75]


def test_a_trace_without_times_is_spaced_by_its_rate(tmp_path: Path) -> None:
    file = written(tmp_path, "t.trace", struct.pack(">4i", 7, 8, 7, 9))
    trace = read_trace(file, rate_per_s=2)

    assert trace.times_s.tolist() == [0.0, 0.5, 1.0, 1.5]
    assert trace.objects.tolist() == [0, 1, 0, 2]
    with pytest.raises(WorkloadError, match="rate_per_s"):
        read_trace(file)


def test_packed_records_of_libcachesim_are_read(tmp_path: Path) -> None:
    data = b"".join(struct.pack("<IQIq", t, o, s, -1) for t, o, s in [(3, 99, 5), (4, 98, 6), (6, 99, 5)])
    trace = read_trace(written(tmp_path, "t.oracleGeneral.bin", data))

    assert trace.objects.tolist() == [0, 1, 0]
    assert trace.sizes.tolist() == [5, 6, 5]
    assert np.diff(trace.times_s).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"t_s,obj,size\n", "no request"),
        ("t.csv", b"t_s,obj\n2,a\n1,b\n", r"t.csv:3: The time goes back from 2 to 1"),
        ("t.csv", b"t_s,obj\n1,a\nsoon,b\n", r"t.csv:3: t_s 'soon' is not a number"),
        ("t.csv", b"t_s,obj,size\n1,a,5\n2,b,-5\n", r"t.csv:3: size -5 is refused"),
        ("t.csv", b"t_s,obj,size\n1,a,5\n2,b,3000000000\n", r"t.csv:3: size 3e\+09 is refused"),
        ("t.csv", b"t_s,obj,size\n1,a,5\n2,b\n", r"t.csv:3: size is missing: the line is torn"),
        ("t.csv", b"t_s,obj,size\n1,a,5\n2\n", r"t.csv:3: obj is missing"),
        ("t.csv", b"when,what\n1,a\n", "column t_s is missing"),
        ("t.csv", bytes(range(256)) * 4, "not text"),
        ("t.csv.gz", gzip.compress(PLAIN * 500, mtime=0)[:60], "cannot be unpacked"),
        ("t.csv.xz", lzma.compress(PLAIN * 500)[:-9], "cannot be unpacked"),
        ("t.csv.zst", b"not packed at all", "cannot be unpacked"),
        ("t.csv.gz", PLAIN, "cannot be unpacked"),
        ("t.trace", b"\0\0\0\1\0", "whole records of 4"),
        ("t.oraclegeneral", b"\0" * 25, "whole records of 24"),
        ("t.log", PLAIN, "format"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        read_trace(written(tmp_path, name, data))


def test_a_missing_trace_names_its_nearest_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "monday.csv", PLAIN)

    with pytest.raises(WorkloadError, match=r"Did you mean 'monday.csv'"):
        read_trace(tmp_path / "mondya.csv")
