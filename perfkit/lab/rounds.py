"""Interleaved rounds: every arm plays the same stretch of the workload, in turn, before any plays the next.

What drifts on a shared machine drifts for all arms of a round alike, so the ratios within a round stay
steady where absolute times do not (docs/measuring.md has the figures). Each arm keeps what it has opened and
stored from round to round, at each round trip its own; what it has not played itself it is warmed through.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from perfkit.errors import Unavailable
from perfkit.lab.line import Lines
from perfkit.lab.plan import Plan
from perfkit.lab.results import Status, Trial, TrialResult
from perfkit.lab.rigs import Asked, Observation, OpenRig, Rig

__all__ = ["Setup", "play_rounds", "result_of"]

Record = Callable[[TrialResult], None]


@dataclass(frozen=True, slots=True)
class Setup:
    """What all trials of a stage share."""

    plan: Plan
    rig: Rig
    asked: Asked
    lines: Lines
    key_prefix: str
    first: int
    """The first request that counts; those before it warm the caches."""
    per_round: int
    rate_per_s: float | None


async def play_rounds(
    setup: Setup, trials: Sequence[Trial], *, done: Collection[str], record: Record
) -> None:
    """Play the trials that are not done, in order, and record each as soon as it ends.

    Raises:
        Unavailable: Redis went away; the trials before are recorded.
    """
    due = [trial for trial in trials if trial.key not in done]
    async with AsyncExitStack() as rigs:
        open_rigs: dict[tuple[str, float | None], OpenRig] = {}
        for trial in due:
            place = trial.arm, trial.rtt_ms
            if place not in open_rigs:
                open_rigs[place] = await rigs.enter_async_context(_opened(setup, trial))
                await open_rigs[place].warm(setup.first)
        for trial in due:
            rig = open_rigs[trial.arm, trial.rtt_ms]
            start = setup.first + trial.round * setup.per_round
            await rig.warm(start)
            observation = await rig.play(start + setup.per_round, rate_per_s=setup.rate_per_s)
            record(result_of(trial, setup, observation))
            if observation.remote_errors:
                await _require_redis(setup, trial)


def result_of(trial: Trial, setup: Setup, observation: Observation) -> TrialResult:
    """Put what was seen into a line of `trials.jsonl`; a trial with remote errors has failed."""
    status: Status = "invalid" if observation.validity.complaint else "ok"
    error = ""
    if observation.remote_errors:
        status = "failed"
        error = f"Redis did not answer {observation.remote_errors} times; the cache went on without it"
    return TrialResult(
        trial=trial,
        how=setup.lines.how,
        backend=setup.lines.backend,
        status=status,
        metrics={name: float(f"{value:.9g}") for name, value in observation.metrics.items()},
        responses=observation.responses,
        validity=observation.validity,
        error=error,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def _opened(setup: Setup, trial: Trial) -> AbstractAsyncContextManager[OpenRig]:
    far = "" if trial.rtt_ms is None else f"{trial.rtt_ms:g}ms:"
    return setup.rig.open(
        setup.plan.settings(trial),
        setup.asked,
        setup.lines.at(trial.rtt_ms),
        seed=trial.seed,
        key_prefix=f"{setup.key_prefix}{trial.arm}:{far}",
    )


async def _require_redis(setup: Setup, trial: Trial) -> None:
    from perfkit.pools import PoolType, RedisPools

    pools = RedisPools(endpoint=setup.lines.at(trial.rtt_ms).endpoint)
    try:
        await pools.client(PoolType.DEFAULT).ping()
    except Exception as trouble:
        raise Unavailable(
            f"Redis went away during {trial.key} ({trouble}). The trials before it are kept; "
            "go on with --resume.",
            dependency="redis",
        ) from None
    finally:
        await pools.aclose()
