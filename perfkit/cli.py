"""The command line: ask, sweep, compare, choose, adopt.

Only click is imported here; what a command needs is loaded inside it, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perfkit.errors import PerfkitError

if TYPE_CHECKING:
    from types import FrameType

    from perfkit.lab.compare import Effect
    from perfkit.lab.folder import RunFolder
    from perfkit.lab.scenario import Scenario

__all__ = ["cli", "main"]

_OUT = click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("reports/runs"),
    show_default=True,
    help="Where run folders are.",
)
_RUN = click.argument("name", metavar="RUN", default="latest")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="perfkit")
def cli() -> None:
    """Tune AI services on Cloud Run, Redis and Vertex AI by measurement."""


@cli.command("run")
@click.argument("scenario", type=click.Path(path_type=Path), required=False)
@click.option("--workload", type=click.Path(path_type=Path), help="Ask of this trace instead.")
@click.option("--speed", type=click.FloatRange(0, min_open=True), help="Compress the trace's time so often.")
@click.option("--resume", metavar="RUN", help="Go on with a run that was broken off.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Another seed than the scenario's.")
@click.option("--quick", is_flag=True, help="A fraction of the requests: to see it work, not to decide.")
@click.option("--simulate", is_flag=True, help="Stop at the simulation; nothing is measured or exported.")
@_OUT
def run_command(
    scenario: Path | None,
    workload: Path | None,
    speed: float | None,
    resume: str | None,
    seed: int | None,
    quick: bool,
    simulate: bool,
    out: Path,
) -> None:
    """Answer a scenario's question: sweep, compare, choose, report."""
    from perfkit.handover import hand_over
    from perfkit.lab.folder import find_run
    from perfkit.lab.sweep import run
    from perfkit.settings import Settings

    if (scenario is None) == (resume is None):
        raise click.UsageError("Name a SCENARIO file, or a run to --resume.")
    Settings.from_env()  # a run takes no knob from the environment, but a misspelt name there is an error too
    if resume is not None:
        if workload or speed or seed is not None or quick or simulate:
            raise click.UsageError(
                "--resume goes on with the question as it was asked. Leave out --workload, --speed, --seed, "
                "--quick and --simulate, or ask a new question with them."
            )
        finished = run(find_run(resume, out))
    else:
        assert scenario is not None  # noqa: S101  # for the type checker: checked above
        question = _overridden(scenario, workload, speed, seed, quick=quick, simulate=simulate)
        finished = run(question, out=out, beside=Path() if workload else scenario.parent)
    files = hand_over(finished.folder)
    click.echo(finished.choice.why)
    click.echo(f"report  {files.report}")
    if files.tfvars:
        click.echo(f"tfvars  {files.tfvars}")
        click.echo(f"adopt   perfkit adopt {finished.folder.run_id}")
    else:
        click.echo(f"tfvars  none: {files.refused_because}")


@cli.command("compare")
@_RUN
@click.argument("other", metavar="[OTHER]", required=False)
@_OUT
def compare_command(name: str, other: str | None, out: Path) -> None:
    """Compare a run's finalists again from its trials, or two runs of one question."""
    from perfkit.lab.environment import comparable
    from perfkit.lab.folder import find_run
    from perfkit.lab.sweep import compared

    first = find_run(name, out)
    second = None if other is None else find_run(other, out)
    if second is not None:
        comparable(first.environment, second.environment)
    comparison, choice = compared(first)
    click.echo(f"{first.run_id}  ({comparison.how}, {comparison.backend})")
    _print_effects([effect for effect in comparison.effects if effect.metric == comparison.objective])
    if second is None:
        click.echo(choice.why)
        return
    click.echo(f"{second.run_id}")
    theirs, _choice = compared(second)
    _print_effects([effect for effect in theirs.effects if effect.metric == comparison.objective])


@cli.command("report")
@_RUN
@_OUT
def report_command(name: str, out: Path) -> None:
    """Write a run's report again from its files."""
    from perfkit.handover import hand_over
    from perfkit.lab.folder import find_run

    click.echo(hand_over(find_run(name, out)).report)


