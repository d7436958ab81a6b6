"""What values cost on their way to Redis and back: models, embeddings, small records, the younger's right."""

from __future__ import annotations

import json
import pickle
import random
import statistics
from array import array
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel

from harness import Arm, Target, Timed, costs_table, interleaved, table
from perfkit.cache.codecs import GENERAL, Codec, Compression, ModelCodec, VectorCodec, train_dictionary
from perfkit.cache.codecs.vectors import Precision
from perfkit.cache.envelope import Envelope, pack
from perfkit.cache.younger import YoungerWins
from perfkit.clock import epoch_s
from perfkit.events import null_probe
from perfkit.pools import Endpoint, OptimizedRedis, PoolType, RedisPools
from perfkit.pools.server import RedisServer

PICKLE = "pickle, protocol 5"
JSON = "json"
DIMENSIONS = 768
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8", "exact")
TRAINED_ON, TRIED_ON = 1_000, 500
MB = 1 << 20


class Choice(BaseModel):
    """One answer of a language model."""

    index: int
    text: str
    finish_reason: str
    logprob: float


class Completion(BaseModel):
    """A typed answer of about 3.5 kB, as a service caches it."""

    id: UUID
    model: str
    user: str
    created: datetime
    choices: list[Choice]
    scores: dict[str, float]
    tags: list[str]
    parent: str | None = None


def completion(seed: int) -> Completion:
    """Return one drawn from a seed."""
    rng = random.Random(seed)  # noqa: S311  # filler, not a secret
    words = [f"{rng.choice('bcdfgklmnprst')}{rng.choice('aeiou')}{rng.randrange(1_000)}" for _ in range(400)]
    return Completion(
        id=UUID(int=rng.getrandbits(128)),
        model="text-large-002",
        user=f"user-{rng.randrange(10**6)}",
        created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(10**7)),
        choices=[
            Choice(
                index=index,
                text=" ".join(rng.choices(words, k=60)),
                finish_reason=rng.choice(["stop", "length"]),
                logprob=-rng.random(),
            )
            for index in range(8)
        ],
        scores={f"category-{number}": rng.random() for number in range(12)},
        tags=rng.sample(words, 6),
    )


async def models(rounds: int) -> str:
    """Write and read a pydantic model, beside pickle."""
    value = completion(1)
    codec = ModelCodec(Completion)
    payload, pickled = _written(codec, value), pickle.dumps(value, 5)
    assert codec.trusted  # noqa: S101  # or this would measure the reading back
    written: dict[str, Callable[[], object]] = {
        f"perfkit, {len(payload):,} bytes": lambda: codec.encode(value),
        f"{PICKLE}, {len(pickled):,} bytes": lambda: pickle.dumps(value, 5),
    }
    read = {
        "perfkit, validated": lambda: codec.decode(payload),
        PICKLE: lambda: pickle.loads(pickled),  # noqa: S301  # our own
    }
    return "\n\n".join(
        [await _compared(written, "write", rounds, 2), await _compared(read, "read", rounds, 2)]
    )


async def embeddings(rounds: int) -> str:
    """Read an embedding of 768 numbers as an array and as a list, beside JSON and pickle; and its sizes."""
    vector = _unit_vector()
    text, pickled = json.dumps(vector).encode(), pickle.dumps(vector, 5)
    arms: dict[str, Callable[[], object]] = {}
    rows = [["JSON", f"{len(text):,}", "1.0×", "1"], [PICKLE, f"{len(pickled):,}", _over(text, pickled), "1"]]
    for precision in PRECISIONS:
        codec = VectorCodec(precision)
        # An array of float32, as models hand them out; exact is an array of float64.
        payload = _written(codec, np.array(vector, "f8" if precision == "exact" else "f4"))
        name = f"perfkit, {precision}"
        arms[f"{name}, as an array"] = partial(codec.decode, payload)
        rows.append([name, f"{len(payload):,}", _over(text, payload), _cosine(codec, payload, vector)])
    for precision in ("float32", "exact"):
        codec = VectorCodec(precision)
        arms[f"perfkit, {precision}, as a list"] = partial(codec.decode, _written(codec, vector))
    arms[PICKLE] = partial(pickle.loads, pickled)
    arms[JSON] = partial(json.loads, text)
    sizes = table([f"{DIMENSIONS} numbers", "bytes", "JSON ÷ this", "cosine"], rows)
    return f"{sizes}\n\n{await _compared(arms, 'read', rounds, 100, last_only=True)}"


