"""The parts of a report's tables.

Table("Accuracy on test", columns=(Column("arm"), Column("accuracy", number=True)), rows=((Cell("SCoTD"), Cell("93.6", "good")),))
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeVar

T = TypeVar("T")


class Cell(NamedTuple):
    """A ``text``, not escaped, and its ``role``: a ``name``, ``good`` or ``bad`` news, or of little weight (``dim``)."""

    text: str
    role: Literal["plain", "name", "good", "bad", "dim"] = "plain"


class Column(NamedTuple):
    """A column. ``number``: aligned to the right. ``wide``: left out if there is little room, as in a terminal. One that is
    not ``needed`` is always left out."""

    head: str
    number: bool = False
    wide: bool = False
    needed: bool = True


class Table(NamedTuple):
    """A table. ``about`` is shown before the rows, ``note`` after them; ``pictures``: the names of those that belong to it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    about: str = ""
    note: str = ""
    pictures: tuple[str, ...] = ()


Content = tuple[Column, Callable[[T], str | Cell]]
"""A column, and the function that makes its cell for one item; a text becomes a plain cell."""


def tabulate(title: str, items: Iterable[T], parts: Sequence[Content[T]], *pictures: str, about: str = "", note: str = "") -> Table:
    parts = [part for part in parts if part[0].needed]
    contents = ((content(item) for _, content in parts) for item in items)
    rows = tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in contents)
    return Table(title, tuple(column for column, _ in parts), rows, about, note, pictures)
