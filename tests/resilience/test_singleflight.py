"""Many who want the same get it from one piece of work, and nobody who leaves takes the others with them."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from perfkit.errors import Unavailable
from perfkit.lab.virtual import run_virtual
from perfkit.resilience import Flight, SingleFlight


class Work:
    """Counts what becomes of it; answers after a while of virtual time."""

    def __init__(self, answer: Any = "answer", wait_s: float = 1.0) -> None:
        self.answer = answer
        self.wait_s = wait_s
        self.begun = self.ended = self.cancelled = 0
        self.flights: list[Flight] = []

    async def __call__(self, flight: Flight) -> Any:
        self.begun += 1
        self.flights.append(flight)
        try:
            await asyncio.sleep(self.wait_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.answer, BaseException):
            raise self.answer
        self.ended += 1
        return self.answer


def virtually(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in virtual time; it fails when it leaves a task or an error nobody looked at."""

    async def watched(**arguments: Any) -> None:
        unseen: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, said: unseen.append(said["message"]))
        await test(**arguments)
        await asyncio.sleep(0)  # what was cancelled last gets its turn to end
        await asyncio.sleep(0)
        gc.collect()  # an error nobody looked at is told of when its task goes
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert (left, unseen) == (set(), [])

    def run(**arguments: Any) -> None:
        run_virtual(watched(**arguments))

    run.__doc__ = test.__doc__
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # pytest reads parameters here
    run.pytestmark = getattr(test, "pytestmark", [])  # type: ignore[attr-defined]  # and marks here
    return run


async def callers(flights: SingleFlight[str, Any], work: Work, number: int) -> list[asyncio.Task[Any]]:
    """Start so many who ask for the same, and let all of them begin to wait."""
    tasks = [asyncio.create_task(flights.run("k", work)) for _ in range(number)]
    await asyncio.sleep(0.5)
    return tasks


@virtually
async def test_many_waiters_cost_one_call_and_all_get_its_answer() -> None:
    """The very same object; one of them is told that it started the work."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work(answer=object())
    answers = await asyncio.gather(*(flights.run("k", work) for _ in range(1_000)))

    assert [answer is work.answer for answer, _ in answers] == [True] * 1_000
    assert [joined for _, joined in answers] == [False] + [True] * 999
    assert (work.begun, work.ended) == (1, 1)
    assert len(flights) == 0


@virtually
async def test_who_comes_late_joins_and_who_comes_after_starts_anew() -> None:
    """An answer is shared while it is being made and not remembered."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work(wait_s=1.0)
    first = asyncio.create_task(flights.run("k", work))
    await asyncio.sleep(0.999)
    late = await flights.run("k", work)
    after = await flights.run("k", work)

    assert await first == ("answer", False)
    assert late == ("answer", True)
    assert after == ("answer", False)
    assert work.begun == 2


@virtually
async def test_different_keys_know_nothing_of_each_other() -> None:
    """Neither their answers, nor their errors, nor their cancellation."""
    flights: SingleFlight[object, Any] = SingleFlight()
    works = {"a": Work("A"), "b": Work(ValueError("b")), ("c",): Work("C"), 0: Work("zero")}
    asking = {key: asyncio.create_task(flights.run(key, work)) for key, work in works.items()}
    await asyncio.sleep(0.5)
    under_way = len(flights)
    asking["c",].cancel()
    await asyncio.wait(asking.values())

    assert under_way == 4
    assert asking["a"].result() == ("A", False)
    assert str(asking["b"].exception()) == "b"
    assert asking["c",].cancelled()
    assert asking[0].result() == ("zero", False)
    assert [work.cancelled for work in works.values()] == [0, 0, 1, 0]


@virtually
@pytest.mark.parametrize("leaving", [[0], [2], [4], [0, 2], [0, 1, 2, 3], [1, 2, 3, 4]], ids=str)
async def test_whoever_is_cancelled_the_others_get_their_answer(leaving: list[int]) -> None:
    """First, middle, last, and all but one: the work goes on for who is left."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work()
    tasks = await callers(flights, work, 5)
    for number in leaving:
        tasks[number].cancel()
    await asyncio.wait(tasks)

    assert [number for number, task in enumerate(tasks) if task.cancelled()] == leaving
    assert {task.result()[0] for task in tasks if not task.cancelled()} == {"answer"}
    assert (work.begun, work.ended, work.cancelled) == (1, 1, 0)


@virtually
@pytest.mark.parametrize("number", [1, 5])
async def test_when_all_have_left_the_work_is_cancelled(number: int) -> None:
    """At once, and not when it would have ended."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work(wait_s=1e9)
    tasks = await callers(flights, work, number)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.sleep(0)

    assert (work.cancelled, work.ended) == (1, 0)
    assert len(flights) == 0
    assert asyncio.get_running_loop().time() < 1


