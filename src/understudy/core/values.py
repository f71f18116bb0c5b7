"""The values that every room speaks of: frozen, without I/O, standard library only.

Problem --(teacher)--> Chain --(checks)--> Verdict --(selection, method)--> Example --(training)--> student
Problem.blind() --(student)--> Solution --(evaluation)--> Outcome
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, TypeVar

from understudy.core.asks import Message

AnswerKind = Literal["option", "yes_no", "number", "date", "text", "expression"]
"""How answers are read and compared; see `core.answers`. An ``option`` answer is the letter ``"A"``, ``"B"``, ..."""

JSON = Any
"""What `json` can write: values of `meta` and `sampling` mappings."""


def digest(value: JSON, *, size: int = 12) -> str:
    """Hex digest (``size`` characters) of the canonical JSON of ``value``; the same on every machine and run."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()[:size]


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer.

    ``answer`` is canonical for its kind (an option letter, ``yes``/``no``, a plain number, ...), or None where there is no
    gold. ``accepted`` are further right answers. ``choices`` are option texts in order A, B, .... ``meta`` holds whatever
    else the data set says (``steps``: number of steps, ``group``: template, ``rationale``, ...): gold, so `blind` drops it.
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

    def blind(self) -> Problem:
        """The problem as a student may see it: gold is out of reach."""
        return replace(self, answer=None, accepted=(), meta={})


@dataclass(frozen=True)
class Step:
    """One step of a chain. ``value`` is the step's result, ``equation`` its ``lhs = rhs``, where it has them."""

    text: str
    question: str | None = None
    equation: str | None = None
    value: str | None = None


@dataclass(frozen=True)
class Chain:
    """One chain of thought that a teacher wrote for one problem, on one sample path.

    ``text`` is the whole reply. ``rationale`` is its reasoning without the sentence that states the answer; ``answer`` is
    what that sentence states, canonical, None where nothing was found; ``layer`` says how it was found (see
    `core.answers.extract`; ``recorded`` when it came with the file). ``finish`` is ``stop``, ``length`` (cut off) or
    ``refused``. ``teacher`` is an engine identity. ``tokens`` were written, ``prompt_tokens`` read for it (over all calls), if
    known. ``logprob`` is the teacher's mean log-probability per token, if known.
    ``prompt`` is None for recorded chains that came without. ``answer_conditioned``: the teacher was shown the gold answer.
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
        """Identity by content: the same text by the same teacher on the same path of the same problem."""
        return digest([self.problem, self.teacher, self.path, self.text])


class Outcome(StrEnum):
    """What a check or an evaluation found; counts of these always add up to n. See DESIGN: verdicts stand beside chains."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNDECIDABLE = "undecidable"
    """An answer was found, but it cannot be compared with the gold."""
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
    """Cut off at the length limit: never correct by accident."""
    ONLY_THOUGHT = "only thought"
    """It thought, to the limit perhaps, and said nothing after it."""
    REFUSED = "refused"
    NO_GOLD = "no gold"


@dataclass(frozen=True)
class Verdict:
    """What one check says of one chain. ``detail`` explains it to a person; ``check`` is the name under which the check is
    registered, filled in by the room that asked it."""

    chain: str
    outcome: Outcome
    detail: str = ""
    check: str = ""


@dataclass(frozen=True)
class Segment:
    """A piece of training text and the loss weight of each of its tokens: 0 is read only, 1 is learned."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class Example:
    """One training example for one role.

    The leading segments of weight 0 are the source (prompt; encoder input of a sequence-to-sequence student), the rest is
    the target, which training ends with the end token. Where there are ``messages``, they are the source, rendered by the
    student's chat template, and every segment belongs to the target. ``weight`` multiplies the loss and may be negative.
    ``group`` names the loss group (step_by_step weighs group means). ``problem`` and ``chain`` are lineage.
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
        """The common case: read ``source``, learn all of ``target``."""
        return cls(role=role, segments=(Segment(source, 0.0), Segment(target)), problem=problem, chain=chain)


@dataclass(frozen=True)
class Solution:
    """What the students answered to one problem on one sample path.

    ``text`` is the whole reply (all turns), ``answer`` canonical or None, ``layer`` how it was found, ``finish`` as in
    `Chain`. ``tokens`` were generated and ``prompt_tokens`` read over all calls; ``logprob`` is the mean per generated token, the
    weight of likelihood-weighted voting. ``turns`` are (role, text) in order, one per call, for reports and error attribution.
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
        """The solution in the form that a check reads: the whole reply is the reasoning, and no teacher is named."""
        return Chain(
            problem=self.problem,
            path=self.path,
            text=self.text,
            rationale=self.text,
            answer=self.answer,
            layer=self.layer,
            teacher="",
            finish=self.finish,
            tokens=self.tokens,
            logprob=self.logprob,
            prompt_tokens=self.prompt_tokens,
        )


V = TypeVar("V", Problem, Chain, Verdict, Example, Solution)


def to_json(value: Problem | Chain | Verdict | Example | Solution) -> dict[str, JSON]:
    """A value of this module as a JSON object; `from_json` is the way back."""
    return asdict(value)


_NESTED: dict[str, Callable[[JSON], JSON]] = {
    "accepted": tuple,
    "choices": tuple,
    "steps": lambda rows: tuple(Step(**row) for row in rows),
    "segments": lambda rows: tuple(Segment(**row) for row in rows),
    "messages": lambda rows: tuple(Message(**row) for row in rows),
    "turns": lambda rows: tuple((role, text) for role, text in rows),
    "outcome": Outcome,
}


def from_json(kind: type[V], row: Mapping[str, JSON]) -> V:
    """The value that `to_json` wrote. Raises TypeError for fields that ``kind`` does not have."""
    return kind(**{name: _NESTED.get(name, lambda v: v)(value) for name, value in row.items()})