@cli.command("export")
@_RUN
@click.option("--to", type=click.Path(path_type=Path), help="Write to this file instead of printing.")
@click.option("--force", is_flag=True, help="Export a choice that was not confirmed.")
@_OUT
def export_command(name: str, to: Path | None, force: bool, out: Path) -> None:
    """Print a run's choice as tfvars."""
    from perfkit.handover import export_text
    from perfkit.lab.folder import find_run, write_whole

    folder = find_run(name, out)
    text = export_text(folder.run_id, folder.scenario, folder.choice, force=force)
    if to is None:
        click.echo(text, nl=False)
    else:
        click.echo(write_whole(to, text))


@cli.command("adopt")
@_RUN
@click.option(
    "--terraform",
    "terraform_dir",
    type=click.Path(path_type=Path),
    default=Path("terraform"),
    show_default=True,
    help="The Terraform folder that gets perfkit.auto.tfvars.",
)
@click.option("--force", is_flag=True, help="Adopt a choice that was not confirmed.")
@_OUT
def adopt_command(name: str, terraform_dir: Path, force: bool, out: Path) -> None:
    """Put a run's confirmed choice into Terraform, after the real terraform has checked it."""
    from perfkit.export.adopt import adopt
    from perfkit.handover import export_text
    from perfkit.lab.folder import find_run

    folder = find_run(name, out)
    text = export_text(folder.run_id, folder.scenario, folder.choice, force=force)
    adoption = adopt(folder.choice, text, terraform_dir=terraform_dir, force=force)
    click.echo(adoption.diff_text or "nothing to change", nl=not adoption.diff_text)
    click.echo(f"{adoption.path}  {adoption.check.text}")


@cli.command("bench")
@click.argument("area")
@click.option(
    "--peers", is_flag=True, help="Measure beside other projects; bash scripts/peers.sh installs them."
)
@click.option("--rounds", type=click.IntRange(1), help="Interleaved rounds; from 6 on there are intervals.")
@click.option(
    "--benchmarks",
    type=click.Path(path_type=Path),
    default=Path("benchmarks"),
    show_default=True,
    help="The folder of AREA.py and RESULTS.md.",
)
def bench_command(area: str, peers: bool, rounds: int | None, benchmarks: Path) -> None:
    """Measure perfkit itself in one AREA, and write what was found to RESULTS.md."""
    from perfkit.lab.bench import bench

    results = bench(area, peers=peers, rounds=rounds, folder=benchmarks, tell=click.echo)
    click.echo(f"results {results}")


@cli.command("emulator")
@click.option(
    "--grpc-port", type=click.IntRange(0, 65_535), default=8_300, show_default=True, help="0 is any."
)
@click.option(
    "--rest-port", type=click.IntRange(0, 65_535), default=8_301, show_default=True, help="0 is any."
)
@click.option("--latency", metavar="PRESET", default="study", show_default=True, help="none answers at once.")
@click.option(
    "--requests-per-minute", type=click.IntRange(0), default=0, help="Its quota; 0 refuses nothing."
)
@click.option("--tokens-per-minute", type=click.IntRange(0), default=0, help="Its quota; 0 refuses nothing.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of latencies and faults.")
@click.option(
    "--faults",
    type=click.Path(path_type=Path),
    help="A YAML or JSON file: a list of what goes wrong, and when.",
)
def emulator_command(
    grpc_port: int,
    rest_port: int,
    latency: str,
    requests_per_minute: int,
    tokens_per_minute: int,
    seed: int,
    faults: Path | None,
) -> None:
    """Serve an emulated Vertex AI, over gRPC and REST, until Ctrl-C."""
    import asyncio

    from perfkit.vertex.emulator.faults_file import read_faults
    from perfkit.vertex.emulator.plan import EmulatorPlan
    from perfkit.vertex.emulator.serve import serving_forever

    plan = EmulatorPlan.from_data(
        {
            "latency": latency,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "seed": seed,
            "faults": [] if faults is None else read_faults(faults),
        }
    )
    with contextlib.suppress(KeyboardInterrupt):  # the way a server is ended
        asyncio.run(
            serving_forever(
                plan, lambda where: click.echo(where.to_text()), grpc_port=grpc_port, rest_port=rest_port
            )
        )


