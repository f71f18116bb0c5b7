"""student: the examples of one role of one arm, and the student trained on them."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.core.asks import Path as SamplePath
from understudy.core.errors import EngineError, StudyError
from understudy.core.prompt_format import PromptFormat, prompt_text
from understudy.core.protocols import LocalEngine, Progress
from understudy.core.registry import find
from understudy.core.subquestions import write_steps as as_dialogue
from understudy.core.values import Chain, Example, Outcome, Problem, Verdict
from understudy.corpus.store import read_rows
from understudy.evaluation.outcomes import outcome_of
from understudy.evaluation.run import answer
from understudy.flows.board import fold_of
from understudy.flows.drive import drive
from understudy.pipeline.card import Card, remark_on_start, write_card
from understudy.pipeline.executor import at_once
from understudy.sampling.pool import StudyPool
from understudy.studies.cast import parts_of
from understudy.studies.schema import build
from understudy.training.options import StudentOptions, TrainingOptions


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train into ``directory`` and put the card beside the weights; say what training saw."""
    from understudy.training.loop import train

    problems = list(read_rows(needs["problems"] / "problems.parquet", Problem))
    chains = list(read_rows(needs["chains"] / "chains.parquet", Chain))
    chosen = chosen_chains(chains, needs["selection"])
    method = build(find("method", arguments["method"]), dict(arguments["options"]), "options")
    training = [p for p in problems if p.split == "train"]
    learn = learned_problems(training, needs["selection"])
    if arguments["fold"] is not None:
        fold, folds = arguments["fold"]
        learn = [p for p in learn if fold_of(p.id, folds) != fold]
    verdicts = {v.chain: v.outcome for v in read_rows(needs["verdicts"] / "verdicts.parquet", Verdict)}
    pool = StudyPool(learn=learn, chains=chosen, outcomes=verdicts, seed=arguments["study_seed"])
    examples = make_examples(method, arguments["role"], learn, chosen, pool, _folds(needs, arguments), seed=arguments["seed"])
    if not examples:
        raise StudyError(
            f"arm with method {arguments['method']!r}: nothing is left to train role {arguments['role']!r} on: "
            f"{len(chosen)} of {len(chains)} chains were selected; see `understudy select` for the reasons"
        )
    dev = [p for p in problems if p.split == arguments["dev"]][: arguments["dev_problems"]]
    check = find("check", arguments["check"])

    def score(checkpoint: Path) -> float:
        engine = open_student(checkpoint, arguments)
        found = answer(dev, method, dict.fromkeys(parts_of(method), engine), pool=pool, seed=arguments["seed"])
        if found.errors:
            raise EngineError(f"choosing checkpoints on {arguments['dev']}: {found.errors[0]['error']}")
        by_id = {p.id: p for p in dev}
        right = sum(outcome_of(by_id[s.problem], s, check) is Outcome.CORRECT for s in found.solutions)
        return right / len(dev)

    student = build(StudentOptions, arguments["student"], "student")
    remark = student.checkpoint and remark_on_start(Path(student.checkpoint), arguments["method"], arguments["options"])
    trained = train(
        examples,
        student=student,
        options=build(TrainingOptions, arguments["training"], "training"),
        out=directory,
        seed=arguments["seed"],
        # Of all training problems, whatever the arm's fraction: with other words it would have another tokenizer and another
        # size, and a difference between fractions would not be one of the data alone.
        vocabulary=vocabulary(
            [build(PromptFormat, f, "format") for f in arguments["vocabulary"]], training, chains, words=arguments["words"]
        ),
        score=score if len(method.roles) == 1 else None,
        progress=progress,
        share=1 / at_once(),
    )
    card = Card.of(arguments, kind=learn[0].kind, lineage={name: path.name for name, path in needs.items()})
    write_card(trained.checkpoint, card)
    says = {"examples": len(examples), "problems": len({e.problem for e in examples}), "chains": len(chosen)}
    notes = [*([remark] if remark else []), *trained.notes]
    for note in notes:
        progress("student", 0, 0, note)
    return says | {k: v for k, v in dataclasses.asdict(trained).items() if isinstance(v, int | float)} | {"notes": notes}


