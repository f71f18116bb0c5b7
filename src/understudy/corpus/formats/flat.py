"""Rows of plain fields: our own JSON Lines, prompt and completion, Alpaca, and dumps of reasoning models.

{"problem_id": "coin-7", "text": "It is flipped once. So the answer is: no", "teacher": "gpt-3.5-turbo", "answer": "no"}
{"prompt": "Q: A coin is heads up. ...\\nA:", "completion": " It is flipped once. So the answer is: no"}
{"instruction": "A coin is heads up. ...", "input": "", "output": "It is flipped once. So the answer is: no"}

In a dump of a reasoning model (``think``) the thought is in tags before the answer, or in its own field::

    {"question": "A coin is ...", "text": "<think>\\nIt is flipped once.\\n</think>\\n\\nSo the answer is: no"}
    {"prompt": "A coin is ...", "response": "It is flipped once.\\n</think>\\nNo."}
    {"problem": "A coin is ...", "reasoning_content": "It is flipped once.", "content": "No."}

The last layout also accepts question and reply under other usual names, and a list of replies to one question::

    {"instruction": "A coin is ...", "generation": "It is flipped once. So ...", "model_name": "teacher-7b"}
    {"problem": "A coin is ...", "generations": ["It is flipped once. So ...", "Heads first. So ..."], "answer": "no"}

An export to ``think`` writes the rationale of every chain as the thought. A chain that was cut off before its answer becomes a
thought that never ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace

from understudy.core.asks import Prompt
from understudy.core.errors import DataError
from understudy.core.prompt_format import ANSWER, PromptFormat, show_prompt, write_answer, write_question
from understudy.core.thoughts import add_thought, has_tags, split_thought
from understudy.core.values import Chain, Problem, digest
from understudy.corpus.formats.chat import OPENAI, read_last_exchange, read_turns
from understudy.corpus.formats.record import FIELDS, FileFormat, LostRow, Read, Record, Row, read_hints, read_plain, read_text

PROMPT, COMPLETION = OPENAI._replace(field="prompt"), OPENAI._replace(field="completion")
_CHAIN_FIELDS = tuple(f.name for f in fields(Chain) if f.name != "problem")


def _has(rows: Sequence[Row], *names: str) -> bool:
    return all(name in row for row in rows for name in names)


def _read_jsonl(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
    """Read a row. If it has every field of a chain, Understudy wrote it, so every field is read."""
    record = read_plain(row, names, location)
    if all(name in row for name in _CHAIN_FIELDS):
        record = replace(record, metadata={"understudy": digest(record.text), **{name: row[name] for name in _CHAIN_FIELDS}})
    yield record


def make_row(chain: Chain) -> Row:
    """Return the row with every field of ``chain``."""
    return {"problem_id": chain.problem, **{name: value for name, value in asdict(chain).items() if name != "problem"}}


def _join_prompt(prompt: Prompt) -> str:
    """Return a prompt as one text: the content of its only message, or all messages, each under its role."""
    if not isinstance(prompt, str) and len(prompt) == 1:
        return prompt[0].content
    return show_prompt(prompt)


def _write_pair(prompt: Prompt, completion: str) -> Row:
    if not isinstance(prompt, str) and len(prompt) > 1:
        raise DataError("format = 'prompt-completion': an example has several messages, not one text; use 'messages'")
    return {"prompt": _join_prompt(prompt), "completion": completion}


def _read_pair(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
    """Read a prompt and its completion: texts, or, as in TRL, lists of messages."""
    source, target = row.get(names["question"]), row.get(names["text"])
    if not isinstance(source, list) and not isinstance(target, list):
        yield read_plain(row, names, location)
        return
    prompts = read_turns([{"role": "user", "content": source}] if isinstance(source, str) else source, location, PROMPT)
    replies = read_turns([{"role": "assistant", "content": target}] if isinstance(target, str) else target, location, COMPLETION)
    if isinstance(prompts, LostRow) or isinstance(replies, LostRow):
        yield next(turns for turns in (prompts, replies) if isinstance(turns, LostRow))
        return
    yield Record(**read_last_exchange([*prompts, *replies], location), **read_hints(row, names, location))


def _write_alpaca(prompt: Prompt, completion: str) -> Row:
    if isinstance(prompt, str) or prompt[0].role != "system":
        return {"instruction": _join_prompt(prompt), "input": "", "output": completion}
    return {"instruction": _join_prompt(prompt[1:]), "input": "", "output": completion, "system": prompt[0].content}


def _read_alpaca(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
    text = add_thought(row.get(names["reasoning"]), read_text(row, names, "text", location))
    task, context = read_text(row, names, "question", location), str(row.get("input") or "")
    system = str(row.get("system") or "")
    question = f"{task}\n{context}" if context else task
    prompt = f"[system]\n{system}\n[user]\n{question}" if system else question
    yield Record(text=text, question=question, prompt=prompt, **read_hints(row, names, location))


_USUAL = {
    "text": tuple("text response output completion generation content generations responses completions deepseek_solution".split()),
    "question": ("question", "prompt", "problem", "instruction", "input", "query"),
    "reasoning": ("reasoning_content", "reasoning", "thinking", "deepseek_reasoning"),
}


def _find_usual_names(row: Row, names: Mapping[str, str]) -> dict[str, str]:
    """Return the row's fields of question, reply and thought: the mapped field, else the most usual field that the row has."""
    present = {name: next((t for t in usual if t in row), names[name]) for name, usual in _USUAL.items()}
    return {**names, **{name: usual for name, usual in present.items() if names[name] == FIELDS[name]}}


