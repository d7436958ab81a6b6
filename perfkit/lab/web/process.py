"""The service in a process of its own: started with an arm's settings, told what to do, ended with us.

    this process ──pipe: an order a line──> perfkit.lab.web.serve ──Unix socket──> clients
                 <──pipe: an answer a line──

An arm's settings travel as the environment, the way they reach a deployed service. The pipe is the leash: it
closes however we end, `kill -9` included, and the service ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from perfkit.errors import Unavailable
from perfkit.lab.web.service import FOLDER, Counts, Plan
from perfkit.settings import Settings

__all__ = ["ServiceProcess"]

_PATIENCE_S = 30.0
_READ_BYTES = 64 * 1024
_TOLD_LINES = 12


class ServiceProcess:
    """One arm's service; leaving the block, or the end of this process however it comes, ends it.

    >>> with ServiceProcess.start(Settings(), Plan("", "orders", [300])) as service:
    ...     service.counts().requests, service.alive()
    (0, True)
    >>> service.alive()
    False
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._owner_pid = os.getpid()
        atexit.register(self.close)

    @classmethod
    def start(cls, settings: Settings, plan: Plan) -> ServiceProcess:
        """Start a service and wait until it answers; blocks for about a second.

        `plan.socket` is made up where it is empty.

        Raises:
            Unavailable: it did not start; the message has the last lines it wrote.
        """
        folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        own = {name: value for name, value in os.environ.items() if not name.startswith("PERFKIT_")}
        if plan.redis_url:
            own["PERFKIT_REDIS_URL"] = plan.redis_url
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "perfkit.lab.web.serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                bufsize=0,
                env=own | settings.to_env(),
                start_new_session=True,  # Ctrl-C is for us; we then end the service
            )
        service = cls(process, folder)
        try:
            service._tell_line(replace(plan, socket=plan.socket or service.address).to_json())
        except BaseException:
            service.close()
            raise
        return service

    @property
    def address(self) -> str:
        """The path of the Unix socket it listens on."""
        return str(self._folder / "socket")

    @property
    def pid(self) -> int:
        """The service's process id."""
        return self._process.pid

    def tell(self, **order: Any) -> Counts:
        """Give an order, which is done when this returns, and return what the service has come to.

        Raises:
            Unavailable: the service has ended.
        """
        return Counts(**self._tell_line(json.dumps(order)))

    def counts(self) -> Counts:
        """Return what the service has come to since it began.

        Raises:
            Unavailable: the service has ended.
        """
        return self.tell()

    def alive(self) -> bool:
        """Tell whether the service still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; twice does no harm, and a forked child cannot do it."""
        if os.getpid() != self._owner_pid:
            return
        atexit.unregister(self.close)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101  # asked for above
        assert stdout is not None  # noqa: S101
        with contextlib.suppress(OSError):
            stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:  # it is stopped, or stuck
            self._process.kill()
            self._process.wait()
        stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> ServiceProcess:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ServiceProcess(pid={self.pid}, {'running' if self.alive() else 'ended'})"

    def _tell_line(self, line: str) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101  # asked for above
        assert stdout is not None  # noqa: S101
        answer = b""
        with contextlib.suppress(BrokenPipeError, ValueError), selectors.DefaultSelector() as patience:
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
                f"The service, process {self.pid}, has ended or did not answer within {_PATIENCE_S:g} s"
                f"{self._last_words()}. What was measured before is kept; go on with --resume.",
                dependency="service",
            )
        return json.loads(answer)

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self._folder / "said").read_text(errors="replace").strip().splitlines()
            if lines:
                return ":\n" + "\n".join(lines[-_TOLD_LINES:]) + "\n"
        return " and said nothing"
