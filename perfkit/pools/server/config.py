"""What a server of our own is told: a file only we can read, since every user may read a command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from perfkit.errors import SettingsError

__all__ = ["ServerConfig", "quoted"]

_OURS = frozenset(
    {"bind", "daemonize", "dir", "logfile", "port", "requirepass", "unixsocket", "unixsocketperm", "user"}
)
"""Set by `RedisServer.start` itself, from its arguments where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Who may log in, and any line of the server's own configuration file.

    >>> ServerConfig(password="hunter2", options={"maxclients": 10})
    ServerConfig(username=None)
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, str | int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.username is not None and self.password is None:
            raise _refused("username", f"{self.username!r} has no password. Pass `password` beside it.")
        if taken := sorted(_OURS & {name.lower() for name in self.options}):
            raise _refused(
                "options",
                f"{taken[0]!r} is not free, for by it the server is found, reached and ended. What may "
                "differ is an argument of RedisServer.start: port, username, password, users.",
            )
        for name, value in (*self.users.items(), *self.options.items()):
            if "\n" in f"{name}{value}":
                raise _refused("options and users", f"{name.split()[0]!r} has more than one line.")

    @property
    def credentials(self) -> str:
        """What an address says before its host: `user:password@`, or nothing."""
        if self.password is None:
            return ""
        return f"{quote(self.username or '', safe='')}:{quote(self.password, safe='')}@"

    def write(self, file: Path, **ours: str | int) -> None:
        """Write the file, readable by its owner alone; `ours` are the settings `start` itself answers for."""
        lines = {"save": '""', "appendonly": "no"}  # what is to be kept on disk is said in the options
        lines |= {name: quoted(str(value)) for name, value in ours.items()}
        lines |= {name.lower(): str(value) for name, value in self.options.items()}
        text = [f"{name} {value}" for name, value in lines.items()]
        if self.password is not None and self.username is None:
            text.append(f"requirepass {quoted(self.password)}")
        elif self.password is not None and self.username is not None:
            text.append("user default off")
            text.append(f"user {quoted(self.username)} on {quoted('>' + self.password)} ~* &* +@all")
        text += [f"user {quoted(name)} {rules}" for name, rules in self.users.items()]
        file.unlink(missing_ok=True)
        file.touch(mode=0o600, exist_ok=False)
        file.write_text("\n".join(text) + "\n", encoding="utf-8")

    def without_secrets(self, text: str) -> str:
        """Return what the server said with no password in it: it quotes a line it does not understand."""
        text = re.sub(r"^>>> '(\S+).*", r">>> '\1 ***'", text, flags=re.MULTILINE)
        for secret in sorted(self._secrets(), key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> set[str]:
        of_users = {rule[1:] for rules in self.users.values() for rule in rules.split() if rule[0] in "><#!"}
        of_options = {str(value) for name, value in self.options.items() if name.endswith(("auth", "pass"))}
        return {self.password or "", *of_users, *of_options} - {""}


def quoted(value: str) -> str:
    r"""Return one argument of a configuration line.

    >>> print(quoted('a "b"\nü'))
    "a \"b\"\x0a\xc3\xbc"
    """
    plain = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}"
        for byte in value.encode(errors="surrogateescape")
    )
    return f'"{plain}"'


def _refused(path: str, why: str) -> SettingsError:
    return SettingsError(f"No server is started with such {path}: {why}", path=path)
