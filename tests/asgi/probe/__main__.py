"""Put any middleware to the probe: `python -m tests.asgi.probe starlette.middleware.gzip:GZipMiddleware`."""

from __future__ import annotations

import asyncio
import importlib
import sys

from tests.asgi.probe.case import Factory, verify
from tests.asgi.probe.table import TABLE


async def missed(factory: Factory) -> dict[str, list[str]]:
    """Return the sentences that are not true of a middleware, by topic."""
    found: dict[str, list[str]] = {topic: [] for topic in TABLE}
    for topic, checks in TABLE.items():
        for check in checks:
            try:
                await asyncio.wait_for(verify(factory, check), timeout=5)
            except Exception as error:  # whatever a middleware does wrong
                reason = str(error).splitlines()[0] if str(error) else ""
                found[topic].append(f"{check.sentence}: {type(error).__name__} {reason}"[:160])
    return found


def main() -> None:
    """Print what each named middleware misses, and its score."""
    for name in sys.argv[1:] or ["perfkit.asgi:CompressionMiddleware"]:
        module, _, attribute = name.partition(":")
        found = asyncio.run(missed(getattr(importlib.import_module(module), attribute)))
        for topic, sentences in found.items():
            print(f"{name}  {topic}: {len(TABLE[topic]) - len(sentences)}/{len(TABLE[topic])}")
            print(*(f"    {sentence}\n" for sentence in sentences), sep="", end="")
        count = sum(map(len, TABLE.values()))
        print(f"{name}: {count - sum(map(len, found.values()))} of {count}\n")


if __name__ == "__main__":
    main()
