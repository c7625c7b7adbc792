"""What is written comes back as it was, or is refused where it is sent."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, UserString, defaultdict, namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remit.codec
from remit.codec import ENCODING, MAX_BYTES, Codec, decode, encode
from remit.errors import PayloadError, PayloadTooLarge, UndecodablePayload


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Right(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict, total=False):
    deep: bool
    tags: list[str]


class Line(msgspec.Struct):
    sku: str
    amount: Decimal


@dataclass(frozen=True)
class Address:
    street: str
    number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Everything:
    text: str
    number: int
    ratio: float
    flag: bool
    raw: bytes
    price: Decimal
    moment: datetime
    day: date
    clock: time
    span: timedelta
    id: UUID
    colour: Colour
    size: Size
    right: Right
    point: Point
    options: Options
    line: Line
    address: Address | None
    maybe: str | int | None
    kind: Literal["a", "b", 3]
    pairs: tuple[int, str]
    many: tuple[str, ...]
    items: list[Address]
    unique: set[int]
    frozen: frozenset[str]
    table: dict[str, list[int]]
    by_number: dict[int, str]
    by_id: dict[UUID, Colour]
    sequence: Sequence[int]
    mapping: Mapping[str, float]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers() | st.integers(2**53 - 2, 2**53 + 2) | st.integers(2**63 - 2, 2**64 + 2)
floats = st.floats(allow_nan=False, allow_infinity=False)
addresses = st.builds(Address, texts, st.none() | numbers)
zones = st.just(UTC) | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
options = st.fixed_dictionaries({}, optional={"deep": st.booleans(), "tags": st.lists(texts)})
everything = st.builds(
    Everything,
    text=texts,
    number=numbers,
    ratio=floats,
    flag=st.booleans(),
    raw=st.binary(max_size=8),
    price=st.decimals(allow_nan=False, allow_infinity=False),
    moment=st.datetimes(timezones=st.none() | zones),
    day=st.dates(),
    clock=st.times(),
    span=st.timedeltas(),
    id=st.uuids(),
    colour=st.sampled_from(Colour),
    size=st.sampled_from(Size),
    right=st.sampled_from([Right.READ, Right.WRITE, Right.READ | Right.WRITE]),
    point=st.builds(Point, numbers, floats),
    options=options,
    line=st.builds(Line, texts, st.decimals(allow_nan=False)),
    address=st.none() | addresses,
    maybe=st.none() | numbers | texts,
    kind=st.sampled_from(["a", "b", 3]),
    pairs=st.tuples(numbers, texts),
    many=st.lists(texts, max_size=3).map(tuple),
    items=st.lists(addresses, max_size=3),
    unique=st.sets(numbers, max_size=3),
    frozen=st.frozensets(texts, max_size=3),
    table=st.dictionaries(texts, st.lists(numbers, max_size=2), max_size=3),
    by_number=st.dictionaries(numbers, texts, max_size=3),
    by_id=st.dictionaries(st.uuids(), st.sampled_from(Colour), max_size=2),
    sequence=st.lists(numbers, max_size=2) | st.lists(numbers, max_size=2).map(tuple),
    mapping=st.dictionaries(texts, floats, max_size=2),
)
codec = Codec(Everything, "shop.everything")


@given(everything)
def test_a_message_of_many_types_comes_back_equal(message: Everything) -> None:
    back = codec.load(codec.dump(message, limit=2**20))
    assert [*back.sequence] == [*message.sequence]
    assert msgspec.structs.asdict(back.line) == msgspec.structs.asdict(message.line)
    assert {**vars(back), "sequence": 0} == {**vars(message), "sequence": 0}
    assert type(back.size) is Size
    assert type(back.point) is Point
    assert back.moment.utcoffset() == message.moment.utcoffset()


@given(everything)
def test_the_text_is_json_without_raw_control_characters(message: Everything) -> None:
    text = codec.dump(message, limit=2**20)
    assert json.loads(text)["text"] == message.text
    assert not any(character < " " for character in text)


def test_the_encoding_and_the_limit_are_named() -> None:
    assert ENCODING == "json"
    assert MAX_BYTES == 65_536


@dataclass(frozen=True, kw_only=True)
class Invoice:
    id: str = "1"
    amount: float = 0.0
    lines: list[Address] = field(default_factory=list)
    extra: dict[str, float | None] = field(default_factory=dict)
    note: str | None = None
    price: Decimal = Decimal(0)
    options: Options = field(default_factory=Options)
    tags: set[str] = field(default_factory=set)


invoices = Codec(Invoice, "billing.invoice")


def wrong(**values: Any) -> Invoice:
    return Invoice(**values)


@pytest.mark.parametrize(
    "message, reason",
    [
        (wrong(id=3), "field `id`: Expected `str`, got `int`"),
        (wrong(id=None), "field `id`: Expected `str`, got `null`"),
        (wrong(id=UUID(int=1)), "field `id` holds a `UUID` and would come back as a `str`"),
        (wrong(id=date(2026, 1, 2)), "field `id` holds a `date` and would come back as a `str`"),
        (wrong(id=b"abc"), "field `id` holds a `bytes` and would come back as a `str`"),
        (wrong(amount=math.nan), "field `amount` is nan, and JSON has no such number"),
        (wrong(amount=-math.inf), "field `amount` is -inf, and JSON has no such number"),
        (wrong(amount="3"), "field `amount`: Expected `float`, got `str`"),
        (wrong(extra={"a": 1.0, "b": math.nan}), "field `extra['b']` is nan, and JSON has no such number"),
        (wrong(note="half \ud83d"), "field `note` holds half of a surrogate pair, which is not text"),
        (
            wrong(extra={"\udc00": 1.0}),
            "field `extra` has a key that holds half of a surrogate pair, which is not text",
        ),
        (wrong(price=Decimal("NaN")), "field `price` is NaN, which equals nothing, itself included"),
        (wrong(price=Decimal("sNaN")), "field `price` is NaN, which equals nothing, itself included"),
        (wrong(lines=[Address("a"), Address("b", 3.5)]), "field `lines[1].number`: Expected `int | null`, got `float`"),  # type: ignore[arg-type]
        (wrong(lines=[Address("a"), object()]), "field `lines[1]` holds a `object`, which JSON cannot carry"),
        (wrong(options={"deeep": True}), "field `options` would come back as {}"),
        (wrong(tags=["a", "a"]), "field `tags` holds a `list` and would come back as a `set`"),
        (wrong(tags={UUID(int=0)}), "field `tags[…]` holds a `UUID` and would come back as a `str`"),
    ],
)
def test_what_would_not_come_back_equal_is_refused_with_its_field(message: Invoice, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        invoices.dump(message)
    assert str(refused.value) == f"billing.invoice: {reason}. Pass the type that the field declares."


def test_a_subclass_that_would_lose_its_own_fields_is_refused() -> None:
    @dataclass(frozen=True)
    class Villa(Address):
        pool: bool = True

    with pytest.raises(PayloadError, match=r"field `lines\[0\]` holds a `.*Villa` and would come back as a `Address`"):
        invoices.dump(Invoice(lines=[Villa("a")]))


class Text(str):
    """As Django's `SafeString`: a class of its own, whose `str()` is another one of it."""

    def __str__(self) -> str:
        return self


