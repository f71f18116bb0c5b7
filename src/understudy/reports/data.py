"""The values of a report: tables and pictures are drawn from them, and results.json keeps them.

`runs.report` computes them from a run's stages; nothing in this room computes a number.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from understudy.core.values import Chain, Problem, Verdict
from understudy.evaluation.metrics import Bin
from understudy.evaluation.statistics import PairedTest
from understudy.evaluation.worth import CorpusWorth
from understudy.selection.select import SelectionCounts
from understudy.training.record import LearningCurve, TrainingRecord


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of an arm's answers to a split. n = correct + wrong + undecidable + unparsed + abstained + truncated; ``errors``,
    requests that failed, are not in n. ``low`` and ``high``: the 95 % interval of the ``accuracy``."""

    arm: str
    split: str
    decoding: str
    n: int
    correct: int
    wrong: int
    undecidable: int
    unparsed: int
    abstained: int
    truncated: int
    errors: int
    accuracy: float
    low: float
    high: float
    tokens_per_answer: float
    """Tokens written, over all calls and votes."""
    read_per_answer: float
    """Prompt tokens of all calls."""
    calls_per_answer: float
    seconds: float
    """Time to answer everything."""


@dataclass(frozen=True, kw_only=True)
class ResultRow(Scores):
    """One arm on one split, with one seed and one way of decoding: an object of `understudy results --json`. ``role_models``: part
    -> identity of the engine that played it. The interval is that of one seed (docs/statistics.md)."""

    method: str
    model: str
    role_models: Mapping[str, str]
    engine: str
    precision: str
    training_precision: str
    task: str
    seed: int
    extractor: str


@dataclass(frozen=True, kw_only=True)
class ArmSummary(Scores):
    """One arm on one split and decoding, over its seeds: counts and seconds are sums, ``accuracy`` is the mean, ``spread`` holds
    each seed's accuracy. The interval is exact for one seed, and over problems and seeds for several (docs/statistics.md).
    ``stop_rate``: the share of replies that ended by themselves. ``says`` is "" or "at chance: nothing can be said"."""

    seeds: int
    spread: tuple[float, ...]
    chance: float
    majority: float
    says: str
    stop_rate: float


@dataclass(frozen=True, kw_only=True)
class Comparison(PairedTest):
    """Two arms on the same problems of one split, or of `ALL_VERSIONS`. ``difference``: accuracy of ``arm`` - accuracy of
    ``other``. ``p_holm``: p after Holm's correction over the split's comparisons. ``says``: one sentence. ``unlike``: what they
    differ in besides the method."""

    arm: str
    other: str
    split: str
    n: int
    p_holm: float
    says: str
    unlike: tuple[str, ...] = ()

    @property
    def at_chance(self) -> bool:
        """Whether neither arm is above chance, so that nothing can be said about their difference."""
        return self.says.startswith("both at chance:")


@dataclass(frozen=True)
class RunComparison:
    """A comparison of several runs' arms. ``arms``: the best first, named ``RUN: ARM`` if there are several runs. ``learned``: arm
    -> the tokens that its students learned, mean over seeds. ``pairs``: the best against each of the others, with p corrected over
    all pairs of arms, since these same answers showed which is the best. ``notes``: what differs. ``supported``,
    ``not_supported``: a sentence each."""

    split: str
    arms: tuple[ArmSummary, ...]
    learned: Mapping[str, float]
    pairs: tuple[Comparison, ...]
    notes: tuple[str, ...]
    supported: str
    not_supported: str


@dataclass(frozen=True)
class SweptArm:
    """A point of a sweep: ``arm`` is the point of the curve ``of`` at which ``key`` has this ``value``."""

    arm: str
    of: str
    key: str
    value: float | str | bool


ALL_VERSIONS = "all versions of a question"
"""Takes the place of a split: an original and its changed versions count as one problem, right if all of them are."""


