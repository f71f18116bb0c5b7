"""One problem followed from question to chain to verdict to training tokens, and one from question to the students' answers."""

from __future__ import annotations

from collections.abc import Mapping

from understudy.core.values import Outcome, Verdict
from understudy.core.vote import vote
from understudy.corpus.store import read_rows
from understudy.reports.data import Story
from understudy.runs.scores import Run, Scored, read_seen


def tell_story(run: Run, everything: Mapping[tuple[str, str], list[Scored]]) -> Story | None:
    """The first example that shows a chain, and the first test problem on which the arms' first seeds disagree (the first of
    all, where they agree on everything). None where no arm was shown a chain."""
    shown = _shown(run)
    if shown is None:
        return None
    chain_id, tokens = shown
    chain = next(c for c in run.chains if c.id == chain_id)
    problem = next(p for p in run.problems if p.id == chain.problem)
    verdicts = read_rows(run.shared("verdicts") / "verdicts.parquet", Verdict)
    verdict = next(v for v in verdicts if v.chain == chain_id)
    split = run.study.evaluation.splits[0]
    first = {arm: everything[arm, split][0] for arm in run.arms}
    asked = run.of_split(split)[_interesting(first)]
    return Story(
        question=problem.question,
        gold=problem.answer or "",
        chain=chain.text.strip(),
        chain_answer=chain.answer or "",
        chain_layer=chain.layer,
        chain_teacher=chain.teacher,
        verdict=verdict.outcome.value,
        verdict_detail=verdict.detail,
        tokens=tokens,
        asked=asked.question,
        asked_gold=asked.answer or "",
        answers=tuple(_answer(arm, scored, asked.id) for arm, scored in first.items() if asked.id in scored.outcomes),
    )


def _shown(run: Run) -> tuple[str, tuple[tuple[str, float], ...]] | None:
    """(chain id, tokens with their loss weights) of the first training example that was made of a chain."""
    for arm in run.arms:
        for roles in run.students(arm).values():
            for stage in roles.values():
                for row in read_seen(stage)["shown"]:
                    if row["chain"] is not None:
                        return row["chain"], tuple((text, weight) for text, weight in row["tokens"])
    return None


def _interesting(first: Mapping[str, Scored]) -> str:
    one, *others = first.values()
    for name, outcome in one.outcomes.items():
        if any((s.outcomes.get(name) is Outcome.CORRECT) != (outcome is Outcome.CORRECT) for s in others):
            return name
    return next(iter(one.outcomes))


def _answer(arm: str, scored: Scored, problem: str) -> tuple[str, str, str, str]:
    solutions = scored.solutions[problem]
    if len(solutions) == 1:
        text, answer = solutions[0].text.strip(), solutions[0].answer
    else:
        counted = vote(solutions)
        answer = counted.answer
        tally = ", ".join(f"{value} x {n:g}" for value, n in counted.weights.items())
        text = f"{solutions[0].text.strip()}\n... and {len(solutions) - 1} more; the votes: {tally or 'none'}"
    return arm, text, answer or "", scored.outcomes[problem].value