class Count(int): ...


class Ratio(float): ...


class Raw(bytes): ...


class Price(Decimal): ...


class Id(UUID): ...


class _Instance(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, datetime)


class Day(date):
    def toordinal(self) -> int:
        raise AssertionError("what a subclass overrides is not asked")


class Moment(datetime, Day, metaclass=_Instance):  # type: ignore[misc]
    """As freezegun's and pendulum's: it stays in its class, whatever is done with it."""

    def __sub__(self, other: Any) -> Any:
        return Span(seconds=super().__sub__(other).total_seconds())


class Clock(time): ...


class Span(timedelta):
    @property
    def days(self) -> int:
        raise AssertionError("what a subclass overrides is not asked")


class Shade(str, Enum):  # noqa: UP042 - not the same
    DARK = "dark"


@dataclass(frozen=True)
class House(Address):
    """Adds behaviour, and no fields."""

    def letterbox(self) -> str:
        return f"{self.street} {self.number}"


derived = {
    "text": Text("Dune"),
    "number": Count(3),
    "ratio": Ratio(1.5),
    "raw": Raw(b"abc"),
    "price": Price("1.50"),
    "id": Id(int=7),
    "day": Day(2026, 1, 2),
    "moment": Moment(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "clock": Clock(1, 2, 3, 4),
    "span": Span(3, 4),
    "many": (Text("a"), Shade.DARK),
    "unique": {Size.SMALL, Count(7)},
    "table": defaultdict(list, {"a": [Count(1)]}),
    "by_number": OrderedDict({Count(1): Text("one")}),
    "address": House("Main Street", Count(1)),
}
plain = Everything(
    text="Dune",
    number=3,
    ratio=1.5,
    flag=True,
    raw=b"abc",
    price=Decimal("1.50"),
    moment=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    day=date(2026, 1, 2),
    clock=time(1, 2, 3, 4),
    span=timedelta(3, 4),
    id=UUID(int=7),
    colour=Colour.RED,
    size=Size.SMALL,
    right=Right.READ,
    point=Point(1, 2.0),
    options={},
    line=Line("a", Decimal(1)),
    address=Address("Main Street", 1),
    maybe=None,
    kind="a",
    pairs=(1, "a"),
    many=("a", "dark"),
    items=[],
    unique={1, 7},
    frozen=frozenset(),
    table={"a": [1]},
    by_number={1: "one"},
    by_id={},
    sequence=[],
    mapping={},
)


@pytest.mark.parametrize("name", derived)
def test_a_value_of_a_subclass_is_written_as_the_type_that_the_field_declares(name: str) -> None:
    text = codec.dump(replace(plain, **{name: derived[name]}))
    assert text == codec.dump(plain)  # byte for byte: conditions and keys compare texts
    assert type(getattr(codec.load(text), name)) is type(getattr(plain, name))


@pytest.mark.parametrize("name", sorted(derived.keys() - {"address"}))
def test_a_message_is_built_from_values_of_subclasses(name: str) -> None:
    values = json.loads(codec.dump(plain))
    assert codec.dump(codec.build({**values, name: derived[name]})) == codec.dump(plain)


def test_any_json_value_may_hold_subclasses() -> None:
    assert encode({Text("a"): [Text("b"), Ratio(1.5), Moment(2026, 1, 2, tzinfo=UTC)]}) == (
        '{"a":["b",1.5,"2026-01-02T00:00:00Z"]}'
    )


def test_a_clock_that_is_replaced_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """freezegun puts its classes in place of the real ones, in every module, under any name."""
    for name, value in [*vars(remit.codec).items()]:
        if value is datetime or value is date:
            monkeypatch.setattr(remit.codec, name, Moment if value is datetime else Day)
    frozen = replace(plain, moment=derived["moment"], day=derived["day"])
    assert codec.dump(frozen) == codec.dump(plain)
    now = datetime(2024, 10, 27, 2, 30, tzinfo=berlin)
    assert times.load(times.dump(Times(now))).moment.timestamp() == now.timestamp()


class Nanoseconds(Moment):
    """As pandas' `Timestamp`: more exact than what is written of it."""

    def __sub__(self, other: Any) -> Any:
        return timedelta(microseconds=1)

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = Moment.__hash__


@pytest.mark.parametrize(
    "values, reason",
    [
        ({"ratio": Ratio("nan")}, "field `ratio` is nan, and JSON has no such number"),
        ({"price": Price("NaN")}, "field `price` is NaN, which equals nothing, itself included"),
        (
            {"moment": Nanoseconds(2026, 1, 2, tzinfo=UTC)},
            "field `moment` holds a `Nanoseconds` and would come back as",
        ),
        ({"text": UserString("a"), "number": 1}, "field `text` holds a `UserString`, which JSON cannot carry"),
        ({"text": PurePosixPath("/a")}, "field `text` holds a `PurePosixPath`, which JSON cannot carry"),
        ({"text": Colour.RED}, "field `text` holds a `Colour` and would come back as a `str`"),
        ({"address": Point(1, 2.0)}, "field `address`: Expected `object | null`, got `array`"),
        ({"day": Moment(2026, 1, 2)}, "field `day`: Invalid RFC3339 encoded date"),
    ],
)
def test_a_subclass_does_not_make_a_value_pass_that_would_come_back_different(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PayloadError) as refused:
        codec.dump(replace(plain, **values))
    assert str(refused.value).startswith(f"shop.everything: {reason}")


@dataclass(frozen=True)
class Times:
    moment: datetime
    more: dict[datetime, datetime] = field(default_factory=dict)
    some: frozenset[datetime] = frozenset()


times = Codec(Times, "shop.times")
changes = [datetime(2024, 3, 31, 1, tzinfo=UTC), datetime(2024, 10, 27, 1, tzinfo=UTC)]  # of the clocks of Europe
berlin = ZoneInfo("Europe/Berlin")


@given(st.sampled_from(changes), st.timedeltas(timedelta(hours=-3), timedelta(hours=3)))
def test_a_moment_of_a_zone_comes_back_as_the_same_instant_when_clocks_change(at: datetime, off: timedelta) -> None:
    now = (at + off).astimezone(berlin)
    back = times.load(times.dump(Times(now, {now: now}, frozenset({now, now + timedelta(days=1)}))))
    for each in (back.moment, *back.more, *back.more.values(), *(back.some - {now + timedelta(days=1)})):
        assert (each.timestamp(), each.utcoffset()) == (now.timestamp(), now.utcoffset())


@given(st.sampled_from(changes), st.timedeltas(timedelta(hours=-3), timedelta(hours=3)), st.sampled_from([0, 1]))
def test_a_time_that_the_clocks_repeat_or_skip_comes_back_as_the_instant_that_it_stands_for(
    at: datetime, off: timedelta, fold: int
) -> None:
    wall = (at + off).replace(tzinfo=berlin, fold=fold)
    back = times.load(times.dump(Times(wall))).moment
    assert (back.timestamp(), back.utcoffset()) == (wall.timestamp(), wall.utcoffset())


def test_an_offset_with_seconds_is_refused_since_the_instant_would_be_another_one() -> None:
    with pytest.raises(PayloadError, match="field `moment` would come back as"):
        times.dump(Times(datetime(1900, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam"))))


def test_a_message_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(PayloadError, match="is nested more than 50 levels deep"):
        invoices.dump(wrong(lines=loop))


def test_an_integer_of_too_many_digits_is_refused() -> None:
    with pytest.raises(PayloadError, match="field `amount` cannot be written: Exceeds the limit"):
        invoices.dump(wrong(amount=10**5000))


def test_a_list_and_a_tuple_are_one_array_and_come_back_as_declared() -> None:
    message = wrong(lines=(Address("a"),))
    assert invoices.load(invoices.dump(message)).lines == [Address("a")]


class Opaque(msgspec.Struct, eq=False):
    n: int
    name: str = ""


@dataclass(frozen=True)
class Holder:
    value: Opaque


def test_a_value_that_compares_by_identity_is_judged_by_its_parts() -> None:
    holders = Codec(Holder, "x.holder")
    assert holders.load(holders.dump(Holder(Opaque(3)))).value.n == 3
    with pytest.raises(PayloadError, match=r"field `value\.name` holds a `UUID`"):
        holders.dump(Holder(Opaque(3, UUID(int=0))))  # type: ignore[arg-type]


def test_a_named_tuple_made_at_run_time_is_taken() -> None:
    pair = namedtuple("pair", "a b")

    @dataclass(frozen=True)
    class Segment:
        ends: tuple[int, int]

    segments = Codec(Segment, "x.segment")
    assert segments.load(segments.dump(Segment(pair(1, 2)))).ends == (1, 2)


def test_a_payload_over_its_limit_says_both_sizes_and_the_remedy() -> None:
    message = Invoice(note="é" * 40_000)
    with pytest.raises(PayloadTooLarge) as refused:
        invoices.dump(message)
    assert str(refused.value) == (
        "billing.invoice: the payload has 80,090 bytes, over the limit of 65,536; pass an id or a storage key instead."
    )
    assert invoices.load(invoices.dump(message, limit=100_000)) == message


def test_the_limit_itself_is_allowed() -> None:
    size = len(invoices.dump(Invoice()).encode())
    invoices.dump(Invoice(), limit=size)
    with pytest.raises(PayloadTooLarge):
        invoices.dump(Invoice(), limit=size - 1)


def test_nul_survives_as_an_escape() -> None:
    text = invoices.dump(Invoice(note="a\0b"))
    assert "\0" not in text
    assert r"a\u0000b" in text
    assert invoices.load(text).note == "a\0b"


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30])
def test_integers_beyond_a_machine_word_come_back(number: int) -> None:
    @dataclass(frozen=True)
    class Count:
        n: int

    counts = Codec(Count, "x.count")
    assert counts.load(counts.dump(Count(number))).n == number


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"id": 3}', "field `id`: Expected `str`, got `int`"),
        ('{"lines": [{}]}', "field `lines[0]`: Object missing required field `street`"),
        ("[]", "Expected `object`, got `array`"),
        ("", "Input data was truncated"),
        ("{'id': 3}", "JSON is malformed: object keys must be strings (byte 1)"),
        ('{"note": "\\ud800 and more"}', "JSON is malformed: unexpected end of escaped utf-16 surrogate pair"),
        ('{"unknown": ' + "[" * 100_000, "RecursionError: "),
    ],
)
def test_a_stored_payload_that_does_not_fit_says_why_and_what_to_do(text: str, reason: str) -> None:
    with pytest.raises(UndecodablePayload) as refused:
        Codec(Invoice, "billing.invoice").load(text)
    message = str(refused.value)
    assert message.startswith("billing.invoice: the stored payload does not fit `Invoice`: ")
    assert reason in message
    assert message.endswith("Give a new field a default, or a changed message a new version=.")


