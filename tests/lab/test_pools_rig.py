"""The pools rig drives the shipping pools, counts what fails, and its model holds where it says it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import ScenarioError
from perfkit.lab.line import Line, measured_lines
from perfkit.lab.plan import Plan
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs import RIGS, Asked
from perfkit.lab.rigs.pools import POOLS
from perfkit.lab.rounds import Setup, play_rounds
from perfkit.lab.scenario import Scenario
from perfkit.lab.sources import load_workload
from perfkit.lab.sweep import Run, plan_of, run
from perfkit.lab.traffic import Fault
from perfkit.pools import Endpoint
from perfkit.pools.server import RedisServer, find_server

Build = Callable[..., Scenario]
needs_server = pytest.mark.skipif(find_server() is None, reason="no Redis or Valkey server is installed")
CACHE_READS = {"calls": [{"pool": "cache", "command": "get", "share": 1}]}


def simulated(question: Scenario, out: Path, **knobs: Any) -> list[TrialResult]:
    """The simulated trials of what runs today."""
    finished = run(question, out=out, show_progress=False)
    return [r for r in finished.folder.results() if r.trial.stage == "simulated" and r.trial.knobs == knobs]


@pytest.fixture(scope="module")
def finished(pools_question: Build, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(pools_question(), out=tmp_path_factory.mktemp("pools"), show_progress=False)


def lines_without_times(finished: Run) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (finished.folder.path / "trials.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "at"} for row in rows]


def test_a_simulated_run_of_one_seed_leaves_the_same_trials(finished: Run, tmp_path: Path) -> None:
    again = run(finished.scenario, out=tmp_path, show_progress=False)

    assert lines_without_times(again) == lines_without_times(finished)


def test_every_setting_is_tried_at_each_round_trip(finished: Run) -> None:
    places = [(r.trial.stage, r.trial.fingerprint, r.trial.rtt_ms) for r in finished.folder.results()]

    assert len(places) == len(set(places)) == 3 * 2 + 2 * 2
    assert {rtt_ms for _stage, _setting, rtt_ms in places} == {1.0, 5.0}


def test_the_model_and_the_simulation_agree_on_the_line(finished: Run) -> None:
    """What the formula says of p95 is what the shipping pools do in virtual time, within a quarter."""
    rows = {
        (r.trial.stage, r.trial.fingerprint, r.trial.rtt_ms): r.metrics["response_p95_ms"]
        for r in finished.folder.results()
    }
    both = [
        (rows[stage, setting, rtt_ms], rows["modelled", setting, rtt_ms])
        for stage, setting, rtt_ms in rows
        if stage == "simulated"
    ]

    assert len(both) == 4
    assert all(played == pytest.approx(modelled, rel=0.25) for played, modelled in both)


def test_at_the_far_end_more_connections_are_better_and_the_run_says_by_how_much(finished: Run) -> None:
    (leader,) = finished.comparison.arms
    effects = {
        at.rtt_ms: next(e.effect for e in at.effects if e.metric == "response_p95_ms")
        for at in finished.comparison.by_rtt
    }

    assert leader.knobs == {"pools.default.max_connections": 16}
    assert effects[1.0] == pytest.approx(0, abs=0.05)
    assert effects[5.0] is not None
    assert effects[5.0] < -0.1


def test_a_call_that_fails_is_counted_and_the_trial_goes_on(pools_question: Build, tmp_path: Path) -> None:
    """A stall of 300 ms: calls time out, the breaker refuses the rest, and afterwards all is well."""
    fault = {"kind": "stall", "at_s": 0.2, "seconds": 0.3}
    question = pools_question(
        world={"redis_ms": 0.5}, baseline={}, axes={"pools.cache.retries": [0]},
        traffic=CACHE_READS | {"faults": [fault]}, objective={"metric": "recovery_ms"},
    )  # fmt: skip
    (trial,) = simulated(question, tmp_path)

    assert trial.status == "ok"
    assert 0 < trial.metrics["rejected_share"] < trial.metrics["failed_share"] < 0.6
    assert 0 < trial.metrics["detection_ms"] <= 300
    assert 0 <= trial.metrics["recovery_ms"] < 700


def test_a_reset_fails_what_was_under_way_and_little_else(pools_question: Build, tmp_path: Path) -> None:
    question = pools_question(
        world={"redis_ms": 5}, baseline={"pools.cache.retries": 0}, axes={"pools.cache.retries": [0]},
        traffic=CACHE_READS | {"faults": [{"kind": "reset", "at_s": 0.3}]},
        objective={"metric": "failed_share"},
    )  # fmt: skip
    (trial,) = simulated(question, tmp_path)

    assert 0 < trial.metrics["failed_share"] < 0.1


def test_faults_last_as_drawn_for_the_round_and_not_for_the_arm(
    pools_question: Build, tmp_path: Path
) -> None:
    """Two equal settings meet the same stalls, so that only what they make of them can differ."""
    fault = {"kind": "stall", "at_s": 0.1, "seconds": 0.3, "spread": 0.5}
    question = pools_question(
        world={"redis_ms": 0.5}, baseline={}, traffic=CACHE_READS | {"faults": [fault]},
        axes={"pools.read_heavy.retries": [1, 2]}, objective={"metric": "recovery_ms"},
        simulate={"requests": 500, "warmup": 100, "promote": 1, "rounds": 3},
    )  # fmt: skip
    rows = run(question, out=tmp_path, show_progress=False).folder.results()
    by_round = {
        number: [r.metrics for r in rows if r.trial.stage == "simulated" and r.trial.round == number]
        for number in range(3)
    }

    assert all(len(arms) == 2 and arms[0] == arms[1] for arms in by_round.values())
    assert len({arms[0]["failed_share"] for arms in by_round.values()}) == 3


def test_analytics_read_as_fast_as_they_are_answered(pools_question: Build, tmp_path: Path) -> None:
    """Two tasks at a round trip of 20 ms get about a hundred reads a second done."""
    question = pools_question(
        world={"redis_ms": 19.9, "command_ms": 0.1}, axes={"pools.analytics.retries": [0]},
        baseline={"pools.analytics.inflight_max": 2, "pools.analytics.inflight_initial": 2},
        traffic=CACHE_READS | {"analytics": {"tasks": 2, "keys": 3, "value_bytes": 10}},
        simulate={"requests": 500, "warmup": 100},
    )  # fmt: skip
    (trial,) = simulated(question, tmp_path)

    assert trial.metrics["analytics_per_s"] == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"objective": {"metric": "hit_ratio"}}, "does not give 'hit_ratio'"),
        ({"objective": {"metric": "recovery_ms"}}, "no traffic.faults"),
        ({"guardrails": [{"metric": "analytics_per_s", "at_least": 1}]}, "no traffic.analytics"),
    ],
)
def test_a_metric_that_nothing_gives_is_refused_before_anything_runs(
    pools_question: Build, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScenarioError, match=said):
        plan_of(pools_question(**sections))


def test_traffic_is_no_part_of_a_question_about_the_cache(tiny: Scenario, pools_question: Build) -> None:
    with pytest.raises(ScenarioError, match="Remove traffic"):
        plan_of(tiny.model_copy(update={"traffic": pools_question().traffic}))


def test_a_round_that_ends_before_its_fault_is_refused(pools_question: Build) -> None:
    fault = {"kind": "stall", "at_s": 0.5, "seconds": 1, "spread": 0.5}
    question = pools_question(
        traffic=CACHE_READS | {"faults": [fault]},
        measure={"requests": 6_000, "rounds": 6, "rate_per_s": 500, "warmup": 100},
    )
    with pytest.raises(ScenarioError, match="nobody would see the recovery"):
        Plan(question, POOLS.modelled_knobs).check_length(100_000)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "reset", "at_s": 1, "seconds": 1}, "only a reset lasts no time"),
        ({"kind": "stall", "at_s": 1}, "only a reset lasts no time"),
        ({"kind": "flood", "at_s": 1}, "'stall', 'reset' or 'blackhole'"),
        ({"kind": "reset", "at": 1}, "Extra inputs"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(
    pools_question: Build, fault: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        pools_question(traffic={"faults": [fault]})


def test_somebody_elses_server_is_never_stalled(
    pools_question: Build, monkeypatch: pytest.MonkeyPatch, server: RedisServer
) -> None:
    monkeypatch.setenv("PERFKIT_REDIS_URL", server.tcp_url)
    question = pools_question(traffic={"faults": [{"kind": "stall", "at_s": 0, "seconds": 1}]})

    with pytest.raises(ScenarioError, match="not ours to stop"), measured_lines(POOLS, question):
        pass


@pytest.fixture(scope="module")
def server() -> Any:
    if find_server() is None:
        pytest.skip("no Redis server to start; install perfkit[server]")
    with RedisServer.start() as started:
        yield started


@pytest.mark.parametrize("kind", ["stall", "blackhole", "reset"])
@needs_server
async def test_a_fault_is_borne_on_a_real_server_and_is_over_afterwards(
    pools_question: Build, kind: str
) -> None:
    """The pools answer before it, fail or wait during it, and answer again after it."""
    seconds = 0.0 if kind == "reset" else 0.15
    fault = Fault(kind=kind, at_s=0.02, seconds=seconds)
    question = pools_question(
        world={"redis_ms": 0.5}, traffic=CACHE_READS | {"faults": [fault.model_dump()]},
        measure={"requests": 3_000, "rounds": 6, "rate_per_s": 500, "warmup": 20},
    )  # fmt: skip
    asked = Asked(question, load_workload(question.workload, seed=1, folder=Path()))
    with measured_lines(POOLS, question) as lines:
        assert (lines.how, lines.backend.split()[0]) in {("measured", "valkey"), ("measured", "redis")}
        settings = Plan(question, ()).baseline
        async with POOLS.open(settings, asked, lines.at(None), seed=1, key_prefix="t:") as rig:
            await rig.warm(20)
            seen = await rig.play(520, rate_per_s=500)
            await rig.warm(520)
            await lines.at(None).strike(fault)
            await rig.warm(520)

    assert seen.remote_errors == 0
    assert 0 <= seen.metrics["failed_share"] < 1
    assert seen.metrics["recovery_ms"] >= 0
    assert len(seen.responses.counts) > 0


@needs_server
async def test_a_server_that_is_gone_fails_the_trial_and_not_the_rig(pools_question: Build) -> None:
    """No fault was planned, so a round without one answer is no measurement."""
    question = pools_question()
    asked = Asked(question, load_workload(question.workload, seed=1, folder=Path()))
    with RedisServer.start() as gone:
        line = Line(question.world.at(1), Endpoint.from_url(gone.url), strike=None)  # type: ignore[arg-type]  # no fault is planned
        async with POOLS.open(Plan(question, ()).baseline, asked, line, seed=1, key_prefix="t:") as rig:
            await rig.warm(20)
            gone.close()
            seen = await rig.play(120, rate_per_s=2_000)

    assert seen.remote_errors == 100
    assert seen.metrics["failed_share"] == 1.0


@needs_server
async def test_every_arm_is_measured_at_each_round_trip_in_turn(pools_question: Build) -> None:
    """Round r at the r-th, for all arms alike, and farther away takes longer by what was added."""
    question = pools_question(
        world={"redis_ms": [0, 4]}, axes={"pools.default.transport": ["classic", "mux"]},
        measure={"requests": 240, "rounds": 6, "rate_per_s": 400, "warmup": 20, "finalists": 1},
    )  # fmt: skip
    plan = Plan(question, POOLS.modelled_knobs)
    asked = Asked(question, load_workload(question.workload, seed=1, folder=Path()))
    rows: list[TrialResult] = []
    with measured_lines(POOLS, question) as lines:
        setup = Setup(plan, POOLS, asked, lines, "t:", first=20, per_round=40, rate_per_s=400)
        trials = plan.measured([{"pools.default.transport": "mux"}])
        await play_rounds(setup, trials, done=(), record=rows.append)

    assert {(r.trial.round % 2, r.trial.rtt_ms, r.how) for r in rows} == {
        (0, 0.0, "measured"),
        (1, 4.0, "measured"),
    }
    assert len(rows) == 6 * 3
    assert all(r.metrics["response_p50_ms"] >= 4 for r in rows if r.trial.rtt_ms)
    assert {r.metrics["connections"] for r in rows if r.trial.arm == "c1"} == {1}


def test_every_rig_is_known_by_the_word_of_its_area() -> None:
    assert set(RIGS) == {"cache", "pools", "asgi", "vertex"}
    assert all(rig.modelled_knobs and rig.metrics for rig in RIGS.values())
