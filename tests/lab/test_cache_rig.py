"""The cache rig plays what it was asked, and counts calls where they are paid for: at the origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from perfkit.knobs import Value, replaced
from perfkit.lab.generate import generate
from perfkit.lab.line import simulated_lines
from perfkit.lab.rigs import Asked
from perfkit.lab.rigs.cache import CACHE
from perfkit.lab.scenario import GeneratedWorkload, Scenario, World
from perfkit.lab.virtual import run_virtual
from perfkit.lab.workload import Workload
from perfkit.settings import Settings

SPEC = GeneratedWorkload(requests=4_000, objects=400, zipf_alpha=0.9, rate_per_s=100, mean_bytes=300)
KNOBS: dict[str, Value] = {
    "cache.l1_max_entries": 400,
    "cache.l1_ttl_seconds": 5,
    "cache.l2_ttl_seconds": 10,
    "cache.l1_policy": "lru",
}


def played(tiny: Scenario, work: Workload, knobs: Mapping[str, Value] = {}) -> dict[str, float]:
    question = tiny.model_copy(update={"world": World(origin_ms=100)})

    async def main() -> dict[str, float]:
        own = replaced(Settings(), KNOBS | dict(knobs))
        line = simulated_lines(CACHE, question).at(None)
        async with CACHE.open(own, Asked(question, work), line, seed=1, key_prefix="perfkit:") as rig:
            await rig.warm(2_000)
            return (await rig.play(4_000, rate_per_s=None)).metrics

    return run_virtual(main())


def test_a_recorded_sample_is_played_with_a_memory_as_much_smaller(tiny: Scenario) -> None:
    work = generate(SPEC, 3)
    whole = played(tiny, work, {"cache.l1_max_entries": 50})
    sample = played(tiny, replace(work, sample_share=0.125))

    assert sample["l1_hit_ratio"] == whole["l1_hit_ratio"]
    assert sample["l1_peak_bytes"] == 8 * whole["l1_peak_bytes"]


def test_calls_that_nobody_waited_for_are_counted_at_the_origin(tiny: Scenario) -> None:
    work = generate(SPEC, 3)
    waited = played(tiny, work, {"cache.refresh": "off"})
    served = played(tiny, work, {"cache.refresh": "off", "cache.stale_while_revalidate_seconds": 5})

    assert waited["stale_share"] == 0
    assert served["stale_share"] > 0.02
    assert served["response_mean_ms"] < 0.8 * waited["response_mean_ms"]
    assert served["origin_calls_per_request"] > 0.9 * waited["origin_calls_per_request"]
    assert served["origin_calls_per_request"] > 1 - served["hit_ratio"]


def test_an_object_can_be_loaded_by_its_key(tiny: Scenario) -> None:
    """As a refresh or a fetch beforehand does, without a request."""
    work = generate(SPEC, 3)

    async def main() -> bytes:
        line = simulated_lines(CACHE, tiny).at(None)
        async with CACHE.open(Settings(), Asked(tiny, work), line, seed=1, key_prefix="perfkit:") as rig:
            return await rig.load_key(work.keys[7])

    assert len(run_virtual(main())) == work.sizes[work.objects == 7][0]


@pytest.mark.parametrize(
    ("knobs", "told"),
    [({}, 2), ({"cache.refresh": "eager"}, 0), ({"cache.stale_while_revalidate_seconds": 9}, 0)],
)
def test_a_replay_is_held_beside_a_setting_only_when_it_knows_how_that_renews(
    tiny: Scenario, knobs: dict[str, Value], told: int
) -> None:
    from perfkit.lab.results import Trial, TrialResult

    question = tiny.model_copy(update={"workload": SPEC})
    work = generate(SPEC, 3)
    own = replaced(Settings(), KNOBS | knobs)
    trial = Trial(stage="measured", arm="c1", knobs={}, fingerprint=own.fingerprint, round=0, seed=1)
    row = TrialResult(
        trial=trial, how="measured", backend="", status="ok", metrics={"hit_ratio": 0.5, "l1_hit_ratio": 0.4}
    )
    short = question.model_copy(
        update={"measure": question.measure and question.measure.model_copy(update={"warmup": 100})}
    )

    assert len(CACHE.fits(own, Asked(short, work), [row])) == told


def test_the_same_seed_gives_the_same_numbers_though_renewing_is_a_matter_of_chance(tiny: Scenario) -> None:
    work = generate(SPEC, 3)
    often: dict[str, Value] = {"cache.refresh": "xfetch", "cache.refresh_beta": 10}
    first, second = (played(tiny, work, often) for _ in range(2))

    assert first == second
    assert first["origin_calls_per_request"] > 1 - first["hit_ratio"]


def test_what_follows_is_fetched_beforehand_where_one_request_follows_another(tiny: Scenario) -> None:
    chained = SPEC.model_copy(update={"chain_share": 0.8, "requests": 4_000, "rate_per_s": 5.0})
    work = generate(chained, 3)
    off = played(tiny, work, {"cache.l2_ttl_seconds": 30})
    on = played(tiny, work, {"cache.l2_ttl_seconds": 30, "cache.prefetch": True})

    assert on["response_mean_ms"] < off["response_mean_ms"]
    assert on["prefetch_used_share"] > 0.3
    assert "prefetch_used_share" not in off
