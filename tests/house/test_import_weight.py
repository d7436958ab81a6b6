"""What a door loads: a service must not pay for the laboratory, nor `--help` for anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "dask",
    "distributed",
    "fakeredis",
    "google",
    "grpc",
    "matplotlib",
    "numpy",
    "pandas",
    "papermill",
    "prometheus_client",
)
DOORS = {
    "the package": "import perfkit",
    "the settings": "from perfkit import Settings; Settings()",
    "the stack": "from perfkit import Stack",
    "the pools": "from perfkit.pools import get_optimized_redis_client",
    "the cache": "from perfkit.cache import cached, get_tiered_cache",
    "the middleware": "from perfkit.asgi import add_performance_middlewares",
    "Vertex AI": "from perfkit.vertex import OptimizedVertexAIService",
    "the command line": "import sys; sys.argv = ['perfkit', '--help']\n"
    "import contextlib, io\n"
    "from perfkit.cli import cli\n"
    "with contextlib.redirect_stdout(io.StringIO()): cli(standalone_mode=False)",
}


def loaded_by(code: str) -> set[str]:
    """The top-level packages that `code` loads into a fresh interpreter.

    What the interpreter itself starts with does not count: Google's packages plant namespaces there.
    """
    script = (
        "import json, sys\nbefore = set(sys.modules)\n"
        f"{code}\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("door", DOORS)
def test_a_door_loads_nothing_heavy(door: str) -> None:
    """None of the laboratory's packages, no Google client and no stand-in server."""
    assert loaded_by(DOORS[door]) & set(HEAVY) == set()


def test_asking_for_help_loads_no_settings_either() -> None:
    """`perfkit --help` needs click and nothing that reads, checks or connects."""
    assert loaded_by(DOORS["the command line"]) & {"pydantic", "redis", "yaml"} == set()


def test_a_heavy_package_would_be_seen() -> None:
    """The guard can fail: the laboratory's statistics do load numpy."""
    assert "numpy" in loaded_by("import perfkit.lab.stats")
