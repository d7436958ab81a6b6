"""The content codings, one a file: whole bodies, and streams whose every part can be read at once."""

from perfkit.asgi.codecs.base import Codec, Encoder
from perfkit.asgi.codecs.brotli import Brotli
from perfkit.asgi.codecs.zlib import Deflate, Gzip
from perfkit.asgi.codecs.zstd import Zstd

__all__ = ["CODECS", "Brotli", "Codec", "Deflate", "Encoder", "Gzip", "Zstd"]

CODECS: dict[str, Codec] = {codec.coding: codec for codec in (Zstd(), Brotli(), Gzip(), Deflate())}
"""Every codec by the name of its coding, in our order of preference."""
