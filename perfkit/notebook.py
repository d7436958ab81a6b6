"""The few lines every notebook needs, so that a notebook holds none of its own.

A notebook says `lab = begin("scenarios/….yaml")`, then `run = lab.run()`, and shows `run.answer()`,
`run.table("modelled")`, `run.figure("surface")`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perfkit.errors import ScenarioError, did_you_mean
from perfkit.handover import export_text, hand_over, view_of
from perfkit.knobs import Value, flat, replaced, value_words
from perfkit.lab import sweep
from perfkit.lab.environment import fingerprint
from perfkit.lab.metrics import find_metric
from perfkit.lab.results import Stage
from perfkit.lab.scenario import Scenario, axis_values
from perfkit.lab.sources import load_workload
from perfkit.lab.workload import Workload
from perfkit.report import words
from perfkit.report.figures import ABSENT, FIGURES, Figure
from perfkit.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FinishedRun", "Laboratory", "Shown", "begin"]


@dataclass(frozen=True, slots=True)
class Shown:
    """Something a notebook displays: rich where it can be, plain where it cannot."""

    plain: str
    rich: str

    def __repr__(self) -> str:
        return self.plain

    def _repr_html_(self) -> str:
        return self.rich


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run as a notebook shows it."""

    run: sweep.Run

    @property
    def folder(self) -> Path:
        """Where the run's files are."""
        return self.run.folder.path

    def answer(self) -> Shown:
        """The answer in one sentence."""
        return Shown(self.run.choice.why, f"<p><strong>{html.escape(self.run.choice.why)}</strong></p>")

    def table(self, stage: Stage) -> pd.DataFrame:
        """One row a trial of that stage, in the order they ended: the swept knobs, then the metrics."""
        import pandas as pd

        scenario = self.run.scenario
        today = flat(replaced(Settings(), scenario.baseline))
        rows = [
            {"arm": row.trial.arm, "round": row.trial.round, "status": row.status}
            | ({} if row.trial.rtt_ms is None else {"rtt_ms": row.trial.rtt_ms})
            | {f"knob.{path}": row.trial.knobs.get(path, today[path]) for path in scenario.axes}
            | {f"metric.{name}": value for name, value in row.metrics.items()}
            for row in self.run.folder.results()
            if row.trial.stage == stage
        ]
        return pd.DataFrame(rows)

    def best_codings(self, mbits_per_s: Sequence[float] = (2, 10, 50, 200, 1_000)) -> pd.DataFrame:
        """One row a shape and size: the coding that is best on each line, and the cheapest; modelled."""
        import pandas as pd

        from perfkit.lab.web.best import best_codings

        prices = self.run.scenario.http_or_usual.prices
        rows = best_codings(self.run.folder.calibration or {}, mbits_per_s, prices)
        return pd.DataFrame(rows).set_index(["shape", "bytes"])

    def effects(self) -> pd.DataFrame:
        """Each metric of each finalist against what runs today, in words; the best finalist first."""
        import pandas as pd

        comparison = self.run.comparison
        rows = [
            {
                "arm": effect.arm,
                "metric": find_metric(effect.metric).title,
                "today": words.level_words(effect.metric, effect.baseline),
                "then": words.level_words(effect.metric, effect.candidate),
                "change": words.effect_words(effect),
                "verdict": words.verdict_words(effect),
                "how": effect.how,
            }
            for arm in comparison.arms
            for effect in comparison.effects
            if effect.arm == arm.name
        ]
        return pd.DataFrame(rows)

    def figure(self, name: str) -> Shown:
        """A figure of the report, by name.

        Raises:
            ScenarioError: there is no figure of that name.
        """
        if name not in FIGURES:
            raise ScenarioError(f"There is no figure {name!r}.{did_you_mean(name, FIGURES)}", path=name)
        figure = FIGURES[name](view_of(self.run.folder))
        if figure is None:
            return Shown(ABSENT[name], f"<p>{html.escape(ABSENT[name])}</p>")
        return _pictured(figure)

    def tfvars(self) -> Shown:
        """What `perfkit adopt` would write, whether or not it may be written."""
        text = export_text(self.run.folder.run_id, self.run.scenario, self.run.choice, force=True)
        return Shown(text, f"<pre>{html.escape(text)}</pre>")


