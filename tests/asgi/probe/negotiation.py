"""Which coding the client wants: RFC 9110 §12.5.3, and §12.4.2 of its weights."""

from __future__ import annotations

from collections.abc import Sequence

from tests.asgi.imitated import Step, whole
from tests.asgi.probe.case import BIG, SMALL, Check, Expectation
from tests.asgi.probe.expect import coded, has, plain, smaller, varies

__all__ = ["CHECKS"]


def _wants(sentence: str, accept: str | Sequence[str] | None, *expects: Expectation) -> Check:
    return Check(sentence, accept, _big, expects)


def _big() -> list[Step]:
    return whole(BIG, content_type="application/json")


def _small() -> list[Step]:
    return whole(SMALL, content_type="application/json")


CHECKS = [
    _wants("gzip is offered", "gzip", coded("gzip"), smaller, varies),
    _wants("brotli is offered", "br", coded("br"), smaller, varies),
    _wants("zstd is offered", "zstd", coded("zstd"), smaller, varies),
    _wants("deflate is offered, in the zlib format", "deflate", coded("deflate"), smaller, varies),
    _wants("x-gzip is gzip", "x-gzip", coded("gzip", "x-gzip")),
    _wants(
        "a client that names no weights gets the server's choice", "gzip, deflate, br, zstd", coded("zstd")
    ),
    _wants("the names of codings have no case", "GZip", coded("gzip")),
    _wants("a weight of 0 forbids", "gzip;q=0", plain, varies),
    _wants("a weight of 0.000 forbids", "gzip;q=0.000", plain, varies),
    _wants("a weight of 0 forbids one coding and not the next", "zstd;q=0, br;q=0, gzip", coded("gzip")),
    _wants("the client's order of weights is followed", "gzip;q=1, br;q=.5, zstd;q=.1", coded("gzip")),
    _wants("the weight may have spaces around and a large Q", "gzip ; q=0.4 ,br;Q=0.8", coded("br")),
    _wants("an asterisk accepts any coding", "*", coded("zstd", "br", "gzip", "deflate")),
    _wants("an asterisk of weight 0 accepts none that is not named", "*;q=0", plain),
    _wants("a named coding is accepted beside an asterisk of weight 0", "gzip, *;q=0", coded("gzip")),
    _wants("a forbidden coding is not let in by an asterisk", "zstd;q=0, *", coded("br", "gzip", "deflate")),
    _wants("a named coding of more weight comes before an asterisk", "gzip;q=0.9, *;q=0.1", coded("gzip")),
    _wants("a client that likes identity better gets it", "identity;q=1, gzip;q=.5", plain, varies),
    _wants(
        "a client that likes a coding better than identity gets that", "identity;q=.5, gzip", coded("gzip")
    ),
    _wants("several lines of Accept-Encoding are one", ["br;q=0.1", "gzip"], coded("gzip")),
    _wants("a coding in the second line is seen", ["identity;q=0.1", "gzip"], coded("gzip")),
    _wants("notgzip is not gzip", "notgzip", plain),
    _wants("brx is not br", "brx, gzipped, zstd2", plain),
    _wants("an unknown coding beside a known one harms nothing", "sdch, compress, gzip", coded("gzip")),
    _wants("a request without Accept-Encoding is answered as it is, and varies", None, plain, varies),
    _wants("an empty Accept-Encoding means identity", "", plain, varies),
    _wants(
        "where nothing offered is acceptable the answer goes out as it is", "compress, identity;q=0", plain
    ),
    _wants("empty members of the list are passed over", ",, gzip , ,", coded("gzip")),
    _wants("a weight that is no number is no error", "gzip;q=high, br;q=, zstd;q=-1"),
    _wants("a weight of more than 1 is no error", "gzip;q=7"),
    _wants("an Accept-Encoding of 60 KiB is no error", "gzip;q=0.1, " * 5_000 + "br"),
    _wants("bytes that are no text are no error", "gz\xffip;q=\xfe, \x80"),
    Check("a small body is not compressed, and varies", "gzip", _small, (plain, varies)),
    Check(
        "a small body is compressed for a client that forbids identity",
        "gzip, identity;q=0",
        _small,
        (has("content-encoding", "gzip"), varies),
    ),
    Check(
        "a small body is compressed for a client that forbids all but one coding",
        "gzip;q=0.5, *;q=0",
        _small,
        (has("content-encoding", "gzip"), varies),
    ),
]
