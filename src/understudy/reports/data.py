"""What a report is made of: values that tables and pictures are drawn from, and that results.json keeps.

`runs.report` fills them from a run's stages; nothing in this room computes a number.
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
    """What an arm's answers to a split are worth. n = correct + wrong + undecidable + unparsed + abstained + truncated;
    ``errors``, requests that failed, are not in n. ``low`` and ``high``: the 95 % interval of the ``accuracy``."""

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
    """Written, over all calls and votes."""
    read_per_answer: float
    """Prompt tokens of all calls."""
    calls_per_answer: float
    seconds: float
    """To answer everything."""


@dataclass(frozen=True, kw_only=True)
class ResultRow(Scores):
    """One arm on one split with one seed and one way of decoding: an object of `understudy results --json`. ``role_models``: who
    played each part, by engine identity. The interval is that of one seed (docs/statistics.md)."""

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
    """One arm on one split and decoding, over its seeds: counts and seconds are sums, ``accuracy`` is the mean, ``spread`` each
    seed's accuracy. The interval is exact for one seed, over problems and seeds for several (docs/statistics.md). ``stop_rate``:
    the share of replies that ended by themselves. ``says`` is "" or "at chance: nothing can be said"."""

    seeds: int
    spread: tuple[float, ...]
    chance: float
    majority: float
    says: str
    stop_rate: float


@dataclass(frozen=True, kw_only=True)
class Comparison(PairedTest):
    """Two arms on the same problems of one split, or of `ALL_VERSIONS`: accuracy of ``arm`` - accuracy of ``other``, p after Holm's
    correction over the split's comparisons, and one sentence. ``unlike``: what they differ in beside the method."""

    arm: str
    other: str
    split: str
    n: int
    p_holm: float
    says: str
    unlike: tuple[str, ...] = ()

    @property
    def at_chance(self) -> bool:
        """Neither arm is above chance, so nothing can be said of their difference."""
        return self.says.startswith("both at chance:")


@dataclass(frozen=True)
class RunComparison:
    """``arms``, the best first, named ``RUN: ARM`` where there are several runs; ``learned``: arm -> the tokens that its students
    learned, mean over seeds. ``pairs``: the best against each of the others, p corrected over all pairs of arms, since which is the
    best was seen in these very answers. ``notes``: what is not alike. ``supported``, ``not_supported``: a sentence each."""

    split: str
    arms: tuple[ArmSummary, ...]
    learned: Mapping[str, float]
    pairs: tuple[Comparison, ...]
    notes: tuple[str, ...]
    supported: str
    not_supported: str


@dataclass(frozen=True)
class SweptArm:
    """``arm`` is the point of the curve ``of`` where ``key`` has this ``value``."""

    arm: str
    of: str
    key: str
    value: float | str | bool


ALL_VERSIONS = "all versions of a question"
"""In the place of a split: an original and its changed versions count as one problem, right where all of them are."""


@dataclass(frozen=True)
class Consistency:
    """Of the ``n`` originals with changed versions among the evaluated problems, times seeds: how often all versions of one were
    answered right. ``accuracies``: split -> accuracy on those that have another version. ``chance``: how often guessing, or the
    best constant answer, gets all versions right."""

    arm: str
    n: int
    accuracies: Mapping[str, float]
    consistent: float
    low: float
    high: float
    chance: float
    says: str
    """What can be said of it alone, "" for nothing special."""


@dataclass(frozen=True)
class Group:
    """Accuracy of one arm on the problems of one split with the same value of the study's ``by`` (number of steps)."""

    arm: str
    split: str
    value: str
    trained: bool
    """Training problems had this value, too."""
    n: int
    correct: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ArmSelection(SelectionCounts):
    """What selection left an arm of the teacher's ``chains``. ``examples`` is what the student was trained on; ``used`` says
    whether they were made of the chains (an arm that learns gold answers uses none)."""

    arm: str
    examples: int
    used: bool


@dataclass(frozen=True, kw_only=True)
class Curve(LearningCurve):
    """How one student learned. ``saw``: what training showed it."""

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
    """The sample with the highest mean log-probability; like ``weighted`` empty where these are not known."""
    tokens: float
    """What one sample reads and writes, mean over all."""


