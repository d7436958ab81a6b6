"""What a text costs its client in processor time, over a real connection, alone and in company."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from harness import PROCESSOR, Arm, Target, Timed, interleaved, level, ratio, shown, table, times, verdict
from harness.rounds import Readings
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.google import GoogleTransport
from perfkit.vertex.protocols import EmbedRequest, Text
from vertex_questions.served import Served, emulator
from vertex_questions.texts import MODEL

__all__ = ["connected", "costs"]

TOGETHER = (1, 10, 50, 250)
CHEAPER, THAN_GENAI = Target(8), Target(4)
TIMEOUT_S = 60.0
OURS = "perfkit over gRPC"
GENAI = f"google-genai {version('google-genai')} over REST"
Ask = Callable[[list[str]], Awaitable[Any]]


async def costs(rounds: int) -> str:
    """Ask an emulator that answers at once, in a process of its own."""
    async with emulator(EmulatorPlan(vectors="cheap")) as served, connected(served) as clients:
        arms: dict[str, Arm] = {
            _arm(name, count): Timed(_asking(ask, count), step=count)
            for name, ask in clients.items()
            for count in TOGETHER
        }
        readings = await interleaved(arms, rounds, turns=2)
    rows = []
    for count in TOGETHER:
        ours, theirs = (readings[_arm(name, count)][PROCESSOR] for name in (OURS, GENAI))
        rows.append([str(count), shown(level(ours)), shown(level(theirs)), times(ratio(theirs, ours))])
    costs_rows = table(["texts in a request", f"{OURS}, processor µs a text", GENAI, "this ÷ perfkit"], rows)
    return f"{costs_rows}\n\n{_judged(readings)}"


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[dict[str, Ask]]:
    """Yield a way to ask through each client."""
    from google import genai
    from google.oauth2.credentials import Credentials

    transport = GoogleTransport("local", "us-central1", endpoint=served.grpc)
    theirs = genai.Client(
        vertexai=True,
        project="local",
        location="us-central1",
        credentials=Credentials(token="local"),  # noqa: S106  # no secret: the emulator asks for none
        http_options={"base_url": served.rest},
    )

    async def ours(texts: list[str]) -> None:
        await transport.embed(EmbedRequest(MODEL, [Text(text) for text in texts]), timeout_s=TIMEOUT_S)

    async def through_genai(texts: list[str]) -> None:
        await theirs.aio.models.embed_content(model=MODEL, contents=texts)

    try:
        yield {OURS: ours, GENAI: through_genai}
    finally:
        await theirs.aio.aclose()
        await transport.aclose()


def _asking(ask: Ask, together: int) -> Callable[[int], Awaitable[int]]:
    texts = [f"what has to wait for its turn, text {number}" for number in range(together)]

    async def work(operations: int) -> int:
        for _request in range(operations // together):
            await ask(texts)
        return operations

    return work


def _judged(readings: Readings) -> str:
    most = TOGETHER[-1]
    alone, company = (readings[_arm(OURS, count)][PROCESSOR] for count in (1, most))
    found = {
        f"a text alone ÷ one of {most}": (ratio(alone, company), CHEAPER),
        f"{GENAI} ÷ perfkit, one of {most}": (
            ratio(readings[_arm(GENAI, most)][PROCESSOR], company),
            THAN_GENAI,
        ),
    }
    rows = [
        [name, times(value), str(target), verdict(value, target)] for name, (value, target) in found.items()
    ]
    return table(["measured, processor time", "ratio", "target", "met"], rows)


def _arm(name: str, together: int) -> str:
    return f"{name}, {together}"