def test_what_a_message_checks_itself_is_part_of_its_type() -> None:
    @dataclass(frozen=True)
    class Positive:
        n: int

        def __post_init__(self) -> None:
            if self.n < 0:
                raise KeyError("negative")

    with pytest.raises(UndecodablePayload, match="KeyError: 'negative'"):
        Codec(Positive, "x.positive").load('{"n": -1}')


def test_fields_that_a_newer_release_added_are_ignored() -> None:
    assert invoices.load('{"id": "7", "added_later": true}') == Invoice(id="7")


def test_a_message_is_built_from_json_values_or_real_ones() -> None:
    assert invoices.build({"price": "1.50", "lines": [{"street": "a"}]}) == Invoice(
        price=Decimal("1.50"), lines=[Address("a")]
    )
    assert invoices.build({"price": Decimal("1.50"), "lines": [Address("a")]}).lines == [Address("a")]


def test_building_refuses_an_unknown_field_with_the_nearest() -> None:
    with pytest.raises(PayloadError, match=r"^billing\.invoice has no field 'amuont'\. Did you mean 'amount'\?$"):
        invoices.build({"amuont": 3})


def test_building_refuses_a_wrong_or_missing_value_with_its_field() -> None:
    with pytest.raises(PayloadError, match=r"^billing\.invoice: field `lines\[0\]`: Object missing required field"):
        invoices.build({"lines": [{}]})
    with pytest.raises(PayloadError, match=r"field `id`: Expected `str`, got `int`"):
        invoices.build({"id": 3})


