"""student: the examples of one role of one arm, and the student trained on them."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.core.asks import Path as SamplePath
from understudy.core.errors import EngineError, StudyError
from understudy.core.prompting import Format, prompt_text
from understudy.core.protocols import LocalEngine, Method, Progress
from understudy.core.registry import find
from understudy.core.values import Chain, Example, Outcome, Problem
from understudy.corpus.store import read_rows
from understudy.engines.drive import drive
from understudy.evaluation.outcomes import outcome_of
from understudy.evaluation.run import answer
from understudy.sampling.pool import StudyPool
from understudy.studies.card import Card, remark_on_start, write_card
from understudy.studies.executor import at_once
from understudy.studies.schema import build
from understudy.training.options import StudentOptions, TrainingOptions


def run(directory: Path, needs: Mapping[str, Path], arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train into ``directory`` and put the card beside the weights; say what training saw."""
    from understudy.training.loop import train

    problems = list(read_rows(needs["problems"] / "problems.parquet", Problem))
    chains = list(read_rows(needs["chains"] / "chains.parquet", Chain))
    chosen = _chosen(chains, needs["selection"])
    method = build(find("method", arguments["method"]), dict(arguments["options"]), "options")
    learn = [p for p in problems if p.split == "train"]
    engines = {
        name.partition(":")[2]: open_student(path / "student", arguments)
        for name, path in needs.items()
        if name.startswith("student:")
    }
    made = make_examples(method, learn, chosen, engines, seed=arguments["seed"])
    examples = [e for e in made if e.role == arguments["role"]]
    if not examples:
        raise StudyError(
            f"arm with method {arguments['method']!r}: nothing is left to train role {arguments['role']!r} on: "
            f"{len(chosen)} of {len(chains)} chains were selected; see `understudy select` for the reasons"
        )
    dev = [p for p in problems if p.split == arguments["dev"]][: arguments["dev_problems"]]
    check = find("check", arguments["check"])

    def score(checkpoint: Path) -> float:
        engine = open_student(checkpoint, arguments)
        found = answer(dev, method, {arguments["role"]: engine}, seed=arguments["seed"])
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
        vocabulary=vocabulary([build(Format, f, "format") for f in arguments["vocabulary"]], learn, chains),
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


def make_examples(
    method: Method, problems: Sequence[Problem], chains: Sequence[Chain], engines: Mapping[str, LocalEngine], *, seed: int
) -> list[Example]:
    """The method's examples of every problem, in the order of the problems."""
    by_problem: dict[str, list[Chain]] = defaultdict(list)
    for chain in chains:
        by_problem[chain.problem].append(chain)
    pool = StudyPool()
    flows = ((SamplePath(p.id, 0, seed), method.examples(p, by_problem[p.id], pool)) for p in problems)
    made: dict[str, list[Example]] = {}
    for done in drive(flows, engines, seed=seed):
        if done.value is None:
            raise StudyError(f"examples of problem {done.path.problem!r} could not be made: {done.error}")
        made[done.path.problem] = done.value
    return [example for problem in problems for example in made[problem.id]]


def vocabulary(formats: Sequence[Format], problems: Sequence[Problem], chains: Sequence[Chain]) -> Iterator[str]:
    """The text from which a tokenizer from scratch takes its words: every training question and every chain, in every format.

    Not the arm's own selection: so all arms of a study read and write with the same words.
    """
    by_id = {problem.id: problem for problem in problems}
    for written in formats:
        asked = dict(by_id)
        for chain in chains:
            problem = by_id[chain.problem]
            if chain.answer is not None and not written.unfit(problem, chain.rationale, chain.answer):
                asked.pop(problem.id, None)
                example = written.example("student", problem, chain.rationale, chain.answer)
                yield "".join(segment.text for segment in example.segments)
        yield from (prompt_text(written.asking(problem)) for problem in asked.values())


def _chosen(chains: Iterable[Chain], selection: Path) -> list[Chain]:
    import json

    ids = set(json.loads((selection / "selected.json").read_text(encoding="utf-8")))
    return [chain for chain in chains if chain.id in ids]


def open_student(checkpoint: Path, arguments: Mapping[str, Any]) -> LocalEngine:
    """The engine that answers as the student in ``checkpoint``."""
    from understudy.engines.local import TransformersEngine

    return TransformersEngine(checkpoint, dtype=arguments["precision"], batch_size=arguments["batch_size"], seed=arguments["seed"])
