"""selection: choose which chains become examples of an arm, and count why the others do not."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from understudy.core.errors import StudyError, with_known
from understudy.core.protocols import SelectiveMethod
from understudy.core.registry import find_module
from understudy.core.values import Chain, Outcome, Problem
from understudy.corpus.store import write_json, write_whole
from understudy.pipeline.stage import Context, Stage, StageSummary
from understudy.pipeline.stages.chains import ChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.pipeline.stages.verdicts import VerdictsStage
from understudy.selection.select import Selected, Selection, SelectionCounts, count_selected, limit_by_openness, select
from understudy.tasks.splits import take_fraction


@dataclass(frozen=True, kw_only=True)
class SelectionSummary(SelectionCounts, StageSummary):
    """What the selection kept and dropped."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SelectionStage(Stage[SelectionSummary]):
    """``taker``: the arm's method (registered as ``method``) if it cannot learn from every chain; None if it can. ``fraction``:
    share of the training problems that the arm learns from. ``encoder``: files of a sentence encoder on this machine -> digests."""

    kind = "selection"
    summary = SelectionSummary

    problems: ProblemsStage
    chains: ChainsStage
    verdicts: VerdictsStage
    select: Selection
    fraction: float
    taker: SelectiveMethod | None
    method: str | None
    seed: int
    encoder: Mapping[str, str] = field(default_factory=dict)

    def modules(self) -> list[str]:
        return [] if self.method is None else [find_module("method", self.method)]

    def libraries(self) -> tuple[str, ...]:
        return ("sentence_transformers",) if self.select.encoder else ("rapidfuzz",) if self.select.choose == "farthest" else ()

    def read_problems(self, context: Context) -> list[Problem]:
        """Read the training problems that the arm learns from."""
        return filter_learned(self.problems.read(context), self.directory(context.run))

    def chosen(self, context: Context) -> Iterator[Chain]:
        """Yield the chains that were chosen; nothing is read before the first is asked for."""
        ids = read_chosen(self.directory(context.run))
        yield from (chain for chain in self.chains.stream(context) if chain.id in ids)

    @property
    def needs_gold(self) -> bool:
        """Whether nothing is kept without gold answers; people's verdicts can take their place."""
        check = self.select.check or self.verdicts.checks[0]
        return self.select.keep != "all" and check in ("answer", "leak") and check not in self.verdicts.relabels

    def judged(self, context: Context) -> Iterator[tuple[Chain, Outcome]]:
        """Yield every chain with its outcome by the arm's check, which sees as many samples as the arm takes."""
        samples = self.select.samples
        return self.verdicts.judged(context, self.select.check, samples if isinstance(samples, int) else None)

    def run(self, context: Context) -> SelectionSummary:
        """Write ``problems.json``, the ids of the training problems in the arm's fraction, and ``selected.json``, those of the
        chosen chains. Only the chains of one problem are in memory."""
        problems = {problem.id: problem for problem in self.problems.read(context)}
        learned = [p.id for p in take_fraction(list(problems.values()), self.fraction, seed=self.seed) if p.split == "train"]
        ids, options, limits = frozenset(learned), self.select, None
        if options.choose == "open-ended" and options.per_problem is not None:
            eligible = (c for c in self.chains.stream(context) if c.problem in ids and not options.why_not_sampled(c))
            limits = limit_by_openness(eligible, options.per_problem)
        teachers = self.chains.read_summary(context.run).teachers if options.shares else ()
        if unknown := set(options.shares) - set(teachers):
            raise StudyError(f"{self.label}: select.shares: no chain is by {with_known(min(unknown), teachers, 'the teachers')}")
        selected = select(
            self.judged(context),
            options,
            seed=self.seed,
            unfit=lambda chain: explain_unfit(self.taker, problems[chain.problem], chain),
            learned=ids,
            limits=limits,
        )
        directory = self.directory(context.run)
        write_json(directory / "problems.json", learned)
        with write_whole(directory / "selected.json") as file:
            counts = count_selected(_write_ids(selected, file))
        context.progress("selection", counts.chains, counts.chains)
        return SelectionSummary(**vars(counts))


def _write_ids(selected: Iterable[Selected], file: IO[bytes]) -> Iterator[Selected]:
    """Yield ``selected`` as they are, while the ids of their chains go into ``file`` as a JSON list: there may be millions."""
    separator = "["
    for entry in selected:
        for chain in entry.kept:
            file.write(f'{separator}"{chain.id}"'.encode())
            separator = ",\n"
        yield entry
    file.write(b"[]" if separator == "[" else b"]")


def explain_unfit(method: object, problem: Problem, chain: Chain) -> str:
    """Say why ``chain`` gives no example; "" if it does, and if it has no answer: its verdict says that."""
    return method.unfit(problem, chain) if chain.answer is not None and isinstance(method, SelectiveMethod) else ""


def filter_learned(problems: list[Problem], selection: Path) -> list[Problem]:
    """List the ``problems`` that an arm learns from; its selection is in the directory ``selection``."""
    ids = set(json.loads((selection / "problems.json").read_text(encoding="utf-8")))
    return [problem for problem in problems if problem.id in ids]


def read_chosen(selection: Path) -> frozenset[str]:
    """Read the ids of the chains that the selection in the directory ``selection`` chose."""
    return frozenset(json.loads((selection / "selected.json").read_text(encoding="utf-8")))
