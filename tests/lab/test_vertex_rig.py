"""The rig for Vertex AI drives the shipping client, counts what it sends, and its model holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.errors import MeasurementError, RequestRefused, ScenarioError
from perfkit.knobs import replaced
from perfkit.lab.embed.calls import AskedCalls
from perfkit.lab.embed.model import BatchingModel, bound_of, latency_of
from perfkit.lab.embed.play import OpenVertex
from perfkit.lab.embed.traffic import AnswerTime, Vertex
from perfkit.lab.embed.watched import Watched
from perfkit.lab.line import measured_lines, simulated_lines
from perfkit.lab.results import TrialResult
from perfkit.lab.rigs import Asked, Observation
from perfkit.lab.rigs.vertex import VERTEX
from perfkit.lab.scenario import GeneratedWorkload, Scenario
from perfkit.lab.sources import load_workload
from perfkit.lab.sweep import Run, plan_of, run
from perfkit.lab.virtual import run_virtual
from perfkit.settings import Settings
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.tokens import counted
from perfkit.vertex.settings import VertexSettings

Build = Callable[..., Scenario]
AXES = {
    "vertex.batch_policy": ["adaptive", "fixed", "off"],
    "vertex.batch_window_ms": [10, 40],
    "vertex.request_worth_ms": [10, 25],
}
FREE = {"vertex.requests_per_minute": 0}


@pytest.fixture(scope="module")
def embeds() -> Build:
    """Build a question about Vertex AI; sections are replaced by name."""

    def build(**sections: Any) -> Scenario:
        document: dict[str, Any] = {
            "name": "small",
            "question": "How long should a text wait?",
            "rig": "vertex",
            "workload": {
                "kind": "generated", "requests": 4_000, "objects": 100_000, "zipf_alpha": 0,
                "arrivals": "gamma", "arrivals_cv": 1.1, "rate_per_s": 110, "mean_bytes": 400,
            },
            "vertex": {"latency": "study"},
            "baseline": {"vertex.batch_policy": "fixed"} | FREE,
            "axes": AXES,
            "objective": {"metric": "cost_vs_offline"},
            "simulate": {"requests": 1_500, "warmup": 300, "promote": 8},
            "measure": None,
        }  # fmt: skip
        return Scenario.model_validate(document | sections)

    return build


@pytest.fixture(scope="module")
def finished(embeds: Build, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(embeds(), out=tmp_path_factory.mktemp("vertex"), show_progress=False)


def of_stage(finished: Run, stage: str) -> dict[str, TrialResult]:
    return {r.trial.fingerprint: r for r in finished.folder.results() if r.trial.stage == stage}


def asked_of(question: Scenario) -> Asked:
    return Asked(question, load_workload(question.workload, seed=question.seed, folder=Path()))


def simulated(question: Scenario, **knobs: Any) -> Observation:
    """What one setting comes to in virtual time, after the scenario's warm-up."""
    stage = question.simulate
    settings = replaced(Settings(), question.baseline | {f"vertex.{k}": v for k, v in knobs.items()})

    async def played() -> Observation:
        line = simulated_lines(VERTEX, question).at(None)
        async with VERTEX.open(settings, asked_of(question), line, seed=1, key_prefix="t:") as rig:
            await rig.warm(stage.warmup)
            return await rig.play(stage.warmup + stage.requests, rate_per_s=None)

    return run_virtual(played())


def test_the_model_and_the_simulation_agree_on_requests_waiting_and_p95(finished: Run) -> None:
    """The policy is asked itself, so requests and waiting agree to a few per cent; p95 has luck in it."""
    modelled, played = (of_stage(finished, stage) for stage in ("modelled", "simulated"))

    assert len(played) == 5
    for setting, row in played.items():
        model = modelled[setting].metrics
        assert row.metrics["requests_per_text"] == pytest.approx(model["requests_per_text"], rel=0.05)
        assert row.metrics["cost_vs_offline"] == pytest.approx(model["cost_vs_offline"], rel=0.05)
        assert row.metrics["response_p95_ms"] == pytest.approx(model["response_p95_ms"], rel=0.1)
        assert row.metrics["in_deadline_share"] == 1
        assert row.metrics["refused_share"] == 0


def test_a_run_of_one_seed_leaves_the_same_trials(finished: Run, tmp_path: Path) -> None:
    def lines(of: Run) -> list[dict[str, Any]]:
        rows = map(json.loads, (of.folder.path / "trials.jsonl").read_text().splitlines())
        return [{name: value for name, value in row.items() if name != "at"} for row in rows]

    assert lines(run(finished.scenario, out=tmp_path, show_progress=False)) == lines(finished)


