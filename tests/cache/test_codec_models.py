"""Models: written as their own JSON, checked as they are read, and refused when JSON would lose something."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import pytest
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    computed_field,
    field_serializer,
    field_validator,
)

from perfkit.cache.codecs import Codecs, ModelCodec, NotEncodable, SchemaDrift
from perfkit.cache.codecs.models import schema_of
from tests.cache.codec_case import CodecCase

T = TypeVar("T")


class Colour(Enum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


class Line(BaseModel):
    """A nested model with itself inside."""

    text: str
    weight: float = 1.0
    children: list[Line] = []


class User(BaseModel):
    """A model as services have them."""

    id: int
    name: str = Field(alias="fullName")
    email: str | None = None
    born: date | None = None
    seen: datetime
    left: timedelta = timedelta(0)
    balance: Decimal = Decimal(0)
    token: UUID = UUID(int=0)
    colour: Colour = Colour.RED
    role: Literal["admin", "user"] = "user"
    scores: dict[str, float] = {}
    pair: tuple[int, str] = (0, "")
    tags: frozenset[str] = frozenset()
    lines: list[Line] = []

    @computed_field
    def shout(self) -> str:
        """Of no field: it is made again."""
        return self.name.upper()


NAMES = st.text(max_size=10)
LINES = st.recursive(
    st.builds(Line, text=NAMES, weight=st.floats()),
    lambda inner: st.builds(Line, text=NAMES, weight=st.floats(), children=st.lists(inner, max_size=2)),
    max_leaves=4,
)
USERS = st.builds(
    User,
    id=st.integers(),
    fullName=NAMES,
    email=st.none() | NAMES,
    born=st.none() | st.dates(),
    seen=st.datetimes(timezones=st.none() | st.just(UTC)),
    left=st.timedeltas(timedelta(-1_000), timedelta(1_000)),
    balance=st.decimals(allow_nan=False, allow_infinity=False),
    token=st.uuids(),
    colour=st.sampled_from(Colour),
    scores=st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    pair=st.tuples(st.integers(), NAMES),
    tags=st.frozensets(NAMES, max_size=3),
)


class TestModels(CodecCase):
    kind = b"P"
    values = USERS
    codecs = Codecs(ModelCodec(User))

    def same(self, one: object, other: object) -> bool:
        """Equal, as the model says: the zone of a time comes back as its offset."""
        return type(one) is type(other) and one == other

    def test_a_model_of_exact_types_is_trusted(self) -> None:
        """Nothing is read back before it is stored; that is what makes it fast."""
        assert ModelCodec(User).trusted
        assert ModelCodec(Line).trusted


def user(**fields: Any) -> User:
    return User(**({"id": 1, "fullName": "Ada", "seen": datetime(2026, 1, 1, tzinfo=UTC)} | fields))


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_a_float_that_json_has_no_form_for_is_refused(weight: float) -> None:
    """pydantic would write null for it, deep inside as well."""
    value = user(lines=[Line(text="a", children=[Line(text="b", weight=weight)])])

    with pytest.raises(NotEncodable, match=r"would (come back from JSON as another|not validate again)"):
        ModelCodec(User).encode(value)


def test_a_null_that_is_none_is_no_reason_to_refuse() -> None:
    """It only makes the codec look twice."""
    codec = ModelCodec(User)
    payload = codec.encode(user(lines=[Line(text="null")]))

    assert payload is not None
    assert codec.decode(payload) == user(lines=[Line(text="null")])


class Secretive(BaseModel):
    """Holds something that is no field."""

    name: str
    _seen: int = PrivateAttr(default=0)


class Twice(BaseModel):
    """A validator that changes what it has changed."""

    name: str

    @field_validator("name")
    @classmethod
    def _louder(cls, name: str) -> str:
        return name + "!"


class Stripped(BaseModel):
    """A validator that leaves alone what it has changed."""

    name: Annotated[str, AfterValidator(str.strip)]


class Rounded(BaseModel):
    """A serializer of its own."""

    number: float

    @field_serializer("number")
    def _rounded(self, number: float) -> float:
        return round(number, 1)


class Blob(BaseModel):
    """Bytes, which JSON has no form for."""

    raw: bytes


class Blob64(Blob):
    """Bytes as base64."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Either(BaseModel):
    """Types that share a JSON."""

    value: datetime | str


class Whatever(BaseModel):
    """Any."""

    value: Any


