"""Import existing chains in any of the formats. Every row that gives no chain is counted."""

import dataclasses
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from understudy.core.answers import STATED, answer_key, normalise
from understudy.core.asks import Reply, SamplePath, amend
from understudy.core.errors import DataError, with_known
from understudy.core.prompt_format import PromptFormat
from understudy.core.thoughts import split_thought
from understudy.core.values import Chain, Problem, digest, from_json
from understudy.corpus.formats import UNDERSTUDY, check_name, map_names, recognise_format
from understudy.corpus.formats.batch import BATCH
from understudy.corpus.formats.record import FIELDS, TEACHERS, BatchRequest, FileFormat, LostRow, Read, Record
from understudy.corpus.match import UNKNOWN, Questions
from understudy.corpus.secrets import clean_text, remove_secrets
from understudy.corpus.spool import Spool
from understudy.corpus.store import read_header, read_rows
from understudy.corpus.tables import collect_bad, read_objects

RECORDED = "recorded"
"""The layer of an answer that came from its row and not from its text."""

REPEATED = "equal to an earlier one"
"""A row with the problem, teacher and text of an earlier row. It is kept, on its own path."""
NO_ANSWER = "without an answer"
RECORDED_ONLY = "with the recorded answer"
"""The text does not plainly state the answer, so the chain takes the row's recorded one (layer ``recorded``)."""
DIFFERS = "whose text states another answer than recorded"
ANY = -2
"""The path of a chain whose row names none, until it gets one."""
_OF_THE_TEXT = ("text", "rationale", "answer", "layer", "finish", "steps", "tokens", "logprob")
_METADATA_FIELDS = frozenset(f.name for f in dataclasses.fields(Chain)) - {"problem"}
"""The fields of a chain that an export may write next to its text."""
_CHAIN = TypeAdapter(Chain)
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_TEXT_FIELDS = ("text", "prompt", "teacher", "answer", "sampling", "metadata")
"""What a chain keeps of its record. The name of the file may have half pairs, if it is not in UTF-8."""
Requests = dict[str, BatchRequest]
"""The requests of a batch by their ids."""


@dataclasses.dataclass
class Report:
    """The result of an import: the counts of ``rows``, of their ``chains``, and of what was lost or differs."""

    rows: int = 0
    formats: dict[str, str] = dataclasses.field(default_factory=dict)
    """file -> the format in which it was read."""
    lost: Counter[str] = dataclasses.field(default_factory=Counter)
    """Counts of rows (and of choices in a batch's rows) that gave no chain, by reason."""
    notes: Counter[str] = dataclasses.field(default_factory=Counter)
    """Counts of chains with something unusual, by what it is."""
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """The first three of the lost rows, by reason: where each is, and what it asks."""
    columns: dict[str, None] = dataclasses.field(default_factory=dict)
    """The fields of rows that no format reads; chains keep them under ``sampling.columns``."""
    layers: Counter[str] = dataclasses.field(default_factory=Counter)
    teachers: Counter[str] = dataclasses.field(default_factory=Counter)

    def lose(self, reason: str, location: str, text: str = "") -> None:
        """Count a row that gives no chain, and keep the first few to show."""
        self.lost[reason] += 1
        if len(examples := self.examples.setdefault(reason, [])) < 3:
            examples.append(f"{location}: {text[:80]!r}" if text else location)

    def to_json(self) -> dict[str, Any]:
        """Return the counts under readable names. Rare ones are missing if they are 0."""
        return {
            "rows": self.rows,
            "chains": self.layers.total(),
            "read as": self.formats,
            **{UNKNOWN: 0, **+self.lost},
            **({"first lost rows": self.examples} if self.examples else {}),
            **({"kept in sampling.columns": list(self.columns)} if self.columns else {}),
            **{**dict.fromkeys((REPEATED, NO_ANSWER, RECORDED_ONLY, DIFFERS), 0), **+self.notes},
            "answers found by layer": dict(self.layers.most_common()),
            "teachers": dict(self.teachers.most_common()),
        }


