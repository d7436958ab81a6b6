"""Keys: from a namespace and a call's arguments to a text that no other call can produce.

Every value is written as `tag length : body`, so nothing inside a body can be mistaken for structure:
1, "1", True and None differ by tag, and `("a", "b:c")` differs from `("a:b", "c")` by length. A key made by
joining texts has neither property, and a service that puts what users type into such keys serves one user's
answer to another. Dictionaries and sets are written in the order of their written items, so equal ones get
equal keys. A long key is replaced by its BLAKE2b digest (RFC 7693) of 160 bits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePath
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from perfkit.errors import did_you_mean

__all__ = ["CallKey", "canonical", "namespace_prefix"]

_LONGEST_PLAIN = 200
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class CallKey:
    """Makes the keys of one function's calls, with defaults applied: however a call is written, one key.

    >>> async def report(user: int, detail: str = "low") -> str: ...
    >>> key = CallKey(report)
    >>> key(7) == key(7, "low") == key(detail="low", user=7)
    True
    >>> key(7) == key("7")
    False
    """

    def __init__(self, function: Callable[..., object], *, ignore: Collection[str] = ()) -> None:
        """Read the signature once.

        Args:
            function: Whose calls are to have keys.
            ignore: Names of parameters that are not part of the key.

        Raises:
            TypeError: the function has no parameter of an ignored name.
        """
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._signature = inspect.signature(function)
        self._ignore = frozenset(ignore)
        unknown = sorted(self._ignore - set(self._signature.parameters))
        if unknown:
            raise TypeError(
                f"{self._name} has no parameter {unknown[0]!r}, so it cannot be left out of its keys."
                f"{did_you_mean(unknown[0], self._signature.parameters)}"
            )
        kinds = [parameter.kind for parameter in self._signature.parameters.values()]
        bare = not self._ignore and all(kind in _POSITIONAL for kind in kinds)
        self._positional = len(kinds) if bare else -1

    def __call__(self, *args: object, **kwargs: object) -> str:
        """Return the key of a call with these arguments.

        Raises:
            TypeError: the function does not take these arguments, or one of them has no canonical form.
        """
        if not kwargs and len(args) == self._positional:
            values = args  # all are given in order: binding them would change nothing
        else:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            values = tuple(value for name, value in bound.arguments.items() if name not in self._ignore)
        text = canonical(values)
        if len(text) > _LONGEST_PLAIN:
            text = "#" + hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        return f"{self._name}({text})"


def namespace_prefix(namespace: str) -> str:
    """Return what stands before every key of a namespace; its first colon ends it, whatever the name holds.

    >>> namespace_prefix("users"), namespace_prefix("a:b"), namespace_prefix("")
    ('users:', 'a%3Ab:', ':')
    """
    return namespace.replace("%", "%25").replace(":", "%3A") + ":"


def canonical(value: object) -> str:
    """Return a text that equals another's exactly when the values have the same types and contents.

    >>> canonical(1), canonical("1"), canonical(True), canonical(None)
    ('i1:1', 's1:1', 'b1:1', 'n0:')

    Raises:
        TypeError: the value, or one inside it, is of a type without a canonical form, or contains itself.
    """
    try:
        tag, body = _tag_and_body(value)
    except RecursionError:
        raise TypeError(
            "An argument that contains itself, or is nested hundreds deep, cannot be part of a cache key. "
            "Pass what tells it apart instead."
        ) from None
    return f"{tag}{len(body)}:{body}"


def _tag_and_body(value: object) -> tuple[str, str]:
    match value:
        case None:
            return "n", ""
        case str() if type(value) is str:
            return "s", value
        case bool():
            return "b", "1" if value else "0"
        case int() if type(value) is int:
            return "i", f"{value:x}"
        case float() if type(value) is float:
            return "f", repr(value)
        case bytes() if type(value) is bytes:
            return "y", value.hex()
        case list() if type(value) is list:
            return "l", "".join(map(canonical, value))
        case tuple() if type(value) is tuple:
            return "t", "".join(map(canonical, value))
        case dict() if type(value) is dict:
            return "d", _pairs(value)
        case set() if type(value) is set:
            return "S", "".join(sorted(map(canonical, value)))
        case frozenset() if type(value) is frozenset:
            return "F", "".join(sorted(map(canonical, value)))
    return _tag_and_body_of_object(value)


def _tag_and_body_of_object(value: object) -> tuple[str, str]:
    """Write an instance of a class by the class's name and what makes the instance equal to another."""
    content: object
    match value:
        case Flag():
            content = value.value  # a combination may have no name
        case Enum():
            content = value.name
        case datetime() | time():
            content = (value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo))
        case date():
            content = value.isoformat()
        case timedelta():
            content = (value.days, value.seconds, value.microseconds)
        case UUID() | Decimal() | PurePath():
            content = str(value)
        case BaseModel():
            fields = {name: value.__dict__[name] for name in type(value).model_fields}
            content = (fields, value.__pydantic_extra__, value.__pydantic_private__)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            content = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        case _:
            raise _no_form(value)
    kind = type(value)
    return "o", canonical(f"{kind.__module__}.{kind.__qualname__}") + canonical(content)


def _zone(zone: tzinfo | None) -> str | None:
    """Name a time zone; its offset of the moment would not tell London from UTC in winter."""
    match zone:
        case None:
            return None
        case timezone():
            return str(zone)
        case ZoneInfo() if zone.key:
            return f"zone {zone.key}"
    raise _no_form(zone)


def _no_form(value: object) -> TypeError:
    return TypeError(
        f"An argument of type {type(value).__qualname__} cannot be part of a cache key, because "
        "nothing says when two of them are equal. Pass a number, text, container, dataclass or "
        "pydantic model, or cache a function that does not take it."
    )


def _pairs(mapping: Mapping[object, object]) -> str:
    return "".join(sorted(canonical(key) + canonical(item) for key, item in mapping.items()))
