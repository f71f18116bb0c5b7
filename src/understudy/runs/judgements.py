"""What people say of two arms' answers to one question, side by side and without names, as in SCoTD's human study.

A judgement is written down once and stays: whoever judges again adds a line, and the last one of a rater counts. It belongs to
the two texts that were shown; where an arm answers otherwise by now, it is kept and not counted.
"""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from understudy.core.errors import DataError, UserError
from understudy.core.values import Outcome, Problem, digest
from understudy.evaluation.statistics import krippendorff, mcnemar, paired_interval
from understudy.reports.data import Judged
from understudy.runs.run import ArmOutcomes, Run, score

FILE = "judgements.jsonl"


@dataclass(frozen=True)
class Judgement:
    """``choice``: the arm whose answer is better, "" where neither is. ``left``: the arm that stood on the left. ``texts``: a
    digest of what was shown. ``at``: when, in UTC."""

    question: str
    arms: tuple[str, str]
    rater: str
    choice: str
    left: str
    texts: str
    at: str = ""


@dataclass(frozen=True)
class Pair:
    """Two answers to one question that are judged against each other: arm -> text."""

    problem: Problem
    answers: Mapping[str, str]

    @property
    def texts(self) -> str:
        return digest([self.problem.id, *sorted(self.answers.items())])

    def sides(self, rater: str) -> tuple[str, str]:
        """The arms on the left and on the right, drawn for each rater and question."""
        first, second = sorted(self.answers)
        swap = hashlib.blake2b("\0".join((self.problem.id, first, second, rater)).encode()).digest()[0] & 1
        return (second, first) if swap else (first, second)


def make_pairs(
    run: Run, arms: tuple[str, str], split: str = "", *, both_right: bool = False, most: int | None = None
) -> list[Pair]:
    """The answers of the first seed of both ``arms`` to ``split`` (by default the first one), at most ``most`` of them drawn by the
    study's seed; with ``both_right`` only where both are. Equal texts are left out: there is nothing to choose."""
    split = split or run.study.evaluation.splits[0]
    if split not in run.study.evaluation.splits or len({run.arm(arm).name for arm in arms}) < 2:
        splits = ", ".join(run.study.evaluation.splits)
        raise UserError(f"{run.directory}: name two different arms, and a split that was answered ({splits}), not {split!r}")
    first, second = (next(iter(score(run, arm, split))) for arm in arms)
    pairs = [
        Pair(run.of_split(split)[name], {arms[0]: _text(first, name), arms[1]: _text(second, name)})
        for name in first.outcomes
        if name in second.outcomes
        and (not both_right or first.outcomes[name] is second.outcomes[name] is Outcome.CORRECT)
        and _text(first, name) != _text(second, name)
    ]
    return sorted(pairs, key=lambda pair: digest([run.study.seed, pair.problem.id]))[:most]


def _text(one: ArmOutcomes, problem: str) -> str:
    """An arm's answer; of votes the first one, which is a sample like the others."""
    return one.solutions[problem][0].text.strip()


def read_judgements(path: Path) -> list[Judgement]:
    """Those in a JSON Lines file, the oldest first; none where there is no file. Raises DataError naming the line."""
    kind, judgements = TypeAdapter(Judgement), []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else (), 1):
        try:
            judgements.append(kind.validate_json(line))
        except ValidationError as error:
            wrong = error.errors()[0]
            field = ".".join(map(str, wrong["loc"])) or "the line"
            raise DataError(f"{path}, line {number}: {field}: {wrong['msg']}; mend or remove it") from None
    return judgements


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Add ``judgements`` to the file, durably; what stands there is never changed."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with path.open("a", encoding="utf-8") as file:
        for judgement in judgements:
            file.write(json.dumps({**asdict(judgement), "at": judgement.at or now}, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def latest(judgements: Iterable[Judgement]) -> dict[tuple[str, frozenset[str], str, str], Judgement]:
    """(question, arms, texts, rater) -> the last one that was given."""
    return {(j.question, frozenset(j.arms), j.texts, j.rater): j for j in judgements}


def summarise_judgements(run: Run) -> list[Judged]:
    """What people say of each pair of arms that was judged."""
    by_arms: dict[frozenset[str], list[Judgement]] = defaultdict(list)
    for judgement in latest(read_judgements(run.directory / FILE)).values():
        if set(judgement.arms) <= set(run.arms):
            by_arms[frozenset(judgement.arms)].append(judgement)
    return [summarise_pair(run, own[0].arms, own) for own in by_arms.values()]


def summarise_pair(run: Run, arms: tuple[str, str], judgements: Sequence[Judgement]) -> Judged:
    """A question with several raters counts once, for the arm that more of them prefer."""
    shown = {pair.texts for split in run.study.evaluation.splits for pair in make_pairs(run, arms, split)}
    counted = [j for j in judgements if j.texts in shown]
    by_question: dict[str, dict[str, str]] = defaultdict(dict)
    for j in counted:
        by_question[j.question][j.rater] = j.choice
    margins = [Counter(of.values())[arms[0]] - Counter(of.values())[arms[1]] for of in by_question.values()]
    wins, losses, n = sum(m > 0 for m in margins), sum(m < 0 for m in margins), len(margins)
    low, high = paired_interval(wins, losses, n) if n else (-1.0, 1.0)
    left = sum(j.choice == j.left for j in counted)
    chosen = sum(bool(j.choice) for j in counted)
    return Judged(
        arm=arms[0],
        other=arms[1],
        n=n,
        raters=len({j.rater for j in counted}),
        wins=wins,
        losses=losses,
        rate=0.5 + (wins - losses) / n / 2 if n else 0.5,
        low=0.5 + low / 2,
        high=0.5 + high / 2,
        p=mcnemar(wins, losses),
        alpha=krippendorff(list(by_question.values())),
        left=left,
        chosen=chosen,
        left_p=mcnemar(left, chosen - left),
        stale=len(judgements) - len(counted),
    )