class Model:
    """As pydantic's, as far as the codec is concerned."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.moment == other.moment

    __hash__ = None  # type: ignore[assignment]

    def model_dump(self, *, mode: str, by_alias: bool, round_trip: bool) -> dict[str, Any]:
        assert (mode, by_alias, round_trip) == ("json", True, True)
        return {"moment": self.moment.isoformat()}

    @classmethod
    def model_validate(cls, value: object) -> Model:
        raise AssertionError("JSON is validated as JSON")

    @classmethod
    def model_validate_json(cls, text: bytes) -> Model:
        return cls(datetime.fromisoformat(json.loads(text)["moment"]))


@dataclass(frozen=True)
class Order:
    model: Model
    more: list[Model] = field(default_factory=list)


def test_a_model_goes_through_its_own_dump_and_validation() -> None:
    orders = Codec(Order, "x.order")
    order = Order(Model(datetime.now(UTC)), [Model(datetime(2026, 1, 2, tzinfo=UTC))])
    assert orders.load(orders.dump(order)) == order


def test_a_payload_that_a_model_refuses_is_undecodable() -> None:
    with pytest.raises(UndecodablePayload, match="does not fit `Order`"):
        Codec(Order, "x.order").load('{"model": {"moment": "yesterday"}}')


def test_strict_pydantic_models_come_back() -> None:
    pydantic = pytest.importorskip("pydantic")
    config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)
    model: Any = pydantic.create_model(
        "Customer", __config__=config, id=(UUID, ...), since=(date, ...), first=(str, pydantic.Field(alias="firstName"))
    )

    kind = make_dataclass("Welcome", [("customer", model)], frozen=True)
    welcomes = Codec(kind, "x.welcome")
    welcome = kind(model(id=uuid4(), since=date(2026, 1, 2), firstName="Ada"))
    assert welcomes.load(welcomes.dump(welcome)) == welcome


def test_pydantic_models_are_judged_by_what_their_reader_gets() -> None:
    pydantic = pytest.importorskip("pydantic")
    customer: Any = pydantic.create_model("Customer", since=(datetime, ...), ratio=(float | None, None))
    guest: Any = pydantic.create_model("Guest", __base__=customer)
    member: Any = pydantic.create_model("Member", __base__=customer, number=(int, 1))
    kind = make_dataclass("Welcome", [("customer", customer)], frozen=True)
    welcomes = Codec(kind, "x.welcome")

    repeated = datetime(2024, 10, 27, 2, 30, tzinfo=berlin)
    for welcome in (customer(since=repeated), guest(since=repeated)):
        assert welcomes.load(welcomes.dump(kind(welcome))).customer.since.timestamp() == repeated.timestamp()
    with pytest.raises(PayloadError, match="field `customer` holds a `Member` and would come back as a `Customer`"):
        welcomes.dump(kind(member(since=repeated)))
    with pytest.raises(PayloadError, match=r"field `customer\.ratio` is nan"):
        welcomes.dump(kind(customer(since=repeated, ratio=math.nan)))


@given(st.recursive(st.none() | st.booleans() | numbers | floats | texts, lambda inner: st.lists(inner, max_size=3)))
def test_any_json_value_comes_back(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value, reason",
    [
        ({"a": [1, math.nan]}, "The value field `['a'][1]` is nan"),
        (math.inf, "The value is inf, and JSON has no such number."),
        ("\ud800", "The value holds half of a surrogate pair, which is not text."),
        (object(), "The value holds a `object`, which JSON cannot carry."),
    ],
)
def test_what_json_cannot_carry_is_refused(value: object, reason: str) -> None:
    with pytest.raises(PayloadError) as refused:
        encode(value)
    assert str(refused.value).startswith(reason)


def test_null_is_no_flaw() -> None:
    assert encode({"a": None, "b": [None, 1.5]}) == '{"a":null,"b":[null,1.5]}'


def test_a_member_of_an_enum_that_this_release_does_not_know_cannot_be_read() -> None:
    class Newer(Enum):
        RED = "red"
        ULTRAVIOLET = "ultraviolet"

    newer = Codec(make_dataclass("Paint", [("colour", Newer)]), name="paint")
    older = Codec(make_dataclass("Paint", [("colour", Colour)]), name="paint")
    with pytest.raises(UndecodablePayload, match="ultraviolet"):
        older.load(newer.dump(newer.build({"colour": "ultraviolet"})))
