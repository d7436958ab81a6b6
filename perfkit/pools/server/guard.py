"""A process that never outlives us, and the private folder it works in.

    this process ──pipe──> guard (a shell) ──starts──> the process
                             └── watcher: reads the pipe; at its end, kills the process

The kernel closes the pipe however we end, `kill -9` included. When the process has ended, the guard passes on
the last lines it wrote, closes its own output (which is how we know) and waits for the end of the pipe to
remove the folder: until then a successor may be started in it. PR_SET_PDEATHSIG would be simpler but fires
when the *thread* that started the process ends, which in a notebook or an executor is long before we do.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import weakref
from collections.abc import Sequence
from pathlib import Path

__all__ = ["GuardedProcess"]

# File descriptor 3 is the pipe: a shell gives its background commands /dev/null for input.
_GUARD = """
exec 3<&0
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 3<&- & process=$!
{ read -r _ <&3; kill -KILL $process; } >/dev/null & watcher=$!
echo $process
wait $process
kill $watcher
wait $watcher
tail -n 3 "$folder/log"
exec >&-
read -r word <&3
[ "$word" = keep ] || rm -rf "$folder"
"""


class GuardedProcess:
    """A running command whose output goes to `folder/log`; both vanish when we let go or end.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> process = GuardedProcess(["sh", "-c", "echo hello; exit 1"], folder)
    >>> process.ended(within_s=5), process.last_words()
    (True, 'hello')
    >>> process.let_go()
    >>> folder.exists()
    False
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        guard = subprocess.Popen(  # noqa: S603  # the caller answers for the command
            ["/bin/sh", "-c", _GUARD, "perfkit-guard", str(folder), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; we then end the process in order
        )
        assert guard.stdin is not None  # noqa: S101  # asked for above
        assert guard.stdout is not None  # noqa: S101  # likewise
        self._guard, self._pipe, self._output = guard, guard.stdin, guard.stdout
        self.pid = int(self._output.readline())
        """Of the process itself, not of its guard."""
        _running.add(self)

    def ended(self, *, within_s: float = 0.0) -> bool:
        """Tell whether the process is gone and reaped, waiting for it that long."""
        if self._output.closed:
            return True
        poller = select.poll()
        poller.register(self._output, select.POLLIN)
        return bool(poller.poll(within_s * 1_000))

    def last_words(self) -> str:
        """Return the last three lines that a process which has ended wrote; once only."""
        return self._output.read().decode(errors="replace").strip()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process; one that has just ended gets none."""
        if not self.ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def let_go(self, *, keep_folder: bool = False) -> None:
        """Kill the process if it still runs, and remove the folder unless a successor works in it."""
        if keep_folder and self.ended():  # before that the word would go to the watcher
            self._pipe.write(b"keep\n")
        self.close_pipe()
        self._guard.wait()
        self._output.close()

    def close_pipe(self) -> None:
        """Let the guard act as if we had ended, without waiting for it."""
        with contextlib.suppress(BrokenPipeError):
            self._pipe.close()


_running: weakref.WeakSet[GuardedProcess] = weakref.WeakSet()


def _let_go_in_child() -> None:
    """A forked worker holds a copy of the pipe; were it to outlive us, so would the process."""
    for process in list(_running):
        process.close_pipe()


os.register_at_fork(after_in_child=_let_go_in_child)
