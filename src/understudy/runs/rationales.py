"""Measure how similar the arms' rationales are to those of one arm, usually the teacher, on the same questions."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from understudy.core.errors import UserError, with_known
from understudy.core.subquestions import read_steps
from understudy.core.values import Solution, grouped
from understudy.reports.cells import Column, Table, tabulate
from understudy.runs.run import Run, score

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
Pair = tuple[list[str], list[str]]
"""What an arm wrote for a question, call by call, and what the other arm wrote."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """The similarity of ``n`` texts of ``arm``, over its seeds, to the other arm's texts (first seed) for the same questions.
    ``role``: only what this role wrote; "" is the whole reply. ``bleu`` of the corpus and mean ``rouge_l`` (F1) are from 0 to 100.
    ``numbers``: of the texts that have numbers, the share with the same ones (None: no text has any). ``turns``: for one role, the
    share with as many calls (for a decomposer: as many sub-questions)."""

    arm: str
    role: str
    n: int
    bleu: float
    rouge_l: float
    numbers: float | None
    turns: float | None


def compare_rationales(run: Run, reference: str, split: str) -> Iterator[Likeness]:
    """Compare the rationales of every other arm that writes any with those of ``reference``, by the first reply to each question of
    ``split``.

    BLEU is sacrebleu's, ROUGE-L rouge-score's, both with their defaults. Raises UserError for an arm that does not exist or is the
    only one.
    """
    writing = [name for name, arm in run.arms.items() if getattr(run.study.method(arm), "writes_rationales", True)]
    if reference not in writing:
        raise UserError(f"--rationales: no arm that writes them is {with_known(reference, writing)}")
    if len(writing) == 1:
        raise UserError(f"--rationales {reference}: the run has no other arm to compare it with")
    targets = next(score(run, reference, split)).solutions
    for arm in writing:
        seeds = [seed.solutions for seed in score(run, arm, split)] if arm != reference else []
        texts = ((_split(seed[name][0]), _split(targets[name][0])) for seed in seeds for name in seed.keys() & targets.keys())
        pairs = grouped((role, (first[role], second[role])) for first, second in texts for role in first.keys() & second.keys())
        for role in sorted(pairs):
            yield _measure(arm, role, pairs[role])


def _split(solution: Solution) -> dict[str, list[str]]:
    """Return the whole reply (""), and what each of several roles wrote. If a reply has sub-questions and answers, they count as
    those of a decomposer and a solver, whoever wrote it: a teacher, or one student in one pass."""
    roles = grouped(solution.turns)
    texts = {"": [solution.text]} | (roles if len(roles) > 1 else {})
    if steps := read_steps(solution.text):
        texts |= {"decomposer": [step.question or "" for step in steps], "solver": [step.text for step in steps]}
    return texts


def _measure(arm: str, role: str, pairs: Sequence[Pair]) -> Likeness:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import corpus_bleu

    rouge = RougeScorer(["rougeL"])
    texts = [(" ".join(first), " ".join(second)) for first, second in pairs]
    counts = [(Counter(_NUMBER.findall(first)), Counter(_NUMBER.findall(second))) for first, second in texts]
    numbers = [pair for pair in counts if any(pair)]
    return Likeness(
        arm=arm,
        role=role,
        n=len(pairs),
        bleu=corpus_bleu([first for first, _ in texts], [[second for _, second in texts]]).score,
        rouge_l=100 * fmean(rouge.score(second, first)["rougeL"].fmeasure for first, second in texts),
        numbers=fmean(first == second for first, second in numbers) if numbers else None,
        turns=fmean(len(first) == len(second) for first, second in pairs) if role else None,
    )


def tabulate_likeness(rows: Sequence[Likeness], reference: str, split: str) -> Table:
    columns = [
        (Column("arm"), lambda row: row.arm),
        (Column("of"), lambda row: row.role or "the reply"),
        (Column("n", number=True), lambda row: f"{row.n:,}"),
        (Column("BLEU", number=True), lambda row: f"{row.bleu:.1f}"),
        (Column("ROUGE-L", number=True), lambda row: f"{row.rouge_l:.1f}"),
        (Column("same numbers", number=True), lambda row: "" if row.numbers is None else f"{100 * row.numbers:.1f}"),
        (Column("as many turns", number=True), lambda row: "" if row.turns is None else f"{100 * row.turns:.1f}"),
    ]
    turns_note = "Turns: calls, or the sub-questions of the replies that have them (n)."
    note = f'Of "{reference}": its first seed. {turns_note} Similarity is not quality: a wrong chain in the same words scores high.'
    return tabulate(f'Rationales on {split} compared with those of "{reference}"', rows, columns, note=note)