def import_chains(
    paths: Sequence[Path],
    *,
    problems: Mapping[str, Problem],
    fields: Mapping[str, str],
    prefer: Literal["text", "recorded"],
    format: str = "",
    bad: list[str] | None = None,
    split: str = "",
) -> tuple[Spool, Report]:
    """Read the chains in ``paths`` that belong to ``problems`` (id -> problem), ordered by problem and by path; with ``split``,
    only those of problems in this split.

    ``format`` is one of `understudy.corpus.formats.NAMES`; "" recognises the format of each file. ``fields`` maps our field names
    to theirs. `Questions.find` says how a chain finds its problem, and `takes_recorded` which answer it gets. Each chain of a
    problem has its own path: that of its row if it is free, else the first free one. Raises DataError naming file, line and field;
    if there is a list ``bad``, the message of a row that cannot be read goes there.
    """
    for name in fields:
        if name not in FIELDS:
            raise DataError(f"fields: unknown field {with_known(name, FIELDS)}")
    if format:
        check_name(format)
    report, questions, chains, numbered = Report(), Questions(problems), Spool(), Spool()
    requests: Requests = {}
    layouts = [(path, _recognise(path, format, fields, report, skip_bad=bad is not None)) for path in paths]

    from_rows = partial(_read_rows, fields=fields, requests=requests, report=report, bad=bad)
    # The requests of a batch may be in a later file than its answers.
    answers = [row for path, layout in layouts if layout is BATCH for row in from_rows(path, layout)]
    records = (row for path, layout in layouts if layout not in (None, BATCH) for row in from_rows(path, layout))
    own_chains = (chain for path, layout in layouts if layout is None for chain in _read_corpus(path, problems, report))
    with_requests = itertools.chain(((row, {}) for row in records), ((row, requests) for row in answers))
    placed_chains = (collect_bad(bad, _make_placed, *record_pair, questions, prefer, report) for record_pair in with_requests)
    order = {name: position for position, name in enumerate(problems)}
    for number, chain in enumerate(itertools.chain(own_chains, filter(None, placed_chains))):
        if split in ("", problems[chain.problem].split):
            chains.put(order[chain.problem], number, chain)
        else:
            report.lose(f"of questions outside the split {split!r}", "a chain", chain.problem)
    for number, chain in enumerate(_assign_paths(chains, report)):
        numbered.put(0, number, chain)
    if not numbered:
        lost = ", ".join(f"{n:,} {reason}" for reason, n in report.lost.most_common()) or "nothing in them"
        examples = "; ".join(f"{reason}, {row}" for reason, rows in report.examples.items() for row in rows)
        raise DataError(
            f"{', '.join(map(str, paths))}: no chain belongs to the {len(problems):,} problems ({report.rows:,} rows, {lost}); "
            f"chains must name problems by their ids, or ask their questions{'. First: ' * bool(examples)}{examples}"
        )
    return numbered, report


def _recognise(path: Path, name: str, fields: Mapping[str, str], report: Report, *, skip_bad: bool) -> FileFormat | None:
    """Return the format of a file, None if it is our own."""
    if name == UNDERSTUDY or (not name and read_header(path)):
        report.formats[path.name] = UNDERSTUDY
        return None
    layout = recognise_format(path, name, fields, skip_bad=skip_bad)
    report.formats[path.name] = layout.name if name else f"{layout.name} (by its first rows)"
    return layout


def _read_corpus(path: Path, problems: Mapping[str, Problem], report: Report) -> Iterator[Chain]:
    """Yield the chains of ``problems`` in a file of our own."""
    for chain in read_rows(path, Chain):
        report.rows += 1
        if chain.problem in problems:
            yield chain
        else:
            report.lose(UNKNOWN, str(path), chain.problem)


