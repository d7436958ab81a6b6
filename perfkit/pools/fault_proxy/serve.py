"""The far end of `perfkit.pools.fault_proxy.process`: a fault proxy that obeys a pipe, and is on time.

A sleeping asyncio loop wakes up to a millisecond late on Linux, because `epoll` counts in whole ones. This
loop sleeps in `select` on the epoll's own descriptor, which counts in microseconds, asks the kernel for no
slack, and sets out early by the median of how late it came back: 0.02 to 0.1 ms, the more the longer the core
has slept. Only what is left of that is waited for awake, since to spin for longer would take a core from
what is being measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import select
import selectors
import sys
import time
from pathlib import Path
from typing import Any

from perfkit.pools.fault_proxy import FaultProxy
from perfkit.pools.fault_proxy.toxics import Toxics
from perfkit.pools.fault_proxy.upstream import Upstream

__all__: list[str] = []

_LEAD_STEP_S = 2e-6
_MOST_LEAD_S = 2e-4


async def _serve() -> None:
    """Answer questions until the pipe closes."""
    questions = asyncio.StreamReader()
    transport, _protocol = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(questions), sys.stdin
    )
    with contextlib.closing(transport):
        if not (first := await questions.readline()):
            return
        async with _proxy(**json.loads(first)) as proxy:
            _answer(proxy.port)
            while line := await questions.readline():
                _answer(_obey(proxy, json.loads(line)))


def _proxy(place: str | list[Any], seed: int) -> FaultProxy:
    upstream = Upstream(place if isinstance(place, str) else (str(place[0]), int(place[1])))
    return FaultProxy(upstream, rtt_ms=0, toxics=Toxics(), seed=seed)


def _obey(proxy: FaultProxy, question: dict[str, Any]) -> int | None:
    if name := question.get("count"):
        count: int = getattr(proxy, name)
        return count
    if question.get("reset_all"):
        proxy.reset_all()
    else:
        proxy.set(Toxics.from_json(question["toxics"]), rtt_ms=question["rtt_ms"])
    return None


def _answer(value: int | None) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _precise_loop() -> asyncio.AbstractEventLoop:
    if sys.platform != "linux":
        return asyncio.new_event_loop()  # kqueue counts in nanoseconds
    with contextlib.suppress(OSError):  # where the kernel does not offer it, the lead below makes up for it
        Path("/proc/self/timerslack_ns").write_text("1")

    class PunctualSelector(selectors.EpollSelector):
        """Is back in time: it sets out early by as much as it is late half of the time, then asks at once."""

        lead_s = 0.0

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is None or timeout <= 0:
                return super().select(timeout)
            if timeout > self.lead_s:
                wake_s = time.monotonic() + timeout - self.lead_s
                if not select.select([self.fileno()], [], [], timeout - self.lead_s)[0]:
                    late_s = time.monotonic() - wake_s
                    step_s = _LEAD_STEP_S if late_s > self.lead_s else -_LEAD_STEP_S
                    self.lead_s = min(max(self.lead_s + step_s, 0.0), _MOST_LEAD_S)
                    return []
            return super().select(0)

    return asyncio.SelectorEventLoop(PunctualSelector())


def _main() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # two descriptors a connection; what we have must do then
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard) if soft < hard else (soft, hard))
    gc.freeze()  # what the imports left is not looked through again
    with asyncio.Runner(loop_factory=_precise_loop) as runner, contextlib.suppress(BrokenPipeError):
        runner.run(_serve())


if __name__ == "__main__":
    _main()
