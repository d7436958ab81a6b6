"""What the backplane's messages look like, byte for byte.

    offset  bytes  field     big-endian
    0       2      "pk"      anything else is not ours
    2       1      version   1
    3       1      kind      "k" a key, "t" a tag, "a" anything: its name did not fit
    4       8      source    the random id of the instance that speaks
    12      8      at        when it changed, epoch seconds, an IEEE 754 double
    20      2      length    of the name in bytes
    22      length name      UTF-8; a full key, or a full tag

A message says *that* something changed, never to what: it is small whatever the value, it cannot overtake the
value with an older one, and one that comes twice does no harm. A golden file
(`tests/golden/coherence-v1.bin`) keeps the format. A newer version is ignored by older instances, so whoever
changes it must go on saying version 1 until no old instance is left.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

__all__ = ["LONGEST_NAME_BYTES", "Alien", "Kind", "Message", "pack", "unpack"]

Kind: TypeAlias = Literal["key", "tag", "any"]

LONGEST_NAME_BYTES: Final = 4_096
"""A longer name is not said; `any` is, and memory is distrusted as a whole. Digested keys are far shorter."""

_HEAD: Final = struct.Struct(">2sBc8sdH")
_MAGIC: Final = b"pk"
_VERSION: Final = 1
_KIND_OF: Final[dict[bytes, Kind]] = {b"k": "key", b"t": "tag", b"a": "any"}
_LETTER_OF: Final = {kind: letter for letter, kind in _KIND_OF.items()}


class Alien(ValueError):
    """Bytes that are no message of this version, or a torn one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One change.

    >>> unpack(pack(Message("key", "users:7", 1_767_225_600.5, b"instance")))
    Message(kind='key', name='users:7', at_epoch_s=1767225600.5, source=b'instance')
    """

    kind: Kind
    name: str
    at_epoch_s: float
    source: bytes
    """Eight random bytes, by which an instance knows its own messages."""


def pack(message: Message) -> bytes:
    """Return a message's bytes; one whose name is too long becomes one of kind `any`."""
    kind, name = message.kind, message.name.encode("utf-8", "surrogatepass")
    if len(name) > LONGEST_NAME_BYTES:
        kind, name = "any", b""
    head = _HEAD.pack(_MAGIC, _VERSION, _LETTER_OF[kind], message.source, message.at_epoch_s, len(name))
    return head + name


def unpack(data: bytes) -> Message:
    """Return the message of some bytes.

    Raises:
        Alien: they are none: of another format or version, torn, too long, or with an impossible time.
    """
    if len(data) < _HEAD.size or len(data) > _HEAD.size + LONGEST_NAME_BYTES:
        raise Alien(f"{len(data)} bytes are no message")
    magic, version, letter, source, at_epoch_s, length = _HEAD.unpack_from(data)
    if (magic, version) != (_MAGIC, _VERSION):
        raise Alien(f"it begins with {data[:3]!r}, not with {_MAGIC!r} and version {_VERSION}")
    if letter not in _KIND_OF or len(data) != _HEAD.size + length or not math.isfinite(at_epoch_s):
        raise Alien("it is torn")
    try:
        name = data[_HEAD.size :].decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Alien("its name is no text") from None
    return Message(_KIND_OF[letter], name, at_epoch_s, cast("bytes", source))
