"""The soak, for seconds instead of minutes: it ends with balanced books, and would say if it did not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perfkit.pools.server import find_server

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(find_server() is None, reason="no Redis server to start; install perfkit[server]")
def test_all_pools_come_through_random_faults_with_balanced_books() -> None:
    """Ten clients, a dozen faults; the last line is the verdict and the exit code says the same."""
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--minutes", "0.2", "--seed", "3"]
    soak = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    assert soak.stdout.splitlines()[-1:] == ["every book balances"], soak.stdout + soak.stderr
    assert soak.returncode == 0
