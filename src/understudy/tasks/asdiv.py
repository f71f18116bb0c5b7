"""ASDiv: 2,305 word problems of many kinds, grades 1 to 6 (Miao et al. 2020, arXiv 2106.15772). CC BY-NC 4.0.

    <Problem ID="nluds-0001" Grade="1" Source="http://...">
      <Body>Three cups and four plates are on the table.</Body>
      <Question>How many things are on the table?</Question>
      <Solution-Type>Addition</Solution-Type>
      <Answer>7 (things)</Answer>
      <Formula>3+4=7</Formula>
    </Problem>

Get: github.com/chaochun/nlu-asdiv-dataset, dataset/ASDiv.xml (public code shows a row like the one above), or
huggingface.co/datasets/EleutherAI/asdiv (one split; fields body, question, solution_type, answer, formula). There are no splits:
`test` and `dev` problems are drawn by seed, and the rest is train. Problems whose answer is not one number ("Purple", "5:45") are
in the split ``not numbers``, which a study uses only if it names it.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from understudy.core.answers import normalise
from understudy.core.errors import DataError
from understudy.core.values import AnswerKind, Problem
from understudy.tasks.data_sets import ALL, AtLeastOne, FilePatterns, PublishedRow, PublishedSet, hub

_ANSWER = re.compile(r"(?P<value>[^();]+?)\s*\((?P<unit>[^()0-9][^()]*)\)")


@dataclass(frozen=True)
class ASDiv(PublishedSet):
    """ASDiv: answers of kind ``number``. Problems whose answer is not a single number are in the split "not numbers"."""

    dev: AtLeastOne = 200
    """The number of dev problems, drawn by seed."""
    test: AtLeastOne = 500
    """The number of test problems, drawn by seed. The rest is train."""

    def layouts(self) -> list[FilePatterns]:
        return [{ALL: ["ASDiv.xml", "dataset/ASDiv.xml"]}, hub(all="validation")]

    def read_rows(self, path: Path) -> Iterator[PublishedRow]:
        return _read_xml(path) if path.suffix == ".xml" else super().read_rows(path)

    def problem(self, row: PublishedRow) -> Problem:
        body, answer = row.text("body"), row.text("answer")
        match = _ANSWER.fullmatch(answer)
        value, unit = (match["value"], match["unit"]) if match else (answer, None)
        kind: AnswerKind = "text" if normalise(value, "number") is None else "number"
        return Problem(
            id=row.get("id") or "",
            question=f"{body}{'' if body[-1] in '.?!,;' else '.'} {row.text('question')}",
            kind=kind,
            split="" if kind == "number" else "not numbers",
            answer=row.gold(value, "answer", kind),
            meta={"type": row.get("solution_type"), "formula": row.get("formula"), "grade": row.get("grade"), "unit": unit},
        )


def _read_xml(path: Path) -> Iterator[PublishedRow]:
    """Read the problems of ASDiv.xml under the hub's field names. A document type, which could define entities, is an error."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise DataError(f"{path}: has a document type or entities, but ASDiv.xml has neither; get the published file")
        tree = ET.fromstring(text)  # noqa: S314 - without a document type, nothing can be expanded or fetched
    except (ET.ParseError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not XML ({error}); get the published file") from None
    for problem in tree.iter("Problem"):
        fields = {child.tag.lower().replace("-", "_"): child.text for child in problem}
        fields |= {"id": problem.get("ID"), "grade": problem.get("Grade")}
        yield PublishedRow(fields, f"{path}, problem {problem.get('ID')}")