def _read_usual(row: Row, names: Mapping[str, str], location: str) -> Iterator[Read]:
    """Read the reply of a row, or each of a list of them."""
    names = _find_usual_names(row, names)
    replies = row.get(names["text"])
    for reply in replies if isinstance(replies, list) else [replies]:
        yield read_plain({**row, names["text"]: reply}, names, location)


def _thinks(row: Row, names: Mapping[str, str]) -> bool:
    text, thought = row.get(names["text"]), row.get(names["reasoning"])
    return isinstance(text, str) and (isinstance(thought, str) or has_tags(text))


def _fits(rows: Sequence[Row], names: Mapping[str, str]) -> bool:
    mapped = [_find_usual_names(row, names) for row in rows]
    asks = all(n["question"] in row for row, n in zip(rows, mapped, strict=True))
    return all(n["text"] in row for row, n in zip(rows, mapped, strict=True)) and (asks or any(map(_thinks, rows, mapped)))


def _write_thought(problem: Problem, chain: Chain) -> str:
    text = chain.text.strip()
    if split_thought(text)[1] != 0:
        return chain.text
    if chain.finish == "length" and chain.answer is None:
        return f"<think>\n{text}"
    rest = text[len(chain.rationale) :].strip() if text.startswith(chain.rationale) else ""
    if not rest and chain.answer is not None:
        rest = f"{ANSWER.strip()} {write_answer(chain.answer, problem)}"
    return f"<think>\n{chain.rationale}\n</think>\n\n{rest}"


JSONL = FileFormat(
    name="jsonl",
    needs="the fields 'text' and 'problem_id' or 'question', or what they are mapped to",
    fits=lambda rows, names: _has(rows, names["text"]) and (_has(rows, names["problem"]) or _has(rows, names["question"])),
    read=_read_jsonl,
    write=lambda _problem, chain: make_row(chain),
    names={"answer": "answer"},
)
PROMPT_COMPLETION = FileFormat(
    name="prompt-completion",
    needs="the fields 'prompt' and 'completion', or what question and text are mapped to",
    fits=lambda rows, names: _has(rows, names["question"], names["text"]),
    read=_read_pair,
    write=lambda problem, chain: _write_pair(PromptFormat().write_prompt(problem), chain.text),
    pair=_write_pair,
    names={"question": "prompt", "text": "completion"},
)
ALPACA = FileFormat(
    name="alpaca",
    needs="the fields 'instruction' and 'output' ('input', 'system')",
    reads=("input", "system"),
    fits=lambda rows, names: _has(rows, names["question"], names["text"]),
    read=_read_alpaca,
    write=lambda problem, chain: _write_alpaca(write_question(problem), chain.text),
    pair=_write_alpaca,
    names={"question": "instruction", "text": "output"},
)
THINK = FileFormat(
    name="think",
    needs="a text with <think> or </think> in it, a field 'reasoning_content' next to 'content', or question and reply under "
    "usual names (problem, instruction, ...; generation, generations, response, ...)",
    reads=tuple(name for names in _USUAL.values() for name in names),
    fits=_fits,
    read=_read_usual,
    write=lambda problem, chain: {"question": write_question(problem), "text": _write_thought(problem, chain)},
)