class Hidden(BaseModel):
    """A field that is not written."""

    name: str
    other: str = Field(default="", exclude=True)


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (Secretive(name="a"), Secretive(name="a")),
        (Stripped(name=" a "), None),
        (None, Twice(name="a")),
        (Rounded(number=0.5), Rounded(number=0.55)),
        (Blob(raw=b"text"), Blob(raw=b"\xff")),
        (Blob64(raw=b"\xff\x00"), None),
        (Either(value="tomorrow"), Either(value="2026-01-01T00:00:00Z")),
        (Whatever(value=[1, "a"]), Whatever(value=(1, "a"))),
        (Hidden(name="a"), Hidden(name="a", other="b")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_that_json_may_change_is_tried_first_and_refused_when_it_does(
    good: BaseModel | None, bad: BaseModel | None
) -> None:
    """What comes back equal is stored; of what does not, the message says what to look for."""
    if isinstance(bad, Secretive):
        bad._seen = 5
    one = good or bad
    assert one is not None
    codec = ModelCodec(type(one))

    assert not codec.trusted
    if good is not None:
        payload = codec.encode(good)
        assert payload is not None
        assert codec.decode(payload) == good
    if bad is not None:
        with pytest.raises(NotEncodable, match=r"as another|cannot be written"):
            codec.encode(bad)


class Animal(BaseModel):
    """A class that has a subclass."""

    name: str


class Dog(Animal):
    """Holds more."""

    trick: str = "roll"


class Owner(BaseModel):
    """Holds one or the other."""

    pet: Animal


def test_a_subclass_inside_is_refused_and_the_class_itself_is_not() -> None:
    """pydantic writes it as what the field declares, without what it adds."""
    codec = ModelCodec(Owner)

    assert codec.encode(Owner(pet=Animal(name="Cat"))) is not None
    with pytest.raises(NotEncodable, match="as another"):
        codec.encode(Owner(pet=Dog(name="Rex")))


@pytest.mark.parametrize(
    "value", [Dog(name="Rex"), {"name": "Rex"}, None, "Rex"], ids=lambda v: type(v).__name__
)
def test_another_type_is_refused_by_name(value: object) -> None:
    """A subclass too: it would come back as less."""
    with pytest.raises(NotEncodable, match=f"a {type(value).__qualname__} was given where Animal is kept"):
        ModelCodec(Animal).encode(value)


def test_a_field_that_was_assigned_another_type_is_refused_without_showing_it() -> None:
    """What users put in must not stand in a log."""
    value = user()
    value.name = ["secret"]  # type: ignore[assignment]

    with pytest.raises(NotEncodable, match="another type than it declares") as refusal:
        ModelCodec(User).encode(value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("fields", [{}, {"text": "a"}, {"text": "a", "weight": "heavy"}, {"weight": 10**400}])
def test_an_instance_made_without_validation_is_refused_or_comes_back_equal(fields: dict[str, Any]) -> None:
    """`model_construct` leaves out what it likes."""
    line = Line.model_construct(**fields)
    codec = ModelCodec(Line)
    try:
        payload = codec.encode(line)
    except NotEncodable:
        return
    assert payload is not None
    assert codec.decode(payload) == line


def test_what_does_not_validate_is_drift_and_is_not_shown() -> None:
    """As after a validator became stricter."""
    with pytest.raises(SchemaDrift, match="what is stored is no Animal: name: string_type") as drift:
        ModelCodec(Animal).decode(b'{"name":["secret"]}')
    assert "secret" not in str(drift.value)


def test_a_schema_changes_with_the_layout_and_with_nothing_else() -> None:
    """A new field, another type, another bound, another nested model: another schema."""

    def variant(annotation: Any, **config: Any) -> type[BaseModel]:
        namespace = {"__annotations__": {"value": annotation}, "model_config": ConfigDict(**config)}
        return type("Variant", (BaseModel,), namespace)

    kinds = (int, str, int | None, Annotated[int, Field(ge=1)], Annotated[int, Field(ge=2)], Animal, Owner)

    assert len({schema_of(variant(kind)) for kind in kinds}) == len(kinds)
    assert schema_of(variant(int)) == schema_of(variant(int, frozen=True))
    assert len(schema_of(User)) == 8


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


def test_a_generic_model_is_kept_by_its_parameters() -> None:
    """Pages of one thing are no pages of another."""
    codec = ModelCodec(Page[Animal])
    page = Page[Animal](items=[Animal(name="Cat")])
    payload = codec.encode(page)

    assert payload is not None
    assert codec.decode(payload) == page
    assert codec.schema != ModelCodec(Page[User]).schema


class Unwritable(BaseModel):
    """Has no JSON schema."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    thing: object
    call: pytest.MonkeyPatch


@pytest.mark.parametrize(
    "model", [dict, int, Animal(name="a"), Unwritable], ids=["dict", "int", "instance", "any"]
)
def test_what_cannot_be_kept_as_json_is_refused_when_the_codec_is_made(model: Any) -> None:
    """Not at the first set, in production."""
    with pytest.raises(TypeError, match=r"is no pydantic model|has no JSON schema"):
        ModelCodec(model)
