"""What a cascade of a report's arms would have answered: the student if its votes agree, else the teacher (docs/serving.md)."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from statistics import fmean

from understudy.core.values import Outcome
from understudy.core.vote import vote
from understudy.reports.data import Cascade
from understudy.runs.run import ArmOutcomes, Run, ScoredAnswers

STEPS = 20
"""Thresholds between 0 and 1."""


def trace_cascades(run: Run, scored: ScoredAnswers) -> Iterator[Cascade]:
    """Yield a cascade for each voting arm with each arm that only the teacher answers, on each split."""
    teachers = [arm.name for arm in run.study.arms if arm.model == "teacher" and not arm.roles]
    for (arm, split), seeds in scored.items():
        if run.arms[arm].decode.votes > 1 and arm not in teachers:
            for teacher in teachers:
                yield from _trace(run, seeds, scored[teacher, split])


def _trace(run: Run, students: Sequence[ArmOutcomes], teachers: Sequence[ArmOutcomes]) -> Iterator[Cascade]:
    """Yield the cascade of a student and a teacher, if both answered any problem: means over these problems and over the seeds."""
    weighted, answers = run.arms[students[0].arm].decode.weighted, []
    # There is one teacher, however many students there are.
    for student, teacher in zip(students, cycle(teachers), strict=False):
        for name in student.outcomes.keys() & teacher.outcomes.keys():
            own, tokens = (sum(s.tokens + s.prompt_tokens for s in arm.solutions[name]) for arm in (student, teacher))
            right = (student.outcomes[name] is Outcome.CORRECT, teacher.outcomes[name] is Outcome.CORRECT)
            answers.append((vote(student.solutions[name], weighted=weighted).share, *right, own, tokens))
    if not answers:
        return
    thresholds = [step / STEPS for step in range(STEPS + 1)]
    yield Cascade(
        arm=students[0].arm,
        teacher=teachers[0].arm,
        split=students[0].split,
        n=len(answers),
        agreement=tuple(thresholds),
        asked=tuple(fmean(share < t for share, *_ in answers) for t in thresholds),
        accuracy=tuple(fmean(teacher_right if share < t else own for share, own, teacher_right, *_ in answers) for t in thresholds),
        tokens=tuple(fmean(tokens if share < t else 0 for share, *_, tokens in answers) for t in thresholds),
        own=fmean(own for *_, own, _ in answers),
    )
