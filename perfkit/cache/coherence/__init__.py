"""Coherence: what keeps the memories of several instances from telling different truths."""

from __future__ import annotations

from perfkit.cache.coherence.backplane import Backplane
from perfkit.cache.coherence.names import EVERYTHING, full_tag
from perfkit.cache.coherence.protocol import Coherence, Hears, Silent
from perfkit.cache.coherence.recovery import Recovery
from perfkit.cache.coherence.tags import TagTimes
from perfkit.cache.coherence.tracking import Tracking

__all__ = [
    "EVERYTHING",
    "Backplane",
    "Coherence",
    "Hears",
    "Recovery",
    "Silent",
    "TagTimes",
    "Tracking",
    "full_tag",
]
