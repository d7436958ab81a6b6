"""The emulator as the embedded default: where no project is configured it answers, and says so once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from perfkit.errors import RealServerRequired
from perfkit.events import EmbeddedDefaultLoaded, Probe, log_probe
from perfkit.vertex.emulator.core import EmulatedVertex

__all__ = ["emulated_transport"]

_REMEDY: Final = "Set GOOGLE_CLOUD_PROJECT to a real project, as in GOOGLE_CLOUD_PROJECT=my-project."

_said_once = False


def emulated_transport(env: Mapping[str, str] | None = None, *, probe: Probe = log_probe) -> EmulatedVertex:
    """Return a new emulator for a service that names no project; the first of a process is announced.

    It refuses nothing but what is wrong, and answers at once.

    Args:
        env: Instead of the process's environment.
        probe: Hears that a stand-in answers.

    Raises:
        RealServerRequired: `PERFKIT_REQUIRE_REAL=1` forbids stand-ins.
    """
    global _said_once
    env = os.environ if env is None else env
    if env.get("PERFKIT_REQUIRE_REAL") == "1":
        raise RealServerRequired(
            "PERFKIT_REQUIRE_REAL=1 forbids the emulator of Vertex AI, and no real project is configured: "
            f"its vectors and texts mean nothing. {_REMEDY}",
            dependency="vertex",
        )
    if not _said_once:
        _said_once = True
        probe(EmbeddedDefaultLoaded("An emulator of Vertex AI within this process", _REMEDY))
    return EmulatedVertex()
