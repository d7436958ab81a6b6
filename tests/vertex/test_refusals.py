"""What Google says, and what it means here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import (
    ModelNotFound,
    ModelTimeout,
    NotAuthorised,
    PerfkitError,
    QuotaExceeded,
    RequestRefused,
    Unavailable,
    VertexError,
)
from perfkit.vertex.refusals import HTTP_CODES, error_of, status_of

MODEL = "text-embedding-005"
SPENT = (
    "Quota exceeded for aiplatform.googleapis.com/online_prediction_requests_per_base_model with base model: "
    "textembedding-gecko. Please submit a quota increase request."
)


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        ("RESOURCE_EXHAUSTED", SPENT, QuotaExceeded),
        ("RESOURCE_EXHAUSTED", "Resource exhausted, please try again later.", QuotaExceeded),
        ("UNAVAILABLE", "The service is currently unavailable.", Unavailable),
        ("INTERNAL", "Internal error encountered.", Unavailable),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", ModelTimeout),
        ("NOT_FOUND", "Publisher Model `x` was not found", ModelNotFound),
        ("PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied", NotAuthorised),
        ("UNAUTHENTICATED", "Request had invalid authentication credentials.", NotAuthorised),
        ("FAILED_PRECONDITION", "The model does not support :predict", RequestRefused),
        ("UNIMPLEMENTED", "", VertexError),
        ("SOMETHING_NEW", "of tomorrow", VertexError),
    ],
)
def test_a_status_is_one_error(status: str, message: str, error: type[PerfkitError]) -> None:
    """Which also says what to do, and names the model."""
    found = error_of(status, message, model=MODEL)
    assert type(found) is error
    assert MODEL in str(found)


@pytest.mark.parametrize(
    ("message", "texts"),
    [
        ("251 instance(s) is not allowed per prediction. The maximum allowed is 250.", 250),
        ("5 instance(s) is allowed per prediction. Actual: 6", 5),
        (
            "Unable to submit request because it included too many instances. The limit is 1,000 instances.",
            1_000,
        ),
        (
            "Unable to submit request because the batchSize value of 251 is out of the supported range. The "
            "supported range is from 1 (inclusive) to 251 (exclusive).",
            250,
        ),
    ],
)
def test_how_many_texts_would_do_is_taken_from_what_it_says(message: str, texts: int) -> None:
    """The batcher heals by this number."""
    found = error_of("INVALID_ARGUMENT", message, model=MODEL, texts=251)
    assert isinstance(found, RequestRefused)
    assert (found.max_texts, found.max_tokens) == (texts, None)


def test_where_it_does_not_say_half_are_tried() -> None:
    """Of those that were sent."""
    message = "Unable to submit request because it included too many instances."
    found = error_of("INVALID_ARGUMENT", message, model=MODEL, texts=100)
    assert isinstance(found, RequestRefused)
    assert found.max_texts == 50


def test_how_many_tokens_would_do_is_taken_too() -> None:
    """From Google's usual words."""
    message = "The input token count is 21,345 but the model supports up to 20000."
    found = error_of("INVALID_ARGUMENT", message, model=MODEL)
    assert isinstance(found, RequestRefused)
    assert (found.max_texts, found.max_tokens) == (None, 20_000)


def test_a_message_too_large_for_a_channel_is_no_quota() -> None:
    """gRPC calls it RESOURCE_EXHAUSTED; whoever waited for quota would wait for ever."""
    message = "CLIENT: Received message larger than max (8476291 vs. 4194304)"
    found = error_of("RESOURCE_EXHAUSTED", message, model=MODEL)
    assert type(found) is VertexError
    assert "grpc.max_receive_message_length" in str(found)


@pytest.mark.parametrize(
    "message",
    [
        'Invalid value at "the patient has a rash", try again',
        "Request had invalid credentials: Bearer ya29.a0AfB_byC",
        "eyJhbGciOiJSUzI1NiJ9.payload.signature was refused",
    ],
)
def test_neither_texts_nor_credentials_are_repeated(message: str) -> None:
    """Google quotes what it was sent; a log must not."""
    for status in HTTP_CODES:
        told = str(error_of(status, message, model=MODEL))
        for secret in ("rash", "ya29", "eyJ", "AfB"):
            assert secret not in told


@given(st.sampled_from(sorted(HTTP_CODES)), st.text(max_size=2_000))
def test_whatever_it_says_the_error_is_ours_and_short(status: str, message: str) -> None:
    """Also nonsense, and pages of it."""
    found = error_of(status, message, model=MODEL, retry_after_s=1.5)
    assert isinstance(found, PerfkitError)
    assert len(str(found)) < 900


@pytest.mark.parametrize(
    ("code", "status"),
    [(429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE"), (404, "NOT_FOUND"), (599, "INTERNAL")],
)
def test_a_bare_http_code_has_a_status(code: int, status: str) -> None:
    """As a proxy on the way answers."""
    assert status_of(code) == status
