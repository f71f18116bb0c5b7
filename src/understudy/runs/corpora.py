"""Import recorded chains into a corpus, and export a corpus, or what a run made, into other formats."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from understudy.checks.answer import same_answer
from understudy.checks.judge import judge
from understudy.core.errors import DataError, RowError
from understudy.core.values import AnswerKind, Chain, Example, Outcome, Problem
from understudy.corpus.card import CorpusCard, find_card, inherit_terms, make_card, name_sources, read_corpus_card, require_terms
from understudy.corpus.directories import list_files
from understudy.corpus.export import EXACT, export_chains, export_examples
from understudy.corpus.formats import UNDERSTUDY, check_name
from understudy.corpus.import_ import import_chains
from understudy.corpus.store import read_header, read_rows, write_rows
from understudy.evaluation.worth import CorpusMeter
from understudy.pipeline.cache import digest_files
from understudy.pipeline.stages.selection import filter_learned, read_chosen
from understudy.pipeline.stages.student import make_examples
from understudy.runs.run import Run
from understudy.sampling.pool import StudyPool
from understudy.tasks.rows import Layout, make_problems, read_question_rows
from understudy.tasks.splits import check_ids

Fields = Mapping[str, str] | None
"""our field -> theirs, if the names differ"""


def import_corpus(
    chains: Sequence[Path],
    *,
    problems: Sequence[Path],
    kind: AnswerKind,
    to: Path,
    format: str = "",
    fields: Fields = None,
    problem_fields: Fields = None,
    prefer: Literal["text", "recorded"] = "text",
    terms: str = "",
    licence: str = "",
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Read ``chains`` (in ``format``; "" detects it from each file) against their ``problems``, write the corpus ``to`` (Parquet,
    with its card), and return the import's report.

    ``fields`` and ``problem_fields`` map our field names to theirs if they differ. The answer of a chain is read from its text;
    ``prefer`` says which answer counts if the row records another. ``terms`` and ``licence`` go into the card; "" takes those of
    the files' own cards. ``skip_bad``: skip and count questions and chains that cannot be read. Raises DataError naming file, line
    and field.
    """
    if to.suffix.lower() != ".parquet" or any(to.resolve().is_relative_to(path.resolve()) for path in (*chains, *problems)):
        raise DataError(f"{to}: a corpus is written to a .parquet file, and to none of those that are read; change --to")
    _require_ours(to)
    bad: list[str] | None = [] if skip_bad else None
    try:
        questions = read_questions(problems, kind=kind, fields=problem_fields, bad=bad)
        corpus, report = import_chains(chains, problems=questions, fields=dict(fields or {}), prefer=prefer, format=format, bad=bad)
    except RowError as error:
        raise DataError(f"{error} (--skip-bad leaves out rows that cannot be read)") from None
    for message in bad or ():
        report.lose("that cannot be read (--skip-bad)", message)
    terms, licence = inherit_terms(chains, terms, licence)
    sources = name_sources(digest_files((file for path in [*chains, *problems] for file in list_files(path)), "import"))
    outcomes, meter = Counter[str](), CorpusMeter()
    for name, group in groupby(corpus, lambda chain: chain.problem):
        judged = [(chain, judge(questions[name], chain, same_answer).outcome) for chain in group]
        outcomes.update(outcome.value for _, outcome in judged)
        meter.add(questions[name], judged)
    card = make_card(corpus, CorpusCard(terms, licence, sources=sources, outcomes=dict(outcomes.most_common())))
    write_rows(to, Chain, corpus, card=asdict(card))
    return report.to_json() | meter.read().describe()


def _require_ours(to: Path) -> None:
    """Raise DataError if ``to`` is somebody else's file, which would be overwritten."""
    if to.is_file() and to.stat().st_size and not (read_header(to) or find_card(to).is_file()):
        raise DataError(f"{to}: already exists, and is no export of Understudy; change --to")


_Exported = tuple[Sequence[Chain], Mapping[str, Problem], CorpusCard, Sequence[Example]]
"""What is exported: chains, what is known of their problems, their card, and the examples if these are wanted."""


