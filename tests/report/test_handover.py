"""What a finished run leaves for people, and what it keeps back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from perfkit.handover import hand_over
from perfkit.knobs import Value, flat, replaced
from perfkit.lab.folder import RunFolder
from perfkit.report import RunView
from perfkit.settings import Settings

Kept = Callable[..., RunFolder]


@pytest.fixture
def kept(tmp_path: Path, make_view: Callable[..., RunView]) -> Kept:
    """Keep a confirmed choice, with some more knobs in it, in a run's folder."""

    def make(knobs: dict[str, Value]) -> RunFolder:
        view = make_view()
        settings = replaced(Settings(), {**view.choice.settings, **knobs})
        choice = view.choice.model_copy(
            update={"settings": flat(settings), "fingerprint": settings.fingerprint}
        )
        folder = RunFolder.create(tmp_path, view.scenario, view.environment)
        folder.keep("comparison.json", view.comparison)
        folder.keep("choice.json", choice)
        with folder.appending() as trials:
            for result in view.results:
                trials.append(result)
        return folder

    return make


def test_a_confirmed_choice_leaves_a_report_and_tfvars(kept: Kept) -> None:
    """Both are in the run's folder."""
    files = hand_over(kept({}))

    assert files.report.exists()
    assert files.tfvars is not None
    assert files.refused_because == ""


def test_a_choice_that_redis_has_no_room_for_leaves_only_the_report(kept: Kept) -> None:
    """Confirmed or not; the report says why, and tfvars of an earlier time are gone."""
    folder = kept({"cloudrun.max_instances": 1000})
    (folder.path / "tuned.auto.tfvars").write_text("old")

    files = hand_over(folder)

    assert files.tfvars is None
    assert not (folder.path / "tuned.auto.tfvars").exists()
    assert files.refused_because.startswith("1000 instances × 33 connections")
    assert "It is not exported without force: 1000 instances" in files.report.read_text(encoding="utf-8")
