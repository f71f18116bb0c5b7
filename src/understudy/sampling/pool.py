"""The pool of other problems and their chains, from which methods draw exemplars by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from understudy.core.asks import Path
from understudy.core.values import Chain, Problem


class ExemplarPool:
    """Problems with one or more chains each. `draw` never gives the problem that asks."""

    def __init__(self, problems: Iterable[Problem], chains: Iterable[Chain]) -> None:
        by_problem: dict[str, list[Chain]] = defaultdict(list)
        for chain in chains:
            by_problem[chain.problem].append(chain)
        self._chains: Mapping[str, Sequence[Chain]] = by_problem
        self._problems = sorted((p for p in problems if p.id in by_problem), key=lambda p: p.id)

    @classmethod
    def of_rationales(cls, problems: Sequence[Problem]) -> ExemplarPool:
        """The pool of the problems whose data set carries a human rationale (``meta["rationale"]``): few-shot exemplars."""
        return cls(problems, [_human(p) for p in problems if p.meta.get("rationale") and p.answer is not None])

    def draw(self, path: Path, n: int, *, purpose: str) -> list[tuple[Problem, Chain]]:
        """``n`` problems (fewer where there are fewer) with one chain each, by (study seed, problem, path, purpose)."""
        rng = path.rng("pool", purpose)
        others = [p for p in self._problems if p.id != path.problem]
        return [(p, rng.choice(self._chains[p.id])) for p in rng.sample(others, min(n, len(others)))]


def _human(problem: Problem) -> Chain:
    rationale = str(problem.meta["rationale"])
    return Chain(
        problem=problem.id, path=0, text=rationale, rationale=rationale, answer=problem.answer, layer="recorded", teacher="human"
    )
