"""What a student is and how it is trained: the keys of a study's [student] and [training]. Imports no model library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Lora:
    """Train a low-rank change of each of the ``targets`` instead of the weights themselves (Hu et al. 2021, arXiv 2106.09685).

    ``rank`` of the change: 8, as in most of the paper's tables and peft's default. It is scaled by ``alpha`` / ``rank`` (the
    paper fixes alpha and does not tune it; peft's own default is 8, twice the rank is the usual choice). ``dropout`` on what
    goes into it (peft: 0). ``targets``: "all-linear", every linear layer but the output (QLoRA, arXiv 2305.14314, found that
    needed to match full training), or names of modules, "q_proj,v_proj". ``merge``: save the student merged, as a checkpoint
    like any other; false saves the adapter alone, which needs peft and the directory it started from.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: str = "all-linear"
    merge: bool = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank = {self.rank}: at least 1")
        if self.alpha <= 0:
            raise ValueError(f"alpha = {self.alpha}: above 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout}: from 0 to below 1")
        if not self.targets.strip(" ,"):
            raise ValueError(f'targets = {self.targets!r}: "all-linear", or names of modules with commas between')


@dataclass(frozen=True)
class StudentOptions:
    """The student that every arm trains.

    ``checkpoint``: a directory that `transformers` loads (an earlier student is one), or the name of a model on the Hugging
    Face hub; ``lora`` trains an adapter of it instead of all its weights. None makes one from scratch, of the ``family``
    ``llama`` (a causal decoder) or ``t5`` (an encoder and a decoder, ``layers`` each), ``hidden`` wide with ``heads`` attention
    heads. The feed-forward part is 8/3 of ``hidden`` (gated, as Llama's). ``rope_theta``: base of the rotary positions
    (10,000: Su et al. 2021, arXiv 2104.09864). ``context``: most tokens of prompt and reply together.

    ``tokenizer`` "words", for students from scratch: words that the training text has at least ``min_count`` times are
    tokens, all others are spelled in letters, so any text can be read and written.
    """

    checkpoint: str | None = None
    lora: Lora | None = None
    family: Literal["llama", "t5"] = "llama"
    hidden: int = 128
    layers: int = 3
    heads: int = 8
    rope_theta: float = 10_000.0
    tokenizer: Literal["words"] = "words"
    min_count: int = 1
    context: int = 512

    def __post_init__(self) -> None:
        if self.lora is not None and self.checkpoint is None:
            raise ValueError("lora changes a model that is there already: give checkpoint, or leave lora out")
        for name in ("hidden", "layers", "heads", "min_count", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: at least 1")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden = {self.hidden}: must be a multiple of 2 x heads = {2 * self.heads}")

    @property
    def inner(self) -> int:
        """Width of the feed-forward part from scratch: 8/3 of ``hidden``, rounded up to a multiple of 32."""
        return -(-self.hidden * 8 // 3 // 32) * 32


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

    ``micro_batch``: examples that go through the model at once; a step whose ``batch_size`` is larger adds the gradients of its
    parts up, and is the same step but for rounding (and dropout, where the model has any). 0: as many as fit into the memory.

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
    micro_batch: int = 0
    checks: int = 4
    save_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checks", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: at least 1")
        if self.micro_batch < 0:
            raise ValueError(f"micro_batch = {self.micro_batch}: 0 (found automatically) or more")
        for name in ("learning_rate", "muon_rate"):
            if not 0 < getattr(self, name) < 10:
                raise ValueError(f"{name} = {getattr(self, name)}: above 0, and usually far below 1")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup = {self.warmup}: a share of the steps, from 0 to below 1")
