"""The model waits, counts and pays as a service would: held against what can be reckoned by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.knobs import Value, replaced
from perfkit.lab.generate import generate
from perfkit.lab.rigs import RIGS
from perfkit.lab.scenario import GeneratedWorkload, World
from perfkit.lab.web.calibrate import coding_key
from perfkit.lab.web.keeping import KeptAnswers
from perfkit.lab.web.model import ServiceModel
from perfkit.lab.web.service import is_private
from perfkit.lab.web.traffic import Client, Http, Masks
from perfkit.lab.workload import Workload
from perfkit.settings import Settings

ACCEPT = "gzip"
REQUEST = {"cpu_s": 0.0001, "response_s": 0.0002, "head_bytes": 100.0}
SIZES = [1_000, 10_000]


def calibration(*settings: Settings) -> dict[str, Any]:
    """A machine on which gzip takes a millisecond for 10,000 bytes and leaves a fifth of them."""
    return {
        "samples": {"orders": SIZES},
        "codings": {coding_key(one.asgi, ACCEPT): "gzip 6" for one in settings},
        "compressed": {"orders": {"gzip 6": [[0.0001, 200.0], [0.001, 2_000.0]]}},
        "filtered": {"orders": {"0": [[0.0002, 0.00005, 0.0003, 100.0], [0.002, 0.0005, 0.0003, 1_000.0]]}},
        "request": REQUEST,
    }


def workload(times_s: list[float], sizes: list[int]) -> Workload:
    return Workload(
        "made", "by hand", np.array(times_s), np.arange(len(sizes)), np.array(sizes, dtype=np.int32)
    )


def modelled(
    work: Workload, knobs: dict[str, Value], *, rate_per_s: float, origin_ms: float = 0.0, **http: Any
) -> dict[str, float]:
    own = replaced(Settings(), knobs)
    asked = Http(payload="orders", **({"clients": (Client(accept=ACCEPT, mbit_per_s=8),)} | http))
    model = ServiceModel(work, asked, World(origin_ms=origin_ms), calibration(own), seed=1)
    return model.metrics(own, np.arange(len(work)), rate_per_s=rate_per_s)


def test_a_response_is_work_and_line() -> None:
    """10,000 bytes at a megabyte a second take 10 ms; a fifth of them 2 ms and a millisecond of work."""
    alone = workload([0.0, 100.0], [10_000, 10_000])
    whole = modelled(alone, {"asgi.compress_responses": False}, rate_per_s=0.02)
    small = modelled(alone, {}, rate_per_s=0.02)

    assert whole["response_mean_ms"] == pytest.approx(10.1 + 0.2, abs=0.001)
    assert small["response_mean_ms"] == pytest.approx(2.1 + 0.2 + 1.0, abs=0.03)
    assert small["server_cpu_ms_per_request"] == pytest.approx(1.1)
    assert small["bytes_per_response"] == pytest.approx(2_100, abs=30)


def test_requests_at_one_moment_wait_for_each_other_and_not_for_each_others_lines() -> None:
    together = workload([0.0, 0.0, 0.0, 1.0], [10_000] * 4)
    seen = modelled(together, {}, rate_per_s=4.0)

    assert seen["response_p99_ms"] - seen["response_p50_ms"] == pytest.approx(2.2 * 0.97 - 0.55, abs=0.1)


@given(
    gaps=st.lists(st.floats(0, 0.01), min_size=1, max_size=40),
    work=st.lists(st.integers(1_000, 10_000), min_size=41, max_size=41),
)
def test_the_wait_is_that_of_a_line_served_one_by_one(gaps: list[float], work: list[int]) -> None:
    """Lindley's recursion, step by step, against the running minimum."""
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    made = workload(times.tolist(), work[: len(times)])
    span_s = float(times[-1])
    rate_per_s = len(times) / span_s if span_s else 1.0
    knobs: dict[str, Value] = {"asgi.compress_min_bytes": 0}
    seen = modelled(made, knobs, rate_per_s=rate_per_s, clients=(Client(accept=ACCEPT),))
    wait, taken, responses = 0.0, 0.0, []
    for place, size in enumerate(work[: len(times)]):
        if place:
            wait = max(0.0, wait + taken - gaps[place - 1])
        taken = REQUEST["cpu_s"] + float(np.interp(size, SIZES, [0.0001, 0.001]))
        responses.append(wait + taken + REQUEST["response_s"] - REQUEST["cpu_s"])

    assert seen["response_mean_ms"] == pytest.approx(1_000 * sum(responses) / len(responses), rel=1e-6)


def test_what_is_too_small_or_gains_too_little_travels_as_it_is() -> None:
    alone = workload([0.0, 100.0], [1_000, 10_000])
    large = modelled(alone, {"asgi.compress_min_bytes": 5_000}, rate_per_s=0.02)
    never = modelled(alone, {"asgi.compress_min_gain": 0.85, "asgi.compress_min_bytes": 0}, rate_per_s=0.02)

    assert large["bytes_per_response"] == pytest.approx((1_000 + 2_000 + 24) / 2 + 100)
    assert never["bytes_per_response"] == pytest.approx(5_600)
    assert never["server_cpu_ms_per_request"] > large["server_cpu_ms_per_request"]


def test_a_mask_has_a_decoder_from_its_nth_request_on_and_pays_for_it_once() -> None:
    alone = workload([float(100 * n) for n in range(4)], [10_000] * 4)
    every = {"masks": Masks(share=1.0)}
    plain: dict[str, Value] = {"asgi.compress_responses": False}
    cpu_ms = {
        after: modelled(alone, plain | {"asgi.fields_compile_after": after}, rate_per_s=0.01, **every)[
            "server_cpu_ms_per_request"
        ]
        for after in (1, 3, 1_000)
    }
    off = modelled(alone, plain | {"asgi.optimize_payloads": False}, rate_per_s=0.01, **every)

    assert cpu_ms[1_000] == pytest.approx(0.1 + 2.0)
    assert cpu_ms[1] == pytest.approx(0.1 + (4 * 0.5 + 0.3) / 4)
    assert cpu_ms[3] == pytest.approx(0.1 + (2 * 2.0 + 2 * 0.5 + 0.3) / 4)
    assert off["bytes_per_response"] == pytest.approx(10_100)


def test_kept_answers_are_those_a_plain_cache_would_have_kept() -> None:
    """Request by request against a dictionary with times."""
    spec = GeneratedWorkload(requests=3_000, objects=80, rate_per_s=20, zipf_alpha=0.8)
    work, ttl_s, spare_s, share = generate(spec, 5), 4.0, 3.0, 0.2
    calls, waits, ages_s = KeptAnswers(work, private_share=share).at(ttl_s=ttl_s, spare_s=spare_s)
    made: dict[int, float] = {}
    for index, (now, number) in enumerate(zip(work.times_s.tolist(), work.objects.tolist(), strict=True)):
        age_s = now - made.get(number, -np.inf)
        private = is_private(number, share)
        assert calls[index] == (private or age_s > ttl_s)
        assert waits[index] == (private or age_s > ttl_s + spare_s)
        assert ages_s[index] == (0.0 if waits[index] else pytest.approx(age_s))
        if calls[index]:
            made[number] = now


def test_the_rig_models_what_it_says_it_gives() -> None:
    alone = workload([0.0, 1.0], [1_000, 10_000])
    seen = modelled(alone, {"asgi.response_cache": True}, rate_per_s=2.0, origin_ms=20)

    assert set(seen) == RIGS["asgi"].metrics - {"server_peak_bytes"}
