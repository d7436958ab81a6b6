"""The rig for responses asks a real service what it was told to ask, and its model holds what it says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.errors import MeasurementError, ScenarioError, Unavailable
from perfkit.knobs import Value, replaced
from perfkit.lab import sweep
from perfkit.lab.folder import list_runs
from perfkit.lab.histogram import quantile_ms
from perfkit.lab.line import measured_lines
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs import Asked, Observation
from perfkit.lab.rigs.asgi import ASGI
from perfkit.lab.scenario import Scenario
from perfkit.lab.sources import load_workload
from perfkit.lab.web import play
from perfkit.lab.web.process import ServiceProcess
from perfkit.lab.web.service import Plan
from perfkit.settings import Settings

Build = Callable[..., Scenario]


@pytest.fixture(scope="session")
def responses() -> Build:
    """Build a small question about responses; sections are replaced by name."""

    def build(**sections: Any) -> Scenario:
        document: dict[str, Any] = {
            "name": "small",
            "question": "What should be compressed?",
            "rig": "asgi",
            "workload": {
                "kind": "generated", "requests": 2_000, "objects": 40, "rate_per_s": 400, "mean_bytes": 8_000,
            },
            "world": {"origin_ms": 0},
            "http": {"payload": "orders", "clients": [{"accept": "gzip"}]},
            "baseline": {"asgi.compress_responses": False},
            "axes": {"asgi.compress_responses": [False, True]},
            "objective": {"metric": "bytes_per_response"},
            "simulate": {"requests": 600, "warmup": 100},
            "measure": {"requests": 240, "rounds": 6, "rate_per_s": 200, "warmup": 100, "finalists": 1},
            "confirm": {"rounds": 6},
        }  # fmt: skip
        return Scenario.model_validate(document | sections)

    return build


def asked_of(question: Scenario, calibration: Mapping[str, Any] = {}) -> Asked:
    return Asked(question, load_workload(question.workload, seed=question.seed, folder=Path()), calibration)


async def played(question: Scenario, knobs: Mapping[str, Value], start: int, stop: int) -> Observation:
    with measured_lines(ASGI, question) as lines:
        own = replaced(Settings(), knobs)
        opened = ASGI.open(own, asked_of(question), lines.at(None), seed=1, key_prefix="t:")
        async with opened as rig:
            await rig.warm(start)
            return await rig.play(stop, rate_per_s=400)


async def test_compressing_is_seen_on_the_wire_and_on_the_processor(responses: Build) -> None:
    whole = await played(responses(), {"asgi.compress_responses": False}, 50, 250)
    small = await played(responses(), {"asgi.compress_gzip_level": 9}, 50, 250)

    assert small.metrics["bytes_per_response"] < whole.metrics["bytes_per_response"] / 2
    assert small.metrics["server_cpu_ms_per_request"] > whole.metrics["server_cpu_ms_per_request"]
    assert small.metrics["dollars_per_million"] < whole.metrics["dollars_per_million"]
    assert sum(small.responses.counts) == 200
    assert ASGI.metrics >= set(small.metrics)


async def test_a_slow_line_is_really_slow_and_a_fast_one_is_not_held_back_by_it(responses: Build) -> None:
    """8,000 bytes at a megabit take 64 ms and more; half of the clients are on such a line."""
    line = {"accept": "", "mbit_per_s": 1, "share": 1}
    http = {"payload": "orders", "clients": [line, {"accept": "gzip"}]}
    workload = responses().workload.model_copy(update={"size_sigma": 0.0})
    question = responses(http=http).model_copy(update={"workload": workload})
    seen = (await played(question, {}, 50, 250)).responses

    assert quantile_ms(seen, 0.65) > 64
    assert quantile_ms(seen, 0.35) < 50


async def test_who_asks_for_what_is_the_same_for_every_arm(responses: Build) -> None:
    """The same requests in the same order: without compression both arms send the same bytes."""
    http = {"payload": "mixed", "clients": [{"accept": "gzip"}, {"accept": ""}], "masks": {"share": 0.5}}
    plain: dict[str, Value] = {"asgi.compress_responses": False, "asgi.track_response_time": False}
    sizes = [
        (await played(responses(http=http), plain, 50, 250)).metrics["bytes_per_response"] for _ in range(2)
    ]

    assert sizes[0] == sizes[1]


async def test_answers_that_are_kept_are_not_paid_for_again_and_ones_own_always_is(responses: Build) -> None:
    question = responses(
        world={"origin_ms": 20}, axes={"asgi.response_cache": [False, True]},
        http={"payload": "llm", "private_share": 0.25}, objective={"metric": "origin_calls_per_request"},
    )  # fmt: skip
    keeps: dict[str, Value] = {"asgi.response_cache": True, "asgi.response_cache_ttl_seconds": 60.0}
    kept = await played(question, keeps, 400, 600)
    anew = await played(question, {}, 50, 150)

    assert anew.metrics["origin_calls_per_request"] == 1
    assert anew.metrics["hit_ratio"] == 0
    assert 0.05 < kept.metrics["origin_calls_per_request"] < 0.5
    assert kept.metrics["hit_ratio"] == pytest.approx(1 - kept.metrics["origin_calls_per_request"])
    assert kept.metrics["response_mean_ms"] < anew.metrics["response_mean_ms"]


def test_a_run_ends_in_a_verdict_and_its_model_is_held_beside_it(responses: Build, tmp_path: Path) -> None:
    """Whatever this machine lets be measured: bytes do not depend on it."""
    finished = sweep.run(responses(), out=tmp_path, show_progress=False)
    stages = {row.trial.stage for row in finished.folder.results()}
    backends = {row.backend for row in finished.folder.results() if row.how == "measured"}

    assert "simulated" not in stages
    assert [backend.split()[0] for backend in backends] == ["uvicorn"]
    assert {fit.arm for fit in finished.comparison.fits} <= {"baseline", "c1"}
    for fit in finished.comparison.fits:
        assert fit.modelled == pytest.approx(fit.measured, rel=0.05)
    assert (finished.folder.path / "calibration.json").exists()


def test_the_same_calibration_gives_the_same_model(responses: Build) -> None:
    settings = [replaced(Settings(), {"asgi.compress_gzip_level": level}) for level in (1, 6, 9)]
    found = ASGI.calibrated(settings, asked_of(responses()))
    first, second = (
        ASGI.model(settings, asked_of(responses(), found), rtt_ms=None) for _ in range(2)
    )  # fmt: skip

    assert first == second
    assert first[0]["bytes_per_response"] > first[1]["bytes_per_response"]
    assert {"codings", "compressed", "filtered", "request", "samples"} == set(found)


def test_a_service_killed_in_a_round_stops_the_run_and_the_trials_before_are_kept(
    responses: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[ServiceProcess] = []
    start = ServiceProcess.start

    def noted(settings: Settings, plan: Plan) -> ServiceProcess:
        started.append(start(settings, plan))
        return started[-1]

    rounds = 0
    whole = play.play

    async def struck(*args: Any, **options: Any) -> Any:
        nonlocal rounds
        rounds += 1
        if rounds == 4:
            os.kill(started[-1].pid, signal.SIGKILL)
        return await whole(*args, **options)

    monkeypatch.setattr(ServiceProcess, "start", staticmethod(noted))
    monkeypatch.setattr(play, "play", struck)
    with pytest.raises(Unavailable, match="service") as failure:
        sweep.run(responses(), out=tmp_path, show_progress=False)
    (folder,) = list_runs(tmp_path)
    kept: list[TrialResult] = [row for row in folder.results() if row.trial.stage == "measured"]

    assert "trials are kept. Go on with" in failure.value.__notes__[0]
    assert len(kept) >= 2
    assert not any(service.alive() for service in started)


async def test_answers_that_are_no_success_make_the_round_worthless(responses: Build) -> None:
    question = responses()
    with measured_lines(ASGI, question) as lines:
        opened = ASGI.open(Settings(), asked_of(question), lines.at(None), seed=1, key_prefix="t:")
        async with opened as rig:
            rig._drawn._objects = np.full(2_000, 999_999)
            with pytest.raises(MeasurementError, match="no success, the first a 404"):
                await rig.play(20, rate_per_s=400)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"traffic": {}}, "say what the service is asked in http"),
        ({"world": {"redis_ms": [0, 1]}}, "one redis_ms"),
        ({"world": {"instances": 2}}, "one instance"),
        ({"objective": {"metric": "hit_ratio"}}, "unless asgi.response_cache is on"),
        ({"objective": {"metric": "stale_share"}}, "does not give 'stale_share'"),
        ({"axes": {"asgi.compress_lag_ms": [5, 20]}}, "asgi.compress_lag_ms would be tried"),
        ({"measure": None}, "without a measurement nothing is compared"),
    ],
)
def test_what_this_rig_cannot_do_is_refused_before_anything_runs(
    responses: Build, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScenarioError, match=said):
        sweep.plan_of(responses(**sections))


def test_more_answers_than_a_service_can_hold_are_refused(responses: Build) -> None:
    workload = {"kind": "generated", "requests": 2_000, "objects": 500, "mean_bytes": 4_000_000}
    with pytest.raises(ScenarioError, match=r"come to [\d]+ MiB"):
        ASGI.calibrated([Settings()], asked_of(responses(workload=workload)))


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ({"clients": []}, "at least 1 item"),
        ({"clients": [{"accept": "gzip"}, {"accept": "gzip", "share": 2}]}, "add up their shares"),
        ({"clients": [{"accept": "gzip\r\nx: y"}]}, "pattern"),
        ({"clients": [{"mbit_per_s": 0}]}, "greater than 0"),
        ({"payload": "xml"}, "'orders', 'users'"),
        ({"masks": {"share": 0}}, "greater than 0"),
        ({"prices": {"vcpu_second_dollars": -1}}, "greater than or equal to 0"),
    ],
)
def test_requests_that_make_no_sense_are_refused(responses: Build, http: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        responses(http=http)
