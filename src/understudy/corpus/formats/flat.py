"""Rows of plain fields: our own JSON Lines, prompt and completion, Alpaca.

{"problem_id": "coin-7", "text": "It is flipped once. So the answer is: no", "teacher": "gpt-3.5-turbo", "answer": "no"}
{"prompt": "Q: A coin is heads up. ...\\nA:", "completion": " It is flipped once. So the answer is: no"}
{"instruction": "A coin is heads up. ...", "input": "", "output": "It is flipped once. So the answer is: no"}
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

from understudy.core.asks import Prompt
from understudy.core.errors import DataError
from understudy.core.prompt_format import PromptFormat, question_text
from understudy.core.thoughts import with_thought
from understudy.core.values import Chain, digest, to_json
from understudy.corpus.formats.record import NO_RECORD, FileFormat, Read, Record, Row, hints, join_prompt, read_plain, text_of

_OURS = tuple(f.name for f in fields(Chain) if f.name != "problem")


def _has(rows: Sequence[Row], *names: str) -> bool:
    return all(name in row for row in rows for name in names)


def _read_jsonl(row: Row, names: Mapping[str, str], where: str) -> Iterator[Read]:
    """A row with every field of a chain was written by Understudy, so every field of it is read."""
    for record in read_plain(row, names, where):
        is_chain = all(name in row for name in _OURS)
        yield (
            replace(record, ours={"understudy": digest(record.text), **{name: row[name] for name in _OURS}}) if is_chain else record
        )


def chain_row(chain: Chain) -> Row:
    """The row with every field of ``chain``."""
    return {"problem_id": chain.problem, **{name: value for name, value in to_json(chain).items() if name != "problem"}}


def _prompt_completion(prompt: Prompt, completion: str) -> Row:
    if not isinstance(prompt, str) and len(prompt) > 1:
        raise DataError(
            "format = 'prompt-completion': an example with several messages has no single prompt text; take messages or sharegpt"
        )
    return {"prompt": join_prompt(prompt), "completion": completion}


def _alpaca(prompt: Prompt, completion: str) -> Row:
    if isinstance(prompt, str) or prompt[0].role != "system":
        return {"instruction": join_prompt(prompt), "input": "", "output": completion}
    return {"instruction": join_prompt(prompt[1:]), "input": "", "output": completion, "system": prompt[0].content}


def _read_alpaca(row: Row, names: Mapping[str, str], where: str) -> Iterator[Read]:
    text = with_thought(row.get(names["reasoning"]), text_of(row, names, "text", where))
    task, context = text_of(row, names, "question", where), str(row.get("input") or "")
    system = str(row.get("system") or "")
    question = f"{task}\n{context}" if context else task
    prompt = f"[system]\n{system}\n[user]\n{question}" if system else question
    yield Record(text=text, question=question, prompt=prompt, **hints(row, names, where))


JSONL = FileFormat(
    name="jsonl",
    needs="the fields 'text' and 'problem_id' or 'question', or what they are mapped to",
    fits=lambda rows, names: _has(rows, names["text"]) and (_has(rows, names["problem"]) or _has(rows, names["question"])),
    read=_read_jsonl,
    write=lambda _problem, chain: chain_row(chain),
)
PROMPT_COMPLETION = FileFormat(
    name="prompt-completion",
    needs="the fields 'prompt' and 'completion', or what question and text are mapped to",
    fits=lambda rows, names: _has(rows, names["question"], names["text"]),
    read=read_plain,
    write=lambda problem, chain: _prompt_completion(PromptFormat().write_prompt(problem), chain.text),
    pair=_prompt_completion,
    names={**NO_RECORD, "question": "prompt", "text": "completion"},
)
ALPACA = FileFormat(
    name="alpaca",
    needs="the fields 'instruction' and 'output' ('input', 'system')",
    fits=lambda rows, names: _has(rows, names["question"], names["text"]),
    read=_read_alpaca,
    write=lambda problem, chain: _alpaca(question_text(problem), chain.text),
    pair=_alpaca,
    names={**NO_RECORD, "question": "instruction", "text": "output"},
)