@dataclass(frozen=True)
class Cascade:
    """Recorded answers to ``n`` problems (times seeds) put together: those of ``arm`` where at least the share ``agreement`` of its
    votes agree, else those of ``teacher``. For each such share: of how many problems the teacher is ``asked``, the ``accuracy``,
    the ``tokens`` that the teacher reads and writes for a problem, mean over all; ``own`` are those of the votes."""

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
    """Perplexity against correctness: ``bins`` of equally many replies, the least perplexed first. ``who``: an arm, whose sampled
    answers to ``split`` these are (of all seeds), or "" for the teacher and its chains."""

    who: str
    split: str
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class Attribution(PairedTest):
    """One arm on one split with the data set's own working in the place of ``part``, compared with its own answers to the same
    problems (``accuracy``, ``with_gold``); ``p`` is corrected over all parts of all arms. Of its ``wrong`` answers (over all seeds)
    ``mended`` become right: these were the part's errors."""

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
    the ``same`` with its interval, and accuracy ``before`` and ``after``."""

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
    """Of an arm's ``wrong`` answers to one split, or of the teacher's wrong chains (``arm`` is ""): how many have their first
    calculation that does not hold in step k (``at``); in how many all hold (``holds``), and how many have none (``without``). Of
    the right ones: how many write a calculation down (``worked``), and in how many of these one does not hold (``unsound``). Of all
    ``steps`` with a calculation, in right and wrong ones, those that ``hold``."""

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
    """What the students of ``arm`` say: the ``text``, the ``answer`` read from it ("" for none), its ``outcome``."""

    arm: str
    text: str
    answer: str
    outcome: str


@dataclass(frozen=True)
class Judged:
    """What people say, or the engine ``by``, of ``arm`` against ``other`` on ``n`` questions of ``split`` (``both_right``: of those
    that both answer right): on so many most raters prefer ``arm`` (``wins``) or ``other`` (``losses``). ``rate``: its wins and half
    of the ties, with its 95 % interval and the p of the sign test. ``alpha``: agreement of the ``raters``, or of the engine with
    people (Krippendorff), None where they share no question. ``left``: choices of the left side, of all ``chosen`` sides (of an
    engine: where it chose the same side in both orders), with the p that both are chosen alike. ``steady``: share of an engine's
    choices that are the same in both orders. ``stale`` judgements are of other texts than the arms answer now."""

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
    """One problem followed to the end: a training ``problem``, a teacher's ``chain`` for it, its ``verdict``; ``tokens`` are what
    the student was trained on from it (text, loss weight); ``answers`` are what the students say of ``asked``, a test problem."""

    problem: Problem
    chain: Chain
    verdict: Verdict
    tokens: tuple[tuple[str, float], ...]
    asked: Problem
    answers: tuple[StudentAnswer, ...]


@dataclass(frozen=True)
class TeacherSummary:
    """``engine``, and the identities of the ``teachers`` that wrote so many ``chains`` for so many ``problems``; ``outcomes``:
    check -> outcome -> chains; ``errors``: asks that failed, and chains that were not asked for. ``worth``: of the chains, by the
    first check; None in an older run. ``relabelled``: chains of which people say something else than the first check."""

    engine: str
    teachers: tuple[str, ...]
    chains: int
    problems: int
    outcomes: Mapping[str, Mapping[str, int]]
    seconds: float
    errors: int
    worth: CorpusWorth | None = None
    relabelled: int = 0


@dataclass(frozen=True)
class ReportData:
    """Everything of one run."""

    name: str
    title: str
    description: str
    command: str
    """How anyone makes the same again."""
    supported: str
    """What the data support on the first split, and below it what they do not."""
    not_supported: str
    made_on: str
    """Number of seeds, device, precision."""
    notes: tuple[str, ...]
    """What has to be read with the numbers: from scratch, splits, overlap, errors."""
    task: str
    teacher: TeacherSummary
    versions: Mapping[str, str]
    by: str
    cluster: str
    """The field by which problems belong together in intervals and tests; "": those of ``contrast``, or each counts for itself."""
    contrast: str
    """The field by which an original and its changed versions belong together; "": there are none."""
    rows: tuple[ResultRow, ...]
    summaries: tuple[ArmSummary, ...]
    comparisons: tuple[Comparison, ...]
    chosen_pairs: bool
    """The study names the pairs that are compared."""
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
        """Asks that failed, to students and to the teacher: a run with any ends with exit code 3."""
        return sum(row.errors for row in self.rows) + self.teacher.errors
