"""What the batcher tells callers whose text it could not get answered."""

from __future__ import annotations

from perfkit.errors import ModelTimeout, Unavailable, WrongAnswer

__all__ = ["closed", "late", "miscounted"]


def closed(model: str) -> Unavailable:
    """The client was closed before, or while, a text waited."""
    return Unavailable(
        "The Vertex AI client is closed, so this text was not answered. Open a new one and ask again.",
        dependency=model,
    )


def late(model: str, when: str, *, waiting: int, under_way: int) -> ModelTimeout:
    """An answer did not come in time: `when` says which."""
    return ModelTimeout(
        f"{model} did not answer {when}; {waiting} texts wait and {under_way} requests are under way. Allow "
        "more time, or find out why it has become slow.",
        dependency=model,
    )


def miscounted(model: str, texts: int, vectors: int) -> WrongAnswer:
    """There are not as many vectors as texts."""
    return WrongAnswer(
        f"{model} answered {texts} texts with {vectors} vectors, so none can be told whose it is. Try again; "
        "if it stays so, it is not the model it is taken for.",
        model=model,
    )
