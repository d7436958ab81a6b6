"""A service runs in a process of its own, with an arm's settings, and is never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfkit.errors import Unavailable
from perfkit.knobs import replaced
from perfkit.lab.web.client import HttpClient, request_bytes
from perfkit.lab.web.payloads import body_of
from perfkit.lab.web.process import ServiceProcess
from perfkit.lab.web.service import Plan
from perfkit.settings import Settings

PLAN = Plan("", "orders", [900, 6_000, 20_000])


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    with ServiceProcess.start(Settings(), PLAN) as started:
        yield started


async def asked(service: ServiceProcess, target: str, **fields: str) -> tuple[int, int]:
    client = HttpClient(service.address)
    own = [(name.replace("_", "-"), value) for name, value in fields.items()]
    answered = await client.ask(request_bytes(target, own))
    await client.aclose()
    return answered.status, answered.wire_bytes


async def test_it_answers_with_the_bodies_it_was_told_of(service: ServiceProcess) -> None:
    status, size = await asked(service, "/answers/2")

    assert status == 200
    assert len(body_of("orders", 2, 20_000)) < size < len(body_of("orders", 2, 20_000)) + 500
    assert (await asked(service, "/answers/3"))[0] == 404
    assert (await asked(service, "/elsewhere/1"))[0] == 404


async def test_it_runs_the_shipping_middleware_with_the_arms_settings(service: ServiceProcess) -> None:
    """Compressed where the settings say so, and not where they do not."""
    _status, compressed = await asked(service, "/answers/2", accept_encoding="gzip")
    with ServiceProcess.start(replaced(Settings(), {"asgi.compress_responses": False}), PLAN) as plain:
        _status, whole = await asked(plain, "/answers/2", accept_encoding="gzip")

    assert compressed < whole / 3


async def test_it_counts_what_it_did_and_what_that_took(service: ServiceProcess) -> None:
    before = service.counts()
    for _ in range(20):
        await asked(service, "/answers/1", accept_encoding="br")
    after = service.counts()

    assert after.requests - before.requests == after.origin_calls - before.origin_calls == 20
    assert 0 < after.cpu_s - before.cpu_s < 5
    assert 10e6 < after.peak_bytes < 1e9


async def test_answers_are_kept_for_as_long_as_its_clock_is_told(tmp_path: Path) -> None:
    """The clock is ours, so a minute passes at once."""
    keeping = replaced(Settings(), {"asgi.response_cache": True, "asgi.response_cache_ttl_seconds": 60.0})
    with ServiceProcess.start(keeping, PLAN) as service:
        calls = []
        for at_s in (0.0, 30.0, 59.0, 61.0, 62.0):
            service.tell(stand_at_s=at_s)
            await asked(service, "/answers/1")
            calls.append(service.counts().origin_calls)

    assert calls == [1, 1, 1, 2, 2]


def test_a_service_that_cannot_start_says_why() -> None:
    occupied = Plan("/nowhere/socket", "orders", [100])
    with pytest.raises(Unavailable, match=r"(?s)has ended.*FileNotFoundError.*--resume") as failure:
        ServiceProcess.start(Settings(), occupied)

    assert failure.value.dependency == "service"


def test_a_killed_service_is_noticed_at_the_next_order() -> None:
    with ServiceProcess.start(Settings(), PLAN) as service:
        os.kill(service.pid, signal.SIGKILL)
        with pytest.raises(Unavailable, match="has ended"):
            service.counts()
    assert not service.alive()


def test_no_service_outlives_its_starter_even_one_that_is_killed() -> None:
    """The pipe is the leash: it closes whatever happens to us."""
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import time\n"
            "from perfkit.lab.web.process import ServiceProcess, Plan\n"
            "from perfkit.settings import Settings\n"
            "service = ServiceProcess.start(Settings(), Plan('', 'orders', [100]))\n"
            "print(service.pid, service.address, flush=True)\n"
            "time.sleep(600)\n",
        ],
        stdout=subprocess.PIPE,
    )
    with starter:
        assert starter.stdout is not None
        pid, address = starter.stdout.readline().split()
        starter.kill()
        starter.wait()
        assert gone(int(pid))
        assert not Path(address.decode()).parent.exists()


def test_closing_twice_does_no_harm_and_leaves_no_file() -> None:
    with ServiceProcess.start(Settings(), PLAN) as service:
        folder = Path(service.address).parent
        service.close()
    service.close()

    assert gone(service.pid)
    assert not folder.exists()


def gone(pid: int) -> bool:
    """Wait, as long as anybody would, until a process is no more."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    import select

    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)
