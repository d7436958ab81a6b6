"""One connection that carries everybody's commands at once.

Redis answers in the order it was asked, so many callers can share a connection: a command is appended, and
the n-th reply belongs to the n-th command. Callers never wait for each other's round trips, and whatever is
asked within one turn of the event loop leaves in one write:

    call ─┐                                      ┌─▶ future of the 1st
    call ─┼─▶ unsent ──one write a turn──▶ Redis ─┼─▶ future of the 2nd
    call ─┘            (pending, in order)       └─▶ future of the 3rd

What keeps a reply from reaching the wrong caller
-------------------------------------------------
- Only the end of the queue grows and only its head is answered; a caller that was cancelled or given up keeps
  its place in it, and its reply is dropped when it comes.
- A reply that nobody waits for, or bytes that are no RESP, end the connection.
- A lost connection fails everybody on it, each told whether the command had left.
- Commands that change the connection, or wait, never come here (`perfkit.pools.commands`).

A transaction or a batch is one entry of the queue: its commands leave together, and nothing of somebody
else's comes in between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Protocol, TypeAlias

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError

from perfkit.pools.failures import RedisLost, RedisTimeout, blames_server

__all__ = ["Ledger", "MuxConnection", "Run", "pack", "pack_many"]

_MORE: Final = object()
_parse_error: Callable[[str], Exception] = BaseParser.parse_error


Run: TypeAlias = tuple[float, int, int]
"""Replies in a row to calls sent at the same time in the same generation of the breaker, and how many."""


class Ledger(Protocol):
    """Where a connection accounts for its calls; see `perfkit.pools.gate.Gate`."""

    def answered(self, now_s: float, runs: Sequence[Run], blaming: Sequence[int]) -> None:
        """Learn of replies, oldest first, and of the generations of those that blame the server."""
        ...

    def gave_up(self, generation: int, waited_s: float) -> None:
        """Learn that a call was too late."""
        ...

    def lost(self, generations: set[int], places: int) -> None:
        """Learn that the connection went with so many calls on it."""
        ...


class _Many(list[Any]):
    """Replies as they come, until there are `expected`."""

    __slots__ = ("expected",)

    def __init__(self, expected: int) -> None:
        super().__init__()
        self.expected = expected


_Pending: TypeAlias = tuple[asyncio.Future[Any], float, int, _Many | None]
"""Whose reply is due, when it was sent, in which generation of the breaker; a plain tuple."""


class MuxConnection(asyncio.Protocol):
    """A connection shared by all callers of a pool; made by `perfkit.pools.mux.MuxTransport`."""

    def __init__(
        self,
        pool: str,
        ledger: Ledger,
        loop: asyncio.AbstractEventLoop,
        *,
        where: str = "",
        on_sending: Callable[[], None],
        on_lost: Callable[[MuxConnection], None],
        flush_max_commands: int = 512,
        flush_max_bytes: int = 262_144,
    ) -> None:
        self.pool = pool
        self.where = where
        self.alive = False
        self._ledger = ledger
        self._loop = loop
        self._on_sending = on_sending
        self._on_lost = on_lost
        self._flush_max_commands = flush_max_commands
        self._flush_max_bytes = flush_max_bytes
        self._reader = hiredis.Reader(notEnoughData=_MORE, replyError=_parse_error)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[_Pending] = deque()
        self._unsent: deque[bytes] = deque()
        self._flushing = self._paused = False
        self._now_s = 0.0
        self._given_up = 0
        """How many calls at the head of the queue hold no place: what was too late, and the greeting."""
        self._why_lost = ""
        self._closed: asyncio.Future[None] = loop.create_future()

    @property
    def pending(self) -> int:
        """How many calls are without their reply, those that were given up among them."""
        return len(self._pending)

    def call(self, packed: bytes, generation: int) -> asyncio.Future[Any]:
        """Send a command at the end of this turn of the loop and return the future of its reply.

        An error that Redis answers with is the future's exception. Cancelling the future discards the reply.
        """
        return self._append(packed, generation, None)

    def call_many(self, packed: bytes, commands: int, generation: int) -> asyncio.Future[Any]:
        """Send several commands as one; the future's result is the list of replies, errors among them."""
        return self._append(packed, generation, _Many(commands))

    async def greet(self, packed: bytes, commands: int) -> list[Any]:
        """Send the first commands of the connection and return their replies; they hold no place."""
        future = self._append(packed, -1, _Many(commands))
        self._given_up += 1
        replies: list[Any] = await future
        return replies

    def expire(self, before_s: float, patience_s: float) -> bool:
        """Give up what was sent before a time; return whether anything is still without its reply.

        The connection itself is given up when its oldest call has waited for as long again.
        """
        for future, sent_s, generation, _many in islice(self._pending, self._given_up, None):
            if sent_s > before_s:
                break
            self._given_up += 1
            self._ledger.gave_up(generation, patience_s)
            if not future.done():
                future.set_exception(self._too_late(patience_s))
        if self._pending and self._pending[0][1] <= before_s - patience_s:
            self.abort(f"no reply for {2 * patience_s:g} s")
        return bool(self._pending)

    def abort(self, why: str) -> None:
        """End the connection at once; whoever waits on it is told why."""
        self._why_lost = self._why_lost or why
        if self._transport is not None:
            self._transport.abort()
        self.alive = False

    async def aclose(self) -> None:
        """End the connection and wait until the socket is closed."""
        if self._transport is None:
            return
        self.abort("the pool was closed")
        await asyncio.shield(self._closed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the loop."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # what create_connection makes
        self._transport = transport
        self.alive = True

    def data_received(self, data: bytes) -> None:
        """Hand out replies; called by the loop."""
        now_s = self._loop.time()
        pending, gets = self._pending, self._reader.gets
        runs: list[Run] = []
        blaming: list[int] = []
        run_sent_s, run_in, run = 0.0, -1, 0
        try:
            self._reader.feed(data)
            while (reply := gets()) is not _MORE:
                if type(reply) is hiredis.PushNotification:
                    # Nobody here listens: `perfkit.pools.listener` has a connection for that
                    continue
                future, sent_s, generation, many = entry = pending.popleft()
                if many is not None:
                    many.append(reply)
                    if isinstance(reply, RedisConnectionError):
                        self._why_lost = str(reply)  # such as too many clients; Redis then closes
                    if len(many) < many.expected:
                        pending.appendleft(entry)
                        continue
                    reply = many
                if self._given_up:
                    self._given_up -= 1
                    if not future.done():
                        future.set_result(reply)
                    continue
                if sent_s == run_sent_s and generation == run_in:
                    run += 1
                else:
                    if run:
                        runs.append((run_sent_s, run_in, run))
                    run_sent_s, run_in, run = sent_s, generation, 1
                if isinstance(reply, Exception):
                    if blames_server(reply):
                        blaming.append(generation)
                    if not future.done():
                        future.set_exception(reply)
                elif not future.done():
                    if many is not None and any(map(blames_server, many)):
                        blaming.append(generation)
                    future.set_result(reply)
        except IndexError:
            self.abort("Redis sent a reply that nobody had asked for")
        except hiredis.HiredisError as trouble:
            self.abort(f"Redis sent what is no RESP: {trouble}")
        finally:  # whatever a listener of pushes raises: an answered call holds no place
            if run:
                runs.append((run_sent_s, run_in, run))
                self._ledger.answered(now_s, runs, blaming)

    def pause_writing(self) -> None:
        """Keep commands back; called by the loop when Redis reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """Send what was kept back; called by the loop."""
        self._paused = False
        if self._unsent:
            self._flush()

    def eof_received(self) -> None:
        """Note that Redis closed the connection; called by the loop."""
        self._why_lost = self._why_lost or "Redis closed it"

    def connection_lost(self, failure: Exception | None) -> None:
        """Fail whoever waits; called by the loop."""
        self.alive = False
        self._why_lost = self._why_lost or str(failure or "it was closed")
        self._fail_all()
        self._on_lost(self)
        if not self._closed.done():
            self._closed.set_result(None)

    def _fail_all(self) -> None:
        why, unsent = self._why_lost, len(self._unsent)
        generations = {entry[2] for entry in islice(self._pending, self._given_up, None)}
        places = len(self._pending) - self._given_up
        while self._pending:
            future, _sent_s, _generation, _many = self._pending.popleft()
            if not future.done():
                future.set_exception(self._lost(why, sent=len(self._pending) >= unsent))
        self._unsent.clear()
        self._given_up = 0
        self._ledger.lost(generations, places)

    def _append(self, packed: bytes, generation: int, many: _Many | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._unsent.append(packed)
        if not self._flushing:
            self._flushing = True
            self._now_s = self._loop.time()
            self._loop.call_soon(self._flush)
            self._on_sending()
        self._pending.append((future, self._now_s, generation, many))
        return future

    def _flush(self) -> None:
        self._flushing = False
        unsent = self._unsent
        if self._transport is None or self._transport.is_closing():
            if self._closed.done():
                self._fail_all()  # it was lost between being handed out and being used
            return  # else what is unsent is failed, as not sent, in a moment
        if self._paused or not unsent:
            return
        if len(unsent) == 1:
            self._transport.write(unsent.popleft())
            return
        self._transport.writelines(self._next_write())
        if unsent:  # let replies be read, and others have their turn, between two writes
            self._flushing = True
            self._now_s = self._loop.time()
            self._loop.call_soon(self._flush)

    def _next_write(self) -> list[bytes]:
        """Take as much as one write may hold, and at least one command."""
        unsent, size = self._unsent, 0
        write: list[bytes] = []
        while unsent and len(write) < self._flush_max_commands and size < self._flush_max_bytes:
            write.append(unsent.popleft())
            size += len(write[-1])
        return write

    def _too_late(self, patience_s: float) -> RedisTimeout:
        return RedisTimeout(
            f"Redis{self.where} did not answer pool {self.pool} within {patience_s:g} s; a command that "
            f"writes may have happened. Raise pools.{self.pool}.command_timeout_seconds, or find out what "
            "keeps Redis busy.",
            pool=self.pool,
        )

    def _lost(self, why: str, *, sent: bool) -> RedisLost:
        fate = "a command that writes may have happened" if sent else "the command was not sent"
        return RedisLost(
            f"The connection of pool {self.pool}{self.where} was lost: {why}; {fate}.",
            pool=self.pool,
            sent=sent,
        )


def pack(args: Sequence[Any]) -> bytes:
    """Return a command in RESP; a name of several words (`CONFIG GET`) is several arguments.

    Raises:
        redis.exceptions.DataError: an argument is neither bytes, text nor a number.
    """
    try:
        name = args[0]
        if " " in name if isinstance(name, str) else b" " in name:
            args = (*name.split(), *args[1:])
        if memoryview in map(type, args):
            raise TypeError  # hiredis stores the wrong bytes of one that skips some
        packed: bytes = hiredis.pack_command(tuple(args))
    except TypeError:
        packed = hiredis.pack_command(tuple(map(_plain, args)))  # type: ignore[arg-type]  # its stub: one item
    return packed


def pack_many(commands: Iterable[Sequence[Any]]) -> bytes:
    """Return commands one after the other in RESP."""
    return b"".join(map(pack, commands))


def _plain(argument: Any) -> bytes | str | int | float:
    if isinstance(argument, bytearray | memoryview):
        return bytes(argument)
    if isinstance(argument, bool) or not isinstance(argument, bytes | str | int | float):
        raise DataError(
            f"An argument of a command is of type {type(argument).__name__}; Redis stores bytes, text and "
            "numbers. Encode it first."
        )
    if isinstance(argument, int) and type(argument) is not int:
        return int(argument)  # such as a member of an IntEnum
    return argument
