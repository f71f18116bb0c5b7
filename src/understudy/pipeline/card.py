"""The card of a student: a file beside its weights, so that serving does exactly what evaluation did.

It holds registered names, never modules: a card cannot import anything that a study could not name.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from understudy.core.answers import VERSION as EXTRACTOR
from understudy.core.errors import CheckpointError
from understudy.core.protocols import Method
from understudy.core.registry import find
from understudy.core.values import AnswerKind
from understudy.corpus.store import write_json
from understudy.engines.local.gguf_file import describe_gguf, is_gguf
from understudy.studies.options import Decode
from understudy.studies.schema import build

CARD = "understudy.json"


@dataclass(frozen=True)
class Card:
    """The method and its options (prompt format, stop rules and parser follow from them), the role, answer kind, lineage.
    ``precision``: of answering; ``training_precision`` and ``training_device``: of the training."""

    method: str
    options: Mapping[str, Any]
    role: str
    kind: AnswerKind
    precision: Literal["float32", "bfloat16"]
    """In which it answers."""
    seed: int
    extractor: str = EXTRACTOR
    lineage: Mapping[str, str] = field(default_factory=dict)
    training_precision: str = ""
    """In which it was trained; "" in a card from before this could differ by processor."""
    training_device: str = ""
    """On which it was trained; "" in a card from when that was always the processor."""
    weights: str = ""
    """The GGUF file that its first weights came from (`describe_weights`); "" if they came from none."""
    template_date: str = ""
    """The day that its chat template took for today, in training and in answering; "" in an older card."""
    form: str = ""
    """How its answers are written (`Problem.form`)."""
    decode: Decode = field(default_factory=Decode)
    """How its arm answers. The card in a stage does not say, because arms that answer otherwise may share a student."""
    terms: str = ""
    """The terms under which the teacher's texts that it learned from may be used."""
    licence: str = ""
    """The licence of the questions that it learned from."""
    students: tuple[str, ...] = ()
    """The directories beside the card that hold the students of an arm with several roles; () in the card of a single student."""
    version: int = 1

    def make_method(self) -> Method:
        return cast(Method, build(find("method", self.method), dict(self.options), f"{CARD}: options"))


def write_card(checkpoint: Path, card: Card) -> None:
    """Put ``card`` beside the weights in ``checkpoint``."""
    write_json(checkpoint / CARD, asdict(card))


def read_card(checkpoint: Path) -> Card:
    """Read the card in ``checkpoint``. Raises CheckpointError if there is none or it cannot be read."""
    path = checkpoint / CARD
    if not path.is_file():
        raise CheckpointError(f"{checkpoint}: holds no student ({CARD} is missing); give the directory of one, as RUN/students/ARM")
    try:
        card = build(Card, json.loads(path.read_text(encoding="utf-8")), str(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not a card: {error}") from None
    if card.version != 1:
        raise CheckpointError(f"{path}: version = {card.version}: written by another Understudy; train the student again")
    if card.extractor != EXTRACTOR:
        raise CheckpointError(f"{path}: {card.extractor} read its answers, and this version has {EXTRACTOR}; evaluate it again")
    return card


def describe_weights(checkpoint: str | None) -> str:
    """Say where weights are from, "de-quantised from Q4_1" with the file and its licence, for a GGUF file and for a student that
    started from one; "" for others."""
    path = Path(checkpoint or CARD)
    if is_gguf(path):
        return describe_gguf(path)
    try:
        return read_card(path).weights
    except CheckpointError:
        return ""


def remark_on_start(directory: Path, method: str, options: Mapping[str, Any]) -> str | None:
    """Return a remark for a student that starts from an earlier one which was trained differently, else None."""
    if not (directory / CARD).is_file():
        return None
    try:
        card = read_card(directory)
    except CheckpointError as error:
        return f"starts from an earlier student whose card cannot be read: {error}"
    if card.method != method:
        return f"starts from a student that was trained by {card.method}; now it is trained by {method}"
    old, new = dict(card.options), dict(options)
    return None if old == new else f"starts from a student that was trained with options {old}; now they are {new}"
