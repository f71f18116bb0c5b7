"""From a file of questions to a first study: which field is what, what kind of answers, how to split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from understudy.core.answers import normalise
from understudy.core.errors import DataError
from understudy.core.values import AnswerKind
from understudy.corpus.tables import read_objects

NAMES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "problem", "query", "input", "prompt", "instruction", "text", "body", "sentence"),
    "answer": ("answer", "gold", "label", "target", "answerkey", "final_answer", "solution", "output", "response"),
    "choices": ("choices", "options", "endings", "candidates"),
    "id": ("id", "qid", "question_id", "uid", "idx", "index", "problem_id"),
    "context": ("context", "passage", "paragraph", "background", "facts"),
    "rationale": ("rationale", "explanation", "reasoning", "cot", "chain_of_thought", "chain", "solution"),
}
"""Our field -> what data sets call it, most usual first."""

LOOKED_AT = 500


@dataclass(frozen=True)
class Guess:
    """What a file seems to hold: ``fields`` (ours -> theirs), the ``kind`` of its answers (and the share that fits it), ``rows``
    in all, and the first row's ``example``."""

    fields: Mapping[str, str]
    kind: AnswerKind
    fit: float
    rows: int
    example: Mapping[str, Any]


def guess(path: Path) -> Guess:
    """Look at ``path``. Raises DataError where it cannot be read or no question is recognised."""
    rows = [row for _, row in islice(read_objects(path), LOOKED_AT)]
    if not rows:
        raise DataError(f"{path}: there is no row in it")
    found = _fields(rows)
    if "question" not in found:
        raise DataError(
            f"{path}: no field looks like a question (there: {', '.join(rows[0])}); name it question, or write the study by hand "
            "with task.fields.question = ..."
        )
    kind, fit = _kind(rows, found)
    return Guess(found, kind, fit, sum(1 for _ in read_objects(path)), rows[0])


def _fields(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    there = {name.lower(): name for row in rows for name, value in row.items() if value not in (None, "", [], {})}
    found: dict[str, str] = {}
    for ours, names in NAMES.items():
        theirs = next((there[n] for n in names if n in there and there[n] not in found.values()), None)
        if theirs is not None and (ours != "question" or isinstance(rows[0].get(theirs), str)):
            found[ours] = theirs
    return found


def _kind(rows: Sequence[Mapping[str, Any]], fields: Mapping[str, str]) -> tuple[AnswerKind, float]:
    """The most special kind that at least 95 % of the answers fit, else text."""
    answers = [row[fields["answer"]] for row in rows if row.get(fields.get("answer", "")) is not None]
    texts = [("yes" if a else "no") if isinstance(a, bool) else str(a) for a in answers]
    kinds: tuple[AnswerKind, ...] = ("option",) if "choices" in fields else ("yes_no", "number", "date")
    for kind in kinds:
        choices = ("",) * 26 if kind == "option" else ()
        fit = sum(normalise(text, kind, choices) is not None for text in texts) / max(1, len(texts))
        if texts and fit >= 0.95:
            return kind, fit
    return ("option", 0.0) if "choices" in fields else ("text", 1.0)


def study_text(path: Path, found: Guess, *, to: Path, relative: str) -> str:
    """A commented study for the file, to be written to ``to``; ``relative``: the file's path as seen from there."""
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in to.stem).strip("-") or "study"
    dev = test = max(1, found.rows // 10)
    mapped = {ours: theirs for ours, theirs in found.fields.items() if ours != theirs}
    fields = "".join(f"{ours} = {json.dumps(theirs)}\n" for ours, theirs in mapped.items())
    table = f"\n[task.fields]           # our name = the file's\n{fields}" if fields else ""
    shown = "[exemplars]\nn = 3                    # solved questions in each prompt; they leave training\n\n"
    exemplars = shown if "rationale" in found.fields else ""
    return f"""# A first study for {path.name}, written by `understudy init`. Change what was guessed wrong, then:
#   understudy try {to} -n 3        a few questions to the teacher
#   understudy run {to}             everything; run it again to go on

[study]
name = {json.dumps(name)}
seed = 0
seeds = 1                # 3 or more before you believe a difference

[task]
name = "files"
path = {json.dumps(relative)}
# guessed; {found.fit:.0%} of the answers fit. Others: option, yes_no, number, date, text, expression
kind = "{found.kind}"
sizes = {{ train = {found.rows - dev - test}, dev = {dev}, test = {test} }}
{table}
{exemplars}[teacher]                # chains you already have: engine = "recorded", chains = ["chains.jsonl"]
engine = "endpoint"      # any OpenAI-compatible server; "transformers" with checkpoint = "DIR" is a model on this machine
url = "http://localhost:8000/v1"
model = "the-model"
api = "chat"             # "completions" for a base model, with options = {{}} and exemplars
# key_env = "TEACHER_KEY"
samples = 8              # chains per question; SCoTD takes 30

[teacher.options.format]
style = "messages"
system = "Reason step by step, briefly. End with: So the answer is: ANSWER"

[student]                # from scratch; checkpoint = "DIR" starts from a pretrained model
hidden = 128
layers = 3
heads = 8

[training]
steps = 500

[[arms]]
name = "answer-only"
method = "answer_only"

[[arms]]
name = "SCoTD, correct chains"
method = "scotd"
select = {{ keep = "correct" }}

[[arms]]
name = "SCoTD, correct chains, vote"
method = "scotd"
select = {{ keep = "correct" }}
decode = {{ votes = 8, temperature = 0.7 }}
"""
