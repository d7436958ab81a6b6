"""Values to bytes and back: what was put in comes out, of the same types, or is refused on the way in.

Never pickle: whoever can write to Redis could then run code here. Each codec has a letter, its kind, which
travels in the envelope:

    B  bytes, as they are                                    `plain`
    J  JSON, where JSON brings everything back as it is      `plain`
    M  msgpack, where tuples or bytes stand inside           `packed`
    T  JSON with tags, as older versions wrote it            `tagged`
    V  vectors: arrays and lists of floats                   `vectors`
    P  one pydantic model, as its own JSON                   `models`
    N  None, where a model may be absent                     `models`

`GENERAL` holds those that suit any value. A tier whose values are all alike is given codecs of its own:

>>> from perfkit.cache.codecs import GENERAL, Codecs, VectorCodec
>>> embeddings = Codecs(VectorCodec("float16"), *GENERAL)
>>> kind, schema, payload = embeddings.encode([0.5, 0.25] * 384)
>>> kind, len(payload), embeddings.decode(kind, schema, payload) == [0.5, 0.25] * 384
(b'V', 1548, True)
"""

from __future__ import annotations

from perfkit.cache.codecs.base import Codec, Codecs, NotEncodable, SchemaDrift
from perfkit.cache.codecs.compression import Compression, Dictionary, UnknownDictionary, train_dictionary
from perfkit.cache.codecs.models import ModelCodec, NothingCodec
from perfkit.cache.codecs.packed import MsgpackCodec
from perfkit.cache.codecs.plain import BytesCodec, JsonCodec
from perfkit.cache.codecs.tagged import TaggedJsonCodec
from perfkit.cache.codecs.vectors import VectorCodec

__all__ = [
    "GENERAL",
    "BytesCodec",
    "Codec",
    "Codecs",
    "Compression",
    "Dictionary",
    "JsonCodec",
    "ModelCodec",
    "MsgpackCodec",
    "NotEncodable",
    "NothingCodec",
    "SchemaDrift",
    "TaggedJsonCodec",
    "UnknownDictionary",
    "VectorCodec",
    "train_dictionary",
]

GENERAL = Codecs(BytesCodec(), VectorCodec(), JsonCodec(), MsgpackCodec(), TaggedJsonCodec())
"""What any value is written with: the first codec that takes it."""
