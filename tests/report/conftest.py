"""A run as the laboratory leaves it, made up from a seed: what the report's tests look at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perfkit.knobs import Value, flat, replaced
from perfkit.lab.choose import Choice, GuardrailCheck
from perfkit.lab.compare import Arm, AtRtt, Comparison, Effect, Fit, Verdict
from perfkit.lab.histogram import from_ms
from perfkit.lab.metrics import METRICS
from perfkit.lab.results import AGAIN, BASELINE, How, Stage, Trial, TrialResult, Validity
from perfkit.lab.scenario import Scenario
from perfkit.report import RunView
from perfkit.settings import Settings

_ENTRIES, _TTL = "cache.l1_max_entries", "cache.l1_ttl_seconds"
_ARMS: dict[str, dict[str, Value]] = {
    BASELINE: {},
    AGAIN: {},
    "c1": {_ENTRIES: 2_405, _TTL: 90.0, "cache.l1_policy": "s3fifo"},
    "c2": {_ENTRIES: 3_585, _TTL: 60.0, "cache.l1_policy": "s3fifo"},
}
_READS = {BASELINE: 0.52, AGAIN: 0.52, "c1": 0.36, "c2": 0.39}


@pytest.fixture(scope="session")
def make_view() -> Callable[..., RunView]:
    """Build a view: two finalists, twelve rounds, 144 modelled cells."""
    return build_view


def build_view(*, how: How = "measured", kept: bool = False, seed: int = 7) -> RunView:
    """Return a realistic view; equal arguments give equal views."""
    scenario = _scenario()
    baseline = replaced(Settings(), scenario.baseline)
    rng = np.random.default_rng(seed)
    results = [*_modelled(), *_simulated(), *_played("measured", _ARMS, how, rng)]
    if how == "measured" and not kept:
        results += _played("confirmed", {name: _ARMS[name] for name in (BASELINE, "c1")}, how, rng)
    comparison = _comparison(scenario, how, confirmed=how == "measured" and not kept)
    changes = {} if kept else _ARMS["c1"]
    chosen = replaced(baseline, changes)
    confirmed = bool(comparison.confirmed)
    choice = Choice(
        run_id=comparison.run_id,
        arm=BASELINE if kept else "c1",
        kept_baseline=kept,
        fingerprint=chosen.fingerprint,
        knobs=changes,
        settings=flat(chosen),
        why="Keep the baseline: no finalist is better by more than 2 %."
        if kept
        else "c1 asks Redis 30.8 % less often than the baseline (95 % interval 28.9 to 32.6 % less).",
        gains=() if kept else tuple(e for e in comparison.effects if e.arm == "c1" and e.verdict == "better"),
        costs=() if kept else tuple(e for e in comparison.effects if e.arm == "c1" and e.verdict == "worse"),
        guardrails=(
            GuardrailCheck(
                arm="c1", metric="l1_age_p95_seconds", at_most=90, at_least=None, value=85.1, kept=True
            ),
        ),
        confirmed=confirmed,
        refused_because="" if confirmed else "the baseline is kept" if kept else "nothing was confirmed",
    )
    lines = "".join(f"  {path} = {value!r}\n" for path, value in changes.items())
    return RunView(
        run_id=comparison.run_id,
        scenario=scenario,
        comparison=comparison,
        choice=choice,
        results=tuple(results),
        environment={"cpu": "Example CPU", "cores": 2, "packages": {"redis": "8.1.0", "numpy": "2.4.0"}},
        tfvars=f"tuning = {{\n{lines}}}\n",
        command="perfkit run scenarios/quickstart.yaml",
    )


_GATHERED: dict[tuple[Value, ...], tuple[float, float, float]] = {
    ("fixed", 10.0): (459.0, 7.42, 1.478), ("fixed", 5.0): (614.0, 4.04, 1.517),
    ("fixed", 25.0): (259.0, 15.85, 1.745), ("fixed", 50.0): (151.0, 29.34, 2.59),
    ("adaptive", 10.0): (718.0, 2.27, 1.583), ("adaptive", 25.0): (440.0, 5.81, 1.314),
    ("adaptive", 50.0): (303.0, 10.17, 1.389), ("off",): (1_000.0, 0.0, 1.955),
}  # fmt: skip
"""Requests for 1,000 texts, mean wait in ms and cost, by policy and what it goes by."""


@pytest.fixture(scope="session")
def waiting_view() -> RunView:
    """A run that asked how long texts should wait: eight settings modelled, three simulated, one chosen."""
    view = build_view()
    scenario = Scenario.load(Path(__file__).parents[2] / "scenarios" / "vertex-batch-window.yaml")
    leaves = {"fixed": "vertex.batch_window_ms", "adaptive": "vertex.request_worth_ms"}
    today, results = replaced(Settings(), scenario.baseline), []
    for number, (setting, (requests, wait_ms, cost)) in enumerate(_GATHERED.items()):
        named: dict[str, Value] = {"vertex.batch_policy": setting[0]}
        named |= {leaves[str(setting[0])]: setting[1]} if len(setting) > 1 else {}
        own = replaced(today, named)
        knobs = {change.path: change.new for change in today.diff(own)}
        for stage in ("modelled", "simulated") if number in (0, 5, 7) else ("modelled",):
            trial = Trial(
                stage=stage, arm=own.fingerprint, knobs=knobs, fingerprint=own.fingerprint, round=0, seed=1
            )
            off = 1.03 if stage == "simulated" else 1.0
            metrics = {
                "requests_per_text": requests / 1_000 * off,
                "added_wait_mean_ms": wait_ms * off,
                "cost_vs_offline": cost * off,
            }
            results.append(TrialResult(trial=trial, how=stage, backend="model", status="ok", metrics=metrics))
    chosen = replaced(today, {"vertex.batch_policy": "adaptive"})
    points = ((5.0, 0.635, 0.72), (25.0, 0.342, 4.2), (100.0, 0.184, 12.2), (1_000.0, 0.066, 48.8))
    offline = [
        {"worth_ms": worth_ms, "requests_per_text": requests, "added_wait_mean_ms": wait_ms}
        for worth_ms, requests, wait_ms in points
    ]
    return replace(
        view,
        scenario=scenario,
        results=tuple(results),
        choice=view.choice.model_copy(
            update={"fingerprint": chosen.fingerprint, "knobs": {"vertex.batch_policy": "adaptive"}}
        ),
        calibration={"offline": offline},
    )


_RTTS = (0.0, 1.0, 5.0)


@pytest.fixture(scope="session")
def far_view() -> RunView:
    """The same run with Redis at three round trips: rounds take turns at them, and each has its effects."""
    view = build_view()
    world = view.scenario.world.model_copy(update={"redis_ms": _RTTS})
    results = []
    for row in view.results:
        for rtt_ms in _RTTS if row.trial.stage == "modelled" else [_RTTS[row.trial.round % len(_RTTS)]]:
            number = _RTTS.index(rtt_ms) if row.trial.stage == "modelled" else row.trial.round
            trial = row.trial.model_copy(update={"rtt_ms": rtt_ms, "round": number})
            reads = row.metrics["redis_reads_per_request"] * (1 + rtt_ms)
            metrics = row.metrics | {"redis_reads_per_request": reads}
            results.append(row.model_copy(update={"trial": trial, "metrics": metrics}))
    by_rtt = tuple(
        AtRtt(
            rtt_ms=rtt_ms,
            effects=tuple(
                e.model_copy(update={"rounds": 4, "low": None, "high": None, "verdict": "inconclusive"})
                for e in view.comparison.effects
            ),
        )
        for rtt_ms in _RTTS
    )
    fits = tuple(
        Fit(metric="response_p95_ms", arm="c1", modelled=0.1 + rtt_ms, measured=0.3 + rtt_ms, rtt_ms=rtt_ms)
        for rtt_ms in _RTTS
    )
    return replace(
        view,
        scenario=view.scenario.model_copy(update={"world": world}),
        results=tuple(results),
        comparison=view.comparison.model_copy(update={"by_rtt": by_rtt, "fits": fits}),
    )


def _scenario() -> Scenario:
    return Scenario.model_validate(
        {
            "name": "quickstart",
            "question": "Which TTL and size should this service's memory cache have?",
            "rig": "cache",
            "workload": {"kind": "generated", "requests": 60_000, "objects": 12_000},
            "baseline": {_ENTRIES: 500, _TTL: 30.0, "cache.l1_policy": "lru", "cache.l2_ttl_seconds": 300.0},
            "axes": {
                _ENTRIES: {"low": 100, "high": 8000, "count": 12, "log": True},
                _TTL: (2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300),
                "cache.l1_policy": ("lru", "s3fifo"),
            },
            "objective": {"metric": "redis_reads_per_request"},
            "guardrails": ({"metric": "l1_age_p95_seconds", "at_most": 90},),
        }
    )


def _modelled() -> list[TrialResult]:
    entries = [round(100 * 80 ** (i / 11)) for i in range(12)]
    ttls = (2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0)
    baseline = replaced(Settings(), _scenario().baseline)
    results = []
    for number, ttl in itertools.product(entries, ttls):
        knobs = {_ENTRIES: number, _TTL: ttl}
        fingerprint = replaced(baseline, knobs).fingerprint
        differing = {path: value for path, value in knobs.items() if flat(baseline)[path] != value}
        hit = (1 - math.exp(-ttl / 40)) * (0.25 + 0.55 * math.log(number / 60) / math.log(140))
        metrics = {
            "redis_reads_per_request": 1 - hit, "l1_hit_ratio": hit, "hit_ratio": 0.3 + hit * 0.6,
            "origin_calls_per_request": 0.7 - hit * 0.6, "l1_age_p95_seconds": ttl * 0.95,
            "l1_peak_bytes": number * 900.0,
        }  # fmt: skip
        trial = Trial(
            stage="modelled", arm=fingerprint, knobs=differing, fingerprint=fingerprint, round=0, seed=1
        )
        results.append(
            TrialResult(trial=trial, how="modelled", backend="model", status="ok", metrics=metrics)
        )
    return results


def _simulated() -> list[TrialResult]:
    """The finalists, each with either policy, and the baseline."""
    settings = [{}, *(_ARMS[arm] | {"cache.l1_policy": p} for arm in ("c1", "c2") for p in ("lru", "s3fifo"))]
    levels = (0.52, 0.38, 0.36, 0.41, 0.39)
    return [
        TrialResult(
            trial=Trial(
                stage="simulated",
                arm=f"s{number}",
                knobs=knobs,
                fingerprint=f"{number}" * 12,
                round=0,
                seed=1,
            ),
            how="simulated",
            backend="fakeredis",
            status="ok",
            metrics={
                "redis_reads_per_request": reads,
                "l1_age_p95_seconds": 100.0 if number == 1 else 85.0,
            },
        )
        for number, (knobs, reads) in enumerate(zip(settings, levels, strict=True))
    ]


def _played(
    stage: Stage, arms: dict[str, dict[str, Value]], how: How, rng: np.random.Generator
) -> list[TrialResult]:
    results = []
    for number, (arm, knobs) in itertools.product(range(12), arms.items()):
        reads = _READS[arm] * float(np.exp(rng.normal(0, 0.008)))
        origin = rng.random(400) < reads * 0.4
        samples = np.where(origin, rng.lognormal(3.0, 0.4, 400), rng.lognormal(-1.2, 0.35, 400))
        levels = {f"response_p{q}_ms": float(np.percentile(samples, q)) for q in (50, 95, 99)}
        levels |= {
            "response_mean_ms": float(samples.mean()), "redis_reads_per_request": reads,
            "origin_calls_per_request": reads * 0.4, "hit_ratio": 1 - reads * 0.4,
            "l1_hit_ratio": 1 - reads, "age_p95_seconds": 283.0,
            "l1_age_p95_seconds": 28.6 if reads > 0.5 else 85.1,
            "l1_peak_bytes": 450_000.0 if reads > 0.5 else 2_100_000.0,
        }  # fmt: skip
        results.append(
            TrialResult(
                trial=Trial(stage=stage, arm=arm, knobs=knobs, fingerprint="f" * 12, round=number, seed=1),
                how=how,
                backend="valkey 9.1.2",
                status="ok",
                metrics={name: float(f"{value:.9g}") for name, value in levels.items()},
                responses=from_ms(samples),
                validity=Validity(
                    planned_per_s=1500, achieved_per_s=1490, dropped=0, lag_p99_ms=1.2, run_queue_share=0.02
                ),
                at="2026-01-01T00:00:00Z",
            )
        )
    return results


_LEVELS: dict[str, tuple[float, float, float]] = {
    "response_mean_ms": (4.61, -0.281, 0.03), "response_p50_ms": (0.341, -0.062, 0.05),
    "response_p95_ms": (28.1, -0.083, 0.04), "response_p99_ms": (44.0, -0.012, 0.06),
    "origin_calls_per_request": (0.208, -0.308, 0.02), "redis_reads_per_request": (0.52, -0.308, 0.019),
    "hit_ratio": (0.792, 0.064, 0.004), "l1_hit_ratio": (0.48, 0.16, 0.006),
    "age_p95_seconds": (283.0, 0.002, 0.008), "l1_age_p95_seconds": (28.6, 1.976, 0.11),
    "stale_share": (0.01, 0.001, 0.001), "prefetch_used_share": (0.6, 0.05, 0.02),
    "sampling_error": (0.001, 0.0, 0.0), "l1_peak_bytes": (450_000.0, 3.667, 0.08),
    "failed_share": (0.012, -0.004, 0.001), "rejected_share": (0.008, -0.003, 0.001),
    "connections": (8.0, -0.875, 0.0), "analytics_per_s": (1_400.0, 0.004, 0.05),
    "detection_ms": (130.0, -1.0, 3.0), "recovery_ms": (79.0, -55.0, 30.0),
    "bytes_per_response": (33_232.0, -0.721, 0.01), "server_cpu_ms_per_request": (0.322, 2.174, 0.33),
    "dollars_per_million": (3.722, -0.715, 0.01), "server_peak_bytes": (71e6, 0.317, 0.055),
    "added_wait_mean_ms": (7.4, -1.6, 0.2), "added_wait_p95_ms": (10.0, 12.4, 0.4),
    "requests_per_text": (0.459, -0.041, 0.01), "cost_vs_offline": (1.478, -0.111, 0.02),
    "in_deadline_share": (0.9996, 0.0002, 0.0003), "refused_share": (0.0, 0.0, 0.0001),
    "dollars_per_million_texts": (7.9, 0.001, 0.004),
}  # fmt: skip


def _effect(arm: str, metric: str, how: How, share: float = 1.0) -> Effect:
    level, change, width = _LEVELS[metric]
    change, about = change * share, METRICS[metric]
    candidate = level + change if about.compared_by == "difference" else level * (1 + change)
    low, high = change - width, change + width
    towards = change if about.goal == "higher" else -change
    verdict: Verdict = "inconclusive"
    if abs(low) < about.margin and abs(high) < about.margin:
        verdict = "equivalent"
    elif low > about.margin or high < -about.margin:
        verdict = "better" if towards > 0 else "worse"
    return Effect(
        metric=metric, arm=arm, how=how, baseline=level, candidate=candidate, effect=change,
        low=low, high=high,
        family_low=low - width / 5, family_high=high + width / 5, verdict=verdict, rounds=12,
        rounds_needed=40 if verdict == "inconclusive" else None,
    )  # fmt: skip


def _comparison(scenario: Scenario, how: How, *, confirmed: bool) -> Comparison:
    arms = tuple(
        Arm(name=name, fingerprint=f"{name * 6}"[:12], knobs=_ARMS[name], metrics={how: {}})
        for name in ("c1", "c2")
    )
    return Comparison(
        run_id="20260101T000000Z-quickstart-abc123",
        scenario=scenario.name,
        question=scenario.question,
        objective="redis_reads_per_request",
        baseline=Arm(name=BASELINE, fingerprint="b" * 12, knobs={}, metrics={how: {}}),
        arms=arms,
        effects=tuple(
            _effect(arm, metric, how, share)
            for arm, share in (("c1", 1.0), ("c2", 0.8))
            for metric in METRICS
        ),
        noise=tuple(_effect(AGAIN, metric, how, 0.01) for metric in METRICS),
        confirmed=tuple(_effect("c1", metric, how, 0.98) for metric in METRICS) if confirmed else (),
        fits=tuple(
            Fit(metric=metric, arm=arm, modelled=level, measured=level + gap)
            for metric, arm, level, gap in (
                ("hit_ratio", "baseline", 0.79, 0.002), ("l1_hit_ratio", "baseline", 0.481, -0.001),
                ("hit_ratio", "c1", 0.855, 0.001), ("l1_hit_ratio", "c1", 0.645, -0.005),
            )
        ),
        how=how,
        backend="valkey 9.1.2",
    )  # fmt: skip
