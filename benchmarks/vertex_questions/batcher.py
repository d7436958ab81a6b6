"""What a text pays for being gathered, with nothing behind the batcher that takes time.

All send to a function that has the answer ready, so that what is read is the gathering, the futures and the
tasks alone. Without gathering each text makes a request of its own, which costs the client some 880 µs over
gRPC.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version

import numpy as np

from harness import PROCESSOR, Arm, Estimate, Target, Timed, interleaved, level, shown, table, verdict
from perfkit.clock import now_s
from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.batcher import Batcher, Limits
from perfkit.vertex.batching.outlet import Outlet
from perfkit.vertex.protocols import EmbedReply, Text, Vector
from perfkit.vertex.settings import VertexSettings
from vertex_questions.arrivals import named, stand_ins
from vertex_questions.ways import NOT_INSTALLED

__all__ = ["costs"]

AN_ITEM = Target(20, at_most=True)
A_DECISION = Target(5, at_most=True)
PATIENCE_S = 60.0
SINGLES, MANY = 200, 500
IN_A_ROW = 1_000
"""So many one by one: whoever was silent for a while is not known to come one by one."""
ONE_VECTOR = Vector(np.zeros(768, np.float32), token_count=7)
LOADER = "aiodataloader"
Work = Callable[[int], Awaitable[int]]


async def costs(rounds: int) -> str:
    """Submit texts one by one, many callers at once, and many in a call; and decide on recorded arrivals."""
    arms, absent = {**_bare(), **_ours()}, []
    try:
        arms |= _loader()
    except ImportError:
        absent.append(f"{LOADER}: {NOT_INSTALLED}.")
    timed: dict[str, Arm] = {name: Timed(work, step=step) for name, (work, step) in arms.items()}
    timed["perfkit's adaptive policy, a decision"] = Timed(_decisions())
    readings = await interleaved(timed, rounds)
    rows = []
    for name, reading in readings.items():
        cost = level(reading[PROCESSOR])
        target = _target(name)
        rows.append(
            [name, shown(Estimate(cost.point, cost.low, cost.high)), str(target or ""), verdict(cost, target)]
        )
    said = (
        "One by one, each text makes a request and pays for it alone: task, timer, place, breaker, counts. "
        "What sending it costs stands under *What a text costs the client*."
    )
    return "\n\n".join(
        [table(["measured", "processor µs a text", "target", "met"], rows), "\n".join([said, *absent])]
    )


def _target(name: str) -> Target | None:
    if not name.startswith("perfkit"):
        return None
    return A_DECISION if name.endswith("a decision") else AN_ITEM


async def _answered(texts: Sequence[Text], _timeout_s: float) -> EmbedReply:
    return EmbedReply([ONE_VECTOR] * len(texts), billable_characters=100)


def _different() -> Callable[[], Text]:
    """Return texts that are all different, as most are; the same text is gathered into one."""
    made = 0

    def text() -> Text:
        nonlocal made
        made += 1
        return Text(f"what has to wait for its turn, asked for the {made}th time")

    return text


def _bare() -> dict[str, tuple[Work, int]]:
    text = _different()

    async def one_by_one(operations: int) -> int:
        for _operation in range(operations):
            await _answered([text()], 1.0)
        return operations

    async def at_once(operations: int) -> int:
        for _gather in range(operations // SINGLES):
            await asyncio.gather(*(_answered([text()], 1.0) for _ in range(SINGLES)))
        return operations

    return {
        "nothing between, one by one": (one_by_one, IN_A_ROW),
        f"nothing between, {SINGLES} callers at once": (at_once, SINGLES),
    }


def _ours() -> dict[str, tuple[Work, int]]:
    text = _different()
    lonely, crowded, bulk = (
        _batcher(),
        _batcher(),
        _batcher(),
    )  # what one learns of callers, the others do not

    async def one(batcher: Batcher) -> None:
        await batcher.submit([text()], deadline_s=now_s() + PATIENCE_S)

    async def one_by_one(operations: int) -> int:
        for _operation in range(operations):
            await one(lonely)
        return operations

    async def at_once(operations: int) -> int:
        for _gather in range(operations // SINGLES):
            await asyncio.gather(*(one(crowded) for _ in range(SINGLES)))
        return operations

    async def in_a_call(operations: int) -> int:
        for _call in range(operations // MANY):
            texts = [text() for _ in range(MANY)]
            await bulk.submit(texts, deadline_s=now_s() + PATIENCE_S, bulk=True)
        return operations

    return {
        "perfkit, one by one": (one_by_one, IN_A_ROW),
        f"perfkit, {SINGLES} callers at once": (at_once, SINGLES),
        f"perfkit, {MANY} texts in a call": (in_a_call, MANY),
    }


def _batcher() -> Batcher:
    settings = VertexSettings(requests_per_minute=0)
    return Batcher(
        _answered,
        model="text-embedding-005",
        policy=AdaptivePolicy(settings.request_worth_ms / 1e3),
        outlet=Outlet.of("benchmark", settings),
        limits=Limits(settings.batch_max_texts, settings.batch_max_tokens),
        rng=random.Random(1),  # noqa: S311  # jitter, not a secret
    )


def _loader() -> dict[str, tuple[Work, int]]:
    from aiodataloader import DataLoader

    async def batch(texts: list[Text]) -> list[Vector]:
        return list((await _answered(texts, 1.0)).vectors)

    text, loader = _different(), DataLoader(batch, max_batch_size=250, cache=False)

    async def one_by_one(operations: int) -> int:
        for _operation in range(operations):
            await loader.load(text())
        return operations

    async def at_once(operations: int) -> int:
        for _gather in range(operations // SINGLES):
            await asyncio.gather(*(loader.load(text()) for _ in range(SINGLES)))
        return operations

    async def in_a_call(operations: int) -> int:
        for _call in range(operations // MANY):
            await loader.load_many([text() for _ in range(MANY)])
        return operations

    name = f"{LOADER} {version(LOADER)}, no window"
    return {
        f"{name}, one by one": (one_by_one, IN_A_ROW),
        f"{name}, {SINGLES} callers at once": (at_once, SINGLES),
        f"{name}, {MANY} texts in a call": (in_a_call, MANY),
    }


def _decisions() -> Work:
    """Let the policy decide on arrival after arrival, as if nobody were ever sent away."""
    arrivals = named("conv") or stand_ins()[0]
    times_s = arrivals.faster(20).times_s
    policy = AdaptivePolicy(0.025)
    at = 0

    async def decide(operations: int) -> int:
        nonlocal at, policy
        for _decision in range(operations):
            if at == len(times_s):
                at, policy = 0, AdaptivePolicy(0.025)
            now_s = times_s[at]
            policy.arrived(now_s)
            policy.due(now_s, 3, 0.01, 1.0)
            at += 1
        return operations

    return decide
