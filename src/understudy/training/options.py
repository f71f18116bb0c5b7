"""What a student is and how it is trained: the keys of a study's [student] and [training]. Imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StudentOptions:
    """The student that every arm trains.

    ``checkpoint``: a directory that `transformers` loads; None makes one from scratch, of the ``family`` ``llama`` (a causal
    decoder) or ``t5`` (an encoder and a decoder, ``layers`` each), ``hidden`` wide with ``heads`` attention heads. The
    feed-forward part is 8/3 of ``hidden`` (gated, as Llama's). ``rope_theta``: base of the rotary positions (10,000: Su et
    al. 2021, arXiv 2104.09864). ``context``: most tokens of prompt and reply together.

    ``tokenizer`` "words", for students from scratch: words that the training text has at least ``min_count`` times are
    tokens, all others are spelled in letters, so any text can be read and written.
    """

    checkpoint: str | None = None
    family: Literal["llama", "t5"] = "llama"
    hidden: int = 128
    layers: int = 3
    heads: int = 8
    rope_theta: float = 10_000.0
    tokenizer: Literal["words"] = "words"
    min_count: int = 1
    context: int = 512

    def __post_init__(self) -> None:
        for name in ("hidden", "layers", "heads", "min_count", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: at least 1")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden = {self.hidden}: must be a multiple of 2 x heads = {2 * self.heads}")


@dataclass(frozen=True)
class TrainingOptions:
    """How a student is trained: the same for every arm, unless an arm says otherwise.

    ``steps`` of ``batch_size`` examples. ``visits``: what an epoch goes through. ``problem``: every problem once, one of its
    examples drawn anew each time, so that problems weigh the same however many chains they have (SCoTD's
    all_correct_paths_balanced, its default). ``example``: every example once (all_correct_paths).

    ``optimizer`` ``muon``: Muon (Jordan 2024) with ``muon_rate`` for the matrices inside layers, AdamW with
    ``learning_rate`` for embeddings, norms and the rest; ``adamw``: AdamW for all (a checkpoint wants this with 2e-5 or so:
    SCoTD's configs/train.yaml). Warm-up over the share ``warmup`` of the steps, then down to 0 by ``schedule``.
    ``clip``: largest norm of the gradient (SCoTD 0.5; 0: no limit).

    ``reduction``: the loss is the mean over the target ``token``s of the batch (SCoTD), or over ``example``s of their
    token means. ``precision`` "bfloat16": autocast, with weights and optimizer in float32.

    ``checks``: how often, evenly spread and last at the end, dev accuracy of generated answers is measured; the best
    checkpoint is kept. ``save_every``: steps between saved states, from which an interrupted training goes on exactly.
    """

    steps: int = 500
    batch_size: int = 32
    visits: Literal["problem", "example"] = "problem"
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 3e-3
    muon_rate: float = 0.02
    weight_decay: float = 0.0
    warmup: float = 0.05
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: float = 1.0
    reduction: Literal["token", "example"] = "token"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    checks: int = 4
    save_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checks", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: at least 1")
        for name in ("learning_rate", "muon_rate"):
            if not 0 < getattr(self, name) < 10:
                raise ValueError(f"{name} = {getattr(self, name)}: above 0, and usually far below 1")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup = {self.warmup}: a share of the steps, from 0 to below 1")
