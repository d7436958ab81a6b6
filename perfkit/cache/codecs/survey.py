"""Which models JSON brings back as they were: found out from their fields, once, and for floats each time.

A model is trusted when all it holds is of types whose JSON is read back equal. Two things remain to be looked
at in each instance. NaN and the infinities are written as null, which is read as None where None may be. And
a field may hold an instance of a subclass, which is written without what the subclass adds; where a class has
no subclasses, it cannot.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

__all__ = ["Survey"]

_EXACT = frozenset({type(None), bool, int, str, datetime, date, time, timedelta, Decimal, UUID})
_CONTAINERS = frozenset({list, tuple, set, frozenset})
_HARMLESS_CONFIG = frozenset(
    {"alias_generator", "frozen", "from_attributes", "json_schema_extra", "populate_by_name", "strict"}
    | {"title", "use_attribute_docstrings", "validate_assignment", "validate_by_alias", "validate_by_name"}
)
_HARMLESS_METADATA = ("annotated_types", "pydantic._internal._fields", "pydantic.types")

_Finite: TypeAlias = Callable[[Any], bool]
"""Tells whether all floats in a value are finite; it may say no of finite ones whose sum is not."""


class Survey:
    """What was found out about a model and all it holds.

    >>> class Point(BaseModel):
    ...     x: float
    >>> survey = Survey(Point)
    >>> survey.trusted, survey.vouches_for(Point(x=1)), survey.vouches_for(Point(x=math.inf))
    (True, True, False)
    """

    def __init__(self, model: type[BaseModel]) -> None:
        self._models: dict[type[BaseModel], list[tuple[str, _Finite]]] = {}
        self._doubts = False
        self._fields = len(model.model_fields)
        finite = self._of_model(model)
        self.trusted = not self._doubts
        self._nested = [each for each in self._models if each is not model]
        self._finite = finite if any(self._models.values()) else None

    def vouches_for(self, instance: BaseModel) -> bool:
        """Tell whether an instance comes back equal, without trying."""
        if not self.trusted or len(instance.__dict__) != self._fields:
            return False
        if any(each.__subclasses__() for each in self._nested):
            return False
        try:
            return self._finite is None or self._finite(instance)
        except (KeyError, TypeError, AttributeError, OverflowError):
            return False  # it was made without being validated

    def _of_model(self, model: type[BaseModel]) -> _Finite:
        if model not in self._models:
            checks = self._models[model] = []
            self._doubts |= _has_ways_of_its_own(model)
            for name, field in model.model_fields.items():
                finite = self._of(field.annotation)
                if finite is not None:
                    checks.append((name, finite))
        return _of_fields(self._models[model])

    def _of(self, annotation: Any) -> _Finite | None:
        """Return how to look at what is annotated so; None where it holds no floats."""
        if annotation is float:
            return math.isfinite
        if annotation in _EXACT:
            return None
        origin, inside = get_origin(annotation), get_args(annotation)
        if origin in (Union, types.UnionType) and len(inside) == 2 and type(None) in inside:
            (other,) = (each for each in inside if each is not type(None))
            return _or_none(self._of(other))
        if origin is tuple and Ellipsis not in inside:
            return _of_places([self._of(each) for each in inside])
        if origin in _CONTAINERS and inside:
            return _of_each(self._of(inside[0]))
        if origin is dict and inside[0] is str:
            of_values = _of_each(self._of(inside[1]))
            return of_values and (lambda value: of_values(value.values()))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self._of_model(annotation)
        if not _is_exact_choice(annotation, origin, inside):
            self._doubts = True
        return None


def _has_ways_of_its_own(model: type[BaseModel]) -> bool:
    """Tell whether a model is written or read in any way but field by field as declared."""
    decorators = model.__pydantic_decorators__
    return bool(
        (decorators.validators or decorators.field_validators or decorators.root_validators)
        or (decorators.field_serializers or decorators.model_serializers or decorators.model_validators)
        or (model.__private_attributes__ or set(model.model_config) - _HARMLESS_CONFIG)
        or any(
            vars(each).get("__get_pydantic_core_schema__") for each in model.__mro__ if each is not BaseModel
        )
        or any(field.exclude for field in model.model_fields.values())
        or any(
            type(extra).__module__ not in _HARMLESS_METADATA
            for field in model.model_fields.values()
            for extra in field.metadata
        )
    )


def _is_exact_choice(annotation: Any, origin: Any, inside: tuple[Any, ...]) -> bool:
    """Tell whether it is a literal or an enumeration of texts, numbers or None."""
    if origin is Literal:
        return all(type(choice) in (str, int, bool, type(None)) for choice in inside)
    is_enumeration = isinstance(annotation, type) and issubclass(annotation, Enum)
    return is_enumeration and all(type(choice.value) in (str, int) for choice in annotation)


def _of_fields(checks: list[tuple[str, _Finite]]) -> _Finite:
    """Look at fields; the list may still grow, where a model holds itself."""

    def finite(instance: Any) -> bool:
        fields = instance.__dict__
        for name, check in checks:  # noqa: SIM110  # a generator would take as long again
            if not check(fields[name]):
                return False
        return True

    return finite


def _of_each(check: _Finite | None) -> _Finite | None:
    if check is math.isfinite:
        return lambda values: math.isfinite(sum(values))
    return check and (lambda values: all(map(check, values)))


def _of_places(checks: list[_Finite | None]) -> _Finite | None:
    places = [(place, check) for place, check in enumerate(checks) if check is not None]
    return (lambda value: all(check(value[place]) for place, check in places)) if places else None


def _or_none(check: _Finite | None) -> _Finite | None:
    return check and (lambda value: value is None or check(value))
