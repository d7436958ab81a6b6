"""Which Vertex AI is asked: a project's, an emulator's, or the one in this process.

a transport that was passed in           that one
"host:port", or PERFKIT_VERTEX_ENDPOINT  an emulator that speaks gRPC (`perfkit emulator`)
a project, PERFKIT_VERTEX_PROJECT,       Google's service, with the credentials of the environment
  or GOOGLE_CLOUD_PROJECT
nothing                                  the emulator in this process, unless PERFKIT_REQUIRE_REAL=1
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from perfkit.events import Probe, log_probe
from perfkit.vertex.protocols import Transport

__all__ = ["DEFAULT_LOCATION", "transport_of"]

DEFAULT_LOCATION = "us-central1"


def transport_of(
    transport: Transport | str | None = None,
    *,
    project: str | None = None,
    location: str | None = None,
    env: Mapping[str, str] | None = None,
    probe: Probe = log_probe,
) -> Transport:
    """Return the way to the Vertex AI that is configured; nothing is connected yet.

    Raises:
        RealServerRequired: nothing is configured, and `PERFKIT_REQUIRE_REAL=1` forbids the emulator.
        VertexError: the packages it needs are not installed.
    """
    env = os.environ if env is None else env
    if transport is not None and not isinstance(transport, str):
        return transport
    endpoint = transport or (None if project else env.get("PERFKIT_VERTEX_ENDPOINT"))
    project = project or env.get("PERFKIT_VERTEX_PROJECT") or env.get("GOOGLE_CLOUD_PROJECT")
    location = (
        location or env.get("PERFKIT_VERTEX_LOCATION") or env.get("GOOGLE_CLOUD_LOCATION") or DEFAULT_LOCATION
    )
    if endpoint or project:
        from perfkit.vertex.google import GoogleTransport

        return GoogleTransport(project or "local", location, endpoint=endpoint or None)
    from perfkit.vertex.emulator.default import emulated_transport

    return emulated_transport(env=env, probe=probe)
