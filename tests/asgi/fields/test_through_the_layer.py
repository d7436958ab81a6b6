"""However an application sends a document, and in whatever coding it travels: the chosen fields arrive."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.asgi import AsgiSettings, PerformanceMiddleware
from perfkit.asgi.fields import Mask
from perfkit.asgi.fields.grammar import read
from perfkit.asgi.fields.tree import Branch
from perfkit.asgi.messages import Message
from tests.asgi.fields.naive import documents
from tests.asgi.imitated import Scripted, ask, body, legal, start

CHOICES = ["a", "a,b/c", "-a", "*/b,class"]
CODINGS = ["", "identity", "gzip", "br", "zstd", "deflate", "identity;q=0, gzip"]
PADDING = '{"a":{"b":"' + "long " * 400 + '"}}'
SETTINGS = AsgiSettings(fields_compile_after=2, fields_max_bytes=4_096, compress_lag_ms=0)


def expected(text: str, content: bytes, form: str) -> bytes:
    """What a client shall read."""
    branch = read([text])
    assert isinstance(branch, Branch)
    mask = Mask(branch, max_bytes=SETTINGS.fields_max_bytes)
    if form == "lines":
        return mask.lines().end(content)
    filtered = mask.apply(content)
    return content if filtered is None else filtered


@settings(deadline=None)
@given(st.data())
def test_the_chosen_fields_arrive(data: st.DataObject) -> None:
    """In one message or many, with its length said or not, small, large, or too large to be filtered."""
    form = data.draw(st.sampled_from(["json", "lines"]))
    drawn = data.draw(st.lists(documents() | st.just(PADDING), min_size=1, max_size=4))
    if form == "lines":
        content = "\n".join(text.replace("\n", " ") for text in drawn).encode()
    else:
        content = ("[" + ",".join(drawn) + "]").encode()
    text = data.draw(st.sampled_from(CHOICES))
    accept = data.draw(st.sampled_from(CODINGS))
    method = data.draw(st.sampled_from(["GET", "GET", "POST", "HEAD"]))
    told = data.draw(st.booleans())
    at = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=3)))
    pieces = [content[one:two] for one, two in pairwise([0, *at, len(content)])]
    turns = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))

    steps: list[Message] = [
        start(
            200,
            ("content-type", "application/json" if form == "json" else "application/x-ndjson"),
            *([("content-length", str(len(content)))] if told else []),
            ("etag", '"1"'),
        )
    ]
    for number, piece in enumerate(pieces, 1):
        steps.append(body(piece, more=number < len(pieces)))
        if turns[number - 1] and number < len(pieces):
            steps.append(lambda: asyncio.sleep(0))  # type: ignore[arg-type]
    layer = PerformanceMiddleware(Scripted(steps), SETTINGS)
    answer = asyncio.run(ask(layer, accept or None, query=f"fields={text}", method=method))

    legal(answer, method=method)
    assert answer.status == 200
    wanted = expected(text, content, form)
    if method == "HEAD":  # what body there is, a server drops
        assert answer.get("content-length") in (None, str(len(wanted)))
        return
    assert answer.body == wanted
    if wanted != content or answer.coding != "identity":
        assert answer.get("etag") == 'W/"1"'
