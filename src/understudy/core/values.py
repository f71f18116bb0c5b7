"""The values that all rooms share. They are frozen, do no I/O and need only the standard library.

Problem --(teacher)--> Chain --(checks)--> Verdict --(selection, method)--> Example --(training)--> student
Problem.blind() --(student)--> Solution --(evaluation)--> Outcome
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal, TypeVar

from understudy.core.asks import CANONICAL, Message, T

AnswerKind = Literal["option", "yes_no", "number", "date", "text", "expression"]
"""The kind decides how an answer is read and compared (`core.answers`). An ``option`` answer is the letter ``"A"``, ``"B"``, ..."""

COMMA = "1.234,5"
"""The form of numbers with a decimal comma."""

JSON = Any
"""A value that `json` can write, as in `meta` and `sampling` mappings."""

K = TypeVar("K")


def digest(value: JSON, *, size: int = 12) -> str:
    """Return a hex digest of ``size`` characters of the canonical JSON of ``value``. It is the same on every machine and run."""
    return hashlib.blake2b(CANONICAL.encode(value).encode(), digest_size=32).hexdigest()[:size]


def grouped(pairs: Iterable[tuple[K, T]]) -> dict[K, list[T]]:
    """Return key -> its values, from (key, value) ``pairs``, in their order."""
    groups: dict[K, list[T]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def object_in(row: Mapping[str, JSON], name: str) -> dict[str, JSON]:
    """Return the object in the field ``name`` of ``row``; {} where there is none."""
    value = row.get(name)
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer.

    ``answer`` is canonical for its kind (an option letter, ``yes``/``no``, a plain number, ...), or None without gold.
    ``accepted`` are further right answers. ``choices`` are the option texts in the order A, B, .... ``meta`` holds the other
    fields of the data set (``steps``: number of steps, ``group``: template, ``rationale``, ...). It may give away the gold, so
    `blind` drops it. ``form`` says how the data write answers, if not in canonical form: dates, as ``%d/%m/%Y``, or numbers, as
    `COMMA`.
    """

    id: str
    question: str
    kind: AnswerKind
    answer: str | None = None
    accepted: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    context: str = ""
    split: str = ""
    meta: Mapping[str, JSON] = field(default_factory=dict)
    form: str = ""

    @property
    def golds(self) -> tuple[str, ...]:
        """Every right answer that is listed: ``answer`` and the ``accepted`` ones; none without gold."""
        return () if self.answer is None else (self.answer, *self.accepted)

    def read_text(self, name: str) -> str | None:
        """Return the field ``name`` of the data set, or the ``context``, as a text; None where it is missing or blank."""
        value = self.context if name == "context" else self.meta.get(name)
        return None if value in (None, "") else str(value)

    def blind(self) -> Problem:
        """Return the problem as a student may see it, without gold."""
        return replace(self, answer=None, accepted=(), meta={})


@dataclass(frozen=True)
class Step:
    """One step of a chain, with the sub-question that it answers, if any."""

    text: str
    question: str | None = None


OPENAI_FINISHES = {"stop": "stop", "length": "length", "refused": "content_filter"}
"""The ``finish`` of a chain -> OpenAI's word for it."""


@dataclass(frozen=True)
class Chain:
    """One chain of thought that a teacher wrote for one problem on one sample path.

    ``text`` is the whole reply. ``rationale`` is its reasoning without the sentence that states the answer. ``answer`` is the
    canonical answer in that sentence, None where there is none, and ``layer`` names the way in which it was found (see
    `core.answers.extract`; ``recorded`` where the answer came with the file). ``finish`` is ``stop``, ``length`` (cut off) or
    ``refused``. ``teacher`` is an engine identity. ``tokens`` and ``prompt_tokens`` count what was written and read over all
    calls, and ``logprob`` is the teacher's mean log-probability per token, where they are known. ``prompt`` is None for recorded
    chains without a prompt. ``answer_conditioned``: the teacher saw the gold answer.
    """

    problem: str
    path: int
    text: str
    rationale: str
    answer: str | None
    layer: str
    teacher: str
    finish: str = "stop"
    steps: tuple[Step, ...] = ()
    tokens: int | None = None
    logprob: float | None = None
    prompt: str | None = None
    answer_conditioned: bool = False
    prompt_tokens: int | None = None
    sampling: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The identity of the content: the same text by the same teacher on the same path of the same problem."""
        return digest([self.problem, self.teacher, self.path, self.text])


ABSTAINED = "abstained"
"""The layer of a chain or solution without an answer whose text says that there is none."""


class Outcome(StrEnum):
    """The result of a check or an evaluation. The counts of all outcomes add up to n."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNDECIDABLE = "undecidable"
    """The answer cannot be compared with the gold."""
    UNPARSED = "unparsed"
    ABSTAINED = "abstained"
    """The reply says that there is no answer, or that it cannot be known."""
    TRUNCATED = "truncated"
    """The reply was cut off at the length limit, so it is never correct by accident."""
    ONLY_THOUGHT = "only thought"
    """The reply is a thought without an answer after it, perhaps up to the length limit."""
    REFUSED = "refused"
    NO_GOLD = "no gold"


