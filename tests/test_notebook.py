"""What the notebooks lean on says what it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.errors import ScenarioError
from perfkit.lab.scenario import Scenario
from perfkit.lab.yaml12 import dumped
from perfkit.notebook import FinishedRun, begin


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: Scenario) -> FinishedRun:
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "tiny.yaml").write_text(dumped(tiny))
    return begin(folder / "tiny.yaml", out=folder / "runs", mode="simulate").run()


def test_the_answer_and_the_tables_are_those_of_the_run(finished: FinishedRun) -> None:
    assert repr(finished.answer()) == finished.run.choice.why
    assert len(finished.table("modelled")) == 4
    assert "metric.hit_ratio" in finished.table("simulated").columns
    effects = finished.effects()
    assert set(effects.arm) == {"c1"}
    assert set(effects.how) == {"simulated"}


def test_a_figure_is_drawn_or_says_why_not(finished: FinishedRun) -> None:
    assert "<svg" in finished.figure("surface")._repr_html_()
    assert "<svg" not in finished.figure("rounds")._repr_html_()
    with pytest.raises(ScenarioError, match="Did you mean 'surface'"):
        finished.figure("surfaces")


def test_what_would_be_exported_is_shown_even_where_it_may_not_be(finished: FinishedRun) -> None:
    assert "NOT CONFIRMED" in repr(finished.tfvars())
    assert not (finished.folder / "tuned.auto.tfvars").exists()


def test_a_question_is_laid_out_before_it_is_asked(tmp_path: Path, tiny: Scenario) -> None:
    (tmp_path / "tiny.yaml").write_text(dumped(tiny))
    lab = begin(tmp_path / "tiny.yaml", seed=5, quick=True)

    assert lab.describe_question().loc["cache.l1_ttl_seconds"].tolist() == ["5", "5, 60"]
    assert lab.describe_guardrails().empty
    assert lab.describe_workload().requests.item() == len(lab.workload)
    assert lab.scenario.seed == 5
