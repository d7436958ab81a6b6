"""From the bytes of a reply to vectors: perfkit's reader beside what Google's clients offer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from harness import PROCESSOR, Arm, Target, Timed, interleaved, level, ratio, shown, table, times, verdict
from harness.rounds import Estimate
from perfkit.errors import MeasurementError
from perfkit.vertex.protocols import EmbedReply, Vector
from perfkit.vertex.wire import read_predictions, write_predictions

__all__ = ["read"]

OURS = "perfkit"
SHAPES = ((1, 768), (32, 768), (250, 768), (250, 3_072))
JUDGED = (250, 768)
AT_MOST_MS = Target(12, at_most=True)
AIPLATFORM = f"google-cloud-aiplatform {version('google-cloud-aiplatform')}"
Reader = Callable[[], list[Any]]


async def read(rounds: int) -> str:
    """Read replies of four sizes in each way; all must come to the same numbers."""
    return "\n\n".join([await _compared(texts, dimensions, rounds) for texts, dimensions in SHAPES])


async def _compared(texts: int, dimensions: int, rounds: int) -> str:
    rng = np.random.default_rng(1)
    reply = EmbedReply(
        [Vector(rng.standard_normal(dimensions, np.float32), token_count=20) for _ in range(texts)],
        billable_characters=80 * texts,
    )
    readers = _readers(reply)
    for name, reader in readers.items():
        if not np.array_equal(np.asarray(reader(), np.float32), [vector.values for vector in reply.vectors]):
            raise MeasurementError(f"{name} reads other numbers than were sent, so its cost says nothing.")
    arms: dict[str, Arm] = {name: Timed(_repeated(reader)) for name, reader in readers.items()}
    many = texts > 100  # a round of the peers takes a second or more
    readings = await interleaved(arms, min(rounds, 6) if many else rounds, turns=1 if many else 3)
    rows = []
    for name, reading in readings.items():
        cost = level(reading[PROCESSOR] / 1e3)
        target = AT_MOST_MS if name == OURS and (texts, dimensions) == JUDGED else None
        against = "" if name == OURS else times(ratio(reading[PROCESSOR], readings[OURS][PROCESSOR]))
        rows.append(
            [
                name,
                shown(Estimate(cost.point, cost.low, cost.high)),
                against,
                str(target or ""),
                verdict(cost, target),
            ]
        )
    what = f"measured: {texts} × {dimensions:,} numbers"
    return table([what, "processor ms a reply", "this ÷ perfkit", "target", "met"], rows)


def _readers(reply: EmbedReply) -> dict[str, Reader]:
    from google.cloud.aiplatform_v1.types import PredictResponse
    from google.genai import models, types
    from google.protobuf import json_format

    sent = write_predictions(reply)
    as_json = json.dumps(_as_json(reply))
    asked = types._EmbedContentParametersPrivate(
        model="text-embedding-005", embedding_api_type=types.EmbeddingApiType.PREDICT
    )

    def by_index() -> list[Any]:
        answer = PredictResponse.deserialize(sent)
        return [list(prediction["embeddings"]["values"]) for prediction in answer.predictions]

    def as_dicts() -> list[Any]:
        answer = PredictResponse.deserialize(sent)
        dicts = [json_format.MessageToDict(prediction) for prediction in answer._pb.predictions]
        return [prediction["embeddings"]["values"] for prediction in dicts]

    def genai() -> list[Any]:
        answer = models._EmbedContentResponse_from_vertex(json.loads(as_json), None, asked)
        whole = types.EmbedContentResponse._from_response(response=answer, kwargs={})
        return [embedding.values for embedding in whole.embeddings or []]

    return {
        OURS: lambda: [vector.values for vector in read_predictions(sent).vectors],
        f"{AIPLATFORM}, list(p['embeddings']['values'])": by_index,
        f"{AIPLATFORM}, MessageToDict as Endpoint.predict": as_dicts,
        f"google-genai {version('google-genai')}, its own reading of JSON": genai,
    }


def _as_json(reply: EmbedReply) -> dict[str, Any]:
    return {
        "predictions": [
            {
                "embeddings": {
                    "values": vector.values.tolist(),
                    "statistics": {"token_count": vector.token_count, "truncated": vector.truncated},
                }
            }
            for vector in reply.vectors
        ],
        "metadata": {"billableCharacterCount": reply.billable_characters},
    }


def _repeated(reader: Reader) -> Callable[[int], Awaitable[int]]:
    async def repeat(operations: int) -> int:
        for _operation in range(operations):
            reader()
        return operations

    return repeat
