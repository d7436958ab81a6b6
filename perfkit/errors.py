"""Every exception perfkit raises, in one tree.

    PerfkitError
    ├── SettingsError        a value was refused                   .path .value .allowed
    ├── ScenarioError        the YAML asks for nonsense            .file .line .path
    ├── WorkloadError        a trace cannot be read                .file .line
    ├── Unavailable          a dependency is away                  .dependency .retry_after_seconds
    │   ├── CircuitOpen      it failed too often to be asked now
    │   ├── LoadTimeout      a cached answer was not there in time
    │   ├── PoolExhausted    every connection of a pool is in use  .pool .waited_seconds
    │   ├── QuotaExceeded    Vertex AI lets this project ask no more for a while
    │   ├── ModelTimeout     Vertex AI did not answer in time
    │   └── RealServerRequired  only a toy is configured, and toys are forbidden here
    ├── VertexError          Vertex AI would not do what was asked .model
    │   ├── RequestRefused   a text or a parameter is wrong        .max_texts .max_tokens
    │   ├── ModelNotFound    there is no such model here
    │   ├── NotAuthorised    credentials are missing, or do not allow it
    │   └── WrongAnswer      what came back does not answer what was asked
    ├── FieldsError          a client's choice of fields is wrong  .position
    ├── RunError             a run folder cannot be used           .folder
    ├── MeasurementError     numbers must not be used
    │   └── NotComparable    two runs differ in more than settings .differences
    └── AdoptionRefused      the choice may not be exported        .reason

A message says what happened with its values, why that matters, and what to do next.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class PerfkitError(Exception):
    """The root: catch this to catch everything perfkit raises on purpose."""


class SettingsError(PerfkitError):
    """A knob's name or value was refused."""

    def __init__(self, message: str, *, path: str, value: object = None, allowed: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.value = value
        self.allowed = allowed


class ScenarioError(PerfkitError):
    """A scenario file asks for something that does not exist or cannot be done."""

    def __init__(self, message: str, *, file: str = "", line: int | None = None, path: str = "") -> None:
        place = file + (f":{line}" if line else "")
        super().__init__(f"{place}: {message}" if place else message)
        self.file = file
        self.line = line
        self.path = path


class WorkloadError(PerfkitError):
    """A trace file is missing, empty, torn, unsorted or not a trace."""

    def __init__(self, message: str, *, file: str = "", line: int | None = None) -> None:
        place = file + (f":{line}" if line else "")
        super().__init__(f"{place}: {message}" if place else message)
        self.file = file
        self.line = line


class Unavailable(PerfkitError):
    """A dependency is away; the caller may try again after `retry_after_seconds`."""

    def __init__(
        self, message: str, *, dependency: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.dependency = dependency
        self.retry_after_seconds = retry_after_seconds


class CircuitOpen(Unavailable):
    """The dependency failed so often that it is left alone for a while; nothing was sent."""


class LoadTimeout(Unavailable, TimeoutError):
    """An answer was not there within `cache.hard_timeout_seconds`; it is still being fetched."""


class PoolExhausted(Unavailable):
    """A pool had no room for a call for as long as its caller was willing to wait."""

    def __init__(self, message: str, *, pool: str, waited_seconds: float) -> None:
        super().__init__(message, dependency=f"pool {pool}", retry_after_seconds=waited_seconds)
        self.pool = pool
        self.waited_seconds = waited_seconds


class QuotaExceeded(Unavailable):
    """Vertex AI refused a request because the project's quota is spent (429); nothing was computed."""


class ModelTimeout(Unavailable, TimeoutError):
    """Vertex AI did not answer within the call's deadline."""


class RealServerRequired(Unavailable):
    """`PERFKIT_REQUIRE_REAL=1` forbids the embedded default, and nothing real is configured."""


class VertexError(PerfkitError):
    """Vertex AI would not do what was asked, and asking again will not help."""

    def __init__(self, message: str, *, model: str = "") -> None:
        super().__init__(message)
        self.model = model


class RequestRefused(VertexError):
    """A text or a parameter is wrong (400).

    `max_texts` or `max_tokens` is set where the server said that a request may not hold more: then the texts
    themselves are not to blame.
    """

    def __init__(
        self, message: str, *, model: str = "", max_texts: int | None = None, max_tokens: int | None = None
    ) -> None:
        super().__init__(message, model=model)
        self.max_texts = max_texts
        self.max_tokens = max_tokens


class ModelNotFound(VertexError):
    """There is no such model in this project and location (404), or perfkit knows none by that name."""


class NotAuthorised(VertexError):
    """Credentials are missing, have expired, or do not allow what was asked (401, 403)."""


class WrongAnswer(VertexError):
    """What came back does not answer what was asked: fewer vectors than texts, or no text at all."""


class FieldsError(PerfkitError):
    """A client chose fields in a way that cannot be read; `position` counts characters of its text from 0.

    The message is fit for the client: it repeats nothing the client sent.
    """

    def __init__(self, message: str, *, position: int) -> None:
        super().__init__(message)
        self.position = position


class RunError(PerfkitError):
    """A run folder is missing, torn beyond repair, or was made by something else."""

    def __init__(self, message: str, *, folder: Path | str) -> None:
        super().__init__(message)
        self.folder = str(folder)


class MeasurementError(PerfkitError):
    """The numbers exist but must not be used."""


class NotComparable(MeasurementError):
    """Two runs differ in more than their settings: machine, workload or code.

    `differences` maps each differing field to the pair of values.
    """

    def __init__(self, message: str, *, differences: Mapping[str, tuple[object, object]]) -> None:
        super().__init__(message)
        self.differences = dict(differences)


class AdoptionRefused(PerfkitError):
    """A choice may not be exported: it was not confirmed, or a guardrail said no."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the known name nearest to `name`, or an empty string.

    >>> did_you_mean("cache.l1_ttl", ["cache.l1_ttl_seconds", "cache.l2_ttl_seconds"])
    " Did you mean 'cache.l1_ttl_seconds'?"
    >>> did_you_mean("zebra", ["cache.l1_ttl_seconds"])
    ''
    """
    known = list(known)
    begun = [candidate for candidate in known if candidate.startswith(name)]
    close = begun or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""
