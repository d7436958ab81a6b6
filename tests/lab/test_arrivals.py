"""Arrivals at language models are read as they were published, compressed as asked, or refused by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import WorkloadError
from perfkit.lab.arrivals import TokenLaw
from perfkit.lab.scenario import GeneratedWorkload, TraceWorkload
from perfkit.lab.sources import load_workload
from perfkit.lab.traces import read_trace
from perfkit.lab.workload import Stretch

AZURE = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    b"2023-11-16 18:15:46.6805900,374,44\r\n"
    b"2023-11-16 18:15:46.6805901,396,109\r\n"
    b"2023-11-16 18:15:50,879,55\r\n"
    b"2023-11-16 18:16:46.6805900,10,1"
)
RATES = (
    b"client,window_start_s,rate_rps,cv,dist,param1,param2\n"
    b"7,1200,2.0,1.1,Gamma,0.8,0.1\n"
    b"7,600,0.5,3.0,Weibull,0.5,0.1\n"
    b"9,600,1.0,1.0,Gamma,1.0,0.1\n"
)
TOKENS = b"field,tokens,prob\noutput_tokens,9,1\ninput_tokens,10,0.25\ninput_tokens,40,0.75\n"


def written(tmp_path: Path, name: str, data: bytes) -> Path:
    file = tmp_path / name
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def test_a_trace_of_azure_keeps_its_ticks_and_asks_each_time_for_something_else(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "conv.csv.gz", AZURE))

    assert trace.times_s.tolist() == pytest.approx([0, 1e-7, 3.31941, 60], abs=1e-10)
    assert trace.objects.tolist() == [0, 1, 2, 3]
    assert (trace.sizes / 4).tolist() == [374, 396, 879, 10]


def test_compressed_time_is_said_in_the_origin_and_changes_nothing_else(tmp_path: Path) -> None:
    file = written(tmp_path, "conv.csv", AZURE)
    plain, fast = read_trace(file), read_trace(file, speed=20)

    assert fast.times_s.tolist() == pytest.approx((plain.times_s / 20).tolist())
    assert fast.sizes.tolist() == plain.sizes.tolist()
    assert fast.origin == "trace: conv.csv, x20"


def test_a_stretch_is_cut_in_the_traces_own_time(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "conv.csv", AZURE), stretch=Stretch(3, 57, 1), speed=2)

    assert trace.times_s.tolist() == [0.0]
    assert trace.sizes.tolist() == [4 * 879]
    with pytest.raises(WorkloadError, match="Nobody asked from 10 s on for 5 s"):
        read_trace(tmp_path / "conv.csv", stretch=Stretch(10, 5))


def test_rates_give_as_many_requests_as_were_counted_and_fill_their_window(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "rates.csv", RATES), stretch=Stretch(600, 1_200))

    assert len(trace) == 0.5 * 600 + 1.0 * 600 + 2.0 * 600
    assert (trace.times_s + 0 < 600).sum() == pytest.approx(900, abs=5)
    assert trace.span_s > 1_190


def test_a_stretch_of_rates_has_the_requests_of_the_longer_one_it_is_part_of(tmp_path: Path) -> None:
    file = written(tmp_path, "rates.csv", RATES)
    long, short = (read_trace(file, stretch=Stretch(1_000, span_s)) for span_s in (700.0, 250.0))

    assert short.times_s.tolist() == long.times_s[: len(short)].tolist()
    assert read_trace(file, stretch=Stretch(1_000, 250), seed=2).digest != short.digest


def test_rates_without_an_end_are_one_window(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, "rates.csv", RATES), stretch=Stretch(600))

    assert len(trace) == 900


@given(shape=st.floats(1e-3, 50), law=st.sampled_from(["Gamma", "Weibull"]), seed=st.integers(0, 9))
def test_however_uneven_a_law_its_requests_stay_in_their_window(
    tmp_path_factory: pytest.TempPathFactory, shape: float, law: str, seed: int
) -> None:
    head = RATES.split(b"\n")[0]
    data = head + f"\n1,0,0.1,1,{law},{shape},1\n".encode()
    trace = read_trace(written(tmp_path_factory.mktemp("law"), "rates.csv", data), seed=seed)

    assert len(trace) == 60
    assert trace.times_s[0] == 0
    assert (np.diff(trace.times_s) >= 0).all()
    assert trace.span_s < 600


@pytest.mark.parametrize("kind", ["trace", "generated"])
def test_a_distribution_gives_objects_their_tokens(tmp_path: Path, kind: str) -> None:
    written(tmp_path, "tokens.csv", TOKENS)
    spec: GeneratedWorkload | TraceWorkload = GeneratedWorkload(
        requests=4_000, objects=4_000, zipf_alpha=0, tokens="tokens.csv"
    )
    if kind == "trace":
        written(tmp_path, "rates.csv", RATES)
        spec = TraceWorkload(kind="trace", path="rates.csv", start_s=600, span_s=1_200, tokens="tokens.csv")
    workload = load_workload(spec, seed=3, folder=tmp_path)

    assert set(workload.sizes.tolist()) == {40, 160}
    assert (workload.sizes == 160).mean() == pytest.approx(0.75, abs=0.04)
    assert "tokens by tokens.csv" in workload.origin


def test_gamma_gaps_are_as_uneven_as_asked() -> None:
    spec = GeneratedWorkload(requests=100_000, objects=10, arrivals="gamma", arrivals_cv=3, rate_per_s=50)
    workload = load_workload(spec, seed=1, folder=Path())
    gaps = np.diff(workload.times_s)

    assert workload.rate_per_s == pytest.approx(50, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(3, rel=0.1)
    assert "gamma of CV 3 50/s" in workload.origin


HEAD = AZURE.split(b"\r\n")[0] + b"\n"
RATES_HEAD = RATES.split(b"\n")[0] + b"\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(HEAD, r"t.csv:1: The file has a header and nothing else", id="nothing"),
        pytest.param(HEAD + b"2023-11-16 18:15:46,374\n", r"t.csv:2: GeneratedTokens is missing", id="torn"),
        pytest.param(HEAD + b"soon,1,1\n", r"t.csv:2: TIMESTAMP 'soon' is no time", id="time"),
        pytest.param(HEAD + b"2023-11-16 18:15:46,-1,1\n", r"t.csv:2: size -4 is refused", id="negative"),
        pytest.param(
            HEAD + b"2023-11-16 18:15:46,1,1\n2023-11-16 18:15:45,1,1\n",
            r"t.csv:3: The time goes back from 0 to -1. Sort the trace by TIMESTAMP",
            id="unsorted",
        ),
        pytest.param(
            b"TIMESTAMP,ContextTokens,Tokens\n", r"t.csv:1: The column t_s is missing", id="another-header"
        ),
        pytest.param(RATES_HEAD + b"1,0,1,1,Pareto,1,1\n", r"t.csv:2: dist 'Pareto' is unknown", id="law"),
        pytest.param(RATES_HEAD + b"1,0,1,1,Gamma,0,1\n", r"t.csv:2: param1 0 is refused", id="shape"),
        pytest.param(RATES_HEAD + b"1,0,-1,1,Gamma,1,1\n", r"t.csv:2: rate_rps -1 is refused", id="rate"),
        pytest.param(RATES_HEAD + b"1,0,1,1\n", r"t.csv:2: dist is missing", id="torn-rates"),
        pytest.param(RATES_HEAD + b"1,600,1,1,Gamma,1,1\n", r"Nobody asked between 0 and 600", id="nobody"),
        pytest.param(RATES_HEAD + b"1,0,99999,1,Gamma,1,1\n", r"Name a shorter stretch", id="too-many"),
        pytest.param(TOKENS, r"t.csv:1: .* Name it as workload.tokens", id="tokens"),
    ],
)
def test_what_are_no_arrivals_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        read_trace(written(tmp_path, "t.csv", data))


def test_a_format_that_was_named_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"t.csv:1: .* begins with 'TIMESTAMP,"):
        read_trace(written(tmp_path, "t.csv", RATES), format="azure-llm")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"tokens,prob\n1,1\n", "begins with 'field,tokens,prob'", id="header"),
        pytest.param(
            b"field,tokens,prob\ninput_tokens,5,-1\n", r"t.csv:2: prob -1 is below zero", id="below"
        ),
        pytest.param(b"field,tokens,prob\ninput_tokens,5,0\n", "prob sums to 0", id="improbable"),
        pytest.param(b"field,tokens,prob\ninput_tokens,5\n", r"t.csv:2: prob is missing", id="torn"),
    ],
)
def test_what_is_no_distribution_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        TokenLaw.read(written(tmp_path, "t.csv", data))
