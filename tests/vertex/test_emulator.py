"""The emulator refuses, counts and answers as Google does, as far as is known."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.clock import now_s
from perfkit.errors import (
    ModelTimeout,
    PerfkitError,
    QuotaExceeded,
    RealServerRequired,
    RequestRefused,
    SettingsError,
    Unavailable,
    WorkloadError,
)
from perfkit.events import Event
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.connect import transport_of
from perfkit.vertex.emulator import default
from perfkit.vertex.emulator.calibrate import fit_from, read_samples
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import Fault, PlannedFault
from perfkit.vertex.emulator.latency import Latency, latency_of
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.emulator.tokens import counted
from perfkit.vertex.protocols import EmbedRequest, GenerateRequest, Text

MODEL = "text-embedding-005"
WRITER = "gemini-3.8-flash"


def asking(*contents: str, **fields: object) -> EmbedRequest:
    return EmbedRequest(MODEL, [Text(content) for content in contents], **fields)  # type: ignore[arg-type]


def told(plan: EmulatorPlan, request: EmbedRequest) -> Fault:
    """The fault a request meets."""
    with pytest.raises(Fault) as fault:
        run_virtual(EmulatedVertex(plan).embedded(request))
    return fault.value


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (asking(*["a"] * 251), "INVALID_ARGUMENT", "251"),
        (asking(*["word " * 300] * 80), "INVALID_ARGUMENT", "supports up to 20000"),
        (asking("word " * 3_000, auto_truncate=False), "INVALID_ARGUMENT", "supports up to 2048"),
        (asking("a", ""), "INVALID_ARGUMENT", "empty"),
        (asking("a", dimensions=769), "INVALID_ARGUMENT", "outputDimensionality"),
        (EmbedRequest(MODEL, [Text("a", "TO_BE_NICE")]), "INVALID_ARGUMENT", "task"),
        (EmbedRequest(MODEL, [Text("a", title="b")]), "INVALID_ARGUMENT", "title"),
        (EmbedRequest("text-embedding-9000", [Text("a")]), "NOT_FOUND", "text-embedding-9000"),
    ],
)
def test_what_google_refuses_is_refused_in_its_words(request_: EmbedRequest, status: str, words: str) -> None:
    """The batcher and the errors are tested against these texts."""
    fault = told(EmulatorPlan(), request_)
    assert fault.status == status
    assert words.lower() in fault.message.lower()


@given(phase_s=st.floats(0, 59.9), quota=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_a_quota_is_counted_by_fixed_minutes(phase_s: float, quota: int) -> None:
    """In each of them so many pass, and what is refused does not count."""

    async def main() -> dict[int, int]:
        core = EmulatedVertex(
            EmulatorPlan(requests_per_minute=quota, minute_phase_s=phase_s, vectors="cheap")
        )
        passed: dict[int, int] = {}
        for _ in range(60):
            try:
                await core.embed(asking("a"), timeout_s=1)
            except QuotaExceeded:
                assert core.counts.refused["RESOURCE_EXHAUSTED"] > 0
            else:
                minute = int((now_s() + phase_s) // 60)
                passed[minute] = passed.get(minute, 0) + 1
            await asyncio.sleep(2.5)
        return passed

    passed = run_virtual(main())
    assert max(passed.values()) <= quota
    assert all(count == quota for count in list(passed.values())[1:-1] if quota <= 20)


def test_a_refusal_for_quota_says_what_google_says() -> None:
    """Whose quota it is; and when the minute ends only if it is to."""
    storm = PlannedFault(kind="quota", retry_after_s=3.0)
    fault = told(EmulatorPlan(faults=(storm,)), asking("a"))
    assert (fault.status, fault.retry_after_s) == ("RESOURCE_EXHAUSTED", 3.0)
    assert "online_prediction_requests_per_base_model with base model: textembedding-gecko" in fault.message


def test_tokens_have_a_quota_of_their_own() -> None:
    """A request that would hold too many for the minute is refused, and smaller ones pass."""

    async def main() -> list[bool]:
        core = EmulatedVertex(EmulatorPlan(tokens_per_minute=100))
        passed = []
        for text in ("word " * 80, "word " * 80, "word " * 5):
            try:
                await core.embed(asking(text), timeout_s=1)
                passed.append(True)
            except QuotaExceeded:
                passed.append(False)
        return passed

    assert run_virtual(main()) == [True, False, True]


def test_faults_come_by_the_clock_and_by_the_call_and_go() -> None:
    """503 from second 10 to 20; the third call is another's 500."""

    async def main() -> list[str]:
        plan = EmulatorPlan(
            faults=(
                PlannedFault(kind="unavailable", from_s=10, to_s=20),
                PlannedFault(kind="internal", from_call=3, to_call=4),
            )
        )
        core = EmulatedVertex(plan)
        await core.warm()
        seen = []
        for at_s in (0, 5, 9, 11, 19, 21):
            await asyncio.sleep(at_s - now_s())
            try:
                await core.embed(asking("a"), timeout_s=1)
                seen.append("ok")
            except Unavailable as error:
                seen.append("INTERNAL" if "INTERNAL" in str(error) else "away")
        return seen

    assert run_virtual(main()) == ["ok", "ok", "INTERNAL", "away", "away", "ok"]


