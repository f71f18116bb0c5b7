"""What methods may see besides their problem: exemplars, prompts, other problems' chains, verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from understudy.core.asks import SamplePath
from understudy.core.errors import StudyError, suggest
from understudy.core.subquestions import make_gold_chain
from understudy.core.values import Chain, Outcome, Problem, grouped


class StudyPool:
    """The `Pool` of a study.

    ``exemplars`` have a gold answer, and mostly a human rationale. Each prompt shows a random number of them, from ``least`` to
    all, in random order (SCoTD shuffles per call and drops down to 3: configs/train.yaml and hf_datasets.__getitem__ of the
    authors' code). ``least`` None: all; ``shuffle`` False: in the given order. ``prompts``: name -> text. ``chains``: the selected
    chains of the training problems ``learn``, and ``outcomes`` the verdicts by chain. ``seed`` is the study's. It also decides
    which others a path is shown.
    """

    def __init__(
        self,
        exemplars: Sequence[Problem] = (),
        *,
        least: int | None = None,
        shuffle: bool = True,
        prompts: Mapping[str, str] | None = None,
        learn: Sequence[Problem] = (),
        chains: Iterable[Chain] = (),
        outcomes: Mapping[str, Outcome] | None = None,
        seed: int = 0,
    ) -> None:
        self._solved = [(problem, make_gold_chain(problem) or _make_answer_chain(problem)) for problem in exemplars]
        self._least, self._shuffle, self._seed = least, shuffle, seed
        self._prompts, self._outcomes = prompts or {}, outcomes or {}
        self._problems, self._source = {problem.id: problem for problem in learn}, chains

    @cached_property
    def _chains(self) -> Mapping[str, list[Chain]]:
        """The chains by problem. Most methods use none when they answer, and then none are read."""
        return grouped((chain.problem, chain) for chain in self._source)

    @cached_property
    def _with_chains(self) -> list[str]:
        return [name for name in self._problems if name in self._chains]

    def exemplars(self, path: SamplePath) -> list[tuple[Problem, Chain]]:
        """Choose the solved problems for one prompt of ``path``."""
        if not self._solved:
            return []
        rng, n = path.rng("exemplars"), len(self._solved)
        chosen = rng.sample(range(n), n if self._least is None else rng.randint(min(self._least, n), n))
        return [self._solved[i] for i in (chosen if self._shuffle else sorted(chosen))]

    def prompt(self, name: str) -> str:
        """Return the text of the prompt ``name``."""
        if name not in self._prompts:
            raise StudyError(f"there is no prompt {name!r}{suggest(name, self._prompts)}: docs/prompts.md lists them")
        return self._prompts[name]

    def others(self, path: SamplePath, n: int) -> list[tuple[Problem, Chain]]:
        """Choose up to ``n`` other problems with one chain each."""
        rng = path.rng("others", str(self._seed))
        available = len(self._with_chains) - (path.problem in self._chains and path.problem in self._problems)
        chosen: list[str] = []
        while len(chosen) < min(n, available):
            name = rng.choice(self._with_chains)
            if name != path.problem and name not in chosen:
                chosen.append(name)
        return [(self._problems[name], rng.choice(self._chains[name])) for name in chosen]

    def taught(self) -> list[tuple[Problem, list[Chain]]]:
        """List the training problems, each with its selected chains."""
        return [(problem, self._chains.get(name, [])) for name, problem in self._problems.items()]

    def outcome(self, chain: Chain) -> Outcome:
        """Return the verdict on ``chain``."""
        return self._outcomes.get(chain.id, Outcome.NO_GOLD)


def _make_answer_chain(problem: Problem) -> Chain:
    return Chain(problem=problem.id, path=0, text="", rationale="", answer=problem.answer, layer="recorded", teacher="human")