async def untyped(rounds: int) -> str:
    """Read a plain value and one with tuples and bytes, as they are written now and as they were before."""
    rows = [
        {"id": n, "name": f"row {n}", "score": n / 7, "raw": bytes(24), "pair": (n, n + 1)} for n in range(40)
    ]
    plain = [{key: row[key] for key in ("id", "name", "score")} for row in rows]
    of_kind: dict[bytes, Codec] = {codec.kind: codec for codec in GENERAL}
    packed, tagged = _written(of_kind[b"M"], rows), _written(of_kind[b"T"], rows)
    text = _written(of_kind[b"J"], plain)
    sizes = f"With tuples and bytes: {len(packed):,} bytes of msgpack, {len(tagged):,} of tagged JSON."
    with_both = {
        "perfkit, msgpack": lambda: of_kind[b"M"].decode(packed),
        "tagged JSON": lambda: of_kind[b"T"].decode(tagged),
    }
    read = {"perfkit, JSON": lambda: of_kind[b"J"].decode(text), JSON: lambda: json.loads(text)}
    tables = [await _compared(arms, "read", rounds, None) for arms in (with_both, read)]
    return "\n\n".join([sizes, *tables])


async def dictionaries(rounds: int) -> str:
    """Compress small records with a dictionary trained on others of their kind, and without one."""
    records = [_record(number) for number in range(TRAINED_ON + TRIED_ON)]
    tried = records[TRAINED_ON:]
    arms: dict[str, Arm] = {}
    rows = [["as JSON", f"{statistics.mean(map(len, tried)):,.0f}", "1.0×"]]
    for name, dictionary in [
        ("perfkit, a dictionary of 16 kB", [train_dictionary(records[:TRAINED_ON])]),
        ("perfkit, a dictionary of 4 kB", [train_dictionary(records[:TRAINED_ON], max_bytes=4_096)]),
        ("perfkit, none", []),
    ]:
        squeeze = Compression(min_bytes=0, max_bytes=MB, dictionaries=dictionary)
        small = [squeeze.compress(record) for record in tried]
        size = sum(len(payload) for _, payload in small)
        rows.append([name, f"{size / TRIED_ON:,.0f}", f"{sum(map(len, tried)) / size:.1f}×"])
        arms[name] = _each(tried, squeeze.compress)
    sizes = table([f"{TRIED_ON} records it was not trained on", "bytes a record", "JSON ÷ this"], rows)
    return f"{sizes}\n\n{costs_table(await interleaved(arms, rounds), {}, unit='record compressed')}"


async def scripts(rounds: int) -> str:
    """Store a kilobyte by the script that lets the younger win, and by SET PX, one after the other."""
    born_s = epoch_s()
    packed = pack(Envelope(b"B", b"-", born_s, born_s + 60, bytes(1_000), born_s + 60))
    with RedisServer.start() as server:
        pools = RedisPools(endpoint=Endpoint.from_url(server.tcp_url), probe=null_probe)
        client: OptimizedRedis = pools.client(PoolType.CACHE).raising
        younger = YoungerWins()

        async def by_script() -> object:
            return await younger.write(client, b"k", packed, life_ms=60_000, now_s=born_s, always=False)

        async def by_set() -> object:
            return await client.set(b"k", packed, px=60_000)

        arms: dict[str, Arm] = {"perfkit, the script": _one_by_one(by_script), "SET PX": _one_by_one(by_set)}
        readings = await interleaved(arms, rounds)
        server_us = {name: await _of_server(client, name) for name in ("evalsha", "set")}
        await pools.aclose()
    on_server = (
        f"By the server's own count a call of EVALSHA takes it {server_us['evalsha']:.1f} µs, a SET "
        f"{server_us['set']:.1f} µs (those within the script among them)."
    )
    return f"{costs_table(readings, {}, unit='write', ours_over_theirs=True)}\n\n{on_server}"