def _read_rows(
    path: Path, layout: FileFormat, fields: Mapping[str, str], requests: Requests, report: Report, *, bad: list[str] | None
) -> Iterator[Record]:
    """Yield the records of a file. Other rows are counted, and requests go to ``requests`` by their id."""
    names = map_names(layout, fields)
    if not layout.mapped and (unused := [key for key in ("question", "text", "reasoning") if key in fields]):
        raise DataError(f"{path}: fields: {unused[0]} cannot be mapped in the format {layout.name!r}, which has {layout.needs}")
    read_fields = {*names.values(), *layout.reads, *TEACHERS, "id", "metadata", "sampling", "finish_reason"}
    for location, row in read_objects(path, bad):
        report.rows += 1
        reads: list[Read] = collect_bad(bad, list, layout.read(row, names, location)) or []
        columns = {name: value for name, value in row.items() if name not in read_fields and value is not None}
        columns = {} if _has_half_pair(columns) else columns
        for read in reads:
            if isinstance(read, LostRow):
                report.lose(read.reason, location)
            elif isinstance(read, BatchRequest):
                old = requests.setdefault(read.id, read)
                if old.question != read.question:
                    raise DataError(f"{location}: {read.id!r} has another question in {old.location}; import each batch separately")
                report.notes["requests of a batch"] += 1
            elif not read.text.strip():
                report.lose("without text", location, read.question)
            elif _has_half_pair([getattr(read, name) for name in _TEXT_FIELDS]):
                report.lose("with invalid characters (half of a surrogate pair)", location)
            elif columns and not read.metadata:
                report.columns |= dict.fromkeys(columns)
                yield dataclasses.replace(read, sampling={**read.sampling, "columns": columns})
            else:
                yield read


def _has_half_pair(value: Any) -> bool:
    return _HALF_PAIR.search(json.dumps(value, ensure_ascii=False, default=str)) is not None


def _make_placed(record: Record, requests: Requests, questions: Questions, prefer: str, report: Report) -> Chain | None:
    """Return the chain of ``record``, on the path `ANY` if the row names none. If no problem fits, count the record and return
    None."""
    request = next((requests[name] for name in record.problem_ids if name in requests), None)
    if request is not None:
        record = dataclasses.replace(
            record,
            problem_ids=(request.problem,) if request.problem else (),
            question=request.question,
            prompt=request.prompt or None,
            sampling={**request.sampling, **record.sampling},
        )
    if not (record.problem_ids or record.row_id or record.question.strip() or request is not None):
        raise DataError(f"{record.location}: the row has no problem_id, id or question; map problem=FIELD or question=FIELD")
    problem = questions.find(record)
    if request is not None and problem == UNKNOWN:  # worded differently, so try the request's own id
        problem = questions.find(dataclasses.replace(record, problem_ids=(request.id,)))
    if isinstance(problem, str):
        report.lose(problem, record.location, record.question or ", ".join(record.problem_ids) or record.row_id)
        return None
    report.notes[record.note] += bool(record.note)
    if not (notes := _read_notes(record, report)):
        chain = make_chain(record, problem, prefer, report)
    else:
        complete = notes.keys() >= _METADATA_FIELDS - {"text"}
        defaults = {"problem": problem.id, "text": record.text} if complete else vars(make_chain(record, problem, prefer, report))
        try:
            chain = _validate({**defaults, **notes})
        except (ValueError, TypeError, RecursionError) as error:
            reason = ": ".join(map(str.strip, str(error).splitlines()[1:3])) or error  # pydantic's first line only counts
            raise DataError(f"{record.location}: the metadata of the export is damaged ({reason}); remove it") from None
    return chain if record.path is not None or "path" in notes else dataclasses.replace(chain, path=ANY)


