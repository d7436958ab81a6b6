"""What users of typed values write, checked by mypy and never run."""

from pydantic import BaseModel

from perfkit.cache import ModelCache, RemoteTier, train_dictionary
from perfkit.cache.codecs import GENERAL, Codecs, Dictionary, VectorCodec
from perfkit.cache.remote import RemoteClient


class User(BaseModel):
    name: str


user_cache = ModelCache[User](model_class=User, prefix="users:", l1_max_size=1000, l2_default_ttl=3600)
inferred = ModelCache(User, "users:", copy="deep")


async def load() -> User:
    return User(name="Ada")


async def load_if_any() -> User | None:
    return None


async def use(client: RemoteClient) -> None:
    await user_cache.set("user:123", User(name="Ada"), ttl_seconds=60)
    user = await user_cache.get("user:123")
    if user is not None:
        user.name.upper()
    loaded: User = await user_cache.get_or_load("user:123", load)
    found: User | None = await inferred.get_or_load("user:123", load_if_any)
    many: dict[str, User] = await inferred.get_many(["user:123"])
    await inferred.set_many(many | {"user:124": loaded})
    drifted: int = (await inferred.get_stats()).drifted
    dictionary = train_dictionary(each.model_dump_json().encode() for each in many.values())
    of_old: Dictionary = Dictionary(b"what was trained before")
    embeddings = Codecs(VectorCodec("float16", returns="numpy"), *GENERAL)
    tier = RemoteTier(client, prefix="e:", codecs=embeddings, dictionaries=[dictionary, of_old])
    assert await tier.set("k", [0.5] * 768, ttl_seconds=60, born_epoch_s=0.0), (found, drifted)