def make_examples(  # noqa: PLR0917
    method: Any,
    role: str,
    problems: Sequence[Problem],
    chains: Sequence[Chain],
    pool: StudyPool,
    folds: Mapping[str, Sequence[LocalEngine]],
    *,
    seed: int,
) -> list[Example]:
    """The method's examples of ``role`` for every problem, in the order of the problems. ``folds``: the roles it needs."""
    by_problem: dict[str, list[Chain]] = defaultdict(list)
    for chain in chains:
        by_problem[chain.problem].append(chain)
    only = {"role": role} if method.needs else {}
    flows = ((SamplePath(p.id, 0, seed), method.examples(p, by_problem[p.id], pool, **only)) for p in problems)
    made: dict[str, list[Example]] = {}
    for done in drive(flows, {}, folds=folds, seed=seed):
        if done.value is None:
            raise StudyError(f"examples of problem {done.path.problem!r} could not be made: {done.error}")
        made[done.path.problem] = done.value
    return [example for problem in problems for example in made[problem.id] if example.role == role]


def _folds(needs: Mapping[str, Path], arguments: Mapping[str, Any]) -> dict[str, list[LocalEngine]]:
    """role -> the students of its folds, in order."""
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for name, path in needs.items():
        kind, _, rest = name.partition(":")
        if kind == "fold":
            role, _, fold = rest.rpartition(":")
            found[role][int(fold)] = path
    return {role: [open_student(paths[i] / "student", arguments) for i in sorted(paths)] for role, paths in found.items()}


def vocabulary(
    formats: Sequence[PromptFormat], problems: Sequence[Problem], chains: Sequence[Chain], *, words: Sequence[str] = ()
) -> Iterator[str]:
    """The text from which a tokenizer from scratch takes its words: every training question and every chain, in every format, the
    chains' sub-questions, and the ``words`` that methods have of their own.

    Not the arm's own selection: so all arms of a study read and write with the same words.
    """
    # As often as a tokenizer may ask for, since a word that every prompt has is not a rare one.
    yield from (text for text in words for _ in range(100))
    yield from (as_dialogue(chain.steps) for chain in chains if chain.steps)
    by_id = {problem.id: problem for problem in problems}
    for written in formats:
        asked = dict(by_id)
        for chain in chains:
            problem = by_id[chain.problem]
            if chain.answer is not None and not written.unfit(problem, chain.rationale, chain.answer):
                asked.pop(problem.id, None)
                example = written.teach("student", problem, chain.rationale, chain.answer)
                yield "".join(segment.text for segment in example.segments)
        yield from (prompt_text(written.write_prompt(problem)) for problem in asked.values())


def learned_problems(problems: Iterable[Problem], selection: Path) -> list[Problem]:
    """Those of ``problems`` that the arm of the stage ``selection`` learns from."""
    ids = set(json.loads((selection / "problems.json").read_text(encoding="utf-8")))
    return [problem for problem in problems if problem.id in ids]


def chosen_chains(chains: Iterable[Chain], selection: Path) -> list[Chain]:
    """Those of ``chains`` that the stage ``selection`` chose."""
    ids = set(json.loads((selection / "selected.json").read_text(encoding="utf-8")))
    return [chain for chain in chains if chain.id in ids]


def open_student(checkpoint: Path, arguments: Mapping[str, Any]) -> LocalEngine:
    """The engine that answers as the student in ``checkpoint``."""
    from understudy.engines.local.engine import TransformersEngine

    return TransformersEngine(checkpoint, dtype=arguments["precision"], batch_size=arguments["batch_size"], seed=arguments["seed"])