def test_a_restart_fails_what_is_under_way() -> None:
    """And what comes after is answered."""

    async def main() -> None:
        core = EmulatedVertex(EmulatorPlan(latency=Latency(base_ms=1_000)))
        under_way = asyncio.create_task(core.embed(asking("a"), timeout_s=10))
        await asyncio.sleep(0.5)
        core.restart()
        with pytest.raises(Unavailable):
            await under_way
        assert (await core.embed(asking("a"), timeout_s=10)).vectors

    run_virtual(main())


def test_a_server_that_hangs_is_left_at_the_timeout() -> None:
    """Not sooner, not later."""

    async def main() -> float:
        core = EmulatedVertex(EmulatorPlan(faults=(PlannedFault(kind="hang"),)))
        with pytest.raises(ModelTimeout):
            await core.embed(asking("a"), timeout_s=2.5)
        return now_s()

    assert run_virtual(main()) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("How do I reset the password of an account?", 8, 14),
        ("Wie setze ich das Passwort eines Benutzerkontos zurück?", 9, 22),
        ("今日は良い天気ですね", 5, 11),
        ("1234567890", 10, 10),
        ("!!!???", 6, 6),
        ("", 0, 0),
    ],
)
def test_tokens_are_counted_as_a_tokenizer_would(text: str, least: int, most: int) -> None:
    """About: English words one or two, digits one each, Han by one or two signs."""
    assert least <= counted(text).tokens <= most


def test_what_is_billed_are_characters_that_are_not_space() -> None:
    """As Google's `billableCharacterCount`."""
    assert counted("two words\n").billable_characters == 8


def test_vectors_are_the_same_in_another_process_and_version_of_a_dictionary() -> None:
    """Nothing hangs on the seed of Python's hashes."""
    code = (
        "import asyncio\nfrom tests.vertex.test_emulator import asking\n"
        "from perfkit.vertex.emulator.core import EmulatedVertex\n"
        "reply = asyncio.run(EmulatedVertex().embedded(asking('a text')))\n"
        "print(reply.vectors[0].values.tobytes().hex())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    here = run_virtual(EmulatedVertex().embedded(asking("a text"))).vectors[0].values
    assert done.stdout.strip() == here.tobytes().hex()


def test_similar_texts_have_similar_vectors() -> None:
    """A word changed or moved stays near, another subject is far; each is of length one."""
    first, near, moved, far = (
        vector.values
        for vector in run_virtual(
            EmulatedVertex().embedded(
                asking(
                    "how do I reset my account password",
                    "how can I reset my account password",
                    "my account password, how do I reset it",
                    "which wine goes with grilled salmon tonight",
                )
            )
        ).vectors
    )
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-5)
    assert 0.4 < float(first @ far) < 0.62  # all vectors of a model lean the same way
    assert float(first @ near) > 0.8
    assert float(first @ moved) > 0.8


def test_fewer_dimensions_are_the_beginning_made_a_unit_again() -> None:
    """As in Matryoshka representations."""
    whole = run_virtual(EmulatedVertex().embedded(asking("a text"))).vectors[0].values
    short = run_virtual(EmulatedVertex().embedded(asking("a text", dimensions=128))).vectors[0].values
    head = whole[:128] / np.linalg.norm(whole[:128])
    assert np.allclose(short, head, atol=1e-6)


@pytest.mark.parametrize(
    ("preset", "texts", "tokens", "mean_ms"),
    [("flat", 1, 10, 255), ("flat", 100, 1_000, 310), ("milvus-2x", 10, 100, 424), ("study", 1, 10, 62)],
)
def test_a_preset_takes_as_long_as_it_says(preset: str, texts: int, tokens: int, mean_ms: float) -> None:
    """Its mean over two thousand draws."""
    latency, rng = latency_of(preset), random.Random(3)  # noqa: S311  # repeatable
    drawn = [latency.drawn(rng, texts, tokens) for _ in range(2_000)]
    assert 1_000 * sum(drawn) / len(drawn) == pytest.approx(mean_ms, rel=0.04)


def test_a_latency_is_fitted_to_calls_that_were_made() -> None:
    """Robustly: one call in twenty was stuck."""
    truth, rng = Latency(base_ms=120, per_text_ms=2, per_token_ms=0.02, spread=0.15), random.Random(8)  # noqa: S311
    samples = []
    for _ in range(400):
        texts = rng.randint(1, 100)
        tokens = texts * rng.randint(5, 60)
        seconds = truth.drawn(rng, texts, tokens) * (20 if rng.random() < 0.05 else 1)
        samples.append((texts, tokens, seconds))
    fitted = fit_from(samples).latency
    assert fitted.base_ms == pytest.approx(120, rel=0.15)
    assert fitted.per_text_ms == pytest.approx(2, rel=0.2)
    assert fitted.per_token_ms == pytest.approx(0.02, rel=0.3)
    assert fitted.spread == pytest.approx(0.15, rel=0.4)


