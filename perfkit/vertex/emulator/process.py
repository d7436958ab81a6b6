"""The emulator in a process of its own: for measurements, where it must not share the client's interpreter.

    this process ──pipe: a plan, then an order a line──> perfkit.vertex.emulator.serve ──gRPC, REST──> clients
                 <──pipe: an answer a line──────────────

The pipe is the leash: it closes however we end, `kill -9` included, and the emulator ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
from typing import IO, Any, Final

from perfkit.errors import Unavailable
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.emulator.serve import Addresses

__all__ = ["EmulatorProcess"]

_PATIENCE_S: Final = 60.0  # the imports take 7 s of processor time where no bytecode was compiled
_END_S: Final = 10.0
_READ_BYTES: Final = 64 * 1024
_TOLD_LINES: Final = 12


class EmulatorProcess:
    """An emulator of its own; leaving the block, or the end of this process however it comes, ends it.

    >>> with EmulatorProcess.start(EmulatorPlan(latency="study")) as emulator:  # doctest: +SKIP
    ...     transport = GoogleTransport(endpoint=emulator.endpoint)
    """

    def __init__(self, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._process = process
        self._said = said
        self._owner_pid = os.getpid()
        self.addresses = Addresses("")
        atexit.register(self.close)

    @classmethod
    def start(cls, plan: EmulatorPlan | None = None, *, rest: bool = False) -> EmulatorProcess:
        """Start an emulator on free ports of the loopback and wait until it listens; blocks for a second.

        Args:
            plan: What it is like; None refuses nothing and answers at once.
            rest: Whether REST is served as well, which needs uvicorn.

        Raises:
            Unavailable: it did not start; the message has the last lines it wrote.
        """
        said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the process
        process = subprocess.Popen(
            [sys.executable, "-m", "perfkit.vertex.emulator.serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us; we then end the emulator
        )
        emulator = cls(process, said)
        try:
            asked = {"plan": (plan or EmulatorPlan()).to_data(), "rest": rest}
            emulator.addresses = Addresses(**emulator._tell_line(json.dumps(asked)))
        except BaseException:
            emulator.close()
            raise
        return emulator

    @property
    def endpoint(self) -> str:
        """`host:port` of gRPC."""
        return self.addresses.endpoint

    @property
    def base_url(self) -> str:
        """Of REST; empty where it is not served."""
        return self.addresses.base_url

    @property
    def pid(self) -> int:
        """The emulator's process id."""
        return self._process.pid

    def counts(self) -> dict[str, Any]:
        """Return what it was asked so far (`perfkit.vertex.emulator.core.Counts`), and its `cpu_s`.

        Raises:
            Unavailable: the emulator has ended.
        """
        answer: dict[str, Any] = self._tell_line("counts")
        return answer

    def alive(self) -> bool:
        """Tell whether the emulator still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; twice does no harm, and a forked child cannot do it."""
        if os.getpid() != self._owner_pid:
            return
        atexit.unregister(self.close)
        stdin, stdout = self._pipes()
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:  # it is stopped, or stuck
            self._process.kill()
            self._process.wait()
        stdout.close()
        self._said.close()

    def __enter__(self) -> EmulatorProcess:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self.alive() else "ended"
        return f"EmulatorProcess(pid={self.pid}, {self.endpoint}, {state})"

    def _pipes(self) -> tuple[Any, Any]:
        return self._process.stdin, self._process.stdout

    def _tell_line(self, line: str) -> Any:
        stdin, stdout = self._pipes()
        answer = b""
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as patience:
            waiting = memoryview(line.encode() + b"\n")
            while waiting:
                waiting = waiting[stdin.write(waiting) :]
            patience.register(stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n") and patience.select(_PATIENCE_S):
                if not (more := stdout.read(_READ_BYTES)):
                    break
                answer += more
        if not answer.endswith(b"\n"):
            raise Unavailable(
                f"The emulator, process {self.pid}, has ended or did not answer within {_PATIENCE_S:g} s"
                f"{self._last_words()}. Start another; `pip install 'perfkit[vertex]'` brings what it needs.",
                dependency="vertex emulator",
            )
        return json.loads(answer)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            if lines:
                return ":\n" + "\n".join(lines[-_TOLD_LINES:]) + "\n"
        return " and said nothing"