@dataclass(frozen=True)
class Verdict:
    """What one check says of one chain. ``detail`` explains it to a person. ``check`` is the name under which the check is
    registered; the room that asked the check fills it in."""

    chain: str
    outcome: Outcome
    detail: str = ""
    check: str = ""


@dataclass(frozen=True)
class Segment:
    """A piece of training text and the loss weight of each of its tokens: with 0 it is only read, with 1 it is learned."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Example:
    """One training example for one role.

    The leading segments of weight 0 are the source (the prompt, or the encoder input of a sequence-to-sequence student). The rest
    is the target, to which training adds the end token. If there are ``messages``, they are the source, which the student's chat
    template renders, and all segments are the target. ``weight`` multiplies the loss and may be negative. ``group`` names the loss
    group (step_by_step weighs the means of groups). ``problem`` and ``chain`` say where the example comes from.
    """

    role: str
    segments: tuple[Segment, ...]
    problem: str
    chain: str | None = None
    weight: float = 1.0
    group: str = "main"
    messages: tuple[Message, ...] = ()

    @property
    def source(self) -> str:
        return "".join(s.text for s in self.segments[: self._split()])

    @property
    def target(self) -> tuple[Segment, ...]:
        return self.segments[self._split() :]

    def _split(self) -> int:
        return next((i for i, s in enumerate(self.segments) if s.weight != 0), len(self.segments))

    @classmethod
    def of(cls, role: str, source: str, target: str, *, problem: str, chain: str | None = None) -> Example:
        """Make the example that reads ``source`` and learns all of ``target``, which is the common case."""
        return cls(role=role, segments=(Segment(source, 0.0), Segment(target)), problem=problem, chain=chain)


@dataclass(frozen=True)
class Solution:
    """The students' answer to one problem on one sample path.

    ``text`` is the whole reply over all turns. ``answer`` (canonical or None), ``layer`` and ``finish`` are those of a `Chain`.
    ``tokens`` and ``prompt_tokens`` count what was written and read over all calls. ``logprob`` is the mean per written token;
    likelihood-weighted voting takes its weights from it. ``turns`` are the (role, text) of each call in order, for reports and
    error attribution.
    """

    problem: str
    path: int
    text: str
    answer: str | None
    layer: str
    finish: str = "stop"
    tokens: int = 0
    logprob: float | None = None
    turns: tuple[tuple[str, str], ...] = ()
    prompt_tokens: int = 0

    def as_chain(self) -> Chain:
        """Return the solution in the form that a check reads. Its rationale is the whole reply, and it names no teacher."""
        shared = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "turns"}
        return Chain(rationale=self.text, teacher="", **shared)


@dataclass(frozen=True)
class FailedAsk:
    """A sample path of a problem on which a model could not be asked, and why. It is never a wrong answer and never a chain."""

    problem: str
    path: int
    error: str


V = TypeVar("V", Problem, Chain, Verdict, Solution)
"""The values that are stored."""

_NESTED: dict[str, Callable[[JSON], JSON]] = {
    "accepted": tuple,
    "choices": tuple,
    "steps": lambda rows: tuple(Step(row["text"], row.get("question")) for row in rows),  # older files have more fields
    "turns": lambda rows: tuple((role, text) for role, text in rows),
    "outcome": Outcome,
}


def from_json(kind: type[V], row: Mapping[str, JSON]) -> V:
    """Return the value that `dataclasses.asdict` wrote. Raises TypeError for a field that ``kind`` does not have."""
    return kind(**{name: _NESTED[name](value) if name in _NESTED else value for name, value in row.items()})
