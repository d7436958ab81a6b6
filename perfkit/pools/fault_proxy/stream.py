"""One direction of a connection through the fault proxy, and all that its toxics do to it.

A stream reads from one socket and writes to the other, with nothing in between but what its toxics ask for:

    source ─recv─> bandwidth ─> [queue: what is on its way] ─> latency ─> reset, limit, slicer ─send─> target

The queue is first in, first out, so an arrival that jitter makes early still waits for the one before it. An
end of file and a reset travel through it like the bytes: they arrive after them and as late.
Without latency at most one read is held: a target that takes nothing stops the reading, the kernel's buffers
fill, and the source feels it. With latency, as much is held as is on its way, at most `_WINDOW_BYTES`; bytes
that are due and cannot be written stop the reading at once.

All of it runs in callbacks of the loop (`add_reader`, `add_writer`, `call_at`): there is no task to cancel.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
from collections import deque
from typing import TYPE_CHECKING

from perfkit.pools.fault_proxy.toxics import StreamToxics

if TYPE_CHECKING:
    from perfkit.pools.fault_proxy.link import Link

__all__ = ["End", "Stream"]

_READ_BYTES = 64 * 1024
_WINDOW_BYTES = 16 * 1024 * 1024
_LINE_SHARE_S = 0.005  # a slow line takes in what it carries in this time, so that its flow is even


class End(enum.Enum):
    """How a stream ends; it queues behind the bytes."""

    CLOSED = enum.auto()
    RESET = enum.auto()


class Stream:
    """One direction of a link."""

    def __init__(self, link: Link, source: socket.socket, target: socket.socket, rng: random.Random) -> None:
        self.passed_bytes = 0
        self.ended = False
        self._link = link
        self._source = source
        self._target = target
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[float, bytes | memoryview | End]] = deque()
        self._queued_bytes = 0
        self._reading = False  # the loop watches the source
        self._writing = False  # the target is full, and the loop watches for room
        self._source_ended = False
        self._wake: asyncio.TimerHandle | None = None
        self._line_free: asyncio.TimerHandle | None = None
        self._verdict: asyncio.TimerHandle | None = None

    def apply(self, toxics: StreamToxics, line_ms: float) -> None:
        """Take on other toxics. What is on its way arrives no later than if it were sent now."""
        if self.ended:
            return
        now_s = self._loop.time()
        self._cancel_timers()
        self._toxics = toxics
        self._latency_s = (toxics.latency_ms + line_ms) / 1000
        self._jitter_s = toxics.jitter_ms / 1000
        self._room_bytes = _WINDOW_BYTES if self._latency_s or self._jitter_s else 1
        rate = toxics.bandwidth_bytes_per_s
        self._read_bytes = min(_READ_BYTES, max(1, int(rate * _LINE_SHARE_S))) if rate else _READ_BYTES
        self._line_free_s = self._piece_due_s = now_s
        self._left_bytes = toxics.limit_data_bytes
        self._cuts = toxics.slicer_bytes is not None or toxics.limit_data_bytes is not None
        self._held = toxics.blackhole or toxics.timeout_ms is not None
        self._plain = toxics == StreamToxics(slow_close_ms=toxics.slow_close_ms) and not self._latency_s
        latest_s = now_s + self._latency_s + self._jitter_s
        end_s = latest_s + toxics.slow_close_ms / 1000
        self._queue = deque(
            (min(due_s, end_s if item is End.CLOSED else latest_s), item) for due_s, item in self._queue
        )
        if toxics.timeout_ms is not None:
            self._verdict = self._loop.call_later(toxics.timeout_ms / 1000, self._link.close)
        self._pump()

    def end(self, how: End) -> None:
        """Hear that the source has ended; pass that on behind what it said."""
        if self._source_ended or self.ended:
            return
        self._source_ended = True
        self._read_if_there_is_room()
        self._enqueue(how, 0)

    def stop(self) -> None:
        """Do nothing from now on; the link closes the sockets."""
        self.ended = True
        self._cancel_timers()
        self._queue.clear()
        self._read_if_there_is_room()
        self._watch_target(False)

    def _on_readable(self) -> None:
        try:
            data = self._source.recv(self._read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.end(End.RESET)
            return
        if not data:
            self.end(End.CLOSED)
        elif not (self._plain and self._passed_at_once(data)):
            self._enqueue(data, len(data))

    def _passed_at_once(self, data: bytes) -> bool:
        """Take the short way when nothing is wrong with the line: no queue, no timer."""
        with contextlib.suppress(OSError):  # whatever it is, it comes again on the long way
            sent = self._target.send(data)
            self.passed_bytes += sent
            if sent < len(data):
                self._enqueue(memoryview(data)[sent:], len(data) - sent)
            return True
        return False

    def _enqueue(self, item: bytes | memoryview | End, size: int) -> None:
        due_s = self._loop.time()
        if rate := self._toxics.bandwidth_bytes_per_s:
            self._line_free_s = due_s = max(self._line_free_s, due_s) + size / rate
        due_s += self._latency_s
        if self._jitter_s:
            due_s += self._rng.random() * self._jitter_s
        if item is End.CLOSED:
            due_s += self._toxics.slow_close_ms / 1000
        self._queue.append((due_s, item))
        self._queued_bytes += size
        if self._wake is None:
            self._pump()
        else:
            self._read_if_there_is_room()

    def _pump(self) -> None:
        """Deliver what is due, and arrange to be called for the rest."""
        self._wake = None
        while self._queue and not (self._held or self._writing):
            due_s, item = self._queue[0]
            due_s = max(due_s, self._piece_due_s)
            if due_s > self._loop.time():
                self._wake = self._loop.call_at(due_s, self._pump)
                break
            if isinstance(item, End):
                self._deliver_end(item)
            else:
                self._deliver(item)
        self._read_if_there_is_room()

    def _deliver(self, item: bytes | memoryview) -> None:
        if self._toxics.reset_peer_ms is not None:
            self._held = True
            self._verdict = self._loop.call_later(self._toxics.reset_peer_ms / 1000, self._link.reset)
            return
        if self._left_bytes == 0:
            self._link.close()
            return
        piece = memoryview(item)[: self._toxics.slicer_bytes][: self._left_bytes] if self._cuts else item
        try:
            sent = self._target.send(piece)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._give_up()
            return
        due_s, _ = self._queue.popleft()
        if sent < len(item):
            self._queue.appendleft((due_s, memoryview(item)[sent:]))
        self._queued_bytes -= sent
        self.passed_bytes += sent
        if sent < len(piece):
            self._watch_target(True)
        if self._cuts:
            self._after_piece(sent)

    def _after_piece(self, sent: int) -> None:
        if self._left_bytes is not None:
            self._left_bytes -= sent
        if self._left_bytes == 0:
            self._link.close()
        elif self._toxics.slicer_bytes is not None:  # the next piece takes another turn of the loop at least
            self._piece_due_s = self._loop.time() + max(self._toxics.slicer_delay_ms / 1000, 1e-6)

    def _deliver_end(self, how: End) -> None:
        self._queue.clear()
        if how is End.RESET:
            self._link.reset()
            return
        self.ended = True
        with contextlib.suppress(OSError):  # the target may have gone first
            self._target.shutdown(socket.SHUT_WR)
        self._link.stream_ended(self)

    def _give_up(self) -> None:
        """The target is gone: its kernel answers with RST, which travels back like everything else."""
        self.stop()
        self._link.hang_up(self)

    def _read_if_there_is_room(self) -> None:
        wanted = not (self.ended or self._source_ended or self._held or self._writing)
        if wanted and self._queued_bytes >= self._room_bytes:
            wanted = False
        if wanted and self._toxics.bandwidth_bytes_per_s and self._line_free_s > self._loop.time():
            wanted = False
            if self._line_free is None:
                self._line_free = self._loop.call_at(self._line_free_s, self._on_line_free)
        if wanted and not self._reading:
            self._loop.add_reader(self._source, self._on_readable)
        elif self._reading and not wanted:
            self._loop.remove_reader(self._source)
        self._reading = wanted

    def _on_line_free(self) -> None:
        self._line_free = None
        self._read_if_there_is_room()

    def _watch_target(self, wanted: bool) -> None:
        if wanted and not self._writing:
            self._loop.add_writer(self._target, self._on_writable)
        elif self._writing and not wanted:
            self._loop.remove_writer(self._target)
        self._writing = wanted

    def _on_writable(self) -> None:
        self._watch_target(False)
        self._pump()

    def _cancel_timers(self) -> None:
        for timer in (self._wake, self._line_free, self._verdict):
            if timer is not None:
                timer.cancel()
        self._wake = self._line_free = self._verdict = None
