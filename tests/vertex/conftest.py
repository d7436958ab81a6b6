"""No test asks a real project, whatever the environment of who runs it names."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what would lead to Google's service."""
    for name in list(os.environ):
        if name.startswith(("GOOGLE_CLOUD_", "PERFKIT_VERTEX_")):
            monkeypatch.delenv(name)
