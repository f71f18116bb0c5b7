"""From a TOML table to options: strict, and helpful when wrong."""

import dataclasses
import typing
from dataclasses import dataclass, field

import pytest

from understudy.core.asks import Count
from understudy.core.errors import StudyError
from understudy.core.registry import ENGINES, METHODS, TASKS, find
from understudy.studies.schema import build
from understudy.studies.study import Study


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float = 0.5
    parts: tuple[Inner, ...] = ()
    inner: Inner = field(default_factory=Inner)
    words: tuple[str, ...] = ()
    most: Count = 1


def test_tables_become_dataclasses_all_the_way_down():
    made = build(Outer, {"name": "x", "rate": 1, "parts": [{"size": 2}, {}], "inner": {"size": 3}, "words": ["a"]}, "top")
    assert made == Outer("x", 1.0, (Inner(2), Inner(1)), Inner(3), ("a",))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"name": "x", "rat": 1}, r"top: unknown key 'rat'; did you mean 'rate'\?"),
        ({"name": 3}, "top.name = 3: .*string"),
        ({"name": "x", "rate": "0.5"}, "top.rate = '0.5': .*number"),
        ({"name": "x", "inner": {"size": 1.5}}, "top.inner.size = 1.5: .*int"),
        ({"name": "x", "parts": [{}, {"siz": 1}]}, r"top.parts\[1\]: unknown key 'siz'; did you mean 'size'\?"),
        ({"name": "x", "inner": 3}, "top.inner: must be a table"),
        ({"name": "x", "parts": {}}, "top.parts: must be a list of tables"),
        ({}, "top: name must be given"),
        ({"name": "x", "most": 0}, "top.most = 0: .*greater than or equal to 1"),
        ({"name": "x", "rate": float("nan")}, "top.rate = nan: .*not JSON compliant"),
        ({"name": "x", "rate": float("-inf")}, "top.rate = -inf: .*not JSON compliant"),
    ],
)
def test_a_wrong_table_is_told_where_and_what(table, says):
    with pytest.raises(StudyError, match=says):
        build(Outer, table, "top")


@dataclass(frozen=True)
class Broken:
    size: int = 1

    def __post_init__(self) -> None:
        raise TypeError("a bug of its own")


def test_a_bug_in_the_code_of_options_is_not_taken_for_a_missing_key():
    with pytest.raises(TypeError, match="a bug of its own"):
        build(Broken, {"size": 2}, "top")


CHECKED = "most wrong_weight in_context alpha sizes value".split()
"""Numbers whose range depends on others, or is not plain: their class refuses them itself."""


def numbers(kind, seen):
    """The keys of an options class and of all below it that hold a number of any size."""
    if not dataclasses.is_dataclass(kind) or kind in seen:
        return
    seen.add(kind)
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in (each for each in dataclasses.fields(kind) if each.init):
        inside = [hints[each.name]]
        for hint in inside:
            if hint in (int, float):
                yield f"{kind.__name__}.{each.name}"
            elif typing.get_origin(hint) is not typing.Annotated:
                inside += typing.get_args(hint)
                yield from numbers(hint, seen)


def test_every_number_of_a_study_has_its_range():
    seen = set()
    kinds = [Study, *(find(kind, name) for kind, table in KINDS.items() for name in table)]
    free = [key for kind in kinds for key in numbers(kind, seen) if key.partition(".")[2] not in CHECKED]
    assert len(seen) > 20
    assert free == []


KINDS = {"engine": ENGINES, "method": METHODS, "task": TASKS}