@dataclass(frozen=True, slots=True)
class Laboratory:
    """A question, its workload, and where its runs go."""

    scenario: Scenario
    workload: Workload
    out: Path
    beside: Path

    def describe_workload(self) -> pd.DataFrame:
        """The workload in one row of numbers."""
        import pandas as pd

        work = self.workload
        row = {
            "requests": len(work),
            "objects": work.n_objects,
            "span_s": round(work.span_s, 1),
            "rate_per_s": round(work.rate_per_s, 2),
            "mean_bytes": round(float(work.sizes.mean()), 1),
            "origin": work.origin,
        }
        return pd.DataFrame([row], index=[work.name])

    def describe_question(self) -> pd.DataFrame:
        """One row a knob that is swept: what runs today and what is tried."""
        import pandas as pd

        today = flat(replaced(Settings(), self.scenario.baseline))
        rows = []
        for path, axis in self.scenario.axes.items():
            tried = ", ".join(value_words(value) for value in axis_values(path, axis))
            rows.append({"knob": path, "today": value_words(today[path]), "tried": tried})
        return pd.DataFrame(rows).set_index("knob").rename_axis(None)

    def describe_traffic(self) -> pd.DataFrame:
        """One row a kind of call, a load or a fault: what Redis is asked, and what befalls it."""
        import pandas as pd

        traffic = self.scenario.traffic_or_usual
        total = sum(calls.share for calls in traffic.calls)
        rows = [
            {"what": calls.command.upper(), "pool": calls.pool, "how much": f"{calls.share / total:.0%}"}
            for calls in traffic.calls
        ]
        if load := traffic.analytics:
            how_much = f"{load.tasks} tasks, {load.keys} values of {load.value_bytes:,} bytes a read"
            rows.append({"what": "MGET", "pool": "analytics", "how much": how_much})
        rows += [
            {
                "what": fault.kind,
                "pool": "all",
                "how much": f"{fault.seconds:g} s, {fault.at_s:g} s into a round",
            }
            for fault in traffic.faults
        ]
        return pd.DataFrame(rows).set_index("what").rename_axis(None)

    def describe_clients(self) -> pd.DataFrame:
        """One row a kind of client: what it accepts, its line, its share of the requests."""
        import pandas as pd

        http = self.scenario.http_or_usual
        total = sum(client.share for client in http.clients)
        rows = [
            {
                "accepts": client.accept or "nothing said",
                "line": "loopback" if client.mbit_per_s is None else f"{client.mbit_per_s:g} Mbit/s",
                "of the requests": f"{client.share / total:.0%}",
                "answers": http.payload,
            }
            for client in http.clients
        ]
        return pd.DataFrame(rows).set_index("accepts").rename_axis(None)

    def describe_vertex(self) -> pd.DataFrame:
        """What is asked of Vertex AI, how long it takes, and what the project grants."""
        import pandas as pd

        from perfkit.lab.embed.model import latency_of

        vertex = self.scenario.vertex_or_usual
        law, worth = latency_of(vertex), vertex.request_worth_ms
        granted = {"requests": vertex.requests_per_minute, "tokens": vertex.tokens_per_minute}
        quotas = ", ".join(f"{most:,} {what} a minute" for what, most in granted.items() if most)
        rows = {
            "model": vertex.model,
            "texts a call": f"{vertex.texts_per_call}",
            "an answer takes": f"{law.base_ms:g} ms (spread {law.spread:g}), {law.per_text_ms:g} ms a text, "
            f"{law.per_token_ms:g} ms a token",
            "quota": quotas or "none",
            "deadline": f"{vertex.deadline_ms:g} ms",
            "a saved request is worth": f"{worth:g} ms of one caller's waiting",
        }
        return pd.DataFrame({"": rows})

    def describe_prices(self) -> pd.DataFrame:
        """What processor and bytes cost, as the question has it."""
        import pandas as pd

        prices = self.scenario.http_or_usual.prices
        rows = {"a second of a vCPU": prices.vcpu_second_dollars, "a GiB sent": prices.egress_gib_dollars}
        return pd.DataFrame({"$": rows})

    def describe_guardrails(self) -> pd.DataFrame:
        """One row a limit that a choice may not break."""
        import pandas as pd

        rows = [
            {"metric": find_metric(rail.metric).title, "at least": rail.at_least, "at most": rail.at_most}
            for rail in self.scenario.guardrails
        ]
        table = pd.DataFrame(rows, columns=["metric", "at least", "at most"])
        return table.set_index("metric").rename_axis(None)

    def by_instances(self, instances: Sequence[int], run: FinishedRun) -> pd.DataFrame:
        """One row a number of instances: what a fleet of so many comes to today, and as chosen; modelled.

        The workload stays what it is and is shared out, so a row says what an instance more costs.
        """
        import pandas as pd

        from perfkit.lab.fleet import by_instances
        from perfkit.lab.model import Cell

        scenario, rows = self.scenario, []
        chosen = run.run.choice
        arms: dict[str, dict[str, Value]] = {"today": {}} | (
            {} if chosen.kept_baseline else {"chosen": chosen.knobs}
        )
        for arm, knobs in arms.items():
            own = replaced(Settings(), scenario.baseline | knobs)
            found = by_instances(
                self.workload,
                Cell.of(own.cache),
                instances,
                world=scenario.world,
                sticky=own.cloudrun.session_affinity,
                seed=scenario.seed,
                start=scenario.simulate.warmup,
            )
            rows += [{"arm": arm, **row} for row in found]
        table = pd.DataFrame(rows)
        return table.astype({"instances": int})

    def figure_by_instances(self, table: pd.DataFrame) -> Shown:
        """The same as a picture: how often Redis is read and the origin asked."""
        from perfkit.report.figures.instances import instances

        return _pictured(instances(table.to_dict("records")))

    def run(self) -> FinishedRun:
        """Sweep, compare, choose, and write report and tfvars."""
        finished = sweep.run(self.scenario, out=self.out, beside=self.beside)
        hand_over(finished.folder)
        return FinishedRun(finished)


def _pictured(figure: Figure) -> Shown:
    caption = f"<figcaption>{html.escape(figure.title)}</figcaption>"
    return Shown(figure.title, f"<figure>{caption}{figure.svg}</figure>")


def begin(
    scenario: str | Path,
    *,
    out: str | Path = sweep.DEFAULT_OUT,
    quick: bool = False,
    seed: int | None = None,
    mode: Literal["measure", "simulate"] = "measure",
) -> Laboratory:
    """Load a question and its workload, and print the line that says where the numbers will come from."""
    path = Path(scenario)
    question = Scenario.load(path)
    changes: dict[str, object] = {} if seed is None else {"seed": seed}
    if mode == "simulate":
        changes["measure"] = None
    question = question.model_copy(update=changes)
    question = question.quick() if quick else question
    machine = fingerprint()
    described = ", ".join(f"{name} {machine[name]}" for name in ("perfkit", "python", "cpu", "cores"))
    print(f"{described}; {'quick look' if quick else 'full run'}")  # noqa: T201  # a notebook's first output
    workload = load_workload(question.workload, seed=question.seed, folder=path.parent)
    return Laboratory(question, workload, Path(out), path.parent)
