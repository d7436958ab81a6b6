"""What every benchmark is made with: interleaved rounds, intervals, targets, tables."""

from harness.questions import Questions, ask
from harness.rounds import (
    PROCESSOR,
    WALL,
    Arm,
    Estimate,
    Readings,
    Timed,
    interleaved,
    level,
    ratio,
)
from harness.tables import Target, costs_table, shown, table, times, verdict

__all__ = [
    "PROCESSOR",
    "WALL",
    "Arm",
    "Estimate",
    "Questions",
    "Readings",
    "Target",
    "Timed",
    "ask",
    "costs_table",
    "interleaved",
    "level",
    "ratio",
    "shown",
    "table",
    "times",
    "verdict",
]
