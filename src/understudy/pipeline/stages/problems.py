"""problems: the task's questions, split so that no question is both in training and in a held-out split. Exemplars, chosen from
training or given by the user, are in no other split.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from understudy.core.errors import DataError, StudyError, counted, suggest, with_known
from understudy.core.options import unkeyed
from understudy.core.registry import find_module
from understudy.core.values import Problem, digest
from understudy.corpus.store import read_rows, write_json, write_rows
from understudy.pipeline.stage import Context, Stage, StageSummary
from understudy.sampling.pool import StudyPool
from understudy.studies.options import Exemplars
from understudy.tasks.overlap import NearPair, check_overlap, exact_key, find_near
from understudy.tasks.rows import Layout, read_problems
from understudy.tasks.splits import check_ids, require_solved

FILE = "problems.parquet"
SPLIT = "exemplars"
"""The split of the exemplars."""


@dataclass(frozen=True, kw_only=True)
class ProblemsSummary(StageSummary):
    """``sizes``: problems by split. ``dropped``: ids of problems that left training or dev because a held-out split has the same
    question. ``near``: held-out questions that are near one outside; ``near_kinds``: how (`overlap.KINDS`) -> how many;
    ``near_first``: the first of them; ``near_dropped``: near ones that left training or dev. ``without_gold``: splits that have no
    gold answer: the teacher can be sampled there, but nothing can be evaluated. ``skipped``: rows that cannot be read
    (task.skip_bad)."""

    sizes: Mapping[str, int]
    dropped: tuple[str, ...]
    near: int
    without_gold: tuple[str, ...]
    skipped: int = 0
    near_kinds: Mapping[str, int] = field(default_factory=dict)
    near_first: tuple[str, ...] = ()
    near_dropped: int = 0

    def describe_near(self) -> str:
        """Say how many held-out questions are near one outside, and which."""
        if not self.near:
            return "no held-out question is near one outside"
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in self.near_kinds.items())
        first = f"; {'; '.join(self.near_first)}{'; ...' * (self.near > len(self.near_first))}" if self.near_first else ""
        dropped = f"; {self.near_dropped:,} outside were dropped" if self.near_dropped else ""
        subject = f"{counted(self.near, 'held-out question')} {'is' if self.near == 1 else 'are'}"
        return f"{subject} near one outside ({kinds or 'by their words'}{first}){dropped}"


class PreparedProblems(NamedTuple):
    """The ``problems`` of a study, and those ``from_task`` before any left. ``dropped``: the ids of those that left for an equal
    held-out question. ``near``: the ids of those that left for a near one, if the study drops these (``pairs``)."""

    problems: list[Problem]
    from_task: list[Problem]
    dropped: tuple[str, ...]
    pairs: list[NearPair]
    near: set[str]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ProblemsStage(Stage[ProblemsSummary]):
    """``task``: the task ``name`` with its options. ``files``: the files that it reads -> their digests. ``held_out``: the splits
    that are evaluated; ``used``: others that must exist (dev). ``fields``: key of [evaluation] -> the field of the held-out
    problems that it names."""

    kind = "problems"
    summary = ProblemsSummary

    name: str
    task: Any
    files: Mapping[str, str]
    exemplars: Exemplars
    seed: int
    overlap: Literal["error", "drop", "drop-near"]
    near_limit: float = 1.0
    held_out: tuple[str, ...]
    used: tuple[str, ...]
    fields: Mapping[str, str] = unkeyed(factory=dict)

    def modules(self) -> list[str]:
        return [find_module("task", self.name)]

    def read(self, context: Context) -> list[Problem]:
        """Read the problems of all splits."""
        return list(read_rows(self.directory(context.run) / FILE, Problem))

    def prepare(self) -> PreparedProblems:
        """Apply the overlap rule to the task's problems, and mark their exemplars: chosen ones are among the problems that are
        left, and given ones are never dropped.

        Raises DataError if two problems have one id, if questions overlap and the study does not drop them, or if a given exemplar
        is also evaluated.
        """
        from_task = list(self.task.problems(seed=self.seed))
        check_ids(from_task)
        file = self.exemplars.file
        problems = from_task if file is None else add_exemplars(from_task, Path(file), held_out=self.held_out)
        problems, on_held_out = check_overlap(problems, held_out=self.held_out, rule=self.overlap)
        pairs, outside = find_near(problems, held_out=self.held_out) if self.overlap == "drop-near" else ([], set())
        near = {problem.id for problem in problems if problem.id in outside and problem.split != SPLIT}
        problems = [p for p in problems if p.id not in near]
        # Questions of dev that are also in training; this does not affect the held-out splits.
        _, on_dev = check_overlap([p for p in problems if p.split not in self.held_out], held_out=self.used, rule=self.overlap)
        problems = [p for p in problems if p.id not in on_dev]
        problems = choose_exemplars(problems, self.exemplars.n, seed=self.seed) if file is None else problems
        return PreparedProblems(problems, from_task, on_held_out + on_dev, pairs, near)

    def run(self, context: Context) -> ProblemsSummary:
        """Write ``problems.parquet``, ``splits.json`` (split -> ids, which `tasks.files` reads) and ``near.json`` (pairs of near
        questions, before any was dropped)."""
        problems, from_task, dropped, pairs, near = self.prepare()
        if self.overlap != "drop-near":
            pairs, _ = find_near(problems, held_out=self.held_out)
        if not near:
            self._check_near(problems, pairs)
        if (dropped or near) and all(problem.split != "train" for problem in problems):
            reason = "no training problem is left, because all are equal to a held-out one or near it"
            raise DataError(f'study.overlap = "{self.overlap}": {reason}; draw other splits, whole groups on one side (task.group)')
        self.check_splits(problems)
        sizes = Counter(problem.split for problem in problems)
        directory = self.directory(context.run)
        write_json(directory / "near.json", [asdict(pair) for pair in pairs])
        write_rows(directory / FILE, Problem, problems)
        # Exemplars are listed under the split that they came from: a study that names this file draws its own.
        kept_ids, splits = {problem.id for problem in problems}, dict.fromkeys(problem.split for problem in from_task)
        ids = {split: [p.id for p in from_task if p.split == split and p.id in kept_ids] for split in splits}
        write_json(directory / "splits.json", ids)
        context.progress("problems", len(problems), len(problems))
        if bad_rows := self.task.bad_rows() if hasattr(self.task, "bad_rows") else []:
            rows = f"{counted(len(bad_rows), 'row')} of questions; first: {'; '.join(bad_rows[:3])}"
            context.progress("problems", 0, 0, f"left out (skip_bad): {rows}")
        return ProblemsSummary(
            sizes=dict(sizes),
            dropped=dropped,
            near=len(pairs),
            near_kinds=dict(Counter(pair.kind for pair in pairs)),
            near_first=tuple(f"{pair.held_out} ~ {pair.outside} by {pair.kind}" for pair in pairs[:5]),
            near_dropped=len(near),
            skipped=len(bad_rows),
            without_gold=tuple(s for s in sizes if all(p.answer is None for p in problems if p.split == s)),
        )

    def check_splits(self, problems: Sequence[Problem]) -> None:
        """Raise StudyError if a split that the study needs has no problem, or if no evaluated problem has a field that [evaluation]
        names."""
        sizes = Counter(problem.split for problem in problems)
        for split in ("train", *self.used, *self.held_out):
            if not sizes[split]:
                hint, present = suggest(split, sizes), ", ".join(f"{name} {n}" for name, n in sizes.items())
                advice = f"name another in [evaluation] (dev, splits), or draw it: task.sizes = {{ {split} = 100 }} for files"
                reason = f"the task {self.name!r} has no problems in split {split!r}{hint} (it has: {present})"
                raise StudyError(f"evaluation: {reason}; {advice}")
        require_fields([p for p in problems if p.split in self.held_out], self.fields)

    def _check_near(self, problems: Sequence[Problem], pairs: Sequence[NearPair]) -> None:
        """Raise DataError if more held-out questions than the study allows are near one outside."""
        held_out = sum(problem.split in self.held_out for problem in problems)
        if len(pairs) > self.near_limit * held_out:
            first = "; ".join(f"{pair.held_out} ~ {pair.outside} by {pair.kind}" for pair in pairs[:3])
            reason = f"{len(pairs):,} of {held_out:,} held-out questions are near one outside ({first})"
            raise DataError(
                f"study.near_limit = {self.near_limit:g}: {reason}; draw other splits (task.group), or drop them: "
                'study.overlap = "drop-near"'
            )


def require_fields(problems: Sequence[Problem], fields: Mapping[str, str]) -> None:
    """Raise StudyError if a key of [evaluation] names a field that none of the ``problems`` has; ``fields``: key -> field."""
    names = sorted({name for problem in problems for name in (*problem.meta, *(["context"] if problem.context else []))})
    for key, name in fields.items():
        if name not in names:
            raise StudyError(f"evaluation.{key}: no question that is evaluated has a field {with_known(name, names, 'they have')}")
        values = [value for problem in problems if (value := problem.read_text(name)) is not None]
        if key == "contrast" and len(set(values)) == len(values):
            raise StudyError(f"evaluation.contrast = {name!r}: no two evaluated questions share a value; name another field")


def add_exemplars(problems: Sequence[Problem], file: Path, *, held_out: Sequence[str]) -> list[Problem]:
    """Add the exemplars in ``file`` to ``problems``, in a split of their own. A training problem that asks the same leaves; one
    of another split is left to the overlap rule.

    Raises DataError for a file that cannot be used, and if an exemplar is one of the ``held_out`` questions.
    """
    rows = read_problems(file, Layout(problems[0].kind), form=problems[0].form)
    exemplars = [replace(problem, id=f"exemplar-{i}", split=SPLIT) for i, problem in enumerate(rows, 1)]
    require_solved(exemplars, str(file))
    held_out_ids = {exact_key(problem): problem.id for problem in problems if problem.split in held_out}
    for exemplar in exemplars:
        if (evaluated := held_out_ids.get(exact_key(exemplar))) is not None:
            raise DataError(f"exemplars.file: {exemplar.id} has the question of {evaluated}, which is evaluated; use another")
    questions = set(map(exact_key, exemplars))
    return [*(p for p in problems if p.split != "train" or exact_key(p) not in questions), *exemplars]


def choose_exemplars(problems: Sequence[Problem], n: int, *, seed: int) -> list[Problem]:
    """Put ``n`` training problems with a rationale in the split of the exemplars. Raises StudyError if there are too few."""
    candidates = [p.id for p in problems if p.split == "train" and p.answer is not None and p.meta.get("rationale")]
    if len(candidates) < n:
        reason = f"exemplars.n = {n}: only {len(candidates)} training problems have a rationale"
        raise StudyError(f"{reason}; name the field that holds it (task.fields.rationale), or write some by hand: exemplars.file")
    # By a hash of each: one more question changes the exemplars, and so every prompt, only if it is itself chosen.
    chosen = set(sorted(candidates, key=lambda name: digest(["exemplars", seed, name]))[:n])
    return [replace(p, split=SPLIT) if p.id in chosen else p for p in problems]


def make_pool(problems: Sequence[Problem], options: Exemplars, *, split: str = SPLIT, **fields: Any) -> StudyPool:
    """Make the pool that methods draw from, with the problems of ``split`` as exemplars; ``fields``: further fields of
    `StudyPool`."""
    return StudyPool([p for p in problems if p.split == split], least=options.least, shuffle=options.shuffle, **fields)
