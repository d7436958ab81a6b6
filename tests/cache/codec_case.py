"""What every codec must do; a new one's tests inherit `CodecCase`."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from perfkit.cache.codecs import GENERAL, Codecs, NotEncodable, SchemaDrift
from perfkit.cache.envelope import TornEnvelope

HEALTH = [HealthCheck.differing_executors]  # the suite is inherited on purpose


def there_and_back(value: object, codecs: Codecs = GENERAL) -> object:
    return codecs.decode(*codecs.encode(value))


def same(one: object, other: object) -> bool:
    """Equal with types, order, NaN and the sign of zero: what `repr` shows of these types."""
    return repr(one) == repr(other)


class CodecCase:
    """What every kind must do; a new one inherits this."""

    kind: bytes
    values: st.SearchStrategy[Any]
    codecs = GENERAL

    @given(data=st.data())
    @settings(deadline=None, suppress_health_check=HEALTH)
    def test_what_goes_in_comes_out(self, data: st.DataObject) -> None:
        """The same value of the same types, under its own kind."""
        value = data.draw(self.values)
        kind, schema, payload = self.codecs.encode(value)

        assert kind == self.kind
        assert self.same(self.codecs.decode(kind, schema, payload), value)

    @given(data=st.data())
    @settings(deadline=None, suppress_health_check=HEALTH)
    def test_equal_values_make_equal_bytes(self, data: st.DataObject) -> None:
        """Nothing of the moment is inside: two instances write the same."""
        value = data.draw(self.values)

        assert self.codecs.encode(value) == self.codecs.encode(value)

    @given(payload=st.binary(max_size=60))
    @example(payload=b"")
    @example(payload=b"[" * 100_000)
    @example(payload=b"\x91" * 100_000)
    @example(payload=b"9" * 5_000)
    @settings(deadline=None, suppress_health_check=HEALTH)
    def test_arbitrary_bytes_are_a_value_or_refused(self, payload: bytes) -> None:
        """Never another exception: not for text that is none, nor for ten thousand brackets."""
        self.value_or_refusal(payload)

    @given(data=st.data(), place=st.integers(0, 10_000), byte=st.integers(0, 255))
    @settings(deadline=None, suppress_health_check=HEALTH)
    def test_altered_bytes_are_a_value_or_refused(self, data: st.DataObject, place: int, byte: int) -> None:
        """The checksum stands before this; behind it too, nothing unexpected is raised."""
        _, _, payload = self.codecs.encode(data.draw(self.values))
        place %= len(payload) + 1
        self.value_or_refusal(payload[:place] + bytes([byte]) + payload[place + 1 :])

    @given(data=st.data(), length=st.integers(0, 10_000))
    @settings(deadline=None, suppress_health_check=HEALTH)
    def test_bytes_cut_short_are_a_value_or_refused(self, data: st.DataObject, length: int) -> None:
        """Half an answer is none, or happens to be another."""
        _, _, payload = self.codecs.encode(data.draw(self.values))
        self.value_or_refusal(payload[: length % (len(payload) + 1)])

    def value_or_refusal(self, payload: bytes) -> None:
        schema = next(codec.schema for codec in self.codecs if codec.kind == self.kind)
        try:
            value = self.codecs.decode(self.kind, schema, payload)
        except (TornEnvelope, SchemaDrift):
            return
        try:
            again = there_and_back(value, self.codecs)
        except NotEncodable:
            return  # as a dictionary with other keys than text, which no encoder here writes
        assert self.same(again, value)

    def same(self, one: object, other: object) -> bool:
        """Tell whether what came back is what was put in."""
        return same(one, other)
