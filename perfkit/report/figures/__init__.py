"""The figures of a report, one a file, each titled by what it shows and followed by its numbers.

A figure function takes the whole view and returns None when the run has nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perfkit.report.figures.curve import curve
from perfkit.report.figures.distance import distance
from perfkit.report.figures.effects import effects
from perfkit.report.figures.figure import Figure
from perfkit.report.figures.fits import fits
from perfkit.report.figures.responses import responses
from perfkit.report.figures.rounds import rounds
from perfkit.report.figures.settings import settings
from perfkit.report.figures.surface import surface
from perfkit.report.figures.waiting import waiting
from perfkit.report.view import RunView

__all__ = ["ABSENT", "FIGURES", "Figure"]

FIGURES: Mapping[str, Callable[[RunView], Figure | None]] = {
    "surface": surface,
    "curve": curve,
    "waiting": waiting,
    "settings": settings,
    "distance": distance,
    "effects": effects,
    "responses": responses,
    "rounds": rounds,
    "fits": fits,
}
"""Every figure by name, in the order the page shows them."""

ABSENT: Mapping[str, str] = {
    "surface": "No surface is drawn: it needs modelled trials over two numeric axes, at one round trip.",
    "curve": "No modelled curve is drawn: it needs modelled trials at several round trips to Redis.",
    "waiting": "Waiting is not held against requests: nothing was asked of Vertex AI.",
    "settings": "Simulated settings are not compared: fewer than three were simulated.",
    "distance": "Distances are not compared: the scenario names only one round trip to Redis.",
    "effects": "No effects are drawn: no finalist was compared with the baseline.",
    "responses": "No response times are drawn: they are only worth showing measured, with a real server.",
    "rounds": "No rounds are drawn: no finalist and baseline were played in the same rounds.",
    "fits": "Model and measurement are not compared: no measured arm was modelled on the same requests.",
}
"""What the page says in place of a figure that has nothing to show."""
