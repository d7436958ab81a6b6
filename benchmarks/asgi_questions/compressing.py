"""What compression adds to a request: for clients that take none, the best there is, or gzip alone."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Mapping

from asgi_questions.apps import (
    BARE,
    CODINGS,
    COMPRESS,
    GZIP,
    OURS,
    Wrap,
    bare,
    peers,
    perfkit,
)
from asgi_questions.direct import added, added_table, check, requests, scope_of
from asgi_questions.payloads import SIZES, payload
from harness import (
    PROCESSOR,
    Arm,
    Estimate,
    Readings,
    Target,
    Timed,
    interleaved,
    ratio,
    table,
    times,
    verdict,
)

GZIP_FASTER, GZIP_SIZE = 3, 1.15
COST_SIZE, COST_CPU = 0.94, 0.8
GZIP_9 = "zlib at level 9"


async def uncompressed(rounds: int) -> str:
    """Ask for no coding: what remains is what the middleware itself costs."""
    targets = {COMPRESS: Target(0.45, at_most=True), GZIP: Target(0.25, at_most=True)}
    said = []
    for name in ("10 kB", "100 kB"):
        absent: dict[str, str] = {}
        body = payload("orders", SIZES[name])
        readings, _sizes = await _measured(body, "", perfkit() | peers(absent), rounds)
        said += [f"Orders, {name}:", added_table(readings, targets, bare=BARE, absent=absent)]
    return "\n\n".join(said)


async def best(rounds: int) -> str:
    """Accept what Chrome accepts; each middleware takes the coding it likes best."""
    targets = {
        "1.4 kB": {COMPRESS: Target(0.4, at_most=True)},
        "10 kB": {COMPRESS: Target(0.5, at_most=True)},
        "100 kB": {},
    }
    said = []
    for kind, names in {"orders": tuple(SIZES), "users": ("10 kB",), "llm": ("10 kB",)}.items():
        for name in names:
            absent: dict[str, str] = {}
            body = payload(kind, SIZES[name])
            readings, sizes = await _measured(body, CODINGS, perfkit() | peers(absent), rounds)
            said += [
                f"{kind.capitalize()}, {len(body):,} bytes:",
                added_table(
                    readings,
                    targets[name] if kind == "orders" else {},
                    bare=BARE,
                    absent=absent,
                    notes=sizes,
                    note="bytes sent",
                ),
            ]
    return "\n\n".join(said)


async def gzip_alone(rounds: int) -> str:
    """Accept gzip alone, as older clients and many libraries do, on 100 kB."""
    said = []
    for kind in ("orders", "users"):
        absent: dict[str, str] = {}
        body = payload(kind, SIZES["100 kB"])
        readings, sizes = await _measured(body, "gzip", perfkit() | peers(absent), rounds)
        title = f"{kind.capitalize()}, {len(body):,} bytes:"
        said += [
            title,
            added_table(readings, {}, bare=BARE, absent=absent, notes=sizes, note="bytes sent"),
            _against_gzip(readings, sizes),
        ]
    return "\n\n".join(said)


def _against_gzip(readings: Readings, sizes: dict[str, str]) -> str:
    if GZIP not in readings:
        return ""
    faster = ratio(added(readings, GZIP, BARE), added(readings, OURS, BARE))
    size = Estimate(_bytes(sizes[OURS]) / _bytes(sizes[GZIP]))
    kept = "yes" if size.point <= GZIP_SIZE else "**no**"
    rows = [
        ["added processor time, that of GZipMiddleware ÷ perfkit's", times(faster), f"≥ {GZIP_FASTER}"],
        ["bytes sent, perfkit's ÷ those of GZipMiddleware", times(size), f"≤ {GZIP_SIZE}"],
    ]
    rows[0].append(verdict(faster, Target(GZIP_FASTER)))
    rows[1].append(kept)
    return table(["a client that accepts gzip alone", "ratio", "target", "met"], rows)


async def cost(rounds: int) -> str:
    """Aim at the least money (`asgi.compress_objective=cost`), beside gzip at its highest level."""
    said = []
    for kind in ("orders", "users"):
        body = payload(kind, SIZES["100 kB"])
        wraps: dict[str, Wrap] = {OURS: perfkit(compress_objective="cost")[OURS]}
        readings, sizes = await _measured(body, CODINGS, wraps, rounds, {GZIP_9: Timed(_zlib(body, 9))})
        size = _bytes(sizes[OURS]) / len(zlib.compress(body, 9))
        cpu = ratio(added(readings, OURS, BARE), readings[GZIP_9][PROCESSOR])
        kept, judged = "yes" if size <= COST_SIZE else "**no**", verdict(cpu, Target(COST_CPU, at_most=True))
        rows = [
            ["bytes sent", times(Estimate(size)), f"≤ {COST_SIZE}", kept],
            ["added processor time", times(cpu), f"≤ {COST_CPU}", judged],
        ]
        said += [
            f"{kind.capitalize()}, {len(body):,} bytes; perfkit sent {sizes[OURS]}:",
            table([f"perfkit ÷ {GZIP_9}", "ratio", "target", "met"], rows),
        ]
    return "\n\n".join(said)


async def _measured(
    body: bytes,
    accept_encoding: str,
    wraps: dict[str, Wrap],
    rounds: int,
    beside: Mapping[str, Arm] | None = None,
) -> tuple[Readings, dict[str, str]]:
    """Measure the bare application, each wrapped one and what else there is; return what each sent, too."""
    scope = scope_of(accept_encoding)
    arms: dict[str, Arm] = {BARE: Timed(requests(bare(body), scope))}
    sizes = {}
    for name, wrap in wraps.items():
        app = wrap(bare(body))
        answer = await check(app, scope, body)
        coding = answer.fields.get(b"content-encoding", b"identity").decode()
        sizes[name] = f"{len(answer.body):,} {coding}"
        arms[name] = Timed(requests(app, scope))
    return await interleaved(arms | dict(beside or {}), rounds), sizes


def _zlib(body: bytes, level: int) -> Callable[[int], Awaitable[int]]:
    async def work(operations: int) -> int:
        for _ in range(operations):
            zlib.compress(body, level)
        return operations

    return work


def _bytes(said: str) -> int:
    return int(said.split(" ")[0].replace(",", ""))