@pytest.mark.parametrize(
    "rows", ["", "texts,tokens\n1,2\n", "texts,tokens,seconds\n1,2,-3\n", "texts,tokens,seconds\na,b,c\n"]
)
def test_a_file_that_holds_no_calls_is_refused_by_its_line(rows: str, tmp_path: Path) -> None:
    """With the form it should have."""
    file = tmp_path / "calls.csv"
    file.write_text(rows)
    with pytest.raises(WorkloadError):
        fit_from(read_samples(file))


def test_the_same_prompt_at_temperature_0_is_the_same_text() -> None:
    """And at another temperature it is not."""

    async def main() -> tuple[list[str], set[str]]:
        core = EmulatedVertex()
        cold = [await core.generated(GenerateRequest(WRITER, "hello", temperature=0.0)) for _ in range(3)]
        warm = [await core.generated(GenerateRequest(WRITER, "hello", temperature=1.0)) for _ in range(3)]
        return [reply.text for reply in cold], {reply.text for reply in warm}

    cold, warm = run_virtual(main())
    assert len(set(cold)) == 1
    assert len(warm) > 1


def test_a_stop_sequence_ends_a_text_before_it() -> None:
    """As the model would have gone on with it."""

    async def main() -> tuple[str, str, str]:
        core = EmulatedVertex()
        whole = await core.generated(GenerateRequest(WRITER, "hello", temperature=0.0))
        stop = whole.text.split()[3]
        cut = await core.generated(GenerateRequest(WRITER, "hello", temperature=0.0, stop=(stop,)))
        return whole.text, stop, cut.text

    whole, stop, cut = run_virtual(main())
    assert stop not in cut
    assert whole.startswith(cut)


def test_the_same_seed_is_the_same_course_of_things() -> None:
    """Times, refusals and vectors; another seed is another course."""

    async def course(seed: int) -> list[tuple[float, str]]:
        plan = EmulatorPlan(
            latency="flat",
            requests_per_minute=20,
            faults=(PlannedFault(kind="unavailable", share=0.2),),
            vectors="cheap",
        )
        core, seen = EmulatedVertex(plan, seed=seed), []
        for number in range(60):
            try:
                await core.embed(asking(f"text {number}"), timeout_s=10)
                seen.append((now_s(), "ok"))
            except PerfkitError as error:
                seen.append((now_s(), type(error).__name__))
        return seen

    assert run_virtual(course(1)) == run_virtual(course(1))
    assert run_virtual(course(1)) != run_virtual(course(2))


FAULTS = st.builds(
    PlannedFault,
    kind=st.sampled_from(["quota", "unavailable", "hang", "max_texts", "too_few"]),
    from_s=st.floats(0, 10),
    to_s=st.floats(11, 100),
    share=st.floats(0.1, 1),
    value=st.integers(1, 9),
)
PLANS = st.builds(
    EmulatorPlan,
    latency=st.sampled_from(["none", "flat", Latency(base_ms=5, spread=0.1)]),
    requests_per_minute=st.integers(0, 10_000),
    faults=st.lists(FAULTS, max_size=3).map(tuple),
    seed=st.integers(0, 99),
    limits=st.sampled_from([{}, {MODEL: {"max_texts": 5}}]),
)


@given(PLANS)
@settings(deadline=None)
def test_a_plan_goes_through_plain_data_and_comes_back(plan: EmulatorPlan) -> None:
    """YAML, flags and the pipe to another process carry it."""
    assert EmulatorPlan.from_data(plan.to_data()) == plan


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"requests_per_minuet": 5}, "requests_per_minute"),
        ({"latency": "flatt"}, "flat"),
        ({"faults": [{"kind": "hangs"}]}, "hang"),
        ({"limits": {MODEL: {"max_text": 5}}}, "max_texts"),
        ({"requests_per_minute": -1}, "0 or more"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_the_nearest_name(data: dict[str, object], words: str) -> None:
    """What is wrong and what it may be."""
    with pytest.raises(SettingsError, match=words):
        EmulatorPlan.from_data(data)


def test_the_embedded_default_is_announced_once_and_can_be_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that production never falls back to it in silence."""
    monkeypatch.setattr(default, "_said_once", False)
    heard: list[Event] = []
    for _ in range(2):
        assert transport_of(env={}, probe=heard.append).name == "emulator"
    assert len(heard) == 1
    with pytest.raises(RealServerRequired, match="GOOGLE_CLOUD_PROJECT"):
        transport_of(env={"PERFKIT_REQUIRE_REAL": "1"})


def test_poison_is_refused_whole_and_its_marker_is_not_told() -> None:
    """One text of three is bad."""

    async def main() -> None:
        core = EmulatedVertex(EmulatorPlan(faults=(PlannedFault(kind="poison", marker="arsenic"),)))
        with pytest.raises(RequestRefused) as refused:
            await core.embed(asking("bread", "arsenic", "wine"), timeout_s=1)
        assert "arsenic" not in str(refused.value)
        assert (await core.embed(asking("bread", "wine"), timeout_s=1)).vectors

    run_virtual(main())
