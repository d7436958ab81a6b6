"""What is asked is drawn once, in the shares a scenario says; an object has the same answer for everybody."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perfkit.errors import Unavailable
from perfkit.lab.web import clients as lines
from perfkit.lab.web.clients import Clients, Drawn, mask_of
from perfkit.lab.web.payloads import FIELDS, Shape, body_of, shape_of
from perfkit.lab.web.traffic import Client, Http, Masks
from perfkit.pools.fault_proxy.process import FaultProxyProcess

OBJECTS = np.arange(4_000, dtype=np.int64) % 100
TWO = Http(
    clients=(Client(accept="br", share=3), Client(accept="", share=1)),
    masks=Masks(share=0.5, count=20),
    private_share=0.3,
)


def test_each_kind_of_client_sends_its_share_and_asks_as_it_says() -> None:
    drawn = Drawn(TWO, OBJECTS, 1)
    requests = [drawn.request(index) for index in range(len(OBJECTS))]

    assert np.bincount(drawn.kinds) / len(OBJECTS) == pytest.approx([0.75, 0.25], abs=0.03)
    assert sum(b"accept-encoding: br" in request for request in requests) == np.sum(drawn.kinds == 0)
    assert sum(b"?fields=" in request for request in requests) / len(OBJECTS) == pytest.approx(0.5, abs=0.03)
    assert sum(b"authorization: " in request for request in requests) / len(OBJECTS) == pytest.approx(
        0.3, abs=0.1
    )


def test_the_same_seed_draws_the_same_requests_and_another_others() -> None:
    first, again, other = (
        [Drawn(TWO, OBJECTS, seed).request(index) for index in range(200)] for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other


def test_some_masks_are_asked_for_more_often_than_others() -> None:
    counts = np.bincount(Drawn(TWO, OBJECTS, 1).masks[Drawn(TWO, OBJECTS, 1).masks >= 0])

    assert len(counts) == 20
    assert counts[0] > 5 * counts[-1]


@pytest.mark.parametrize("shape", list(FIELDS))
def test_a_body_is_json_of_about_its_size_with_the_fields_that_masks_name(shape: Shape) -> None:
    for size in (1, 900, 20_000):
        body = body_of(shape, 7, size)
        document = json.loads(body)

        assert size <= len(body) < size + 2_500
        assert document["count"] == len(document["items"])
        assert tuple(document["items"][0]) == FIELDS[shape]
    assert body_of(shape, 7, 900) == body_of(shape, 7, 900) != body_of(shape, 8, 900)


@pytest.mark.parametrize("shape", list(FIELDS))
def test_no_two_masks_of_a_shape_are_the_same(shape: Shape) -> None:
    masks = {mask_of(shape, number) for number in range(300)}

    assert len(masks) == 300
    assert all(mask.startswith("items(") for mask in masks)


def test_mixed_answers_are_of_every_shape() -> None:
    assert {shape_of("mixed", number) for number in range(4)} == set(FIELDS)


async def test_lines_that_did_start_are_ended_when_another_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[FaultProxyProcess] = []
    line = lines._line

    def lamed(client: Client, address: str) -> FaultProxyProcess | None:
        if client.mbit_per_s == 2:
            raise Unavailable("no more processes")
        found = line(client, address)
        assert found is not None
        started.append(found)
        return found

    monkeypatch.setattr(lines, "_line", lamed)
    with pytest.raises(Unavailable, match="no more processes"):
        await Clients.connect((Client(mbit_per_s=1), Client(mbit_per_s=2)), str(tmp_path / "socket"))

    assert [line.alive() for line in started] == [False]
