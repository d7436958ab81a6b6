"""Long bodies are compressed beside the event loop; nothing is lost when a client leaves."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable

import brotli
import pytest

from perfkit.asgi.head import Head
from perfkit.asgi.offload import THREADS
from perfkit.lab.virtual import run_virtual
from tests.asgi.answers import BODY, answer, asked, compression, read, sent


async def test_a_long_body_is_compressed_in_a_thread() -> None:
    """The head changes when it is done, and the loop was free meanwhile."""
    one = compression(compress_brotli_level=9)
    body = b"".join(b"%d," % n for n in range(100_000))
    head = answer((b"etag", b'"a"'))
    made = one.whole(asked(b"br"), head, body)
    assert not isinstance(made, bytes)
    assert head.get(b"content-encoding") is None
    turns, done = 0, asyncio.ensure_future(made)  # type: ignore[arg-type]
    while not done.done():
        turns += 1
        await asyncio.sleep(0)

    assert read(head, done.result()) == body
    assert turns > 3
    assert (one.counts.of("br").responses, one.counts.of("br").offloaded) == (1, 1)
    assert one.counts.of("br").codec_seconds > 0.001


async def test_a_client_that_goes_away_leaves_no_thread_busy() -> None:
    """What was begun is finished and thrown away; what comes after is served."""
    one = compression(compress_brotli_level=9)
    body = b"".join(b"%d," % n for n in range(50_000))
    for _ in range(3):
        task = asyncio.ensure_future(one.whole(asked(b"br"), answer(), body))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    deadline = time.monotonic() + 10
    while THREADS.waiting and time.monotonic() < deadline:  # noqa: ASYNC110  # threads set no event
        await asyncio.sleep(0.001)

    assert THREADS.waiting == 0
    assert one.counts.of("br").responses == 0
    head = answer()
    made = one.whole(asked(b"br"), head, body)
    assert read(head, made if isinstance(made, bytes) else await made) == body


async def test_a_body_that_was_never_awaited_is_no_secret_work() -> None:
    """An answer that fails before it is sent: the coroutine is closed, and nothing was given to a thread."""
    one = compression(compress_brotli_level=9)
    made = one.whole(asked(b"br"), answer(), BODY * 200)
    assert inspect.iscoroutine(made)
    made.close()

    assert THREADS.waiting == 0


async def test_many_long_bodies_at_once_all_arrive() -> None:
    """When the threads are busy and as many wait, the loop helps."""
    one = compression(compress_brotli_level=9)
    bodies = [b"".join(b"%d," % (n * k) for n in range(20_000)) for k in range(1, 9)]
    heads = [answer() for _ in bodies]

    async def serve(head: Head, body: bytes) -> bytes:
        made = one.whole(asked(b"br"), head, body)
        return made if isinstance(made, bytes) else await made

    made = await asyncio.gather(*map(serve, heads, bodies))

    assert [read(head, one) for head, one in zip(heads, made, strict=True)] == bodies
    assert one.counts.of("br").responses == 8


def test_a_simulation_never_waits_for_a_thread() -> None:
    """Under virtual time the same body is compressed at once."""

    async def serve() -> bytes | Awaitable[bytes]:
        return compression(compress_brotli_level=9).whole(asked(b"br"), answer(), BODY * 40)

    assert brotli.decompress(sent(run_virtual(serve()))) == BODY * 40


async def test_a_long_part_of_a_stream_may_go_to_a_thread() -> None:
    """In order, since nobody feeds the next before this one is back."""
    one = compression(compress_brotli_level=9)
    head = answer()
    encoder = one.stream(asked(b"br"), head)
    assert encoder is not None
    long = b"".join(b"%d," % n for n in range(50_000))
    pieces: list[bytes] = []
    kinds = set()
    for number, chunk in enumerate((b"short", long, b"", long)):
        made = one.part(encoder, chunk, more=number < 3)
        kinds.add(type(made) is bytes)
        pieces.append(made if isinstance(made, bytes) else await made)

    assert kinds == {True, False}
    assert read(head, b"".join(pieces)) == b"short" + long + long


def test_threads_share_a_middleware() -> None:
    """Two loops in two threads, as some servers run."""
    one = compression()
    wrong: list[int] = []

    def serve(number: int) -> None:
        body = b"%d " % number * 2_000
        for _ in range(200):
            head = answer()
            if read(head, sent(one.whole(asked(), head, body))) != body:
                wrong.append(number)

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