def _written(codec: Codec, value: object) -> bytes:
    payload = codec.encode(value)
    assert payload is not None  # noqa: S101  # or there would be nothing to measure
    return payload


def _unit_vector() -> list[float]:
    numbers = np.random.default_rng(1).standard_normal(DIMENSIONS)
    unit: list[float] = (numbers / np.linalg.norm(numbers)).tolist()
    return unit


def _cosine(codec: Codec, payload: bytes, vector: list[float]) -> str:
    found = np.asarray(codec.decode(payload), dtype=np.float64)
    whole = np.asarray(array("d", vector))
    cosine = float(found @ whole / np.linalg.norm(found) / np.linalg.norm(whole))
    return f"{cosine:.7f}"


def _over(text: bytes, payload: bytes) -> str:
    return f"{len(text) / len(payload):.1f}×"


def _record(number: int) -> bytes:
    """Return an order of about 1.3 kB as JSON."""
    rng = random.Random(number)  # noqa: S311  # filler, not a secret
    lines = [
        {
            "sku": f"SKU-{rng.randrange(10**6):06d}",
            "title": f"{rng.choice(_COLOURS)} {rng.choice(_THINGS)}",
            "quantity": rng.randrange(1, 9),
            "unit_price": rng.randrange(100, 99_900) / 100,
            "currency": "EUR",
            "in_stock": rng.random() < 0.9,
        }
        for _ in range(10)
    ]
    order: dict[str, Any] = {
        "order_id": f"{rng.getrandbits(64):016x}",
        "customer": {"id": rng.randrange(10**7), "email": f"user{rng.randrange(10**6)}@example.com"},
        "status": rng.choice(["pending", "paid", "shipped", "returned"]),
        "placed_at": f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}T12:00:00Z",
        "lines": lines,
    }
    return json.dumps(order, separators=(",", ":")).encode()


_COLOURS = ["red", "blue", "green", "black", "white", "silver"]
_THINGS = ["lamp", "desk chair", "notebook", "coffee grinder", "bicycle bell", "wool blanket", "kettle"]


async def _compared(
    works: Mapping[str, Callable[[], object]],
    unit: str,
    rounds: int,
    at_least: float | None,
    *,
    last_only: bool = False,
) -> str:
    arms: dict[str, Arm] = {name: _one(work) for name, work in works.items()}
    held_to = list(works)[-1:] if last_only else list(works)[1:]
    targets = {name: Target(at_least) for name in held_to} if at_least else {}
    return costs_table(await interleaved(arms, rounds), targets, unit=unit)


def _one(work: Callable[[], object]) -> Timed:
    async def repeated(operations: int) -> int:
        for _ in range(operations):
            work()
        return operations

    return Timed(repeated)


def _one_by_one(work: Callable[[], Coroutine[Any, Any, object]]) -> Timed:
    async def repeated(operations: int) -> int:
        return sum([bool(await work()) for _ in range(operations)])

    return Timed(repeated)


def _each(records: list[bytes], work: Callable[[bytes], object]) -> Timed:
    async def repeated(operations: int) -> int:
        for _ in range(operations // len(records)):
            for record in records:
                work(record)
        return operations

    return Timed(repeated, step=len(records))


async def _of_server(client: OptimizedRedis, command: str) -> float:
    stats = await client.info("commandstats")
    return float(stats[f"cmdstat_{command}"]["usec_per_call"])
