"""Vectors on the wire: read by stride where that is safe, and by the book where not."""

from __future__ import annotations

import numpy as np
import pytest
from google.cloud.aiplatform_v1.types import prediction_service as messages
from google.protobuf import struct_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.vertex.protocols import EmbedReply, Vector
from perfkit.vertex.wire import read_embedding, read_predictions, write_embedding, write_predictions

_PREDICT = type(messages.PredictResponse.pb(messages.PredictResponse()))
_EMBED = type(messages.EmbedContentResponse.pb(messages.EmbedContentResponse()))
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ROWS = st.lists(st.lists(NUMBERS, min_size=1, max_size=20), min_size=0, max_size=6)


def by_google(rows: list[list[float]], *, integers: bool = False) -> bytes:
    """An answer as Google's own library writes it."""
    answer = _PREDICT()
    for number, row in enumerate(rows):
        embeddings = answer.predictions.add().struct_value.fields["embeddings"].struct_value
        values = embeddings.fields["values"].list_value
        for value in row:
            values.values.add().number_value = round(value) if integers else value
        embeddings.fields["statistics"].struct_value.update({"token_count": number + 1, "truncated": False})
    answer.metadata.struct_value.update({"billableCharacterCount": 42})
    return answer.SerializeToString()


@given(ROWS)
@settings(deadline=None)
def test_what_google_writes_is_read_exactly(rows: list[list[float]]) -> None:
    """To the last bit of a float32, whatever the numbers: zeros, negatives, the smallest there are."""
    reply = read_predictions(by_google(rows))
    assert [vector.values.tolist() for vector in reply.vectors] == rows
    assert [vector.token_count for vector in reply.vectors] == list(range(1, len(rows) + 1))
    assert reply.billable_characters == 42


@given(ROWS)
@settings(deadline=None)
def test_what_the_emulator_writes_google_reads(rows: list[list[float]]) -> None:
    """The server's side of the same bytes."""
    made = EmbedReply([Vector(np.array(row, np.float32), 3, truncated=True) for row in rows], 7)
    answer = _PREDICT.FromString(write_predictions(made))
    read = [
        [
            value.number_value
            for value in prediction.struct_value.fields["embeddings"]
            .struct_value.fields["values"]
            .list_value.values
        ]
        for prediction in answer.predictions
    ]
    assert read == rows
    assert answer.metadata.struct_value.fields["billableCharacterCount"].number_value == 7


def test_fields_in_another_order_and_unknown_ones_are_borne() -> None:
    """A server may add what it likes."""
    answer = _PREDICT.FromString(by_google([[0.5, -0.25]]))
    answer.predictions[0].struct_value.fields["another"].CopyFrom(struct_pb2.Value(string_value="x" * 300))
    answer.model_display_name = "a model"
    reply = read_predictions(answer.SerializeToString(deterministic=True))
    assert reply.vectors[0].values.tolist() == [0.5, -0.25]


@given(st.lists(NUMBERS, min_size=1, max_size=30))
@settings(deadline=None)
def test_one_embedding_goes_there_and_back(row: list[float]) -> None:
    """The answer of `embedContent`, written here and read by Google, and the other way."""
    data = write_embedding(Vector(np.array(row, np.float32), 5))
    assert list(_EMBED.FromString(data).embedding.values) == pytest.approx(row)
    assert read_embedding(data).vectors[0].values.tolist() == row


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_bytes_that_are_no_answer_are_refused_or_empty(data: bytes) -> None:
    """Never an endless loop, never numbers out of nowhere."""
    for read in (read_predictions, read_embedding):
        try:
            reply = read(data)
        except (ValueError, OverflowError, IndexError):
            continue
        assert sum(len(vector.values) for vector in reply.vectors) * 4 <= len(data)