def make_chain(record: Record, problem: Problem, prefer: str, report: Report) -> Chain:
    """Return the chain of a row alone, without the metadata of an export."""
    path, reply = SamplePath(problem.id, record.path or 0), Reply(record.text, record.finish, record.tokens)
    chain = PromptFormat().read_chain(problem, path, reply, prompt=record.prompt or "")
    recorded = None if record.answer is None else normalise(record.answer, problem.kind, problem.choices, problem.form)
    report.notes[DIFFERS] += chain.layer in STATED and bool(chain.answer and recorded) and not _is_same(chain.answer, recorded)
    if takes_recorded(chain.answer, chain.layer, recorded, prefer=prefer):
        # It is not in the text, so the whole text is rationale.
        thought, start = split_thought(chain.text)
        chain = amend(chain, answer=recorded, layer=RECORDED, rationale=thought or chain.text[start or 0 :].strip())
    return amend(
        chain,
        teacher=clean_text(record.teacher) or "unknown",
        logprob=record.logprob,
        prompt=record.prompt,
        sampling=remove_secrets(record.sampling),
    )


def _read_notes(record: Record, report: Report) -> dict[str, Any]:
    """Return the fields that an export of Understudy wrote next to the text. If the text has changed, drop those read from it."""
    notes = {name: value for name, value in record.metadata.items() if name in _METADATA_FIELDS}
    if notes and record.metadata["understudy"] != digest(record.text):
        report.notes["changed since their export and read again"] += 1
        notes = {name: value for name, value in notes.items() if name not in _OF_THE_TEXT}
    return notes


def _validate(row: dict[str, Any]) -> Chain:
    """Return the chain of a JSON object whose fields have the right types. Raises ValueError or TypeError."""
    row = {**row, **{name: json.loads(row[name]) for name in ("steps", "sampling") if isinstance(row[name], str)}}
    _CHAIN.validate_json(json.dumps(row, allow_nan=False), strict=True)
    if row["finish"] not in ("stop", "length", "refused"):
        raise ValueError(f"finish = {row['finish']!r}")
    return from_json(Chain, {**row, "sampling": remove_secrets(row["sampling"])})


def _assign_paths(chains: Iterable[Chain], report: Report) -> Iterator[Chain]:
    """Yield ``chains``, which come problem by problem, by their paths, and count them. No two chains of a problem share a path:
    the first keeps it."""
    for _, chains_of_problem in itertools.groupby(chains, lambda chain: chain.problem):
        group = list(chains_of_problem)
        placed: dict[int, Chain] = {}
        free = 0
        for chain in group:
            path = chain.path
            if path == ANY or path in placed:
                path = free = next(n for n in itertools.count(free) if n not in placed)
            placed[path] = dataclasses.replace(chain, path=path)
            _count(chain, report)
        report.notes[REPEATED] += len(group) - len({(chain.teacher, chain.text) for chain in group})
        yield from (placed[path] for path in sorted(placed))


def _count(chain: Chain, report: Report) -> None:
    report.teachers[chain.teacher] += 1
    report.layers[chain.layer or ("truncated" if chain.finish == "length" else "no_marker")] += 1
    thought = chain.answer is None and bool(split_thought(chain.text)[1])
    facts = {RECORDED_ONLY: chain.layer == RECORDED, NO_ANSWER: chain.answer is None, "cut off": chain.finish == "length"}
    report.notes.update(facts | {"refused": chain.finish == "refused", "that thought and gave no answer": thought})


def _is_same(value: str | None, recorded: str | None) -> bool:
    return answer_key(value or "") == answer_key(recorded or "")


def takes_recorded(answer: str | None, layer: str, recorded: str | None, *, prefer: str) -> bool:
    """Return whether a chain takes the answer that its row ``recorded`` in place of the ``answer`` in its text.

    An answer that the text plainly states comes before the recorded one, which comes before a conclusion from the last sentences:
    many corpora publish a rationale without its answer, which may name any option. A text that states several answers at once has
    none. ``prefer`` "recorded" puts the recorded answer first: a sentence that it could be concluded from stays in the rationale,
    as the last step of people's working ("he has 8 - 5 = 3 left").
    """
    stated, same = layer in STATED, _is_same(answer, recorded)
    return recorded is not None and not (stated and same) and not (prefer == "text" and (stated or same))
