"""Warming tries every key once, a few at a time, and always ends."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from perfkit.cache import cached
from perfkit.cache.prefetch import Prefetcher
from perfkit.cache.record import Recorder
from perfkit.cache.tiered import TieredCache
from perfkit.cache.warm import Call, Warmer, WarmReport, keys_from_file, most_requested
from perfkit.errors import SettingsError, WorkloadError
from perfkit.lab.virtual import run_virtual


class Origin:
    """Takes a second for each key and remembers how many were asked for at a time."""

    def __init__(self, *, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.asked: list[object] = []
        self.begun_s: list[float] = []
        self.busy = self.busiest = self.cancelled = 0

    async def __call__(self, key: object) -> object:
        self.asked.append(key)
        self.begun_s.append(asyncio.get_running_loop().time())
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.busy -= 1
        if str(key).startswith("bad"):
            raise LookupError(f"no {key}")
        return key


def test_every_key_is_loaded_once_and_only_so_many_at_a_time() -> None:
    origin = Origin()
    report = run_virtual(Warmer(origin, concurrency=4).warm([f"k{n}" for n in range(20)]))

    assert (report.warmed, report.failed, report.left, report.complete) == (20, 0, 0, True)
    assert (origin.busiest, report.seconds) == (4, 5.0)
    assert sorted(map(str, origin.asked)) == sorted(f"k{n}" for n in range(20))


def test_a_rate_spaces_what_is_begun() -> None:
    origin = Origin()
    run_virtual(Warmer(origin, concurrency=8, rate_per_s=2).warm(range(6)))

    assert origin.begun_s == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_a_key_that_fails_stops_no_other() -> None:
    warmer = Warmer(Origin(), concurrency=1, max_errors=2)
    report = run_virtual(warmer.warm(["a", "bad1", "b", "bad2", "bad3", "c"]))

    assert (report.warmed, report.failed, report.complete) == (3, 3, True)
    assert report.errors == ("'bad1': LookupError: no bad1", "'bad2': LookupError: no bad2")
    assert "3 warmed, 0 already there, 3 failed (first: 'bad1': LookupError: no bad1)" in str(report)


@pytest.mark.parametrize("sized", [True, False])
def test_when_the_time_is_over_the_rest_is_left_and_said_so(sized: bool) -> None:
    origin = Origin()
    warmer = Warmer(origin, concurrency=2)
    keys: list[int] | Iterator[int] = list(range(100)) if sized else iter(range(100))
    report = run_virtual(warmer.warm(keys, within_seconds=3.5))

    assert (report.warmed, report.left) == (6, 94 if sized else None)
    assert report.seconds == 3.5
    assert not report.complete
    assert "left when the time was over" in str(report)
    assert origin.cancelled == 2
    assert warmer.ready


def test_ready_is_told_when_warming_has_ended_and_not_before() -> None:
    async def main() -> list[bool]:
        warmer = Warmer(Origin())
        told = [warmer.ready]
        task = asyncio.create_task(warmer.warm(range(8)))
        await asyncio.sleep(0.5)
        told.append(warmer.ready)
        await warmer.wait_ready()
        told.append(warmer.ready)
        await task
        return told

    assert run_virtual(main()) == [False, False, True]


def test_cancelling_ends_every_load_and_closes_the_source() -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    async def main() -> tuple[Origin, Warmer[int]]:
        origin = Origin()
        warmer: Warmer[int] = Warmer(origin, concurrency=3)
        task = asyncio.create_task(warmer.warm(source()))
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return origin, warmer

    origin, warmer = run_virtual(main())

    assert (origin.busy, origin.cancelled, closed) == (0, 3, [True])
    assert not warmer.ready
    assert warmer.report is not None
    assert warmer.report.warmed == 3


def test_keys_come_from_wherever_they_come() -> None:
    async def asynchronous() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1)
        yield "b"

    async def awaited() -> list[str]:
        return ["a", "b"]

    sources: list[Any] = [["a", "b"], iter("ab"), asynchronous(), asynchronous, awaited, lambda: ("a", "b")]
    for keys in [*sources, {"a": 1, "b": 2}]:
        origin = Origin()
        report = run_virtual(Warmer(origin).warm(keys))
        assert (report.warmed, sorted(map(str, origin.asked))) == (2, ["a", "b"])


def test_a_source_that_breaks_off_ends_the_warming_and_nothing_else() -> None:
    def breaks() -> Iterator[str]:
        yield "a"
        raise OSError("the disk is gone")

    warmer = Warmer(Origin())
    report = run_virtual(warmer.warm(breaks))
    missing = run_virtual(Warmer(Origin()).warm(lambda: keys_from_file("no/such/file")))

    assert (report.warmed, report.left) == (1, None)
    assert report.errors == ("the source of keys: OSError: the disk is gone",)
    assert warmer.ready
    assert "FileNotFoundError" in missing.errors[0]


def test_progress_is_told_now_and_then_and_at_the_end() -> None:
    told: list[WarmReport] = []
    run_virtual(Warmer(Origin(seconds=0), concurrency=1, progress=told.append).warm(range(250)))

    assert [(report.warmed, report.left) for report in told] == [(100, 150), (200, 50), (250, 0)]


def test_a_tiered_cache_is_warmed_with_what_it_lacks() -> None:
    async def main() -> tuple[WarmReport, object, list[object]]:
        cache, origin = TieredCache(), Origin()
        await cache.set("a", "there")
        report = await Warmer.of_cache(cache, origin).warm(["a", "b", "bad"])
        return report, await cache.get("b"), origin.asked

    report, value, asked = run_virtual(main())

    assert (report.warmed, report.already, report.failed) == (1, 1, 1)
    assert value == "b"
    assert asked == ["b", "bad"]


def test_a_decorated_function_is_warmed_with_its_arguments() -> None:
    asked: list[tuple[int, str]] = []

    @cached(ttl_seconds=300, namespace="test_warm")
    async def report_of(user: int, detail: str = "low") -> str:
        asked.append((user, detail))
        return f"{user} {detail}"

    async def main() -> WarmReport:
        await report_of(1)
        calls = [1, 2, (3, "high"), {"user": 4}, Call((5,), {"detail": "high"})]
        report = await Warmer.of_function(report_of).warm(calls)
        await report_of(3, "high")
        return report

    report = run_virtual(main())

    assert (report.warmed, report.already) == (4, 1)
    assert sorted(asked) == [(1, "low"), (2, "low"), (3, "high"), (4, "low"), (5, "high")]


def test_a_file_holds_a_key_a_line_or_json(tmp_path: Path) -> None:
    plain, lines = tmp_path / "keys.txt", tmp_path / "calls.jsonl.gz"
    plain.write_text("users:1\n\n[not json]\n  spaced \n", encoding="utf-8")
    lines.write_bytes(gzip.compress(b'[1, "high"]\n{"user": 2}\n"k"\n{torn\n3\n'))
    *read, last = keys_from_file(lines)

    assert list(keys_from_file(plain)) == ["users:1", "[not json]", "  spaced "]
    assert (read[:3], last) == ([(1, "high"), {"user": 2}, "k"], 3)
    assert isinstance(read[3], WorkloadError)
    assert ":4: '{torn' is not JSON" in str(read[3])


def test_a_torn_line_counts_as_a_failed_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.jsonl"
    file.write_text('"a"\n{torn\n"b"\n')
    report = run_virtual(Warmer(Origin()).warm(keys_from_file(file)))

    assert (report.warmed, report.failed) == (2, 1)
    assert "is not JSON" in report.errors[0]


def test_a_recording_tells_which_of_the_known_keys_are_wanted_most(tmp_path: Path) -> None:
    recorder = Recorder(1.0, tmp_path / "r.csv", secret=b"ours")
    for key, times in (("a", 3), ("b", 9), ("c", 1), ("elsewhere", 20)):
        for _ in range(times):
            recorder.asked(key, "l1", namespace="there" if key == "elsewhere" else "here")
    recorder.close()
    candidates = ["a", "b", "c", "never", "elsewhere"]

    assert most_requested(recorder.path, candidates, secret=b"ours", limit=2) == ["elsewhere", "b"]
    assert most_requested(recorder.path, candidates, secret=b"ours", limit=9, namespace="here") == [
        "b",
        "a",
        "c",
    ]
    with pytest.raises(WorkloadError, match="another secret"):
        most_requested(recorder.path, candidates, secret=b"theirs", limit=2)


def test_the_order_of_a_warming_is_not_taken_for_a_habit_of_callers() -> None:
    prefetcher = Prefetcher(min_probability=0.5, budget=1)

    async def load(key: str) -> None:
        prefetcher.asked(key)

    run_virtual(Warmer(load, concurrency=1).warm(["a", "b", "c"] * 50))

    assert prefetcher.stats().keys == 0


@pytest.mark.parametrize("wrong", [{"concurrency": 0}, {"rate_per_s": 0.0}, {"rate_per_s": -1.0}])
def test_what_would_never_warm_anything_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        Warmer(Origin(), **wrong)  # type: ignore[arg-type]