def test_no_setting_is_tried_twice_because_of_a_knob_that_its_policy_does_not_go_by(embeds: Build) -> None:
    """Three policies by two windows by two worths are five settings, and not twelve."""
    plan = plan_of(embeds())
    tried = [plan.settings(trial).vertex for trial in plan.modelled()]

    goes_by = {
        "adaptive": lambda s: s.request_worth_ms,
        "fixed": lambda s: s.batch_window_ms,
        "off": lambda s: None,
    }
    distinct = {(s.batch_policy, goes_by[s.batch_policy](s)) for s in tried}
    assert len(tried) == len(distinct) == 5


def test_adaptive_is_chosen_over_the_fixed_window_it_is_cheaper_than(finished: Run) -> None:
    best = min(of_stage(finished, "simulated").values(), key=lambda row: row.metrics["cost_vs_offline"])

    assert best.trial.knobs == {"vertex.batch_policy": "adaptive"}
    assert 1 <= best.metrics["cost_vs_offline"] <= 1.35


def test_nothing_that_was_modelled_passes_the_bound(finished: Run) -> None:
    """At every worth of a request, waiting and requests of a setting cost as much as the bound's or more."""
    bound = bound_of(finished.folder.calibration or {})
    rows = of_stage(finished, "modelled").values()

    assert len(bound) > 10
    assert [p.requests_per_text for p in bound] == sorted((p.requests_per_text for p in bound), reverse=True)
    for point in bound:
        least = point.added_wait_mean_ms + point.worth_ms * point.requests_per_text
        for row in rows:
            spent = row.metrics["added_wait_mean_ms"] + point.worth_ms * row.metrics["requests_per_text"]
            assert spent >= least * (1 - 1e-9)


def test_under_a_quota_gathering_keeps_every_deadline_and_each_on_its_own_keeps_few(embeds: Build) -> None:
    """300 requests a minute for 30 texts a second: a request must hold six texts on average."""
    question = embeds(
        workload={
            "kind": "generated", "requests": 1_300, "objects": 100_000, "zipf_alpha": 0, "rate_per_s": 30,
        },
        vertex={"latency": "study", "requests_per_minute": 300, "deadline_ms": 4_000},
        baseline={"vertex.requests_per_minute": 300},
        simulate={"requests": 1_000, "warmup": 200},
    )  # fmt: skip
    gathered = simulated(question, batch_policy="adaptive").metrics
    alone = simulated(question, batch_policy="off").metrics

    assert (gathered["in_deadline_share"], gathered["refused_share"]) == (1, 0)
    assert gathered["response_p95_ms"] < 1_000
    assert alone["in_deadline_share"] < 0.5
    assert alone["response_p95_ms"] >= 4_000  # who gives up counts with the whole deadline


def test_a_client_that_does_not_know_of_the_quota_is_refused(embeds: Build) -> None:
    question = embeds(vertex={"latency": "study", "requests_per_minute": 60, "deadline_ms": 2_000})
    metrics = simulated(question, batch_policy="off").metrics

    assert metrics["refused_share"] > 0.3
    assert metrics["in_deadline_share"] < 0.7


def test_texts_that_repeat_share_an_answer_that_is_under_way(embeds: Build) -> None:
    often = {"latency": "study", "duplicate_share": 0.5}
    same, other = (
        simulated(embeds(vertex=v), batch_policy="off").metrics for v in (often, {"latency": "study"})
    )

    assert other["requests_per_text"] == 1
    assert 0.5 <= same["requests_per_text"] < 0.75  # some come when the first is answered already
    assert same["dollars_per_million_texts"] < 0.75 * other["dollars_per_million_texts"]


def test_callers_who_bring_several_texts_get_them_in_one_request(embeds: Build) -> None:
    question = embeds(vertex={"latency": "study", "texts_per_call": 4})
    metrics = simulated(question, batch_policy="off").metrics

    assert metrics["requests_per_text"] == pytest.approx(1 / 4, rel=0.01)


def test_a_text_has_the_tokens_of_its_size_as_the_emulator_counts_them() -> None:
    spec = GeneratedWorkload(requests=500, objects=300, mean_bytes=200, size_sigma=1.5)
    workload = load_workload(spec, seed=1, folder=Path())
    calls = AskedCalls(workload, Vertex(), 1)
    texts = [calls.texts(index)[0] for index in range(len(calls))]

    assert [counted(text).tokens for text in texts] == calls.tokens.tolist()
    assert calls.tokens.tolist() == np.minimum(np.ceil(workload.sizes / 4), 2_048).tolist()
    long = {text: number for text, number in zip(texts, workload.objects, strict=True) if " " in text}
    assert len(long) == len(set(long.values()))


