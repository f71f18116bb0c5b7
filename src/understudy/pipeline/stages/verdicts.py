"""verdicts: what each check says of every chain; the chains themselves are never changed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from understudy.checks.judge import judge_all, outcomes_of
from understudy.core.asks import GREEDY_PATH
from understudy.core.options import unkeyed
from understudy.core.registry import find, module_of
from understudy.core.values import Chain, Outcome, Verdict
from understudy.corpus.store import read_rows, write_rows
from understudy.evaluation.worth import CorpusWorth, measure_corpus
from understudy.pipeline.stage import Context, Stage, StageSummary
from understudy.pipeline.stages.chains import ChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.studies.relabels import Relabel

FILE = "verdicts.parquet"


@dataclass(frozen=True, kw_only=True)
class VerdictsSummary(StageSummary):
    """``outcomes``: check -> outcome -> how many chains have it. ``worth``: of the corpus, by the first check; None in an older
    run. ``relabelled``: chains of which people say something else than the first check."""

    outcomes: Mapping[str, Mapping[str, int]]
    worth: CorpusWorth | None = None
    relabelled: int = 0


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class VerdictsStage(Stage[VerdictsSummary]):
    """``checks``: registered names; the first one judges students, too. ``relabels``: chain -> the outcome that a person says
    in its place; ``said``: the whole of it."""

    kind = "verdicts"
    summary = VerdictsSummary

    problems: ProblemsStage
    chains: ChainsStage
    checks: tuple[str, ...]
    relabels: Mapping[str, str]
    said: Mapping[str, Relabel] = unkeyed(factory=dict)

    def modules(self) -> list[str]:
        return [module_of("check", name) for name in self.checks]

    def read(self, context: Context) -> list[Verdict]:
        """Every verdict of every check."""
        return list(read_rows(self.directory(context.run) / FILE, Verdict))

    def outcomes(self, context: Context, check: str | None = None) -> dict[str, Outcome]:
        """chain id -> what ``check`` (by default the first one) says of it."""
        return outcomes_of(self.read(context), check or self.checks[0])

    def judged(self, context: Context, check: str | None) -> Iterator[tuple[Chain, Outcome]]:
        """Every chain with what ``check`` (None: the first one) says of it, by problem and path; few are in memory at once."""
        rows = read_rows(self.directory(context.run) / FILE, Verdict)
        outcomes = (verdict.outcome for verdict in rows if verdict.check == (check or self.checks[0]))
        return zip(self.chains.stream(context), outcomes, strict=True)

    def run(self, context: Context) -> VerdictsSummary:
        """Write ``verdicts.parquet``."""
        problems = {problem.id: problem for problem in self.problems.read(context)}
        chains = self.chains.read(context)
        checks = {name: find("check", name) for name in self.checks}
        groups = [(problems[problem], list(own)) for problem, own in groupby(chains, lambda chain: chain.problem)]
        found = [v for name, check in checks.items() for problem, own in groups for v in judge_all(problem, own, check, name)]
        verdicts = [self._relabel(verdict) for verdict in found]
        write_rows(self.directory(context.run) / FILE, Verdict, verdicts)
        context.progress("verdicts", len(verdicts), len(verdicts))
        counts = {name: Counter(v.outcome.value for v in verdicts if v.check == name) for name in checks}
        drawn = [chain for chain in chains if chain.path != GREEDY_PATH]
        worth = measure_corpus(drawn, problems, outcomes_of(verdicts, self.checks[0]))
        outcomes = {name: dict(outcomes.most_common()) for name, outcomes in counts.items()}
        changed = sum(old.outcome is not new.outcome for old, new in zip(found, verdicts, strict=True))
        return VerdictsSummary(outcomes=outcomes, worth=worth, relabelled=changed)

    def _relabel(self, verdict: Verdict) -> Verdict:
        said = self.said.get(verdict.chain)
        if said is None or verdict.check != self.checks[0]:
            return verdict
        why = f" ({said.reason})" if said.reason else ""
        detail = f"{said.rater} says so{why}; the check said {verdict.outcome}: {verdict.detail}"
        return replace(verdict, outcome=Outcome(said.outcome), detail=detail)
