"""One problem followed from question to chain to verdict to training tokens, and one from question to the students' answers."""

from collections.abc import Mapping

from understudy.core.values import Outcome
from understudy.core.vote import vote
from understudy.reports.data import Story, StudentAnswer
from understudy.runs.run import Run
from understudy.runs.scores import ArmOutcomes, ScoredAnswers
from understudy.training.record import ShownExample, read_seen


def tell_story(run: Run, scored: ScoredAnswers) -> Story | None:
    """The first example that shows a chain, and the first test problem on which the arms' first seeds disagree (the first of
    all, where they agree on everything). None where no arm was shown a chain."""
    example = _first_example(run)
    if example is None:
        return None
    chain = next(c for c in run.chains if c.id == example.chain)
    split = run.study.evaluation.splits[0]
    first = {arm: scored[arm, split][0] for arm in run.arms}
    problem = run.of_split(split)[_telling_problem(first)]
    return Story(
        problem=next(p for p in run.problems if p.id == chain.problem),
        chain=chain,
        verdict=next(v for v in run.verdicts if v.chain == chain.id),
        tokens=example.tokens,
        asked=problem,
        answers=tuple(_answer(one, problem.id) for one in first.values() if problem.id in one.outcomes),
    )


def _first_example(run: Run) -> ShownExample | None:
    """The first training example that was made of a chain."""
    students = (stage for arm in run.arms for roles in run.students(arm).values() for stage in roles.values())
    examples = (example for stage in students for example in read_seen(stage).shown)
    return next((example for example in examples if example.chain is not None), None)


def _telling_problem(first: Mapping[str, ArmOutcomes]) -> str:
    one, *others = first.values()
    for name, outcome in one.outcomes.items():
        if any((s.outcomes.get(name) is Outcome.CORRECT) != (outcome is Outcome.CORRECT) for s in others):
            return name
    return next(iter(one.outcomes))


def _answer(scored: ArmOutcomes, problem: str) -> StudentAnswer:
    solutions = scored.solutions[problem]
    text, answer = solutions[0].text.strip(), solutions[0].answer
    if len(solutions) > 1:
        counted = vote(solutions)
        answer = counted.answer
        tally = ", ".join(f"{value} x {n:g}" for value, n in counted.weights.items())
        text += f"\n... and {len(solutions) - 1} more; the votes: {tally or 'none'}"
    return StudentAnswer(scored.arm, text, answer or "", scored.outcomes[problem].value)
