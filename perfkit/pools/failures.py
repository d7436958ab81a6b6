"""Redis did not answer: perfkit's exceptions, which are redis-py's as well.

Code written for redis-py catches `redis.exceptions.ConnectionError`; code written for perfkit catches
`perfkit.errors.Unavailable`. What the pools raise is both, so neither has to know of the other. An error that
Redis itself answers with (`WRONGTYPE`, `NOAUTH`, `OOM`) stays redis-py's own.
"""

from __future__ import annotations

from typing import TypeVar

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    InvalidResponse,
    MasterDownError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from perfkit.errors import CircuitOpen, PoolExhausted, Unavailable

E = TypeVar("E", bound=Exception)

__all__ = [
    "PoolClosed",
    "RedisCircuitOpen",
    "RedisLost",
    "RedisPoolExhausted",
    "RedisTimeout",
    "anew",
    "as_ours",
    "as_redis",
    "blames_server",
    "is_passing",
    "may_have_happened",
]


class RedisLost(Unavailable, RedisConnectionError):
    """There is no connection, or it was lost before the answer came.

    `sent` tells whether the command had left: then it may have happened, and only its caller knows whether to
    repeat it.
    """

    def __init__(self, message: str, *, pool: str, sent: bool) -> None:
        super().__init__(message, dependency=f"pool {pool}")
        self.sent = sent


class RedisTimeout(Unavailable, RedisTimeoutError):
    """The answer did not come in time; if the command writes and `sent` is true, it may have happened."""

    def __init__(self, message: str, *, pool: str, sent: bool = True) -> None:
        super().__init__(message, dependency=f"pool {pool}")
        self.sent = sent


class RedisCircuitOpen(CircuitOpen, RedisConnectionError):
    """The pool's breaker is open; nothing was sent."""


class RedisPoolExhausted(PoolExhausted, RedisConnectionError):
    """The pool had no room in time; nothing was sent."""


class PoolClosed(Unavailable, RedisConnectionError):
    """The pool was closed for good; nothing was sent."""

    def __init__(self, pool: str) -> None:
        super().__init__(
            f"Pool {pool} is closed. Ask for a new client instead of keeping an old one.",
            dependency=f"pool {pool}",
        )


_REFUSING = (BusyLoadingError, MasterDownError, ClusterDownError, ReadOnlyError)
_DOWN = (RedisConnectionError, RedisTimeoutError, *_REFUSING)
_REFUSED = (AuthenticationError, AuthorizationError)
_NOT_ASKED = (CircuitOpen, PoolExhausted, PoolClosed)


def blames_server(failure: BaseException) -> bool:
    """Tell whether a failure says that the server cannot serve, which a circuit breaker should count.

    A wrong password, a wrong type or a full memory is an answer: the server is there. One that is busy with a
    script that does not end answers, too, but nothing else.
    """
    if not isinstance(failure, RedisError) or isinstance(failure, (*_REFUSED, *_NOT_ASKED)):
        return False
    if isinstance(failure, _DOWN):
        return True
    return isinstance(failure, ResponseError) and "BUSY " in str(failure)


def as_redis(refusal: CircuitOpen | PoolExhausted) -> Unavailable:
    """Return a refusal by breaker or limit, which know nothing of Redis, as redis-py's error as well."""
    if isinstance(refusal, PoolExhausted):
        return RedisPoolExhausted(str(refusal), pool=refusal.pool, waited_seconds=refusal.waited_seconds)
    return RedisCircuitOpen(
        str(refusal), dependency=refusal.dependency, retry_after_seconds=refusal.retry_after_seconds
    )


def as_ours(failure: BaseException, pool: str) -> BaseException:
    """Return what redis-py says of a connection that was lost as a `RedisLost`; the rest as it is.

    Bytes that are no RESP come to the same: whose reply is whose is not known any more.
    """
    if type(failure) not in (RedisConnectionError, InvalidResponse):
        return failure
    return RedisLost(
        f"The connection of pool {pool} was lost: {failure}; a command that writes may have happened.",
        pool=pool,
        sent=True,
    )


def is_passing(failure: BaseException) -> bool:
    """Tell whether the same command may succeed a moment later."""
    return blames_server(failure) or isinstance(failure, TryAgainError)


def may_have_happened(failure: BaseException) -> bool:
    """Tell whether a command that failed so may have been carried out; an answer says that it was not."""
    if isinstance(failure, (RedisLost, RedisTimeout)):
        return failure.sent
    if isinstance(failure, _NOT_ASKED):
        return False
    return isinstance(failure, (RedisConnectionError, RedisTimeoutError)) and not isinstance(
        failure, _REFUSING
    )


def anew(failure: E) -> E:
    """Return a copy for one of many who waited: raised in all, one would gather the tracebacks of all."""
    copy = type(failure).__new__(type(failure), *failure.args)
    copy.__dict__.update(vars(failure))
    return copy
