"""ASDiv: 2,305 word problems of many kinds, grades 1 to 6 (Miao et al. 2020, arXiv 2106.15772). CC BY-NC 4.0.

    <Problem ID="nluds-0001" Grade="1" Source="http://...">
      <Body>Three cups and four plates are on the table.</Body>
      <Question>How many things are on the table?</Question>
      <Solution-Type>Addition</Solution-Type>
      <Answer>7 (things)</Answer>
      <Formula>3+4=7</Formula>
    </Problem>

Get: github.com/chaochun/nlu-asdiv-dataset, dataset/ASDiv.xml (a row of it as above stands in public code), or
huggingface.co/datasets/EleutherAI/asdiv (one split; fields body, question, solution_type, answer, formula). There are no splits:
`test` and `dev` problems are drawn by seed, the rest is train. Problems whose answer is not one number ("Purple", "5:45") are in a
split of their own, ``not numbers``, which no study uses unless it names it.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from understudy.core.answers import normalise
from understudy.core.errors import DataError
from understudy.core.values import AnswerKind, Problem
from understudy.tasks.data_sets import ALL, Row, all_files, at_least_one, find, hold_out, hub, number, rows

_ANSWER = re.compile(r"(?P<value>[^();]+?)\s*\((?P<unit>[^()0-9][^()]*)\)")


@dataclass(frozen=True)
class ASDiv:
    """ASDiv: answers of kind ``number``; problems whose answer is no single number are in the split "not numbers"."""

    root: str = "."
    """The directory that holds the set (docs/tasks.md), relative to the study file."""
    dev: int = 200
    """So many problems, drawn by seed."""
    test: int = 500
    """So many problems, drawn by seed; the rest is train."""

    def __post_init__(self) -> None:
        at_least_one(dev=self.dev, test=self.test)

    def _found(self) -> dict[str, list[Path]]:
        return find(self.root, {ALL: ["ASDiv.xml", "dataset/ASDiv.xml"]}, hub(all="validation"))

    def files(self) -> list[Path]:
        """What the problems are read from."""
        return all_files(self._found())

    def problems(self, *, seed: int) -> list[Problem]:
        """Every problem with its split. Raises DataError naming file, problem and field."""
        read = (row for path in self.files() for row in (_xml(path) if path.suffix == ".xml" else rows(path)))
        found = number(((ALL, _problem(row)) for row in read), name="asdiv")
        found = [p if p.kind == "number" else replace(p, split="not numbers") for p in found]
        return hold_out(found, seed=seed, dev=self.dev, test=self.test)


def _problem(row: Row) -> Problem:
    body, answer = row.text("body"), row.text("answer")
    found = _ANSWER.fullmatch(answer)
    value, unit = (found["value"], found["unit"]) if found else (answer, None)
    kind: AnswerKind = "text" if normalise(value, "number") is None else "number"
    return Problem(
        id=row.get("id") or "",
        question=f"{body}{'' if body[-1] in '.?!,;' else '.'} {row.text('question')}",
        kind=kind,
        answer=row.gold(value, "answer", kind),
        meta={"type": row.get("solution_type"), "formula": row.get("formula"), "grade": row.get("grade"), "unit": unit},
    )


def _xml(path: Path) -> Iterator[Row]:
    """The problems of ASDiv.xml under the hub's field names. A document type, and so any entity of its own, is refused."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError(f"{path}: has a document type or entities, which ASDiv.xml has not; it is not read")
        tree = ET.fromstring(text)  # noqa: S314 - without a document type there is nothing to expand or to fetch
    except (ET.ParseError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not XML that can be read ({error})") from None
    for problem in tree.iter("Problem"):
        fields = {child.tag.lower().replace("-", "_"): child.text for child in problem}
        fields |= {"id": problem.get("ID"), "grade": problem.get("Grade")}
        yield Row(fields, f"{path}, problem {problem.get('ID')}")