@cli.command("settings")
@click.option("--tfvars", type=click.Path(path_type=Path), help="Read this file instead of the environment.")
@click.option("--env", "as_env", is_flag=True, help="Print them as environment variables.")
def settings_command(tfvars: Path | None, as_env: bool) -> None:
    """Print every knob as it stands in the environment or a tfvars file."""
    from perfkit.knobs import iter_knobs
    from perfkit.settings import Settings

    settings = Settings.from_tfvars(tfvars) if tfvars else Settings.from_env()
    if as_env:
        for name, value in settings.to_env().items():
            click.echo(f"{name}={value}")
        return
    changed = {change.path for change in Settings().diff(settings)}
    for info in iter_knobs(settings):
        mark = "*" if info.path in changed else " "
        click.echo(f"{mark} {info.path:<44} {info.default!s:>12} {info.knob.unit}")
    click.echo(f"fingerprint {settings.fingerprint}")


@cli.command("schema")
def schema_command() -> None:
    """Print the JSON schema of scenario files."""
    from perfkit.export.variables import GENERATED

    click.echo(GENERATED["schemas/scenario.schema.json"](), nl=False)


@cli.command("list")
@_OUT
def list_command(out: Path) -> None:
    """List the runs, oldest first."""
    from perfkit.errors import RunError
    from perfkit.lab.folder import list_runs

    for folder in list_runs(out):
        try:
            state = folder.choice.why if folder.finished else f"not finished: {len(folder.results())} trials"
        except RunError as trouble:
            state = f"cannot be read: {trouble}"
        click.echo(f"{folder.run_id}  {state}")


@cli.command("show")
@_RUN
@_OUT
def show_command(name: str, out: Path) -> None:
    """Show a run's answer, its effects and its files."""
    from perfkit.lab.folder import find_run

    folder = find_run(name, out)
    choice, comparison = folder.choice, folder.comparison
    click.echo(f"{comparison.question}\n{choice.why}\n")
    _print_effects(list(comparison.effects))
    for complaint in comparison.complaints:
        click.echo(f"doubt: {complaint}")
    _print_files(folder)


def main() -> None:
    """Run the command line; our own errors end it with a sentence instead of a traceback."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        cli(standalone_mode=False)
    except PerfkitError as trouble:
        sys.exit(_told(trouble, f"perfkit: {trouble}", code=1))
    except click.ClickException as trouble:
        trouble.show()
        sys.exit(trouble.exit_code)
    except (KeyboardInterrupt, click.Abort) as stop:
        cause = stop if getattr(stop, "__notes__", None) else (stop.__context__ or stop)
        sys.exit(_told(cause, "perfkit: interrupted", code=130))


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)


def _told(trouble: BaseException, message: str, *, code: int) -> int:
    for line in (message, *getattr(trouble, "__notes__", ())):
        click.echo(line, err=True)
    return code


def _overridden(
    path: Path,
    workload: Path | None,
    speed: float | None,
    seed: int | None,
    *,
    quick: bool,
    simulate: bool,
) -> Scenario:
    from perfkit.lab.scenario import Scenario, TraceWorkload

    question = Scenario.load(path)
    if workload is not None:
        # What a scenario says of its own trace holds for no other: neither its stretch nor its speed.
        trace = TraceWorkload(kind="trace", path=str(workload), speed=speed or 1.0)
        question = question.model_copy(update={"workload": trace})
    elif speed is not None:
        if not isinstance(question.workload, TraceWorkload):
            raise click.UsageError("--speed compresses a trace's time; name one with --workload.")
        own = question.workload.model_copy(update={"speed": speed})
        question = question.model_copy(update={"workload": own})
    if seed is not None:
        question = question.model_copy(update={"seed": seed})
    if simulate:
        question = question.model_copy(update={"measure": None})
    return question.quick() if quick else question


def _print_effects(effects: list[Effect]) -> None:
    from perfkit.report.words import effect_words, verdict_words

    for effect in effects:
        judged = f"{verdict_words(effect):<14} {effect_words(effect)}"
        click.echo(f"  {effect.arm:<4} {effect.metric:<26} {judged}")


def _print_files(folder: RunFolder) -> None:
    for file in sorted(folder.path.iterdir()):
        click.echo(f"  {file}")