@dataclass(frozen=True)
class Consistency:
    """How often all versions of an original were answered right (``consistent``), of the ``n`` originals with changed versions
    among the evaluated problems, times seeds. ``accuracies``: split -> accuracy on the problems that have another version.
    ``chance``: how often guessing, or the best constant answer, gets all versions right."""

    arm: str
    n: int
    accuracies: Mapping[str, float]
    consistent: float
    low: float
    high: float
    chance: float
    says: str
    """What can be said about the arm alone; "" if nothing special."""


@dataclass(frozen=True)
class Group:
    """The accuracy of one arm on the problems of one split that share a value of the study's ``by`` (number of steps)."""

    arm: str
    split: str
    value: str
    trained: bool
    """Whether training problems had this value, too."""
    n: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ArmSelection(SelectionCounts):
    """What an arm's selection kept of the teacher's ``chains``. ``examples``: how many the student was trained on. ``used``:
    whether they were made from the chains (an arm that learns gold answers uses none)."""

    arm: str
    examples: int
    used: bool


@dataclass(frozen=True, kw_only=True)
class Curve(LearningCurve):
    """The learning curve of one student. ``saw``: what training showed it."""

    arm: str
    seed: int
    seconds: float
    parameters: int
    saw: TrainingRecord


@dataclass(frozen=True)
class Votes:
    """Self-consistency for every number of votes k, from one set of samples (means over seeds)."""

    arm: str
    split: str
    k: tuple[int, ...]
    majority: tuple[float, ...]
    weighted: tuple[float, ...]
    any_correct: tuple[float, ...]
    """pass@k"""
    likeliest: tuple[float, ...]
    """The sample with the highest mean log-probability; empty, like ``weighted``, if log-probabilities are not known."""
    tokens: float
    """The tokens that one sample reads and writes, mean over all."""


@dataclass(frozen=True)
class Cascade:
    """A cascade computed from recorded answers to ``n`` problems (times seeds): those of ``arm`` if at least the share
    ``agreement`` of its votes agree, else those of ``teacher``. For each such share: the share of problems for which the teacher is
    ``asked``, the ``accuracy``, and the ``tokens`` that the teacher reads and writes per problem, mean over all problems. ``own``:
    the tokens of the votes."""

    arm: str
    teacher: str
    split: str
    n: int
    agreement: tuple[float, ...]
    asked: tuple[float, ...]
    accuracy: tuple[float, ...]
    tokens: tuple[float, ...]
    own: float


@dataclass(frozen=True)
class Perplexity:
    """Perplexity against correctness: ``bins`` with equal numbers of replies, the least perplexed first. ``who``: the arm whose
    sampled answers to ``split`` these are (of all seeds), or "" for the teacher and its chains."""

    who: str
    split: str
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class Attribution(PairedTest):
    """One arm on one split with the data set's own working in place of ``part`` (``with_gold``), compared with its own answers to
    the same problems (``accuracy``). ``p`` is corrected over all parts of all arms. Of its ``wrong`` answers (over all seeds),
    ``mended`` become right: these were errors of the part."""

    arm: str
    part: str
    split: str
    seeds: int
    n: int
    accuracy: float
    with_gold: float
    wrong: int
    mended: int


@dataclass(frozen=True)
class Faithfulness:
    """One arm's answers to ``n`` problems (times seeds) after its rationales were altered in the way ``how``: the share that stayed
    the ``same``, with its interval, and the accuracy ``before`` and ``after``."""

    arm: str
    how: str
    split: str
    n: int
    same: float
    low: float
    high: float
    before: float
    after: float


@dataclass(frozen=True)
class FirstWrong:
    """Where calculations go wrong in an arm's answers to one split, or in the teacher's chains (``arm`` is ""). Of the ``wrong``
    ones: in how many step k has the first calculation that does not hold (``at``), in how many all hold (``holds``), and how many
    have none (``without``). Of the right ones: how many write down a calculation (``worked``), and in how many of these one does
    not hold (``unsound``). Of all ``steps`` with a calculation, in right and wrong ones: those that ``hold``."""

    arm: str
    split: str
    wrong: int
    at: tuple[tuple[int, int], ...]
    holds: int
    without: int
    worked: int
    unsound: int
    steps: int
    hold: int


