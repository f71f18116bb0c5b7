"""Which chains an arm's student is shown: verdicts stand beside chains, selection reads them, nothing is deleted."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from understudy.core.errors import DataError
from understudy.core.values import Chain, Outcome, Verdict


@dataclass(frozen=True)
class Selection:
    """Which of the teacher's chains are taught. Names of SCoTD's code (arXiv 2306.14050, dataset/hf_datasets.py) stand in
    brackets."""

    keep: Literal["correct", "all", "wrong"] = "correct"
    """``correct`` (all_correct_paths; POOL_THRESHOLD 0.5 in train.yaml), ``all`` chains that state an answer (threshold 0, the
    unlabelled setting), or ``wrong`` (wrong_ones)."""
    check: str = ""
    """The check by whose verdicts chains are right or wrong; by default the study's first one."""
    per_problem: int | None = None
    """At most this many of each problem; all where it is not given (all_correct_paths)."""
    choose: Literal["first", "random", "likeliest"] = "first"
    """Which these are: the ``first`` sample paths (one_correct_path, with ``per_problem`` = 1), a seeded ``random`` draw, or the
    ``likeliest``: those with the highest mean log-probability of their teacher (the paper's ablation), which every chain then
    needs."""
    dedup: bool = False
    """Of equal texts for one problem only the first. Off, as in all strategies of that code."""

    def __post_init__(self) -> None:
        if self.per_problem is not None and self.per_problem < 1:
            raise ValueError(f"per_problem = {self.per_problem}: at least 1")
        if self.choose != "first" and self.per_problem is None:
            raise ValueError(f'choose = "{self.choose}": say how many of each problem with per_problem')


@dataclass(frozen=True)
class Selected:
    """The ``chains`` that are kept, in the order given, and why the others are not: ``dropped`` by reason. ``kept`` and
    dropped add up to ``offered``; ``covered`` of ``problems``, those that had a chain and are learned from, have one left."""

    chains: tuple[Chain, ...]
    dropped: Mapping[str, int]
    offered: int
    problems: int

    @property
    def covered(self) -> int:
        return len({chain.problem for chain in self.chains})

    def to_json(self) -> dict[str, Any]:
        return {
            "chains": self.offered,
            "kept": len(self.chains),
            "dropped": dict(self.dropped),
            "problems": self.problems,
            "covered": self.covered,
        }


_KEPT = {
    "correct": frozenset({Outcome.CORRECT}),
    "wrong": frozenset({Outcome.WRONG}),
    "all": frozenset({Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.NO_GOLD}),
}


def select(
    chains: Sequence[Chain],
    verdicts: Sequence[Verdict],
    options: Selection,
    *,
    seed: int,
    unfit: Mapping[str, str] | None = None,
    learned: Set[str] | None = None,
) -> Selected:
    """The chains of ``chains`` that ``options`` keep, by the ``verdicts`` of one check. Every chain needs a verdict.

    ``unfit``: chain id -> why it cannot be written in the arm's format; such chains are dropped for that reason before
    ``per_problem`` chooses. ``learned``: the problems that students learn from, all where it is not given; chains of others are
    dropped whatever they are. A random choice is a function of (seed, problem), never of the other problems. Raises DataError
    where the likeliest are wanted and a chain among which they are chosen has no log-probability.
    """
    outcome = {verdict.chain: verdict.outcome for verdict in verdicts}
    reason: dict[int, str] = {}
    left: dict[str, list[int]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for place, chain in enumerate(chains):
        found = outcome[chain.id]
        if learned is not None and chain.problem not in learned:
            reason[place] = "not in the fraction"
        elif found not in _KEPT[options.keep]:
            reason[place] = found.value
        elif unfit and chain.id in unfit:
            reason[place] = unfit[chain.id]
        elif options.dedup and (chain.problem, chain.text) in seen:
            reason[place] = "duplicate"
        else:
            left[chain.problem].append(place)
        seen.add((chain.problem, chain.text))
    for problem, places in left.items():
        if options.per_problem is not None:
            ordered = sorted(places, key=lambda place: chains[place].path)
            if options.choose == "random":
                random.Random(f"select\x1f{seed}\x1f{problem}").shuffle(ordered)
            elif options.choose == "likeliest":
                ordered.sort(key=lambda place: -_logprob(chains[place]))  # equal ones stay in the order of their paths
            reason |= dict.fromkeys(ordered[options.per_problem :], f"more than {options.per_problem} per problem")
    kept = tuple(chain for place, chain in enumerate(chains) if place not in reason)
    problems = {chain.problem for chain in chains if learned is None or chain.problem in learned}
    return Selected(kept, dict(Counter(reason.values()).most_common()), len(chains), len(problems))


def _logprob(chain: Chain) -> float:
    if chain.logprob is None:
        raise DataError(
            f'select.choose = "likeliest": the chain of problem {chain.problem!r}, path {chain.path}, by {chain.teacher!r} has no '
            "log-probability; take a teacher that gives them (a checkpoint, most endpoints, recorded chains with a field logprob), "
            'or choose = "random"'
        )
    return chain.logprob
