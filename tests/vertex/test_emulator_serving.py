"""What befalls a request at the emulator between its arrival and its answer."""

from __future__ import annotations

import asyncio

import pytest

from perfkit.errors import (
    ModelTimeout,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    SettingsError,
    Unavailable,
    WrongAnswer,
)
from perfkit.lab.virtual import run_virtual
from perfkit.vertex.emulator.core import EmulatedVertex
from perfkit.vertex.emulator.faults import PlannedFault
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.protocols import EmbedReply, EmbedRequest, GenerateRequest, Text

MODEL = "text-embedding-005"
ASK = GenerateRequest("gemini-3.8-flash", "Why do leaves fall in autumn?", temperature=0)


def emulator(**data: object) -> EmulatedVertex:
    return EmulatedVertex(EmulatorPlan.from_data({"minute_phase_s": 0.0, **data}))


async def embedded(vertex: EmulatedVertex, texts: int = 1, timeout_s: float = 60.0) -> EmbedReply:
    request = EmbedRequest(MODEL, [Text(f"text {number}") for number in range(texts)])
    return await vertex.embed(request, timeout_s=timeout_s)


async def hear(vertex: EmulatedVertex, heard: list[str]) -> None:
    async for piece in vertex.stream(ASK, timeout_s=1):
        heard.append(piece.text)  # noqa: PERF401  what came before an error is kept


async def ended(vertex: EmulatedVertex) -> tuple[float, str]:
    """When a request of one text ended, and how."""
    try:
        await embedded(vertex)
        how = "answered"
    except PerfkitError as error:
        how = type(error).__name__
    return round(asyncio.get_running_loop().time(), 6), how


def test_a_full_server_lets_requests_queue_in_the_order_they_came() -> None:
    """Two places and answers of a second: the fifth comes in the third second."""

    async def main() -> list[tuple[float, str]]:
        vertex = emulator(latency={"base_ms": 1_000}, capacity=2)
        return await asyncio.gather(*(ended(vertex) for _ in range(5)))

    assert [at_s for at_s, _ in run_virtual(main())] == [1.0, 1.0, 2.0, 2.0, 3.0]


def test_a_restart_by_the_clock_fails_what_is_under_way_when_it_comes() -> None:
    """What ends before it is answered, what comes while it lasts is refused at once."""

    async def at(vertex: EmulatedVertex, at_s: float) -> tuple[float, str]:
        await asyncio.sleep(at_s)
        return await ended(vertex)

    async def main() -> list[tuple[float, str]]:
        vertex = emulator(
            latency={"base_ms": 1_000}, faults=[{"kind": "restart", "from_s": 1.5, "to_s": 2.0}]
        )
        return await asyncio.gather(*(at(vertex, at_s) for at_s in (0.0, 1.0, 1.75, 2.0)))

    assert run_virtual(main()) == [
        (1.0, "answered"),
        (1.5, "Unavailable"),
        (1.75, "Unavailable"),
        (3.0, "answered"),
    ]


def test_a_restart_by_the_call_fails_those_before_it() -> None:
    """The third call finds the server gone, and takes the first two with it."""

    async def main() -> tuple[list[tuple[float, str]], int]:
        vertex = emulator(
            latency={"base_ms": 1_000}, faults=[{"kind": "restart", "from_call": 3, "to_call": 4}]
        )
        ends = await asyncio.gather(*(ended(vertex) for _ in range(4)))
        return ends, vertex.counts.refused["UNAVAILABLE"]

    ends, refused = run_virtual(main())
    assert [how for _, how in ends] == ["Unavailable", "Unavailable", "Unavailable", "answered"]
    assert refused == 3


@pytest.mark.parametrize("part", [{"models": (MODEL,)}, {"share": 0.5}], ids=["models", "share"])
def test_part_of_a_server_cannot_restart(part: dict[str, object]) -> None:
    """A plan that would fail more than it says is refused."""
    with pytest.raises(SettingsError, match="as a whole"):
        PlannedFault(kind="restart", **part)  # type: ignore[arg-type]


def test_a_slow_server_takes_longer_and_a_slow_start_wears_off() -> None:
    """Ten times as long; half way through a start, five and a half times."""

    async def took(vertex: EmulatedVertex) -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await embedded(vertex)
        return round(loop.time() - began_s, 6)

    async def main() -> list[float]:
        slow = emulator(latency={"base_ms": 100}, faults=[{"kind": "slow", "times": 10}])
        start = emulator(latency={"base_ms": 100}, faults=[{"kind": "slow_start", "to_s": 10, "times": 10}])
        await start.warm()
        began_s = asyncio.get_running_loop().time()
        taken = [await took(slow)]
        await asyncio.sleep(began_s + 5 - asyncio.get_running_loop().time())
        taken.append(await took(start))
        await asyncio.sleep(5)
        return [*taken, await took(start)]

    assert run_virtual(main()) == [1.0, 0.55, 0.1]


