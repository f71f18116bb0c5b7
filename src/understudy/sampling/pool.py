"""The exemplars of a study, as methods show them: chosen once, dropped and shuffled anew for each sample path."""

from __future__ import annotations

from collections.abc import Sequence

from understudy.core.asks import Path
from understudy.core.values import Chain, Problem


class ExemplarPool:
    """``problems`` that carry a gold answer, and mostly a human rationale (``meta["rationale"]``).

    Each prompt shows a random number of them, from ``least`` to all, in random order (SCoTD shuffles per call and drops down
    to 3: configs/train.yaml and hf_datasets.__getitem__ of the authors' code). ``least`` None: all; ``shuffle`` False: in the
    order given.
    """

    def __init__(self, problems: Sequence[Problem] = (), *, least: int | None = None, shuffle: bool = True) -> None:
        self._solved = [(problem, _human(problem)) for problem in problems]
        self._least, self._shuffle = least, shuffle

    def exemplars(self, path: Path) -> list[tuple[Problem, Chain]]:
        """The solved problems for one prompt of ``path``."""
        rng, n = path.rng("exemplars"), len(self._solved)
        shown = n if self._least is None else rng.randint(min(self._least, n), n)
        chosen = rng.sample(range(n), shown)
        return [self._solved[i] for i in (chosen if self._shuffle else sorted(chosen))]


def _human(problem: Problem) -> Chain:
    rationale = str(problem.meta.get("rationale", ""))
    return Chain(
        problem=problem.id, path=0, text=rationale, rationale=rationale, answer=problem.answer, layer="recorded", teacher="human"
    )
