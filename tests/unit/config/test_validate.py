"""Finding every fault of plain data against a struct (pmigd.schema.validate)."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmigd.schema.validate import MAX_ERRORS, MAX_LOOKS, FieldFault, validate

Level = Annotated[int, msgspec.Meta(ge=0, le=9)]


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x: int
    level: Level | None = None


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"kind_": "kind"}):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=10)]
    items: tuple[Inner, ...] = ()
    inner: Inner | None = None
    later: Inner | msgspec.UnsetType = msgspec.UNSET
    table: dict[str, Inner] = {}
    ratio: float = 0.0
    flag: bool = False
    id: UUID | None = None
    kind_: Literal["a", "b"] = "a"
    numbers: Annotated[list[int], msgspec.Meta(max_length=2)] = []


class Window(msgspec.Struct, frozen=True):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


def told(untrusted: object, struct: type[msgspec.Struct] = Outer) -> dict[str, str]:
    value, errors = validate(struct, untrusted)
    assert value is None
    return {error.field: error.message for error in errors}


def test_sound_input_gives_the_struct() -> None:
    value, errors = validate(Outer, {"name": "n", "items": [{"x": 1}], "kind": "b"})
    assert errors == []
    assert value == Outer(name="n", items=(Inner(1),), kind_="b")


def test_every_fault_is_told_with_its_path() -> None:
    assert told(
        {
            "name": 7,
            "items": [{"x": 1}, {"x": "7"}, {"y": 1}],
            "inner": {"x": True, "level": 10},
            "table": {"odd key": {"x": None}},
            "ratio": float("inf"),
            "flag": 1,
            "kind": "c",
            "numbers": [1, 2, 3],
            "itmes": [],
        }
    ) == {
        "name": "must be text of 1 to 10 characters",
        "items[1].x": "must be a whole number",
        "items[2].x": "is required",
        "items[2].y": "is not known",
        "inner.x": "must be a whole number",
        "inner.level": "must be a whole number from 0 to 9 or null",
        'table."odd key".x': "must be a whole number",
        "ratio": "must be a finite number",
        "flag": "must be true or false",
        "kind": 'must be one of "a", "b"',
        "numbers": "must be a list, each a whole number",
        "itmes": "is not known; did you mean items?",
    }


@pytest.mark.parametrize("untrusted", [None, 1, "x", [], [{"name": "x"}], True])
def test_what_is_no_table_is_told_for_the_whole(untrusted: object) -> None:
    assert told(untrusted) == {"": "must be a table"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flag", 0),
        ("flag", "true"),
        ("ratio", True),
        ("ratio", "1"),
        ("numbers", ["7"]),
        ("numbers", [True]),
        ("numbers", [1.0]),
        ("numbers", {"0": 1}),
        ("name", None),
    ],
)
def test_nothing_is_coerced(field: str, value: object) -> None:
    assert told({"name": "n", field: value})


def test_a_structs_own_refusal_is_passed_on() -> None:
    assert told({"low": 2, "high": 1}, Window) == {"": "low must not be above high"}


def test_programs_get_the_kind_the_path_and_what_is_accepted() -> None:
    _, errors = validate(Inner, {"x": "a", "level": 10, "z": 0})
    assert errors == [
        FieldFault("z", "is not known", "unknown", "level, x", ("z",)),
        FieldFault("x", "must be a whole number", "type", "a whole number", ("x",)),
        FieldFault(
            "level",
            "must be a whole number from 0 to 9 or null",
            "invalid",
            "a whole number from 0 to 9 or null",
            ("level",),
        ),
    ]
    _, errors = validate(Inner, {})
    assert errors == [FieldFault("x", "is required", "missing", "a whole number", ("x",))]


def test_a_flood_of_faults_is_cut_off() -> None:
    _, errors = validate(Outer, {"name": "n", "items": [{}] * 100_000})
    assert len(errors) == MAX_ERRORS


def test_a_hostile_name_is_shown_short_and_printable() -> None:
    _, errors = validate(Outer, {"name": "n", "\x1b[31m" + "a" * 1_000_000: 1})
    assert errors[0].field.isprintable()
    assert len(errors[0].field) < 120


NAMES = st.sampled_from([*Outer.__struct_encode_fields__, "x", "level", "other"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_a_value_or_faults_but_never_both_and_never_an_exception(untrusted: object) -> None:
    value, errors = validate(Outer, untrusted)
    assert (value is None) == bool(errors)
    assert all(error.field.isprintable() and error.message.isprintable() for error in errors)


def test_json_is_looked_through_for_faults_only_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    convert = msgspec.convert

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal looks
        looks += 1
        return convert(*args, **more)

    monkeypatch.setattr(msgspec, "convert", counted)
    many = msgspec.defstruct("Many", [("numbers", tuple[int, ...])])
    value, errors = validate(many, {"numbers": [1] * 100_000 + ["x"]}, is_json=True)
    assert value is None
    assert errors
    assert looks < 2 * MAX_LOOKS
    assert validate(many, {"numbers": [1] * 1000 + ["x"]})[1][0].path == ("numbers", 1000)
