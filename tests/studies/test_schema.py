"""From a TOML table to options: strict, and helpful when wrong."""

from dataclasses import dataclass, field

import pytest

from understudy.core.errors import StudyError
from understudy.studies.schema import build


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
    ],
)
def test_a_wrong_table_is_told_where_and_what(table, says):
    with pytest.raises(StudyError, match=says):
        build(Outer, table, "top")
