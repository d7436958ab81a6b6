"""A cache of one pydantic model: what comes out is an instance, checked, or nothing.

Instances travel to Redis as the model's own JSON, with a digest of the model's schema beside them. After a
deployment that changed the model, what the old version wrote has another digest: it is a miss and counted,
and the origin is asked for an instance of the new layout. Old and new versions can so run side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from pydantic import BaseModel

from perfkit.cache.codecs import Codecs, Dictionary, ModelCodec, NothingCodec
from perfkit.cache.environment import PREFIX, environments_client, environments_settings
from perfkit.cache.remote import Opener, RemoteClient, RemoteCounts, RemoteTier
from perfkit.cache.settings import CacheSettings
from perfkit.cache.tiered import CacheStats, TieredCache
from perfkit.clock import Clock, epoch_s, now_s
from perfkit.events import Probe, log_probe
from perfkit.knobs import replaced

__all__ = ["Copy", "ModelCache", "ModelCacheStats"]

Model = TypeVar("Model", bound=BaseModel)
Copy: TypeAlias = Literal["none", "shallow", "deep"]


@dataclass(frozen=True, slots=True)
class ModelCacheStats:
    """What a cache of models has done on the running loop since it was first used there."""

    tiers: CacheStats
    remote: RemoteCounts

    @property
    def drifted(self) -> int:
        """Instances in Redis that were of another layout, or did not validate; each was a miss."""
        return self.remote.drifted


class ModelCache(Generic[Model]):
    """Instances of one model by key, in memory and in Redis, as the environment configures them.

    >>> class User(BaseModel):
    ...     name: str
    >>> async def main() -> User | None:
    ...     users = ModelCache[User](model_class=User, prefix="users:", l1_max_size=1000, l2_default_ttl=3600)
    ...     await users.set("user:123", User(name="Ada"))
    ...     return await users.get("user:123")
    >>> asyncio.run(main())
    User(name='Ada')

    It may be made where no loop runs yet, as at a module's top; each loop has tiers of its own.
    """

    def __init__(
        self,
        model_class: type[Model],
        prefix: str,
        *,
        l1_max_size: int | None = None,
        l2_default_ttl: float | None = None,
        copy: Copy = "none",
        settings: CacheSettings | None = None,
        client: RemoteClient | Opener | None = None,
        dictionaries: Iterable[Dictionary] = (),
        clock: Clock = now_s,
        epoch: Clock = epoch_s,
        probe: Probe = log_probe,
    ) -> None:
        """Make a cache; nothing is opened yet.

        Args:
            model_class: The model. Instances of subclasses are refused: they would come back as less.
            prefix: Keeps this cache's keys apart from all others'; a colon at its end is implied.
            l1_max_size: How many instances the memory of this process holds; default the setting.
            l2_default_ttl: How long an instance is served, in seconds; default the setting.
            copy: Whether what is taken in and handed out is the very object, or a copy of it: `shallow` keeps
                callers from replacing each other's fields, `deep` also from changing lists within them.
                Frozen models whose fields are frozen too need none.
            settings: All other knobs; default: as the environment says.
            client: Of Redis; default: the environment's, in the pool `cache`.
            dictionaries: For compression; see `perfkit.cache.train_dictionary`.
            clock: Monotonic seconds, for memory.
            epoch: Epoch seconds, for Redis.
            probe: Hears of failures.

        Raises:
            TypeError: it is no pydantic model, or has no JSON schema.
            SettingsError: a number is out of bounds, or a `PERFKIT_CACHE__…` variable is refused.
        """
        settings = environments_settings() if settings is None else settings
        given = {"l1_max_entries": l1_max_size, "l2_ttl_seconds": l2_default_ttl}
        self._settings = replaced(settings, {name: n for name, n in given.items() if n is not None})
        self._class = model_class
        self._codecs = Codecs(NothingCodec(), ModelCodec(model_class))
        self._namespace = prefix.removesuffix(":")
        self._copy = copy
        self._client: RemoteClient | Opener = environments_client if client is None else client
        self._dictionaries = tuple(dictionaries)
        self._clocks = (clock, epoch)
        self._probe = probe
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[TieredCache, RemoteTier]]
        self._of_loop = WeakKeyDictionary()

    def __repr__(self) -> str:
        """Show what it holds and where."""
        return f"ModelCache[{self._class.__qualname__}](prefix={self._namespace + ':'!r})"

    async def get(self, key: str) -> Model | None:
        """Return the instance stored under a key, or None; the origin is not asked."""
        return self._handed_out(await self._tiers[0].get(key))

    async def get_many(self, keys: Iterable[str]) -> dict[str, Model]:
        """Return the instances stored under keys; a key without one is left out."""
        keys = list(dict.fromkeys(keys))
        found = zip(keys, await asyncio.gather(*map(self.get, keys)), strict=True)
        return {key: instance for key, instance in found if instance is not None}

    @overload
    async def get_or_load(
        self, key: str, load: Callable[[], Awaitable[Model]], *, ttl_seconds: float | None = None
    ) -> Model: ...
    @overload
    async def get_or_load(
        self, key: str, load: Callable[[], Awaitable[Model | None]], *, ttl_seconds: float | None = None
    ) -> Model | None: ...
    async def get_or_load(
        self, key: str, load: Callable[[], Awaitable[Model | None]], *, ttl_seconds: float | None = None
    ) -> Model | None:
        """Return the instance stored under a key, or what `load` returns, which is then stored.

        A `load` that returns None, for what does not exist, is not asked again at once.

        Raises:
            TypeError: `load` returned something that is no instance of the model.
            Exception: whatever `load` raises, to every caller that waited for it; nothing is stored.
        """

        async def loaded() -> Model | None:
            instance = await load()
            return None if instance is None else self._taken_in(instance)

        return self._handed_out(await self._tiers[0].get_or_load(key, loaded, l2_ttl_seconds=ttl_seconds))

    async def set(self, key: str, instance: Model, *, ttl_seconds: float | None = None) -> None:
        """Store an instance in both tiers.

        One that would not come back equal (see `perfkit.cache.codecs.models`) stays in memory only.

        Raises:
            TypeError: it is no instance of the model itself.
        """
        await self._tiers[0].set(key, self._taken_in(instance), l2_ttl_seconds=ttl_seconds)

    async def set_many(self, instances: Mapping[str, Model], *, ttl_seconds: float | None = None) -> None:
        """Store many instances.

        Raises:
            TypeError: one of them is no instance of the model itself; then none is stored.
        """
        taken = {key: self._taken_in(instance) for key, instance in instances.items()}
        cache = self._tiers[0]
        await asyncio.gather(
            *(cache.set(key, each, l2_ttl_seconds=ttl_seconds) for key, each in taken.items())
        )

    async def invalidate(self, key: str) -> None:
        """Forget the instance stored under a key, in both tiers."""
        await self._tiers[0].invalidate(key)

    async def get_stats(self) -> ModelCacheStats:
        """Return what this cache has done on the running loop."""
        cache, remote = self._tiers
        return ModelCacheStats(await cache.get_stats(), remote.counts)

    async def aclose(self) -> None:
        """Cancel what is under way on the running loop and forget what its memory holds; Redis stays open."""
        held = self._of_loop.pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[0].aclose()

    @property
    def _tiers(self) -> tuple[TieredCache, RemoteTier]:
        """The running loop's: connections, flights and locks belong to one loop."""
        loop = asyncio.get_running_loop()
        tiers = self._of_loop.get(loop)
        if tiers is None:
            tiers = self._of_loop[loop] = self._opened()
        return tiers

    def _opened(self) -> tuple[TieredCache, RemoteTier]:
        settings, (clock, epoch) = self._settings, self._clocks
        remote = RemoteTier(
            self._client,
            prefix=PREFIX,
            epoch=epoch,
            compress_min_bytes=settings.l2_compress_min_bytes,
            entry_max_bytes=settings.l2_entry_max_bytes,
            codecs=self._codecs,
            dictionaries=self._dictionaries,
            probe=self._probe,
        )
        cache = TieredCache(
            settings, remote=remote, namespace=self._namespace, clock=clock, epoch=epoch, probe=self._probe
        )
        return cache, remote

    def _taken_in(self, instance: Model) -> Model:
        if type(instance) is not self._class:
            name, wanted = type(instance).__qualname__, self._class.__qualname__
            raise TypeError(
                f"{type(instance).__module__}.{name} is not {wanted}, which this cache holds; it would "
                f"come back from Redis as another. Store a {wanted}, or make a ModelCache[{name}]."
            )
        return self._copied(instance)

    def _handed_out(self, found: object) -> Model | None:
        return self._copied(found) if isinstance(found, self._class) else None

    def _copied(self, instance: Model) -> Model:
        return instance if self._copy == "none" else instance.model_copy(deep=self._copy == "deep")
