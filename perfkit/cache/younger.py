"""Younger wins: a write to Redis that gives way to what was born later.

Two instances load one key at the same time, or one loads while another invalidates. Whoever writes last would
win, and the last may bring the oldest value: it asked the origin first and was slow. So a write is a script
(https://valkey.io/topics/eval-intro/) that looks at the head of what stands there, compares when the two were
born, and stores or leaves it. It names one key, so it runs in a cluster, and reads 13 bytes of it, so a large
value costs nothing.

An invalidation leaves a tombstone, an entry without a value born at that moment. A load that began before it
gives way; a value born after it replaces it. A tombstone itself gives way to nothing but a later tombstone:
where the clocks of two instances differ, what looks younger than the invalidation may hold the old value.

What claims to be born in the future beyond what clocks may differ gives way as well, or one instance with a
wrong clock would shut the others out.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Awaitable
from typing import Protocol

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from perfkit.cache.envelope import AGE_AT, TOMBSTONE

__all__ = ["CLOCKS_DIFFER_AT_MOST_S", "Scripting", "YoungerWins"]

CLOCKS_DIFFER_AT_MOST_S = 60.0
"""Further in the future nothing is believed to be born."""

_SCRIPT = f"""
local function later(a, b)
  for i = 1, 8 do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end
local head = redis.pcall('GETRANGE', KEYS[1], 0, {AGE_AT.stop - 1})
if type(head) == 'string' and #head == {AGE_AT.stop} and string.sub(head, 1, 2) == 'pk' then
  local stands = string.sub(head, {AGE_AT.start + 1}, {AGE_AT.stop})
  local born = string.sub(ARGV[1], {AGE_AT.start + 1}, {AGE_AT.stop})
  local yields = ARGV[4] == '0' or string.sub(head, 4, 4) == '{TOMBSTONE.decode()}'
  if yields and later(stands, born) and not later(stands, ARGV[3]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()  # Redis names scripts so
_TIME = struct.Struct(">d")


class Scripting(Protocol):
    """What a client needs for it."""

    def set(self, name: bytes, value: bytes, *, px: int) -> Awaitable[object]:
        """Store a value for `px` milliseconds."""
        ...

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: bytes | int) -> Awaitable[object]:
        """Run a script the server knows."""
        ...

    def eval(self, script: str, numkeys: int, *keys_and_args: bytes | int) -> Awaitable[object]:
        """Run a script, which the server then knows."""
        ...


class YoungerWins:
    """Writes by the script, or without it where the server runs none.

    `scripted` turns False, for good, when the server refuses to run a script: then the last write wins.
    """

    def __init__(self) -> None:
        self.scripted = True

    async def write(
        self, client: Scripting, name: bytes, packed: bytes, *, life_ms: int, now_s: float, always: bool
    ) -> bool:
        """Store an envelope unless what stands there was born later; return whether it was stored.

        Args:
            client: Of Redis.
            name: The key.
            packed: The envelope.
            life_ms: How long it stays.
            now_s: Epoch seconds.
            always: Give way to nothing but a later tombstone.
        """
        if self.scripted and hasattr(client, "evalsha"):
            latest = _TIME.pack(now_s + CLOCKS_DIFFER_AT_MOST_S)
            arguments = (name, packed, life_ms, latest, int(always))
            try:
                return bool(await client.evalsha(_SHA, 1, *arguments))
            except NoScriptError:
                pass
            except ResponseError as error:
                self._only_if_no_scripts(error)
            try:
                if self.scripted:
                    return bool(await client.eval(_SCRIPT, 1, *arguments))
            except ResponseError as error:
                self._only_if_no_scripts(error)
        self.scripted = False
        return bool(await client.set(name, packed, px=life_ms))

    def _only_if_no_scripts(self, error: ResponseError) -> None:
        """Pass on what says something of this write, and remember what says there are no scripts."""
        text = str(error).lower()
        if not isinstance(error, NoPermissionError) and not any(word in text for word in _NO_SCRIPTS):
            raise error
        self.scripted = False


_NO_SCRIPTS = ("unknown command", "unsupported", "not supported")
