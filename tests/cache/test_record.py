"""What is recorded can be read back, names no key, and never costs the service more than it may."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.cache.record import Recorder, object_of, sample_hash
from perfkit.cache.record_file import read_records
from perfkit.errors import SettingsError, WorkloadError
from perfkit.lab.shards import model_of
from perfkit.lab.traces import read_trace

SECRET = b"only ours"
KEYS = [f"users:f(t8:i1:{number})" for number in range(8_000)]


def at_once(write: Callable[[], None]) -> None:
    write()


class Moved:
    """A clock the test moves."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def recorder(path: Path | None, share: float = 1.0, **options: object) -> Recorder:
    return Recorder(share, path, secret=SECRET, write_aside=at_once, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
def test_what_was_asked_is_read_back(tmp_path: Path, name: str) -> None:
    clock = Moved()
    written = recorder(tmp_path / name, clock=clock, epoch=lambda: 1_800_000_000.0)
    written.asked("users:1", "origin", namespace="users", size=120, load_seconds=0.25, cost=0.002)
    clock.now += 1.5
    written.asked("users:1", "l1", namespace="users", size=120)
    written.close()

    recording = read_records(written.path)

    assert (recording.share, recording.total_requests, recording.began_epoch_s) == (1.0, 2, 1_800_000_000.0)
    assert [row[2:] for row in recording.rows] == [
        (120, 0.25, "users", "origin", 0.002),
        (120, 0.0, "users", "l1", 0.0),
    ]
    assert [row.t_s for row in recording.rows] == [0.0, 1.5]
    assert recording.rows[0].obj == recording.rows[1].obj == object_of("users:1", SECRET)


def test_a_key_is_recorded_with_all_of_its_requests_or_with_none(tmp_path: Path) -> None:
    written = recorder(tmp_path / "r.csv", share=0.25)
    for _ in range(3):
        for key in KEYS:
            written.asked(key, "l1")
    written.close()

    recording = read_records(written.path)
    counts = np.unique([row.obj for row in recording.rows], return_counts=True)[1]

    assert set(counts.tolist()) == {3}
    assert len(counts) == pytest.approx(0.25 * len(KEYS), rel=0.1)
    assert recording.total_requests == 3 * len(KEYS)


def test_every_process_draws_the_same_keys() -> None:
    """Python's own hash differs from process to process; this one may not."""
    code = "from perfkit.cache.record import sample_hash; print(sample_hash('users:7'), sample_hash('ü'))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert (
        printed.split()
        == [str(sample_hash("users:7")), str(sample_hash("ü"))]
        == ["3122342263", "4158060260"]
    )


@pytest.mark.parametrize("form", ["{}", "k{}", "o{:08d}", "users:m.f(t12:i1:{})", "ü{}é"])
@pytest.mark.parametrize("share", [1 / 4, 1 / 16, 1 / 64])
def test_keys_that_are_numbered_are_drawn_evenly(form: str, share: float) -> None:
    drawn = sum(sample_hash(form.format(number)) < share * 2**32 for number in range(40_000))

    assert drawn == pytest.approx(40_000 * share, rel=0.08)


def test_no_key_stands_in_the_file_and_another_secret_leads_nowhere(tmp_path: Path) -> None:
    written = recorder(tmp_path / "r.csv")
    written.asked("users:ada@example.org", "l1", namespace="users")
    written.close()
    text = written.path.read_text()

    assert "ada" not in text
    assert object_of("users:ada@example.org", SECRET) in text
    assert object_of("users:ada@example.org", b"a guess") not in text


def test_without_a_secret_one_is_drawn_that_nobody_knows(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        written = Recorder(1.0, tmp_path / name, write_aside=at_once)
        written.asked("users:1", "l1")
        written.close()
    first, second = read_records(tmp_path / "a.csv"), read_records(tmp_path / "b.csv")

    assert first.secret != second.secret
    assert first.rows[0].obj != second.rows[0].obj


@pytest.mark.parametrize(("share", "secret"), [(0.0, SECRET), (1.1, SECRET), (0.5, b""), (0.5, b"x" * 65)])
def test_a_share_or_secret_that_cannot_work_is_refused(share: float, secret: bytes) -> None:
    with pytest.raises(SettingsError):
        Recorder(share, secret=secret)


@pytest.mark.parametrize("name", ["r.csv", "r.csv.gz"])
def test_a_file_cut_off_anywhere_gives_what_was_whole(tmp_path: Path, name: str) -> None:
    written = recorder(tmp_path / name, batch_rows=5)
    for number in range(50):
        written.asked(f"k{number}", "l1")
    written.close()
    whole = written.path.read_bytes()
    every = [row.obj for row in read_records(written.path).rows]
    torn = tmp_path / f"torn-{name}"

    header = whole.index(b"\n") + 1 if name == "r.csv" else len(gzip.compress(b"x" * 200)) + 120
    for cut in range(header, len(whole), 7):
        torn.write_bytes(whole[:cut])
        rows = [row.obj for row in read_records(torn).rows]
        assert rows == every[: len(rows)]
    assert len(rows) >= 40


def test_a_name_with_commas_and_line_ends_stays_one_field(tmp_path: Path) -> None:
    written = recorder(tmp_path / "r.csv")
    written.asked("k", "l1", namespace='a,b\n#"%é ')
    written.close()

    assert [row.namespace for row in read_records(written.path).rows] == ['a,b\n#"%é ']
    assert len(read_trace(written.path)) == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    requests=st.lists(
        st.tuples(st.text(max_size=8), st.text(max_size=8), st.integers(0, 2**30)), min_size=1, max_size=30
    )
)
def test_any_request_is_read_back(tmp_path: Path, requests: list[tuple[str, str, int]]) -> None:
    written = recorder(tmp_path / "any.csv.gz", batch_rows=7)
    for key, namespace, size in requests:
        written.asked(key, "l1", namespace=namespace, size=size)
    written.close()

    rows = read_records(written.path).rows

    assert [(row.obj, row.namespace, row.size) for row in rows] == [
        (object_of(key, SECRET), namespace, size) for key, namespace, size in requests
    ]


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    paths = []
    for _ in range(2):
        written = recorder(tmp_path / "r.csv.gz")
        written.asked("k", "l1")
        written.close()
        paths.append(written.path.name)

    assert paths == ["r.csv.gz", "r-2.csv.gz"]


