"""One pydantic model, as the JSON it writes and reads itself: faster than pickle, and checked as it is read.

JSON does not bring back every instance: bytes that are no text, NaN, a subclass of a field's class, what a
validator changes twice. So a model is surveyed when its codec is made (`perfkit.cache.codecs.survey`). An
instance the survey does not vouch for is read back and compared before it is stored.

What comes back equals what was put in and is of its class. `model_fields_set` is not kept, and a time zone
comes back as its offset.
"""

from __future__ import annotations

import hashlib
import json
from typing import Generic, TypeVar

from pydantic import BaseModel, PydanticUserError, ValidationError
from pydantic_core import PydanticSerializationError

from perfkit.cache.codecs.base import NotEncodable, SchemaDrift
from perfkit.cache.codecs.survey import Survey

__all__ = ["ModelCodec", "NothingCodec", "schema_of"]

Model = TypeVar("Model", bound=BaseModel)

_SCHEMA_BYTES = 8


class ModelCodec(Generic[Model]):
    """Instances of one model.

    >>> class User(BaseModel):
    ...     name: str
    >>> codec = ModelCodec(User)
    >>> codec.encode(User(name="Ada"))
    b'{"name":"Ada"}'
    >>> codec.decode(b'{"name":"Ada"}')
    User(name='Ada')
    """

    kind, compressible = b"P", True

    def __init__(self, model_class: type[Model]) -> None:
        """Survey a model.

        Raises:
            TypeError: it is no pydantic model, or has no JSON schema.
        """
        self.schema = schema_of(model_class)
        self._class = model_class
        self._name = model_class.__qualname__
        self._write = model_class.__pydantic_serializer__.to_json
        self._read = model_class.__pydantic_validator__.validate_json
        self._survey = Survey(model_class)

    @property
    def trusted(self) -> bool:
        """Whether instances are stored without being read back first."""
        return self._survey.trusted

    def encode(self, value: object) -> bytes | None:
        """Return an instance's JSON.

        Raises:
            NotEncodable: it is of another class, or would not come back equal.
        """
        if type(value) is not self._class:
            name = type(value).__qualname__
            raise NotEncodable(
                f"a {name} was given where {self._name} is kept, and would come back as something else. "
                f"Give a {self._name}, or make a cache for {name}."
            )
        try:
            payload = self._write(value, round_trip=True, by_alias=False, warnings="error")
            same = (
                self._survey.vouches_for(value) or self._read(payload, by_alias=False, by_name=True) == value
            )
        except ValidationError as error:
            raise NotEncodable(f"this {self._name} would not validate again: {_first_of(error)}") from error
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            # The error's own text shows values, which may be private.
            raise NotEncodable(
                f"this {self._name} cannot be written as JSON ({type(error).__name__}): a field holds "
                "another type than it declares, or bytes or text that are no UTF-8."
            ) from error
        if not same:
            raise NotEncodable(
                f"this {self._name} would come back from JSON as another. Look for a float that is not "
                "finite, an instance of a field's subclass, a private attribute, or a validator that changes "
                "what it has changed before."
            )
        return payload

    def decode(self, payload: bytes) -> object:
        """Return the instance of its JSON, validated.

        Raises:
            SchemaDrift: it does not validate.
        """
        try:
            return self._read(payload, by_alias=False, by_name=True)
        except ValidationError as error:
            raise SchemaDrift(f"what is stored is no {self._name}: {_first_of(error)}") from error


class NothingCodec:
    """None, where there may be no instance; an origin that has nothing need not be asked again at once."""

    kind, schema, compressible = b"N", b"", False

    def encode(self, value: object) -> bytes | None:
        """Return no bytes at all."""
        return b"" if value is None else None

    def decode(self, payload: bytes) -> object:
        """Return None."""
        if payload:
            raise ValueError(f"{len(payload)} bytes are not nothing")
        return None


def schema_of(model_class: type[BaseModel]) -> bytes:
    """Return what tells a model's layout from another: the digest of its JSON schema.

    Raises:
        TypeError: it is no pydantic model, or has no JSON schema.
    """
    if not (isinstance(model_class, type) and issubclass(model_class, BaseModel)):
        raise TypeError(
            f"{model_class!r} is no pydantic model, so nothing checks what comes back from Redis. Give a "
            "subclass of pydantic.BaseModel."
        )
    try:
        model_class.model_rebuild()
        schema = model_class.model_json_schema()
    except PydanticUserError as error:
        raise TypeError(
            f"{model_class.__qualname__} has no JSON schema, so it cannot be kept as JSON: {error}"
        ) from error
    text = json.dumps(schema, sort_keys=True, default=repr)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_SCHEMA_BYTES).digest()


def _first_of(error: ValidationError) -> str:
    """Say where validation failed first and how, without the value, which may be private."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['type']}"
