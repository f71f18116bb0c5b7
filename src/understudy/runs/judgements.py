"""Judgements by people, or by an engine, of two arms' answers to one question, side by side and without names, as in SCoTD's human
study.

A judgement is written once and stays. Judging again adds a line, and the last line of a rater counts. A judgement belongs to the
two texts that were shown: if an arm now answers otherwise, the judgement is kept but not counted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import multimode

from understudy.core.errors import DataError, UserError
from understudy.core.values import Outcome, Problem, digest, grouped
from understudy.corpus.tables import append_objects
from understudy.evaluation.statistics import krippendorff, mcnemar, paired_interval
from understudy.reports.data import Judged
from understudy.runs.run import ArmOutcomes, Run, list_common, score
from understudy.studies.schema import read_lines

FILE = "judgements.jsonl"
Key = tuple[str, frozenset[str], str, str, bool, bool, str]
"""Question, arms, texts, rater, whether both are right, whether the rater is an engine, the arm on the left."""


@dataclass(frozen=True)
class Judgement:
    """One judgement. ``choice``: the arm whose answer is better, "" if neither is. ``left``: the arm shown on the left. ``texts``:
    a digest of what was shown. ``both_right``: whether the question was drawn from those that both answer right, or from all.
    ``engine``: whether the rater is an engine, which judges again with the sides swapped. ``at``: when, in UTC."""

    question: str
    arms: tuple[str, str]
    rater: str
    choice: str
    left: str
    texts: str
    both_right: bool = False
    engine: bool = False
    at: str = ""

    @property
    def key(self) -> Key:
        return self.question, frozenset(self.arms), self.texts, self.rater, self.both_right, self.engine, self.left


@dataclass(frozen=True)
class Pair:
    """Two answers to one question, to be judged against each other: arm -> text. ``both_right`` as in `Judgement`."""

    problem: Problem
    answers: Mapping[str, str]
    both_right: bool = False

    @property
    def texts(self) -> str:
        return digest([self.problem.id, *sorted(self.answers.items())])

    def sides(self, rater: str) -> tuple[str, str]:
        """Draw the arms on the left and on the right, for each rater and question."""
        first, second = sorted(self.answers)
        return (second, first) if int(digest([self.problem.id, first, second, rater]), 16) % 2 else (first, second)

    def key(self, rater: str) -> Key:
        return self.problem.id, frozenset(self.answers), self.texts, rater, self.both_right, False, self.sides(rater)[0]


def make_pairs(run: Run, arms: tuple[str, str], split: str = "", *, both_right: bool = False, n: int | None = None) -> list[Pair]:
    """Pair the answers of the first seed of both ``arms`` to ``split`` (by default the first one), at most ``n`` of them drawn
    by the study's seed; with ``both_right`` only if both are right. Equal texts are left out: there is nothing to choose."""
    split = split or run.study.evaluation.splits[0]
    if split not in run.study.evaluation.splits or len({run.arm(arm).name for arm in arms}) < 2:
        splits, named = ", ".join(run.study.evaluation.splits), f"{', '.join(arms)} on {split!r}"
        raise UserError(f"{run.directory}: name two different arms and a split that was answered ({splits}), not {named}")
    if both_right and not run.study.evaluation.scored:
        raise UserError(f"{run.directory}: its answers are not scored (evaluation.scored = false), so --both-right cannot choose")
    first, second = (next(score(run, arm, split)) for arm in arms)
    pairs = [
        Pair(run.problems_of(split)[name], {arms[0]: _get_text(first, name), arms[1]: _get_text(second, name)}, both_right)
        for name in list_common([first, second])
        if (not both_right or first.outcomes[name] is second.outcomes[name] is Outcome.CORRECT)
        and _get_text(first, name) != _get_text(second, name)
    ]
    return sorted(pairs, key=lambda pair: digest([run.study.seed, pair.problem.id]))[:n]


def _get_text(answers: ArmOutcomes, problem: str) -> str:
    """Return an arm's answer; if it votes, the first sample, which is like the others."""
    return answers.solutions[problem][0].text.strip()


