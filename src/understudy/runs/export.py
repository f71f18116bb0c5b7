"""A corpus, or what a run made, for other people's tools: what the verb `export` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from understudy.core.errors import DataError, StudyError, nearest
from understudy.core.values import AnswerKind, Chain, Example, Problem, Verdict
from understudy.corpus.card import CorpusCard, card_of, card_path, read_card
from understudy.corpus.export import EXACT, export_chains, export_examples
from understudy.corpus.formats import UNDERSTUDY, check_name
from understudy.corpus.store import is_ours, read_rows
from understudy.pipeline.cache import file_digest
from understudy.pipeline.stages.student import chosen_chains, learned_problems, make_examples
from understudy.runs.import_ import outcomes_of, read_questions
from understudy.runs.scores import Run
from understudy.sampling.pool import StudyPool


@dataclass(frozen=True)
class _Source:
    """What is exported: chains, what is known of their problems, and their card."""

    chains: Sequence[Chain]
    problems: Mapping[str, Problem]
    card: CorpusCard
    examples: Sequence[Example] = field(default_factory=tuple)


def export_corpus(
    source: Path,
    *,
    to: Path,
    format: str,
    problems: Sequence[Path] = (),
    kind: AnswerKind | None = None,
    problem_fields: Mapping[str, str] | None = None,
    arm: str | None = None,
    what: Literal["chains", "examples"] = "chains",
    bare: bool = False,
    no_terms: bool = False,
) -> dict[str, Any]:
    """Write the chains (or training examples) of ``source``, a run directory or a corpus, to ``to`` in ``format``; say what was
    written and what was lost.

    A run knows its problems; the chains are those of its teacher, or those selected for ``arm``, whose examples are ``what`` its
    student is trained on. A corpus needs its ``problems`` (files, with the ``kind`` of their answers) for every format that asks
    a question. Raises DataError for what cannot be, and where the corpus's card lacks terms or licence, unless ``no_terms``.
    """
    try:
        check_name(format)
    except ValueError as error:
        raise DataError(str(error)) from None
    if (to.suffix.lower() == ".parquet") != (format == UNDERSTUDY):
        raise DataError(f"{to}: a corpus in the format {UNDERSTUDY!r} ends with .parquet, and nothing else does")
    if source.is_dir():
        found = _of_run(Run(source), arm, what)
    else:
        if arm is not None or what != "chains":
            raise DataError(f"{source}: arms and their examples are in a run; give its directory")
        found = _of_corpus(source, problems, kind, problem_fields, asks=format not in EXACT)
    if found.card.missing and not no_terms:
        raise StudyError(
            f"{source}: whoever gets this must know its terms; not given: {', '.join(found.card.missing)}. Set terms (of the "
            "teacher's texts) and licence (of the questions) in the study's table [corpus] and run it again, which does nothing "
            "anew, or give `understudy import` --terms and --licence; --no-terms exports without"
        )
    if what == "examples":
        says = export_examples(found.examples, format=format, to=to, card=found.card, bare=bare)
    else:
        says = export_chains(found.chains, found.problems, format=format, to=to, card=found.card, bare=bare)
    where = str(to if format == UNDERSTUDY else card_path(to))
    return says | {"format": format, "terms": found.card.terms, "licence": found.card.licence, "card": where}


def _of_run(run: Run, arm: str | None, what: str) -> _Source:
    if what == "examples" and arm is None:
        raise DataError(f"{run.directory}: examples are those of one arm; name it (its arms: {', '.join(run.arms)})")
    if arm is not None and arm not in run.arms:
        raise DataError(f"{run.directory}: there is no arm {arm!r}{nearest(arm, list(run.arms))} (its arms: {', '.join(run.arms)})")
    problems, chains = {p.id: p for p in run.problems}, run.chains
    if arm is not None:
        chains = chosen_chains(chains, run.selection(arm))
    base = read_card(run.shared("chains") / "chains.parquet") or CorpusCard()
    outcome = {v.chain: v.outcome.value for v in _verdicts(run)}
    card = card_of(
        chains,
        terms=run.study.corpus.terms or base.terms,
        licence=run.study.corpus.licence or base.licence,
        sources=base.sources,
        sampling=base.sampling,
        outcomes=Counter(outcome[chain.id] for chain in chains if chain.id in outcome),
    )
    examples = _examples(run, arm, chains) if what == "examples" and arm is not None else ()
    return _Source(chains, problems, card, examples)


def _verdicts(run: Run) -> list[Verdict]:
    try:
        return list(read_rows(run.shared("verdicts") / "verdicts.parquet", Verdict))
    except DataError:  # a run that stopped after its chains
        return []


def _examples(run: Run, arm: str, chains: Sequence[Chain]) -> Sequence[Example]:
    method = run.study.method(run.arms[arm])
    if any(method.needs.get(role) for role in method.roles):
        raise DataError(f"{run.directory}: the examples of {arm!r} are made by its own students, and are not exported")
    learn = learned_problems(run.problems, run.selection(arm))
    pool = StudyPool(learn=learn, chains=chains, outcomes={v.chain: v.outcome for v in _verdicts(run)}, seed=run.study.seed)
    made = [make_examples(method, role, learn, chains, pool, {}, seed=run.study.seed) for role in method.roles]
    return [example for examples in made for example in examples]


def _of_corpus(
    source: Path, problems: Sequence[Path], kind: AnswerKind | None, fields: Mapping[str, str] | None, *, asks: bool
) -> _Source:
    if not is_ours(source):
        raise DataError(f"{source}: neither a run directory nor a corpus; bring chains into a corpus with `understudy import`")
    if (problems and kind is None) or (asks and not problems):
        raise DataError(
            f"{source}: a corpus does not hold its questions; name their files and the kind of their answers (--problems, --kind)"
        )
    chains = list(read_rows(source, Chain))
    known = read_questions(problems, kind=kind, fields=fields) if kind is not None else {}
    base = read_card(source) or CorpusCard()
    card = card_of(
        chains,
        terms=base.terms,
        licence=base.licence,
        sources={**base.sources, source.name: file_digest(source)},
        sampling=base.sampling,
        outcomes=outcomes_of(chains, known) if known else base.outcomes,
    )
    return _Source(chains, known, card)