def test_an_answer_may_have_too_few_vectors_or_a_request_too_many_texts_from_some_moment_on() -> None:
    """As a server that is changed under its clients."""

    async def main() -> int | None:
        few = emulator(faults=[{"kind": "too_few", "value": 2}])
        shrunk = emulator(faults=[{"kind": "max_texts", "from_s": 10, "value": 5}])
        assert len((await embedded(shrunk, 250)).vectors) == 250
        await asyncio.sleep(10)
        with pytest.raises(RequestRefused) as refused:
            await embedded(shrunk, 6)
        with pytest.raises(WrongAnswer, match="3 vectors for 5 texts"):
            await embedded(few, 5)
        return refused.value.max_texts

    assert run_virtual(main()) == 5


def test_all_models_of_a_project_share_a_quota_that_says_when_its_minute_ends_if_told_to() -> None:
    """One embedding and one text are two requests."""

    async def main() -> float | None:
        vertex = emulator(project_requests_per_minute=2, retry_info=True)
        await asyncio.sleep(12)
        await embedded(vertex)
        await vertex.generate(ASK, timeout_s=1)
        await asyncio.sleep(15)
        with pytest.raises(QuotaExceeded) as spent:
            await embedded(vertex)
        return spent.value.retry_after_seconds

    assert run_virtual(main()) == pytest.approx(45.0)


def test_more_texts_in_the_making_than_shared_quota_allows_are_refused() -> None:
    """Those that are under way end as they would have; one that was refused may come again."""

    async def main() -> tuple[list[str], int]:
        vertex = emulator(text_token_ms=10, text_capacity=2)
        replies = await asyncio.gather(
            *(vertex.generate(ASK, timeout_s=60) for _ in range(3)), return_exceptions=True
        )
        await vertex.generate(ASK, timeout_s=60)
        return [type(reply).__name__ for reply in replies], vertex.counts.generations

    assert run_virtual(main()) == (["GenerateReply", "GenerateReply", "QuotaExceeded"], 4)


def test_a_stream_is_the_whole_text_in_pieces_and_each_has_the_patience_of_its_own() -> None:
    """A text that takes longer than the timeout arrives, as long as its pieces do not."""

    async def main() -> None:
        vertex = emulator(text_latency={"base_ms": 300}, text_token_ms=20)
        whole = await vertex.generate(ASK, timeout_s=60)
        began_s = asyncio.get_running_loop().time()
        pieces = [piece async for piece in vertex.stream(ASK, timeout_s=1.0)]
        assert "".join(piece.text for piece in pieces) == whole.text
        assert asyncio.get_running_loop().time() - began_s > 1.0
        assert {piece.finish_reason for piece in pieces[:-1]} == {""}
        assert (pieces[-1].finish_reason, pieces[-1].output_tokens) == ("STOP", whole.output_tokens)
        with pytest.raises(ModelTimeout):
            _ = [piece async for piece in vertex.stream(ASK, timeout_s=0.2)]

    run_virtual(main())


def test_a_stream_that_is_cut_or_left_early_leaves_room_for_the_next() -> None:
    """What was in the making is counted out however it ended."""

    async def main() -> int:
        cut = emulator(text_capacity=1, faults=[{"kind": "cut_stream", "to_call": 2, "value": 2}])
        heard: list[str] = []
        with pytest.raises(Unavailable):
            await hear(cut, heard)
        left = cut.stream(ASK, timeout_s=1)
        await anext(left)
        await left.aclose()
        await cut.generate(ASK, timeout_s=1)
        return len(heard)

    assert run_virtual(main()) == 2


def test_a_caller_who_cancels_or_waits_no_longer_is_counted_and_not_answered() -> None:
    """Neither is a refusal."""

    async def main() -> tuple[int, int, dict[str, int]]:
        vertex = emulator(latency={"base_ms": 1_000})
        task = asyncio.create_task(embedded(vertex))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(ModelTimeout):
            await embedded(vertex, timeout_s=0.5)
        return vertex.counts.given_up, vertex.counts.answered, vertex.counts.refused

    assert run_virtual(main()) == (2, 0, {})


def test_faults_are_planned_anew_on_a_loop_whose_time_is_earlier() -> None:
    """A notebook asks on the wall clock first, and then in virtual time, which begins at 0."""
    vertex = emulator(faults=[{"kind": "unavailable"}])

    ends = [asyncio.run(ended(vertex))[1], run_virtual(ended(vertex))[1]]

    assert ends == ["Unavailable", "Unavailable"]


def test_a_vector_does_not_hold_on_to_those_it_travelled_with() -> None:
    """A cache that keeps one of 250 keeps 3 KB, and nobody can write into it."""
    values = run_virtual(embedded(emulator(), 250)).vectors[0].values

    assert values.base is None
    assert not values.flags.writeable
