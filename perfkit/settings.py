"""One value describes the whole stack.

`Settings` is composed of the areas' sections and nothing else. It travels: into the environment of a
container, out of a tfvars file, through a trial's row; its fingerprint is the same wherever it arrives.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

from perfkit.asgi.settings import AsgiSettings
from perfkit.cache.settings import CacheSettings
from perfkit.cloudrun.settings import CloudrunSettings
from perfkit.errors import SettingsError, did_you_mean
from perfkit.knobs import Section, Value, find_knob, flat, iter_knobs, parsed, replaced
from perfkit.pools.settings import PoolsSettings
from perfkit.vertex.settings import VertexSettings

__all__ = ["Change", "Settings"]

_PREFIX = "PERFKIT_"
_NOT_KNOBS = frozenset(
    {
        "PERFKIT_REDIS_URL",  # where the server is; may hold a password, so it is never a setting
        "PERFKIT_REDIS_SERVER",  # which server binary a run starts
        "PERFKIT_VERTEX_PROJECT",  # the Google project whose quota and bill it is
        "PERFKIT_VERTEX_LOCATION",  # the region that is asked
        "PERFKIT_VERTEX_ENDPOINT",  # host:port of an emulator that speaks gRPC, in place of Google's service
        "PERFKIT_RECORD_FILE",  # where requests are recorded, when cache.record_share is above 0
        "PERFKIT_RECORD_SECRET",  # what recorded keys are hashed with; a secret, so it is never a setting
        "PERFKIT_REQUIRE_REAL",  # refuse every embedded default
        "PERFKIT_BATCH",  # plain progress lines instead of bars
        "PERFKIT_VENV",  # where scripts/env.sh puts the environment
        "PERFKIT_SETTINGS_ID",  # the fingerprint Terraform writes beside the knobs
    }
)


@dataclass(frozen=True, slots=True)
class Change:
    """One knob that differs between two settings."""

    path: str
    old: Value
    new: Value
    unit: str


class Settings(Section):
    """Every knob of the stack, checked and frozen.

    >>> settings = Settings.from_env({"PERFKIT_CACHE__L1_TTL_SECONDS": "120"})
    >>> settings.cache.l1_ttl_seconds
    120.0
    >>> [(change.path, change.old, change.new) for change in Settings().diff(settings)]
    [('cache.l1_ttl_seconds', 60.0, 120.0)]
    >>> Settings.from_env(settings.to_env()).fingerprint == settings.fingerprint
    True
    """

    pools: PoolsSettings = PoolsSettings()
    cache: CacheSettings = CacheSettings()
    asgi: AsgiSettings = AsgiSettings()
    vertex: VertexSettings = VertexSettings()
    cloudrun: CloudrunSettings = CloudrunSettings()

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Self:
        """Read the knobs that `env` (default: the process's environment) names; the rest keep their defaults.

        Raises:
            SettingsError: a `PERFKIT_` variable names no knob, or its value is refused.
        """
        env = os.environ if env is None else env
        knobs = {info.env_name: info for info in iter_knobs(cls())}
        values: dict[str, Value] = {}
        for name, text in env.items():
            if not name.startswith(_PREFIX) or name in _NOT_KNOBS:
                continue
            if name not in knobs:
                raise SettingsError(
                    f"The environment variable {name} names no knob.{did_you_mean(name, knobs)} "
                    "`perfkit settings` lists them all.",
                    path=name,
                )
            values[knobs[name].path] = parsed(knobs[name], text, place=name)
        return replaced(cls(), values)

    @classmethod
    def from_tfvars(cls, path: str | Path) -> Self:
        """Read the `tuning` variable of a `.tfvars` or `.tfvars.json` file.

        Raises:
            SettingsError: the file cannot be read, names no knob, or holds a refused value.
        """
        from perfkit.tfvars import read_tuning  # hcl2 is wanted by this door alone

        path = Path(path)
        try:
            return replaced(cls(), read_tuning(path))
        except SettingsError as refusal:
            raise SettingsError(
                f"{path}: {refusal}", path=refusal.path, value=refusal.value, allowed=refusal.allowed
            ) from None

    def to_env(self) -> dict[str, str]:
        """Return the environment that makes `from_env` build these settings again: every knob, in order."""
        return {info.env_name: _as_text(info.default) for info in iter_knobs(self)}

    def diff(self, other: Settings) -> tuple[Change, ...]:
        """Return the knobs whose value in `other` is not this one's, in declared order."""
        mine, theirs = flat(self), flat(other)
        return tuple(
            Change(path, mine[path], theirs[path], find_knob(self, path).knob.unit)
            for path in mine
            if mine[path] != theirs[path]
        )

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that are equal exactly when every knob is equal."""
        canonical = json.dumps(flat(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _as_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
