"""What it costs to send some fields of a document, beside parsing it, filtering it and writing it.

The peers are what a service would write by hand: a parser, a recursive filter over dictionaries and lists,
and the parser's own writer. All arms leave the same document.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import msgspec

from asgi_questions.payloads import SIZES, payload
from harness import Arm, Target, Timed, costs_table, interleaved
from perfkit.asgi.fields import Mask
from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.tree import Branch
from perfkit.errors import MeasurementError

__all__ = ["filtering"]

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "users": ("data(id,name,email)", {"data": {"id": None, "name": None, "email": None}}),
    "orders": (
        "data(id,status,items(sku,unit_price/amount))",
        {"data": {"id": None, "status": None, "items": {"sku": None, "unit_price": {"amount": None}}}},
    ),
}
JSON = "json + filter"
MSGSPEC = f"msgspec {version('msgspec')} + filter"


def chosen(value: Any, tree: dict[str, Any]) -> Any:
    """Return what is left of a parsed document: the filter of the peers."""
    if isinstance(value, list):
        return [chosen(item, tree) for item in value]
    return {
        name: value[name] if within is None else chosen(value[name], within)
        for name, within in tree.items()
        if name in value
    }


async def filtering(rounds: int) -> str:
    """Filter documents of each kind and size."""
    tables = []
    for kind, (text, tree) in ASKED.items():
        for size, size_bytes in SIZES.items():
            tables.append(await _compared(kind, size, payload(kind, size_bytes), text, tree, rounds))
    return "\n\n".join(tables)


async def _compared(kind: str, size: str, body: bytes, text: str, tree: dict[str, Any], rounds: int) -> str:
    branch = read([text])
    assert isinstance(branch, Branch)  # noqa: S101  # some fields, not all
    decoded, stepwise = Mask(branch, compile_after=1), Mask(branch, compile_after=None)
    arms: dict[str, Callable[[], bytes | None]] = {
        "perfkit, a decoder for the set": lambda: decoded.apply(body),
        "perfkit, level by level": lambda: stepwise.apply(body),
        MSGSPEC: lambda: msgspec.json.encode(chosen(msgspec.json.decode(body), tree)),
        JSON: lambda: json.dumps(chosen(json.loads(body), tree), separators=(",", ":")).encode(),
    }
    targets = {JSON: Target(6)} if size == "10 kB" else {}
    absent: dict[str, str] = {}
    try:
        import orjson
    except ImportError:
        absent["orjson + filter"] = "not installed, see scripts/peers.sh"
    else:
        name = f"orjson {version('orjson')} + filter"
        arms[name] = lambda: orjson.dumps(chosen(orjson.loads(body), tree))
        if size == "10 kB":
            targets[name] = Target(3)
    left = {name: work() or b"" for name, work in arms.items()}
    parsed = [json.loads(written) for written in left.values()]
    if any(one != parsed[0] for one in parsed) or parsed[0] != chosen(json.loads(body), tree):
        raise MeasurementError(f"The arms leave different things of {kind}, so their costs say nothing.")
    timed: dict[str, Arm] = {name: Timed(_repeated(work)) for name, work in arms.items()}
    readings = await interleaved(timed, rounds)
    kept = f"{len(body):,} bytes of which {len(next(iter(left.values()))):,} are left"
    table = costs_table(readings, targets, unit="document", absent=absent)
    return f"`?fields={text}` of {kind}, {kept}\n\n{table}"


def _repeated(work: Callable[[], object]) -> Callable[[int], Awaitable[int]]:
    async def repeat(operations: int) -> int:
        for _operation in range(operations):
            work()
        return operations

    return repeat
