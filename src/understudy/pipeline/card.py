"""The card of a student: what lies beside its weights, so that serving is evaluation exactly.

Only registered names, never modules: a card cannot make anything be imported that a study could not name.
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
    """Method and options (prompt format, stop rules and parser follow from them), the role, answer kind, lineage. ``precision``: of
    answering; ``training_precision`` and ``training_device``: of the training."""

    method: str
    options: Mapping[str, Any]
    role: str
    kind: AnswerKind
    precision: Literal["float32", "bfloat16"]
    """It answers in."""
    seed: int
    extractor: str = EXTRACTOR
    lineage: Mapping[str, str] = field(default_factory=dict)
    training_precision: str = ""
    """It was trained in; a card that does not say is from before it could differ by processor."""
    training_device: str = ""
    """It was trained on; a card that does not say is from when that was always the processor."""
    weights: str = ""
    """The GGUF file that its first weights came from (`describe_weights`); "" where they came from none."""
    template_date: str = ""
    """The day that its chat template was told for today, in training and in answering; "" in an older card."""
    form: str = ""
    """How its answers are written (`Problem.form`)."""
    decode: Decode = field(default_factory=Decode)
    """How its arm answers. The card in a stage does not say, because arms that answer otherwise may share a student."""
    terms: str = ""
    """Under what terms the teacher's texts that it learned from may be used."""
    licence: str = ""
    """Of the questions that it learned from."""
    students: tuple[str, ...] = ()
    """The directories beside the card that hold the students of an arm with several roles; () where the card is a student's own."""
    version: int = 1

    def make_method(self) -> Method:
        return cast(Method, build(find("method", self.method), dict(self.options), f"{CARD}: options"))


def write_card(checkpoint: Path, card: Card) -> None:
    """Put ``card`` beside the weights in ``checkpoint``."""
    write_json(checkpoint / CARD, asdict(card))


def read_card(checkpoint: Path) -> Card:
    """The card in ``checkpoint``. Raises CheckpointError where there is none or it cannot be read."""
    path = checkpoint / CARD
    if not path.is_file():
        raise CheckpointError(f"{checkpoint}: holds no student ({CARD} is missing); give the directory of a student")
    try:
        card = build(Card, json.loads(path.read_text(encoding="utf-8")), str(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not a card: {error}") from None
    if card.version != 1:
        raise CheckpointError(f"{path}: version {card.version} was written by another version of Understudy; train it again")
    if card.extractor != EXTRACTOR:
        raise CheckpointError(f"{path}: its answers were read by {card.extractor}, this version has {EXTRACTOR}; evaluate it again")
    return card


def describe_weights(checkpoint: str | None) -> str:
    """ "de-quantised from Q4_1", with the file and its licence, for a GGUF file and for a student that began with one; else ""."""
    path = Path(checkpoint or CARD)
    if is_gguf(path):
        return describe_gguf(path)
    try:
        return read_card(path).weights
    except CheckpointError:
        return ""


def remark_on_start(directory: Path, method: str, options: Mapping[str, Any]) -> str | None:
    """What is worth knowing where a student goes on from an earlier one that was trained otherwise."""
    if not (directory / CARD).is_file():
        return None
    try:
        card = read_card(directory)
    except CheckpointError as error:
        return f"starts from an earlier student whose card cannot be read: {error}"
    if card.method != method:
        return f"starts from a student that was trained by {card.method}, by {method} now"
    before, now = dict(card.options), dict(options)
    return None if before == now else f"starts from a student that was trained with options {before}, with {now} now"
