"""The emulator as the embedded default: where no project is configured, it answers, and says so once."""

from __future__ import annotations

import os
from collections.abc import Mapping

from perfkit.events import Probe, log_probe
from perfkit.vertex.emulator.core import EmulatedVertex

__all__ = ["emulated_transport"]


def emulated_transport(env: Mapping[str, str] | None = None, *, probe: Probe = log_probe) -> EmulatedVertex:
    """Return a new emulator for a service that names no project, announced once a process.

    Raises:
        RealServerRequired: `PERFKIT_REQUIRE_REAL=1` forbids stand-ins.
    """
    env = os.environ if env is None else env
    raise NotImplementedError