def read_judgements(path: Path) -> list[Judgement]:
    """Read the judgements in a JSON Lines file, oldest first. Raises DataError naming the line, or the file if it does not
    exist."""
    rows = read_lines(Judgement, path)
    for location, judgement in rows:
        arms = judgement.arms
        if judgement.choice not in (*arms, "") or judgement.left not in arms or arms[0] == arms[1]:
            values = f"choice = {judgement.choice!r}, left = {judgement.left!r}"
            raise DataError(f"{location}: {values}: must be among two different arms = {list(arms)}; correct or remove the line")
    return [judgement for _, judgement in rows]


def write_judgements(path: Path, judgements: Iterable[Judgement]) -> None:
    """Append ``judgements`` to the file, durably; its lines are never changed."""
    append_objects(path, map(asdict, judgements))


def read_latest(file: Path) -> dict[Key, Judgement]:
    """Read the last judgement of each key in a run's own ``file``; {} if nobody has judged yet."""
    return {judgement.key: judgement for judgement in (read_judgements(file) if file.exists() else ())}


def summarise_judgements(run: Run) -> list[Judged]:
    """Summarise the judgements of people, and of each engine, for each pair of arms that was judged and each split: on all
    questions, or on those that both answer right."""
    split_of = {problem.id: problem.split for problem in run.problems if problem.split in run.study.evaluation.splits}
    judgements = [j for j in read_latest(run.directory / FILE).values() if set(j.arms) <= set(run.arms) and j.question in split_of]
    groups = grouped(((frozenset(j.arms), split_of[j.question], j.both_right, j.rater if j.engine else ""), j) for j in judgements)
    return [
        summarise_pair(run, group[0].arms, split, group, groups.get((arms, split, both_right, ""), []) if rater else [])
        for (arms, split, both_right, rater), group in groups.items()
    ]


def summarise_pair(
    run: Run, arms: tuple[str, str], split: str, judgements: Sequence[Judgement], people: Sequence[Judgement] = ()
) -> Judged:
    """Summarise the ``judgements`` of one pair. A question with several raters counts once, by their majority. If an engine's
    choice depends on the order, it is a tie; an engine's agreement is with ``people``, of whom the majority counts."""
    current = {pair.texts for pair in make_pairs(run, arms, split)}
    counted = [j for j in judgements if j.texts in current]
    by_question = _settle(counted)
    preferred = _find_majority(by_question)
    chosen = Counter(preferred.values())
    wins, losses, n = chosen[arms[0]], chosen[arms[1]], len(preferred)
    if people := [j for j in people if j.texts in current]:
        by_people = _find_majority(_settle(people))
        by_question = {name: {"people": by_people[name], "engine": preferred[name]} for name in preferred if name in by_people}
    low, high = paired_interval(wins, losses, n)
    orders = grouped(((j.question, j.rater), j) for j in counted).values()  # one judgement, or one for each order of the sides
    sides = [{"left" if j.choice == j.left else "right" if j.choice else "" for j in order} for order in orders]
    left, right = sides.count({"left"}), sides.count({"right"})
    repeated = [order for order in orders if len(order) > 1]
    return Judged(
        arm=arms[0],
        other=arms[1],
        split=split,
        both_right=judgements[0].both_right,
        n=n,
        by=judgements[0].rater if judgements[0].engine else "",
        raters=len({j.rater for j in counted}),
        wins=wins,
        losses=losses,
        rate=0.5 + (wins - losses) / n / 2 if n else 0.5,
        low=0.5 + low / 2,
        high=0.5 + high / 2,
        p=mcnemar(wins, losses),
        alpha=krippendorff(list(by_question.values())),
        left=left,
        chosen=left + right,
        left_p=mcnemar(left, right),
        steady=sum(len({j.choice for j in order}) == 1 for order in repeated) / len(repeated) if repeated else None,
        stale=len(judgements) - len(counted),
    )


def _settle(judgements: Iterable[Judgement]) -> dict[str, dict[str, str]]:
    """Map question -> rater -> the preferred arm, "" if the choice depends on the order of the sides."""
    by_rater = grouped(((j.question, j.rater), j.choice) for j in judgements)
    settled = ((name, (rater, choices[0] if len(set(choices)) == 1 else "")) for (name, rater), choices in by_rater.items())
    return {name: dict(ratings) for name, ratings in grouped(settled).items()}


def _find_majority(by_question: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Map question -> the choice of most of its raters, "" (neither) if there is no majority."""
    modes = {name: multimode(choices.values()) for name, choices in by_question.items()}
    return {name: winners[0] if len(winners) == 1 else "" for name, winners in modes.items()}