@dataclass(frozen=True)
class StudentAnswer:
    """The answer of the students of ``arm``: the ``text``, the ``answer`` read from it ("" for none), and its ``outcome``."""

    arm: str
    text: str
    answer: str
    outcome: str


@dataclass(frozen=True)
class Judged:
    """The preference of people, or of the engine ``by``, between ``arm`` and ``other`` on ``n`` questions of ``split``
    (``both_right``: of those that both answer right): on how many questions most raters prefer ``arm`` (``wins``) or ``other``
    (``losses``). ``rate``: wins and half of the ties, with its 95 % interval and the p of the sign test. ``alpha``: Krippendorff's
    agreement of the ``raters``, or of the engine with people; None if they share no question. ``left``: choices of the left side,
    of all ``chosen`` sides (for an engine: if it chose the same side in both orders); ``left_p`` tests whether both sides are
    chosen equally often. ``steady``: the share of an engine's choices that are the same in both orders. ``stale`` judgements are
    about texts that the arms no longer answer."""

    arm: str
    other: str
    split: str
    both_right: bool
    n: int
    by: str
    raters: int
    wins: int
    losses: int
    rate: float
    low: float
    high: float
    p: float
    alpha: float | None
    left: int
    chosen: int
    left_p: float
    steady: float | None
    stale: int


@dataclass(frozen=True)
class Story:
    """One problem followed to the end: a training ``problem``, a teacher's ``chain`` for it and its ``verdict``. ``tokens``: what
    the student was trained on from it (text, loss weight). ``answers``: the students' answers to ``asked``, a test problem."""

    problem: Problem
    chain: Chain
    verdict: Verdict
    tokens: tuple[tuple[str, float], ...]
    asked: Problem
    answers: tuple[StudentAnswer, ...]


@dataclass(frozen=True)
class TeacherSummary:
    """The teacher's work. ``engine``, and the identities of the ``teachers``: they wrote ``chains`` for ``problems``. ``outcomes``:
    check -> outcome -> chains. ``errors``: requests that failed, and chains that were not asked for. ``worth``: of the chains, by
    the first check. ``relabelled``: chains whose verdict by the first check people changed."""

    engine: str
    teachers: tuple[str, ...]
    chains: int
    problems: int
    outcomes: Mapping[str, Mapping[str, int]]
    seconds: float
    errors: int
    worth: CorpusWorth
    relabelled: int


@dataclass(frozen=True)
class ReportData:
    """The whole report of one run."""

    name: str
    title: str
    description: str
    command: str
    """The command line that makes the same run."""
    supported: str
    """What the data support on the first split; the next field says what they do not."""
    not_supported: str
    made_on: str
    """Number of seeds, device, precision."""
    notes: tuple[str, ...]
    """The notes to read with the numbers: from scratch, splits, overlap, errors."""
    task: str
    teacher: TeacherSummary
    versions: Mapping[str, str]
    by: str
    cluster: str
    """The field that says which problems belong together in intervals and tests; "": ``contrast`` does, or each counts for
    itself."""
    contrast: str
    """The field that links an original to its changed versions; "": there are none."""
    rows: tuple[ResultRow, ...]
    summaries: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    chosen_pairs: bool
    """Whether the study names the pairs that are compared."""
    swept: tuple[SweptArm, ...]
    consistency: tuple[Consistency, ...]
    groups: tuple[Group, ...]
    selected: tuple[ArmSelection, ...]
    curves: tuple[Curve, ...]
    votes: tuple[Votes, ...]
    cascades: tuple[Cascade, ...]
    perplexity: tuple[Perplexity, ...]
    attributions: tuple[Attribution, ...]
    faithfulness: tuple[Faithfulness, ...]
    first_wrong: tuple[FirstWrong, ...]
    judged: tuple[Judged, ...]
    story: Story | None

    @property
    def errors(self) -> int:
        """Requests that failed, to students and to the teacher: with any, the run ends with exit code 3."""
        return sum(row.errors for row in self.rows) + self.teacher.errors