@virtually
async def test_who_asks_right_after_the_last_has_left_starts_anew() -> None:
    """Nobody is put aboard a flight that is going down."""
    flights: SingleFlight[str, Any] = SingleFlight()
    abandoned, work = Work("old", wait_s=1e9), Work("new")
    (only,) = await callers(flights, abandoned, 1)
    only.cancel()
    await asyncio.wait([only])

    assert await flights.run("k", work) == ("new", False)
    assert abandoned.cancelled == 1


@virtually
async def test_a_caller_that_is_cancelled_before_the_work_began_leaves_no_trace() -> None:
    """It came and went within one turn of the loop."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work()
    task = asyncio.create_task(flights.run("k", work))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert len(flights) == 0
    assert await flights.run("k", work) == ("answer", False)


@virtually
async def test_a_caller_out_of_patience_gets_its_own_timeout() -> None:
    """A deadline is the caller's; the work and the others know nothing of it."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work(wait_s=10)
    (patient,) = await callers(flights, work, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await flights.run("k", work)

    assert await patient == ("answer", False)


@virtually
async def test_an_error_reaches_all_who_waited_and_nobody_later() -> None:
    """The very same exception to each; then the work is tried again."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work(ValueError("broken"))
    failures = await asyncio.gather(*(flights.run("k", work) for _ in range(5)), return_exceptions=True)
    broken, work.answer = work.answer, "mended"

    assert [failure is broken for failure in failures] == [True] * 5
    assert len(flights) == 0
    assert await flights.run("k", work) == ("mended", False)
    assert work.begun == 2


@virtually
async def test_who_asks_again_on_waking_with_an_error_is_not_given_it_again() -> None:
    """A flight is out of the table before its waiters wake."""
    flights: SingleFlight[str, Any] = SingleFlight()
    broken, mended = Work(ValueError("broken")), Work("mended")

    async def twice() -> Any:
        with pytest.raises(ValueError, match="broken"):
            await flights.run("k", broken)
        return await flights.run("k", mended)

    answers = await asyncio.gather(*(twice() for _ in range(5)))

    assert sorted(joined for _, joined in answers) == [False] + [True] * 4
    assert (broken.begun, mended.begun) == (1, 1)


@virtually
async def test_work_that_fails_before_it_waits_is_an_error_like_any_other() -> None:
    """Even a function that raises instead of returning something to await."""
    flights: SingleFlight[str, Any] = SingleFlight()

    def at_once(_flight: Flight) -> Awaitable[Any]:
        raise LookupError("at once")

    failures = await asyncio.gather(*(flights.run("k", at_once) for _ in range(2)), return_exceptions=True)

    assert [repr(failure) for failure in failures] == ["LookupError('at once')"] * 2
    assert len(flights) == 0


@virtually
async def test_an_error_while_the_abandoned_work_cleans_up_disturbs_nobody() -> None:
    """Nobody waits for it any more, so it is not reported as never looked at."""
    flights: SingleFlight[str, Any] = SingleFlight()

    async def untidy(_flight: Flight) -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            raise ValueError("while cleaning up")

    task = asyncio.create_task(flights.run("k", untidy))
    await asyncio.sleep(0.5)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


@virtually
async def test_work_cancelled_from_within_is_unavailable_and_not_a_cancellation() -> None:
    """Who was not cancelled must not look as if it had been: a task group would take it for its own."""
    flights: SingleFlight[str, Any] = SingleFlight()
    work = Work(asyncio.CancelledError())
    failures = await asyncio.gather(*(flights.run("k", work) for _ in range(3)), return_exceptions=True)

    assert [type(failure) for failure in failures] == [Unavailable] * 3
    assert str(failures[0]).startswith("The work for 'k' was cancelled although this caller still waited")
    assert {failure.dependency for failure in failures} == {"single-flight"}  # type: ignore[union-attr]
    assert len(flights) == 0


@virtually
async def test_what_is_forgotten_is_not_joined_and_still_answers_its_own() -> None:
    """The old flight learns that it was overtaken; the new one stands in the table when the old one ends."""
    flights: SingleFlight[str, Any] = SingleFlight()
    old, new = Work("old", wait_s=1), Work("new", wait_s=10)
    before = await callers(flights, old, 2)
    flights.forget("k")
    after = await callers(flights, new, 2)
    old_answers = await asyncio.gather(*before)
    joined_late = await flights.run("k", new)

    assert [answer for answer, _ in old_answers] == ["old", "old"]
    assert [answer for answer, _ in await asyncio.gather(*after)] == ["new", "new"]
    assert joined_late == ("new", True)
    assert [flight.overtaken for flight in old.flights + new.flights] == [True, False]


@virtually
async def test_the_last_to_leave_a_forgotten_flight_leaves_the_new_one_alone() -> None:
    """Only the old work is cancelled."""
    flights: SingleFlight[str, Any] = SingleFlight()
    old, new = Work("old", wait_s=1e9), Work("new", wait_s=10)
    (before,) = await callers(flights, old, 1)
    flights.forget("k")
    (after,) = await callers(flights, new, 1)
    before.cancel()

    assert await flights.run("k", new) == ("new", True)
    assert await after == ("new", False)
    assert (old.cancelled, new.cancelled) == (1, 0)


@virtually
async def test_forgetting_what_is_not_under_way_does_nothing() -> None:
    """A delete of a key nobody asks for is the usual case."""
    flights: SingleFlight[str, Any] = SingleFlight()
    flights.forget("k")

    assert len(flights) == 0


@virtually
async def test_closing_cancels_all_work_and_waits_until_it_has_ended() -> None:
    """Forgotten flights too; those who waited are told that there is no answer."""
    flights: SingleFlight[str, Any] = SingleFlight()
    ended: list[str] = []

    async def slow_to_end(_flight: Flight) -> None:
        try:
            await asyncio.sleep(1e9)
        finally:
            await asyncio.sleep(1)
            ended.append("ended")

    waiting = [asyncio.create_task(flights.run("k", slow_to_end)) for _ in range(2)]
    await asyncio.sleep(0.5)
    flights.forget("k")
    waiting.append(asyncio.create_task(flights.run("k", slow_to_end)))
    await asyncio.sleep(0.5)
    await flights.aclose()
    at_close = list(ended)
    failures = await asyncio.gather(*waiting, return_exceptions=True)

    assert at_close == ["ended", "ended"]
    assert [type(failure) for failure in failures] == [Unavailable] * 3
    assert len(flights) == 0


@virtually
async def test_ten_thousand_flights_leave_nothing_behind() -> None:
    """Answered, failed and abandoned ones alike."""
    flights: SingleFlight[int, Any] = SingleFlight()
    works = [Work(), Work(ValueError("broken")), Work(wait_s=1e9)]
    tasks = [asyncio.create_task(flights.run(number, works[number % 3])) for number in range(10_000)]
    await asyncio.sleep(2)
    still_waiting = [task for task in tasks if not task.done()]
    for task in still_waiting:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)

    assert len(still_waiting) == works[2].begun == works[2].cancelled == 3_333
    assert len(flights) == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtually
async def test_work_cancelled_before_its_first_step_does_not_occupy_its_key_for_ever() -> None:
    """Somebody cancels every task of the loop in the turn in which the work was asked for."""
    flights: SingleFlight[str, Any] = SingleFlight()
    asking = asyncio.create_task(flights.run("k", Work()))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asking, asyncio.current_task()}:
        task.cancel()
    await asyncio.wait([asking])

    assert isinstance(asking.exception(), Unavailable)
    assert await flights.run("k", Work()) == ("answer", False)


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="eager tasks came with Python 3.12")
@virtually
async def test_work_that_ends_at_once_in_an_eager_task_is_not_remembered() -> None:
    """With `asyncio.eager_task_factory` the first answer is given out for ever."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    flights: SingleFlight[str, int] = SingleFlight()
    answers = iter([1, 2])

    async def at_once(_flight: Flight) -> int:
        return next(answers)

    assert await flights.run("k", at_once) == (1, False)
    assert await flights.run("k", at_once) == (2, False)
