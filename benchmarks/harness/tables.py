"""From estimates to Markdown: each number with its interval, and each target with whether it is met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.rounds import PROCESSOR, WALL, Estimate, Readings, level, ratio


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that an estimate must keep."""

    bound: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


def verdict(estimate: Estimate, target: Target | None) -> str:
    """Tell whether a target is met: surely, surely not, or undecided when the interval lies on both sides."""
    if target is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return "no interval"
    surely, surely_not = estimate.low >= target.bound, estimate.high < target.bound
    if target.at_most:
        surely, surely_not = estimate.high <= target.bound, estimate.low > target.bound
    return "yes" if surely else "**no**" if surely_not else "undecided"


def shown(estimate: Estimate) -> str:
    """Return a number with its interval, to three digits."""
    if estimate.low is None or estimate.high is None:
        return _digits(estimate.point)
    return f"{_digits(estimate.point)} ({_digits(estimate.low)} to {_digits(estimate.high)})"


def times(estimate: Estimate) -> str:
    """Return a ratio with its interval."""
    number, *interval = shown(estimate).split(" ", 1)
    return " ".join([f"{number}×", *interval])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its first column to the left and the others to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *rows))


def costs_table(
    readings: Readings,
    targets: Mapping[str, Target],
    *,
    unit: str,
    absent: Mapping[str, str] | None = None,
    ours_over_theirs: bool = False,
) -> str:
    """Return the table of arms that were `Timed`, each against the first.

    A target is judged twice: by wall time, which is what a caller waits and on a shared machine holds the
    neighbours' share as well, and by processor time, which does not.

    Args:
        readings: Of the rounds; the first arm is perfkit's.
        targets: By arm, what the ratio shall be.
        unit: What one operation is.
        absent: By arm, why it could not be measured.
        ours_over_theirs: Whether to say how much more perfkit costs, instead of how much less.
    """
    ours, *_ = readings.values()
    rows = []
    for name, theirs in readings.items():
        cells, ratios = [], []
        for what in (WALL, PROCESSOR):
            cells.append(shown(Estimate(level(theirs[what]).point)) if what in theirs else "")
            pair = (ours, theirs) if ours_over_theirs else (theirs, ours)
            if what in theirs and theirs is not ours:
                ratios.append(ratio(pair[0][what], pair[1][what]))
        target = targets.get(name)
        met = " / ".join(dict.fromkeys(verdict(found, target) for found in ratios))
        shown_ratios = [times(found) for found in ratios] + [""] * (2 - len(ratios))
        rows.append([name, *cells, *shown_ratios, str(target or ""), met])
    for name, why in (absent or {}).items():
        rows.append([f"{name}: {why}", "", "", "", "", str(targets.get(name, "")), ""])
    how = "perfkit ÷ this" if ours_over_theirs else "this ÷ perfkit"
    header = ["", f"wall µs a {unit}", f"processor µs a {unit}", f"{how}, wall", f"{how}, processor"]
    return table([*header, "target", "met, by wall / processor"], rows)


def _digits(number: float) -> str:
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.{2 if abs(number) < 10 else 1}f}"
