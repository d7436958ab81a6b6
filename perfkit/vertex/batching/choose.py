"""Which policy the settings ask for."""

from __future__ import annotations

from perfkit.vertex.batching.adaptive import AdaptivePolicy
from perfkit.vertex.batching.fixed import AtOnce, FixedWindow
from perfkit.vertex.batching.policy import BatchPolicy
from perfkit.vertex.settings import VertexSettings

__all__ = ["policy_of"]


def policy_of(settings: VertexSettings) -> BatchPolicy:
    """Return a new policy as `batch_policy` names it.

    A policy remembers what it saw: each queue of callers needs its own.

    >>> policy_of(VertexSettings(batch_policy="off")).due(5.0, 1, 0.0, 1.0)
    (5.0, 'at_once')
    """
    if settings.batch_policy == "off":
        return AtOnce()
    if settings.batch_policy == "fixed":
        return FixedWindow(settings.batch_window_ms / 1e3)
    return AdaptivePolicy(settings.request_worth_ms / 1e3)
