"""Many keys at once: looked up together, and what is missing loaded together.

Look-ups need no command of their own for that. Those made in one turn of the loop leave in one write, because
the pools' connections are shared (`perfkit.pools.wire`). Each key keeps its own flight, lock and times; only
the loads of what reaches the origin in the same turn are put together, so that a key which another instance
is loading keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

__all__ = ["LoadedTogether"]

T = TypeVar("T")


class LoadedTogether(Generic[T]):
    """Collects the keys of one turn of the loop and loads them by one call.

    >>> async def squares(keys: Sequence[str]) -> dict[str, int]:
    ...     print("loading", *keys)
    ...     return {key: int(key) ** 2 for key in keys}
    >>> async def main() -> list[int]:
    ...     together = LoadedTogether(squares)
    ...     return await asyncio.gather(*map(together.load, ["2", "3"]))
    >>> asyncio.run(main())
    loading 2 3
    [4, 9]
    """

    def __init__(self, load_many: Callable[[Sequence[str]], Awaitable[Mapping[str, T]]]) -> None:
        """Make it over a function that returns a value for each key it is given."""
        self._load_many = load_many
        self._keys: list[str] = []
        self._batch: asyncio.Task[Mapping[str, T]] | None = None

    async def load(self, key: str) -> T:
        """Return the key's value, loaded with those of all who ask in this turn.

        Raises:
            KeyError: the function returned none for it.
            Exception: what the function raised, to all whose keys it was given.
        """
        if self._batch is None:
            self._keys = []
            self._batch = asyncio.get_running_loop().create_task(self._load(self._keys))
        self._keys.append(key)
        batch = self._batch
        values = await asyncio.shield(batch)  # who leaves takes nobody else's value along
        if key not in values:
            raise KeyError(f"The load of {len(values)} keys returned no value for one that was asked for.")
        return values[key]

    async def _load(self, keys: list[str]) -> Mapping[str, T]:
        await asyncio.sleep(0)  # whoever asks in this turn is still to come
        self._batch = None
        return await self._load_many(tuple(dict.fromkeys(keys)))
