"""Which chains an arm's student learns from. Verdicts stand beside chains: selection reads them and deletes nothing."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from understudy.core.errors import DataError
from understudy.core.values import Chain, Outcome


@dataclass(frozen=True)
class Selection:
    """Which of the teacher's chains are taught. Names of SCoTD's code (arXiv 2306.14050, dataset/hf_datasets.py) stand in
    brackets."""

    keep: Literal["correct", "all", "wrong"] = "correct"
    """``correct`` (all_correct_paths; POOL_THRESHOLD 0.5 in train.yaml), ``all`` chains that state an answer (threshold 0, the
    unlabelled setting), or ``wrong`` (wrong_ones)."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Of the first so many sample paths alone, as if the teacher had been asked for no more (the N of its figure 2); all where it
    is not given. With 1 and ``keep = "all"``: one sampled chain, right or wrong."""
    check: str | None = None
    """The check that decides what is correct, one of ``study.checks``. Not given: the first of them (ours; SCoTD has one)."""
    per_problem: Annotated[int, Field(ge=1)] | None = None
    """At most this many of each problem; all where it is not given (all_correct_paths)."""
    choose: Literal["first", "random", "likeliest"] = "first"
    """Which these are: the ``first`` sample paths (one_correct_path, with ``per_problem`` = 1), a seeded ``random`` draw, or the
    ``likeliest``: those with the highest mean log-probability of their teacher (the paper's ablation), which every chain then
    needs."""
    dedup: bool = False
    """Of equal texts for one problem only the first. Off, as in all strategies of that code."""

    def __post_init__(self) -> None:
        if self.choose != "first" and self.per_problem is None:
            raise ValueError(f'choose = "{self.choose}": needs per_problem, the number of chains of each problem')


@dataclass(frozen=True, kw_only=True)
class SelectionCounts:
    """How many of the ``chains`` are ``kept``, and why the others are not: ``dropped`` by reason; they add up to ``chains``. Of the
    ``problems`` that had a chain and are learned from, ``covered`` have one left."""

    chains: int
    kept: int
    dropped: Mapping[str, int]
    problems: int
    covered: int


_STATED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.NO_GOLD)
_KEPT = {"correct": (Outcome.CORRECT,), "wrong": (Outcome.WRONG,), "all": _STATED}


def select(
    chains: Sequence[Chain],
    outcomes: Mapping[str, Outcome],
    options: Selection,
    *,
    seed: int,
    unfit: Mapping[str, str] | None = None,
    learned: Set[str] | None = None,
) -> tuple[list[Chain], SelectionCounts]:
    """The chains of ``chains`` that ``options`` keep, in the order given, and what became of the others. ``outcomes``: chain id ->
    the outcome of its verdict by one check.

    A chain without an answer teaches nothing, whatever the check says of it. ``unfit``: chain id -> why it cannot be written in the
    arm's format; such chains are dropped before ``per_problem`` chooses. ``learned``: the problems that students learn from, all
    where it is not given; chains of others are dropped whatever they are. A random choice is a function of (seed, problem), never
    of the other problems. Raises DataError where the likeliest are wanted and a chain among which they are chosen has no
    log-probability.
    """
    dropped: Counter[str] = Counter()
    left: dict[str, list[Chain]] = defaultdict(list)
    texts: set[tuple[str, str]] = set()
    for chain in chains:
        outcome = outcomes[chain.id]
        if learned is not None and chain.problem not in learned:
            dropped["not in the fraction"] += 1
        elif options.samples is not None and chain.path >= options.samples:
            dropped[f"not among the first {options.samples} samples"] += 1
        elif outcome not in _KEPT[options.keep]:
            dropped[outcome.value] += 1
        elif chain.answer is None:
            dropped[Outcome.UNPARSED.value] += 1
        elif unfit and chain.id in unfit:
            dropped[unfit[chain.id]] += 1
        elif options.dedup and (chain.problem, chain.text) in texts:
            dropped["duplicate"] += 1
        else:
            left[chain.problem].append(chain)
        texts.add((chain.problem, chain.text))
    if options.per_problem is not None:
        for problem, candidates in left.items():
            left[problem] = _choose(candidates, options, options.per_problem, seed)
            dropped[f"more than {options.per_problem} per problem"] += len(candidates) - len(left[problem])
    chosen = {id(chain) for candidates in left.values() for chain in candidates}
    kept = [chain for chain in chains if id(chain) in chosen]
    return kept, SelectionCounts(
        chains=len(chains),
        kept=len(kept),
        dropped=dict((+dropped).most_common()),
        problems=len({chain.problem for chain in chains if learned is None or chain.problem in learned}),
        covered=len({chain.problem for chain in kept}),
    )


def _choose(candidates: Sequence[Chain], options: Selection, n: int, seed: int) -> list[Chain]:
    """``n`` chains of one problem, or all where there are fewer."""
    ordered = sorted(candidates, key=lambda chain: chain.path)
    if options.choose == "random":
        random.Random(f"select\x1f{seed}\x1f{candidates[0].problem}").shuffle(ordered)
    elif options.choose == "likeliest":
        ordered.sort(key=lambda chain: -_logprob(chain))  # equal ones stay in the order of their paths
    return ordered[:n]


def _logprob(chain: Chain) -> float:
    if chain.logprob is None:
        which = f"the chain of problem {chain.problem!r}, path {chain.path}, by {chain.teacher!r}"
        raise DataError(f'select.choose = "likeliest": {which} has no log-probability; take another teacher, or choose = "random"')
    return chain.logprob