def test_a_full_file_ends_the_recording_and_not_the_service(tmp_path: Path) -> None:
    written = recorder(tmp_path / "r.csv", max_bytes=2_000, batch_rows=10)
    for number in range(1_000):
        written.asked(f"k{number}", "l1")
    stats = written.stats()

    assert stats.error.startswith("r.csv is full")
    assert 2_000 <= written.path.stat().st_size < 3_000
    assert stats.requests == 1_000


def test_rotation_keeps_the_newest_files_each_with_its_own_total(tmp_path: Path) -> None:
    written = recorder(tmp_path / "r.csv", max_bytes=2_000, max_files=2, batch_rows=10)
    for number in range(1_000):
        written.asked(f"k{number}", "l1")
    written.close()
    files = sorted(tmp_path.glob("r*.csv"))
    last = read_records(written.path)

    assert len(files) == 2
    assert last.total_requests == len(last.rows)
    assert last.rows[-1].obj == object_of("k999", SECRET)


def test_a_disk_that_fails_is_counted_and_hurts_nobody(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way of a folder")
    written = recorder(blocked / "r.csv", batch_rows=2)
    for number in range(10):
        written.asked(f"k{number}", "l1")
    written.close()
    stats = written.stats()

    assert (stats.requests, stats.lost, stats.bytes_written) == (10, 2, 0)
    assert "NotADirectoryError" in stats.error or "FileExistsError" in stats.error


def test_a_disk_that_stalls_loses_lines_instead_of_gathering_them(tmp_path: Path) -> None:
    never: list[Callable[[], None]] = []
    written = Recorder(1.0, tmp_path / "r.csv", secret=SECRET, batch_rows=1, write_aside=never.append)
    for number in range(100):
        written.asked(f"k{number}", "l1")

    assert len(never) == 16
    assert written.stats().lost == 84


def test_lines_that_wait_too_long_are_written_with_the_next(tmp_path: Path) -> None:
    clock = Moved()
    written = recorder(tmp_path / "r.csv", clock=clock, flush_seconds=5)
    written.asked("a", "l1")
    assert not (tmp_path / "r.csv").exists()
    clock.now += 6
    written.asked("b", "l1")

    assert len(read_records(written.path).rows) == 2


def test_a_thread_writes_and_closing_waits_for_it(tmp_path: Path) -> None:
    written = Recorder(1.0, tmp_path / "r.csv.gz", secret=SECRET, batch_rows=100)
    for number in range(1_050):
        written.asked(f"k{number}", "l1")
    written.close()
    written.close()

    assert len(read_records(written.path).rows) == 1_050


def test_who_listens_hears_of_drawn_requests_only() -> None:
    heard: list[tuple[int, int]] = []

    class Listening:
        def heard(self, hashed: int, now: float, requests: int) -> None:
            heard.append((hashed, requests))

    listening = Recorder(0.25, hears=Listening())
    for key in KEYS[:100]:
        listening.asked(key, "l1")

    assert heard == [
        (sample_hash(key), at) for at, key in enumerate(KEYS[:100], 1) if sample_hash(key) < 2**30
    ]


def test_the_laboratory_reads_a_recording_with_its_share_and_total(tmp_path: Path) -> None:
    clock = Moved()
    written = recorder(tmp_path / "day.csv.gz", share=0.25, clock=clock)
    for at in range(20_000):
        clock.now += 0.01
        written.asked(KEYS[at * at % 4_001], "l1", size=700 if at > 10_000 else 0)
    written.close()

    workload = read_trace(written.path)

    assert workload.sample_share == 0.25
    assert workload.total_requests == 20_000
    assert len(workload) == len(read_records(written.path).rows)
    assert set(workload.sizes.tolist()) == {700}
    assert 0 < workload.span_s < 200
    assert model_of(workload) is not None


def test_objects_that_look_like_numbers_stay_apart(tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text(
        "# perfkit-trace 1 share=1.0 secret=aa began=0.0 requests_before=0\n"
        "t_s,obj,size,load_s,namespace,tier,cost\n"
        "0.0,1e10000000000000,1,0,,l1,0\n0.1,2e10000000000000,1,0,,l1,0\n# total 2 at 1\n"
    )

    assert read_trace(file).objects.tolist() == [0, 1]


@pytest.mark.parametrize(
    "text", ["t_s,obj\n0,a\n", "", "# perfkit-trace 1 share=7\n", "# perfkit-trace 1 \n"]
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "r.csv"
    file.write_text(text)

    with pytest.raises(WorkloadError):
        read_records(file)
    with pytest.raises(WorkloadError):
        read_trace(file, format="perfkit")


def test_a_recording_of_nothing_says_so(tmp_path: Path) -> None:
    written = recorder(tmp_path / "r.csv", share=1e-9)
    written.asked("k", "l1")
    written.close()

    with pytest.raises(WorkloadError, match="No request was recorded, of 1 that came"):
        read_trace(written.path)