def test_the_fit_models_the_calls_that_were_played_and_is_silent_under_a_quota(embeds: Build) -> None:
    stage = {"requests": 600, "warmup": 100, "rounds": 6, "rate_per_s": None}
    question = embeds(measure=stage)
    asked = asked_of(question)
    settings = replaced(Settings(), question.baseline)
    model = BatchingModel(asked.workload, question.vertex_or_usual, seed=1)
    plan = plan_of(question)
    rows = [
        TrialResult(
            trial=trial, how="measured", backend="x", status="ok",
            metrics=model.metrics(settings.vertex, start, start + 100),
        )
        for trial in plan.measured([])
        if trial.arm == "baseline"
        for start in [100 + trial.round * 100]
    ]  # fmt: skip
    fits = VERTEX.fits(settings, asked, rows)

    assert [fit.metric for fit in fits] == ["cost_vs_offline", "requests_per_text", "response_p95_ms"]
    assert all(fit.modelled == pytest.approx(fit.measured) for fit in fits)
    quota = embeds(measure=stage, vertex={"requests_per_minute": 100})
    assert VERTEX.fits(settings, asked_of(quota), rows) == []


async def test_on_the_wall_clock_the_client_is_googles_and_the_emulator_a_process_of_its_own(
    embeds: Build,
) -> None:
    question = embeds(
        vertex={"latency": {"base_ms": 5}},
        measure={"requests": 120, "warmup": 10, "rounds": 6, "rate_per_s": None},
    )
    with measured_lines(VERTEX, question) as lines:
        assert (lines.how, lines.backend.split(",")[0]) == ("measured", "emulated Vertex AI")
        opened = VERTEX.open(Settings(), asked_of(question), lines.at(None), seed=1, key_prefix="t:")
        async with opened as rig:
            await rig.warm(10)
            observation = await rig.play(110, rate_per_s=None)

    assert observation.metrics["in_deadline_share"] == 1
    assert observation.metrics["response_p50_ms"] >= 5
    assert 0 < observation.metrics["requests_per_text"] <= 1


async def test_a_service_that_is_not_at_work_makes_the_round_worthless(embeds: Build) -> None:
    class Broken:
        async def generate_embeddings(self, *_asked: object, **_how: object) -> object:
            raise RequestRefused("The model takes no such text.", model="text-embedding-005")

    asked = asked_of(embeds())
    watched = Watched(EmulatedVertex())
    rig = OpenVertex(Broken(), watched, asked.workload, Vertex(), seed=1, most_warmup=0)
    with pytest.raises(MeasurementError, match="takes no such text"):
        await asyncio.wait_for(rig.play(20, rate_per_s=None), 5)


def test_numbers_of_your_own_stand_in_for_a_preset() -> None:
    own = AnswerTime(base_ms=100, sigma=0.3, per_text_ms=2, per_token_ms=0.1)
    law = latency_of(Vertex(latency=own))

    assert (law.base_ms, law.spread, law.per_text_ms, law.per_token_ms) == (100, 0.3, 2, 0.1)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        pytest.param({"traffic": {}}, "say what the model is asked in vertex", id="traffic"),
        pytest.param({"http": {}}, "say what the model is asked in vertex", id="http"),
        pytest.param({"world": {"redis_ms": [0, 1]}}, "no Redis", id="distances"),
        pytest.param({"world": {"instances": 2}}, "one instance", id="instances"),
        pytest.param({"objective": {"metric": "hit_ratio"}}, "does not give 'hit_ratio'", id="metric"),
    ],
)
def test_what_this_rig_cannot_do_is_refused_before_anything_runs(
    embeds: Build, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(ScenarioError, match=said):
        plan_of(embeds(**sections))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        pytest.param({"measure": {"rate_per_s": 100}}, "write measure.rate_per_s: null", id="rate"),
        pytest.param({"measure": {}}, "write measure.rate_per_s: null", id="usual-rate"),
        pytest.param({"rig": "cache"}, "the part vertex is for the rig vertex", id="rig"),
        pytest.param(
            {"rig": "pools", "vertex": None, "measure": {"rate_per_s": None}}, "rig vertex only", id="null"
        ),
        pytest.param({"vertex": {"latency": "flatt"}}, "Did you mean 'flat'", id="preset"),
        pytest.param({"vertex": {"model": "text-embeding"}}, "Did you mean 'text-embedding'", id="model"),
        pytest.param({"vertex": {"texts_per_call": 0}}, "greater than or equal to 1", id="texts"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    embeds: Build, sections: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        embeds(**sections)


def test_knobs_of_other_policies_are_idle() -> None:
    def idle(policy: str) -> frozenset[str]:
        return VERTEX.idle_knobs(replaced(Settings(), {"vertex.batch_policy": policy}))

    worth, window = "vertex.request_worth_ms", "vertex.batch_window_ms"
    assert window in idle("adaptive")
    assert worth not in idle("adaptive")
    assert worth in idle("fixed")
    assert {worth, window} <= idle("off")
    assert all(path.removeprefix("vertex.") in VertexSettings.model_fields for path in idle("off"))
