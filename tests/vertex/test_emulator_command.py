"""`perfkit emulator`, as a user runs it: real processes, real ports, an end by signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from perfkit.errors import Unavailable
from perfkit.vertex import OptimizedVertexAIService
from perfkit.vertex.emulator.plan import EmulatorPlan
from perfkit.vertex.emulator.process import EmulatorProcess


@contextmanager
def emulator(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command on free ports, and the variables it tells to set."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perfkit", "emulator", "--grpc-port", "0", "--rest-port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    told: dict[str, str] = {}
    assert process.stdout is not None
    try:
        while "GOOGLE_VERTEX_BASE_URL" not in told:
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            told |= dict(part.split("=", 1) for part in line.removeprefix("export ").split() if "=" in part)
        yield process, told
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_both_faces_until_it_is_told_to_stop(number: signal.Signals, tmp_path: Path) -> None:
    """perfkit over gRPC, anybody over REST; a fault from a file; and no traceback at the end."""
    faults = tmp_path / "faults.yaml"
    faults.write_text("- {kind: unavailable, from_call: 1, to_call: 2, models: [gemini-embedding-001]}\n")
    with emulator("--latency", "none", "--faults", str(faults)) as (process, told):
        endpoint, base_url = told["PERFKIT_VERTEX_ENDPOINT"], told["GOOGLE_VERTEX_BASE_URL"]
        async with OptimizedVertexAIService(transport=endpoint, enable_caching=False) as service:
            assert len(await service.generate_embeddings(["a", "b"])) == 2
        model = "/v1/publishers/google/models/text-embedding-005"
        async with httpx.AsyncClient(base_url=base_url) as client:
            answer = await client.post(f"{model}:predict", json={"instances": [{"content": "a text"}]})
            counted = await client.post(f"{model}:countTokens", json={"instances": [{"content": "a text"}]})
            wrong = await client.post(f"{model}:predict", json={"instances": [{"content": ""}]})
        assert len(answer.json()["predictions"][0]["embeddings"]["values"]) == 768
        assert counted.json()["totalTokens"] == 2
        assert (wrong.status_code, wrong.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        process.send_signal(number)
        _out, err = process.communicate(timeout=20)
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--latency", "flatt"], "flat"),
        (["--faults", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_what_it_cannot_do_it_says(options: list[str], words: str) -> None:
    """In a sentence, with what there is."""
    done = subprocess.run(
        [sys.executable, "-m", "perfkit", "emulator", "--grpc-port", "0", "--rest-port", "0", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_of_its_own_answers_counts_and_ends_with_its_block() -> None:
    """What the laboratory measures against."""
    with EmulatorProcess.start(EmulatorPlan(seed=3)) as running:
        assert running.alive()
        assert json.dumps(running.counts())
        assert running.counts()["requests"] == 0
        pid = running.pid
    assert not running.alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(Unavailable):
        running.counts()
