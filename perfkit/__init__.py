"""Tune AI services on Cloud Run, Redis and Vertex AI by measurement, with the very classes that ship.

The run-time stack: `Settings`, `Stack`. The laboratory: `Scenario`, `run`, `compare`, `choose`, `adopt`.
Every name is loaded when it is first asked for, so a service never pays for the laboratory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.lazy import opening

if TYPE_CHECKING:
    from perfkit.export.adopt import adopt
    from perfkit.lab.choose import choose
    from perfkit.lab.compare import compare
    from perfkit.lab.scenario import Scenario
    from perfkit.lab.sweep import run
    from perfkit.settings import Settings
    from perfkit.stack import Outside, Stack

__version__ = "0.1.0"
__all__ = ["Outside", "Scenario", "Settings", "Stack", "adopt", "choose", "compare", "run"]

__getattr__ = opening(
    __name__,
    {
        "adopt": "perfkit.export.adopt",
        "choose": "perfkit.lab.choose",
        "compare": "perfkit.lab.compare",
        "Outside": "perfkit.stack",
        "run": "perfkit.lab.sweep",
        "Scenario": "perfkit.lab.scenario",
        "Settings": "perfkit.settings",
        "Stack": "perfkit.stack",
    },
)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