def export_corpus(
    source: Path,
    *,
    to: Path,
    format: str,
    problems: Sequence[Path] = (),
    kind: AnswerKind | None = None,
    problem_fields: Fields = None,
    arm: str | None = None,
    what: Literal["chains", "examples"] = "chains",
    bare: bool = False,
    no_terms: bool = False,
) -> dict[str, Any]:
    """Write the chains (or training examples) of ``source``, a run directory or a corpus, to ``to`` in ``format``; return what was
    written and what was lost.

    A run knows its problems. The chains are those of its teacher, or those selected for ``arm``; with ``what`` = "examples", the
    examples that the arm's student is trained on are written. A corpus needs its ``problems`` (files, with the ``kind`` of their
    answers) for every format that shows the question. Raises DataError for impossible requests, and if the card lacks terms or
    licence, unless ``no_terms``.
    """
    check_name(format)
    if (to.suffix.lower() == ".parquet") != (format == UNDERSTUDY):
        raise DataError(f"{to}: the format {UNDERSTUDY!r}, and no other, is written to a .parquet file; change --to or --format")
    if any(to.resolve().is_relative_to(p.resolve()) for p in (source / "stages" if source.is_dir() else source, *problems)):
        raise DataError(f"{to}: is read, too, and would be overwritten; change --to")
    _require_ours(to)
    if source.is_dir():
        chains, questions, base, examples = _read_run(Run(source), arm, what)
    else:
        if arm is not None or what != "chains":
            raise DataError(f"{source}: a corpus has no arms and no examples; give the directory of a run")
        chains, questions, base, examples = _read_corpus(source, problems, kind, problem_fields, asks=format not in EXACT)
    card = make_card(chains, base)
    if not no_terms:
        require_terms(source, card)
    if what == "examples":
        written = export_examples(examples, format=format, to=to, card=card, bare=bare)
    else:
        written = export_chains(chains, questions, format=format, to=to, card=card, bare=bare)
    card_file = str(to if format == UNDERSTUDY else find_card(to))
    return written | {"format": format, "terms": card.terms, "licence": card.licence, "card": card_file}


def _read_run(run: Run, arm: str | None, what: str) -> _Exported:
    if what == "examples" and arm is None:
        raise DataError(f"{run.directory}: examples belong to one arm; name it with --arm: {', '.join(map(repr, run.arms))}")
    problems, chains = {p.id: p for p in run.problems}, list(read_rows(run.chains_file, Chain))
    if arm is not None:
        ids = read_chosen(run.selection(run.arm(arm).name))
        chains = [chain for chain in chains if chain.id in ids]
    try:
        outcomes = {chain.id: verdict.outcome for chain, verdict in run.judged_chains()}
    except DataError:  # the run stopped after its chains
        outcomes = {}
    card, base = run.study.corpus, read_corpus_card(run.chains_file) or CorpusCard()
    base = replace(base, outcomes=_tally(chains, outcomes), terms=card.terms or base.terms, licence=card.licence or base.licence)
    return chains, problems, base, _collect_examples(run, arm, chains) if what == "examples" and arm is not None else ()


def _collect_examples(run: Run, arm: str, chains: Sequence[Chain]) -> Sequence[Example]:
    method = run.study.method(run.arms[arm])
    if any(method.needs.get(role) for role in method.roles):
        raise DataError(f"{run.directory}: the examples of {arm!r} are made by its own students; export its chains instead")
    problems = filter_learned(run.problems, run.selection(arm))
    outcomes = {chain.id: verdict.outcome for chain, verdict in run.judged_chains(run.arms[arm].select.check)}
    pool = StudyPool(learn=problems, chains=chains, outcomes=outcomes, seed=run.study.seed)
    return [example for role in method.roles for example in make_examples(method, role, pool, {}, seed=run.study.seed)]


def _read_corpus(source: Path, problems: Sequence[Path], kind: AnswerKind | None, fields: Fields, *, asks: bool) -> _Exported:
    if not read_header(source):
        raise DataError(f"{source}: neither a run directory nor a corpus; make a corpus of chains with `understudy import`")
    if (problems and kind is None) or (asks and not problems):
        raise DataError(f"{source}: a corpus does not hold its questions; name their files and kind (--problems, --kind)")
    chains = list(read_rows(source, Chain))
    questions = read_questions(problems, kind=kind, fields=fields) if kind is not None else {}
    base = read_corpus_card(source) or CorpusCard()
    sources = {**base.sources, source.name: digest_files([source], "export")[str(source)]}
    judged = {c.id: judge(questions[c.problem], c, same_answer).outcome for c in chains if c.problem in questions}
    return chains, questions, replace(base, sources=sources, outcomes=_tally(chains, judged) if questions else base.outcomes), ()


def read_questions(paths: Sequence[Path], *, kind: AnswerKind, fields: Fields, bad: list[str] | None = None) -> dict[str, Problem]:
    """Read the questions in ``paths``, by id; ``bad`` as for `problems_of`. Raises DataError if two have the same id."""
    rows = [row for path in paths for row in read_question_rows(path, bad)]
    problems = [problem for problem in make_problems(rows, Layout(kind, dict(fields or {})), bad) if problem is not None]
    check_ids(problems)
    return {p.id: p for p in problems}


def _tally(chains: Sequence[Chain], outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Count how many of ``chains`` are correct, wrong, ..."""
    return dict(Counter(outcomes[chain.id].value for chain in chains if chain.id in outcomes).most_common())
