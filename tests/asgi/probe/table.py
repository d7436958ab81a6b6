"""All checks of the probe, by topic."""

from __future__ import annotations

from tests.asgi.probe import alone, fields, messages, negotiation, streams
from tests.asgi.probe.case import Check

__all__ = ["TABLE"]

TABLE: dict[str, list[Check]] = {
    "negotiation": negotiation.CHECKS,
    "fields": fields.CHECKS,
    "left alone": alone.CHECKS,
    "streams": streams.CHECKS,
    "messages": messages.CHECKS,
}
