"""Dumps of reasoning models: the thought stands in tags before the answer, or in a field of its own.

    {"question": "A coin is ...", "text": "<think>\\nIt is flipped once.\\n</think>\\n\\nSo the answer is: no"}
    {"prompt": "A coin is ...", "response": "It is flipped once.\\n</think>\\nNo."}
    {"problem": "A coin is ...", "reasoning_content": "It is flipped once.", "content": "No."}

An export writes the rationale of every chain as the thought. A chain that was cut off before its answer becomes a thought that
never ends.
"""

from collections.abc import Mapping, Sequence

from understudy.core.prompt_format import ANSWER, answer_text, question_text
from understudy.core.thoughts import has_tags, thought_of
from understudy.core.values import Chain, Problem
from understudy.corpus.formats.record import FIELDS, NO_RECORD, FileFormat, Row, read_plain

_USUAL = {
    "text": ("text", "response", "output", "completion", "generation", "content"),
    "question": ("question", "prompt", "problem", "instruction", "input"),
    "reasoning": ("reasoning_content", "reasoning", "thinking"),
}


def _usual_names(row: Row, names: Mapping[str, str]) -> dict[str, str]:
    """The row's fields of question, reply and thought: the mapped field, else the most usual field that the row has."""
    usual = {ours: next((t for t in theirs if t in row), names[ours]) for ours, theirs in _USUAL.items()}
    return {**names, **{ours: theirs for ours, theirs in usual.items() if names[ours] == FIELDS[ours]}}


def _thinks(row: Row, names: Mapping[str, str]) -> bool:
    text, named = row.get(names["text"]), row.get(names["reasoning"])
    return isinstance(text, str) and (isinstance(named, str) or has_tags(text))


def _fits(rows: Sequence[Row], names: Mapping[str, str]) -> bool:
    named = [_usual_names(row, names) for row in rows]
    return all(n["text"] in row for row, n in zip(rows, named, strict=True)) and any(map(_thinks, rows, named))


def _write(problem: Problem, chain: Chain) -> Row:
    return {"question": question_text(problem), "text": _write_thought(problem, chain)}


def _write_thought(problem: Problem, chain: Chain) -> str:
    text = chain.text.strip()
    if thought_of(text)[1] != 0:
        return chain.text
    if chain.finish == "length" and chain.answer is None:
        return f"<think>\n{text}"
    rest = text[len(chain.rationale) :].strip() if text.startswith(chain.rationale) else ""
    if not rest and chain.answer is not None:
        rest = f"{ANSWER.strip()} {answer_text(chain.answer, problem.kind)}"
    return f"<think>\n{chain.rationale}\n</think>\n\n{rest}"


THINK = FileFormat(
    name="think",
    needs="a text with <think> or </think> in it, or a field 'reasoning_content' beside 'content'",
    fits=_fits,
    read=lambda row, names, where: read_plain(row, _usual_names(row, names), where),
    write=_write,
    names=NO_RECORD,
)
