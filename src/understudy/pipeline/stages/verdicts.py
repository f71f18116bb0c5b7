"""verdicts: the verdict of each check on every chain; the chains themselves are never changed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from understudy.checks.judge import AmongOthers, judge_all
from understudy.core.options import unkeyed
from understudy.core.registry import find, find_module
from understudy.core.values import Chain, Outcome, Verdict
from understudy.corpus.store import read_rows, write_rows
from understudy.evaluation.worth import CorpusMeter, CorpusWorth
from understudy.pipeline.stage import Context, Stage, StageSummary
from understudy.pipeline.stages.chains import ChainsStage
from understudy.pipeline.stages.problems import ProblemsStage
from understudy.studies.relabels import JUDGED, Relabel

FILE = "verdicts.parquet"


@dataclass(frozen=True, kw_only=True)
class VerdictsSummary(StageSummary):
    """``outcomes``: check -> outcome -> how many chains have it. ``worth``: of the corpus, by the first check. ``relabelled``:
    chains whose verdict by the first check people changed."""

    outcomes: Mapping[str, Mapping[str, int]]
    worth: CorpusWorth
    relabelled: int


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class VerdictsStage(Stage[VerdictsSummary]):
    """``checks``: registered names; the first one also judges students. ``relabels``: check -> chain -> the outcome by a person or
    an engine that replaces the check's; ``details``: the whole relabels, by (check, chain)."""

    kind = "verdicts"
    summary = VerdictsSummary

    problems: ProblemsStage
    chains: ChainsStage
    checks: tuple[str, ...]
    relabels: Mapping[str, Mapping[str, str]]
    details: Mapping[tuple[str, str], Relabel] = unkeyed(factory=dict)

    def modules(self) -> list[str]:
        return [find_module("check", name) for name in self.checks]

    def stream(self, context: Context) -> Iterator[Verdict]:
        """Yield every verdict of every check, problem by problem; few are in memory at once."""
        return read_rows(self.directory(context.run) / FILE, Verdict)

    def judged(self, context: Context, check: str | None, samples: int | None = None) -> Iterator[tuple[Chain, Outcome]]:
        """Yield every chain with its outcome by ``check`` (None: the first one), by problem and path; few are in memory at once.
        With ``samples``, a check that compares a problem's chains sees only the first ones, as if there were no others."""
        name = check or self.checks[0]
        outcomes = (verdict.outcome for verdict in self.stream(context) if verdict.check == name)
        judged = zip(self.chains.stream(context), outcomes, strict=True)
        if samples is None or not isinstance(checker := find("check", name), AmongOthers):
            yield from judged
            return
        problems = {problem.id: problem for problem in self.problems.read(context)}
        relabelled = self.relabels.get(name, {})
        for problem, group in groupby(judged, lambda pair: pair[0].problem):
            pairs = list(group)
            first = [chain for chain, _ in pairs if chain.path < samples]
            rejudged = {v.chain: v.outcome for v in judge_all(problems[problem], first, checker, name) if v.chain not in relabelled}
            yield from ((chain, rejudged.get(chain.id, outcome)) for chain, outcome in pairs)

    def run(self, context: Context) -> VerdictsSummary:
        """Write ``verdicts.parquet``, with the chains of only one problem in memory."""
        problems = {problem.id: problem for problem in self.problems.read(context)}
        checks = {name: find("check", name) for name in self.checks}
        counts: dict[str, Counter[str]] = {name: Counter() for name in checks}
        meter, changed = CorpusMeter(), 0

        def judge_chains() -> Iterator[Verdict]:
            nonlocal changed
            for name, group in groupby(self.chains.stream(context), lambda chain: chain.problem):
                problem, chains = problems[name], list(group)
                for check in self.checks:
                    judged = judge_all(problem, chains, checks[check], check)
                    verdicts = [self._relabel(verdict) for verdict in judged]
                    if check == self.checks[0]:
                        changed += sum(old.outcome is not new.outcome for old, new in zip(judged, verdicts, strict=True))
                        meter.add(problem, [*zip(chains, (verdict.outcome for verdict in verdicts), strict=True)])
                    counts[check].update(verdict.outcome.value for verdict in verdicts)
                    yield from verdicts

        write_rows(self.directory(context.run) / FILE, Verdict, judge_chains())
        n = sum(outcomes.total() for outcomes in counts.values())
        context.progress("verdicts", n, n)
        outcomes = {name: dict(counter.most_common()) for name, counter in counts.items()}
        return VerdictsSummary(outcomes=outcomes, worth=meter.read(), relabelled=changed)

    def _relabel(self, verdict: Verdict) -> Verdict:
        relabel = self.details.get((verdict.check, verdict.chain))
        if relabel is None:
            return verdict
        reason = f" ({relabel.reason})" if relabel.reason else ""
        check = "" if relabel.check == JUDGED else f"; the check said {verdict.outcome}: {verdict.detail}"
        return replace(verdict, outcome=Outcome(relabel.outcome), detail=f"{relabel.rater} says so{reason}{check}")
