"""What a student is and how it is trained: the keys of a study's [student] and [training]. Imports no model library."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Literal

from pydantic import Field

from understudy.core.errors import StudyError
from understudy.core.options import unkeyed
from understudy.engines.local.device import Device, settle_device, settle_precision

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, lt=10)]
"""A learning rate: above 0, and usually far below 1."""
NARROW = 256
"""Below this width, casting to bfloat16 costs more than a processor's matrix units save by it (docs/training.md)."""


@dataclass(frozen=True)
class Lora:
    """Train an adapter, a low-rank change of the checkpoint's layers, instead of the checkpoint's weights (Hu et al. 2021, arXiv
    2106.09685).

    Needs ``pip install 'understudy[lora]'``.
    """

    rank: Positive = 8
    """Rank of the change: 8, as in most of the paper's tables and peft's default."""
    alpha: Positive = 16
    """The change is scaled by ``alpha`` / ``rank`` (the paper fixes it and does not tune it; peft's own default is 8, twice the
    rank is the usual choice)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the input of the change; 0 is peft's default."""
    targets: str = "all-linear"
    """``all-linear``: every linear layer but the output (QLoRA, arXiv 2305.14314, found that needed to match full training); or
    names of modules, "q_proj,v_proj"."""
    merge: bool = True
    """Save the student merged, as a checkpoint like any other; false saves the adapter alone, which needs peft and the directory
    that it started from."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError(f'targets = {self.targets!r}: must be "all-linear", or names of modules separated by commas')

    @property
    def names(self) -> list[str]:
        """The ``targets``, one by one."""
        return [name for part in self.targets.split(",") if (name := part.strip())]


@dataclass(frozen=True)
class StudentOptions:
    """The student that every arm trains: a ``checkpoint``, or one from scratch, made by the keys below ``lora``.

    From scratch, the feed-forward part is 8/3 of ``hidden`` (gated, as in Llama). ``context`` applies to both.
    """

    checkpoint: str | None = unkeyed(None)
    """A directory that ``transformers`` loads (an earlier student is one: ``runs/x/students/ARM``), a ``.gguf`` file, a model of
    the Hugging Face hub ("facebook/opt-125m"), or "smollm2-135m-instruct" (docs/training.md). Not given: the student is made from
    scratch."""
    lora: Lora | None = None
    """Train an adapter of ``checkpoint``, not all its weights."""
    family: Literal["llama", "t5"] = "llama"
    """``llama``: a causal decoder; ``t5``: an encoder and a decoder."""
    hidden: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Its width, a multiple of twice ``heads``."""
    layers: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Its depth; ``t5`` has this many layers in the encoder and this many in the decoder."""
    heads: Positive = 8
    """Attention heads of each layer."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    """Base of the rotary positions (10,000: Su et al. 2021, arXiv 2104.09864); the example studies set 100 (docs/training.md)."""
    tokenizer: Literal["words"] = "words"
    """Words that occur ``min_count`` times in the training text are tokens; all others are spelled in letters, so any text can be
    read and written."""
    min_count: Positive = 1
    """How often a word must occur in the training text to become a token."""
    context: Positive = 512
    """The most tokens of prompt and reply together; longer examples are left out and counted."""

    def __post_init__(self) -> None:
        if self.lora is not None and self.checkpoint is None:
            raise ValueError("lora: needs a pretrained model; give checkpoint, or leave lora out")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden = {self.hidden}: must be a multiple of 2 x heads = {2 * self.heads}")

    @property
    def inner(self) -> int:
        """Width of the feed-forward part from scratch: 8/3 of ``hidden``, rounded up to a multiple of 32."""
        return -(-self.hidden * 8 // 3 // 32) * 32


@dataclass(frozen=True)
class Recipe:
    """How the optimizer changes weights: the keys of `TrainingOptions` from ``optimizer`` to ``clip``, each with a value."""

    optimizer: Literal["muon", "adamw"] = "adamw"
    learning_rate: float = 5e-5
    muon_rate: float = 0.02
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: float = 0.05
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: float = 1.0


RECIPES: Mapping[str, Recipe] = {
    # Ours, from small trials (docs/results/settings); betas: GPT-3's (arXiv 2005.14165, appendix B).
    "scratch": Recipe(optimizer="muon", learning_rate=3e-3, betas=(0.9, 0.95)),
    # The rate, betas, eps and clipping of transformers' TrainingArguments; that of Distilling step-by-step's T5, too.
    "checkpoint": Recipe(),
    # The rate of QLoRA (arXiv 2305.14314, table 9: up to 13B parameters).
    "lora": Recipe(learning_rate=2e-4),
    # configs/train.yaml, arguments.py and simple_main.py of the authors' code: Adam, 20,000 steps of 32 (arXiv 2306.14050).
    "scotd": Recipe(learning_rate=2e-5, eps=1e-5, warmup=500, schedule="linear", clip=0.5),
}
"""``training.preset`` -> its values."""

STEPS = 500
"""The steps of a study that gives neither ``steps`` nor ``tokens``."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a student is trained: the same for every arm, unless an arm says otherwise."""

    steps: Positive | None = None
    """Optimizer steps; 500 if neither ``steps`` nor ``tokens`` is given. An arm that gives one of the two ignores the other one of
    [training]."""
    tokens: Annotated[int, Field(ge=0)] = 0
    """Instead of ``steps``: train until each student has seen this many tokens, read and learned. Methods with short and with long
    examples then learn from equally many tokens; with ``tokens_of``, so do methods with one student and with two. 0: ``steps``
    decides, as in SCoTD's train.yaml."""
    tokens_of: Literal["student", "arm"] = "student"
    """What ``tokens`` counts: those of every ``student``, or of the whole ``arm``, shared equally by its students (students of
    folds come on top). ``student`` is the default chosen by this project: a student learns the same whatever others its arm has."""
    join_turns: bool = True
    """Join the turns of a conversation, if each prompt continues the one before: they go through a decoder as one sequence, so the
    question is read once. Each reply is learned from the same tokens; the end token is learned only after the last one. On is the
    default chosen by this project: the loss of the replies is equal and less is read."""
    batch_size: Positive = 32
    """Visits per step. A visit takes one example, or one of every loss group of the visited problem."""
    visits: Literal["problem", "example"] = "problem"
    """What an epoch goes through. ``problem``: every problem once, with one of its examples drawn anew each time (one of each loss
    group, if the method has several), so that all problems weigh the same however many chains they have (SCoTD's
    ``all_correct_paths_balanced``, its default). ``example``: every example once (``all_correct_paths``)."""
    chains_per_visit: Positive = 1
    """How many different examples of a problem (of each loss group) one visit takes, if there are that many. 1: SCoTD. With more,
    the prompt is read once for all of them, and a step has ``batch_size`` times as many examples (docs/training.md)."""
    preset: Literal["scratch", "checkpoint", "lora", "scotd"] | None = None
    """The source of the keys from here to ``clip`` that are not given (docs/training.md has the values and where they come from).
    By default ``scratch``, ``checkpoint`` or ``lora``, by the kind of student; ``scotd``: as SCoTD's code sets them."""
    optimizer: Literal["muon", "adamw"] | None = None
    """``muon``: Muon (Jordan 2024) for the matrices inside layers, AdamW for embeddings, norms and the rest; ``adamw``: AdamW for
    all."""
    learning_rate: Rate | None = None
    """Learning rate of AdamW."""
    muon_rate: Rate | None = None
    """Learning rate of Muon."""
    betas: tuple[Share, Share] | None = None
    """AdamW: how much of its mean gradient and of its mean squared gradient a step keeps."""
    eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    """AdamW: what is added to the root of the mean squared gradient."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of AdamW and of Muon."""
    warmup: Annotated[float, Field(ge=0, lt=1e9)] | None = None
    """How long the learning rates rise at the start: a number of steps, or, below 1, a share of all steps."""
    schedule: Literal["cosine", "linear", "constant"] | None = None
    """How the learning rates fall to 0 afterwards; ``constant``: they stay."""
    clip: Annotated[float, Field(ge=0)] | None = None
    """Largest norm of the gradient; 0: no limit."""
    objective: str = "cross_entropy"
    """What is minimised: ``cross_entropy`` of the target's tokens, or an objective of your own (docs/extending.md)."""
    reduction: Literal["token", "example"] = "token"
    """``token``: the loss is the mean over the target tokens of the step (SCoTD). ``example``: the mean over its examples of their
    token means. If the method has several loss groups, the loss is the sum of their means."""
    device: Device = "auto"
    """Where it is trained. ``auto``: on a GPU that torch can use (``cuda``, ``mps``), else on the processor; the plan of the study
    decides."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """``bfloat16``: autocast; weights and optimizer stay in float32. ``float32``: everything is float32. ``auto``: bfloat16 if the
    device has matrix units for it, else float32, as for students from scratch whose ``hidden`` is below 256 on a processor; the
    plan of the study decides (docs/training.md)."""
    processes: Positive = 1
    """How many processes train one student together, each on a GPU (or processor core) of its own and with a part of every step's
    examples. The step is the same but for rounding."""
    sharded: bool = False
    """Let each of ``processes`` keep only a part of the weights, gradients and optimizer state (FSDP), for a student that does not
    fit into one GPU. Off: each keeps all of them (DDP), which is faster."""
    micro_batch: Annotated[int, Field(ge=0)] = 0
    """How many examples go through the model at once (in each process). A larger step adds up the gradients of its parts, and stays
    the same but for rounding (and dropout, if the model has any). 0: as many as fit into the memory."""
    checks: Positive = 4
    """How often dev accuracy of generated answers is measured, at even distances and at the end; the best checkpoint is kept. 1:
    the last one is kept, and dev is not asked."""
    save_every: Positive = unkeyed(100)
    """Steps between saved states; an interrupted training continues exactly from the last one."""

    def __post_init__(self) -> None:
        if self.tokens_of == "arm" and not self.tokens:
            raise ValueError('tokens_of = "arm": there are no tokens to share; give tokens, and leave steps out')
        if self.sharded and self.processes == 1:
            raise ValueError("sharded = true: one process has nothing to share; set processes, or leave sharded out")
        if self.steps is not None and self.tokens:
            raise ValueError(f"steps = {self.steps} and tokens = {self.tokens}: only one can end training; leave the other out")

    def settle(self, student: StudentOptions) -> "TrainingOptions":
        """Return these options with a value for every key: what "auto" means on this machine, and what the preset says (by default,
        the preset of ``student``'s kind)."""
        device = settle_device(self.device, "training.device")
        narrow = device == "cpu" and student.checkpoint is None and student.hidden < NARROW
        precision = settle_precision("float32" if self.precision == "auto" and narrow else self.precision, device)
        recipe = complete_recipe(self, student)
        if self.sharded and (recipe.optimizer == "muon" or student.lora):
            conflict = "student.lora" if student.lora else 'training.optimizer = "muon"'
            raise StudyError(f"training.sharded = true: {conflict} needs whole matrices; leave one of the two out")
        return replace(self, device=device, precision=precision, **asdict(recipe))


def complete_recipe(options: TrainingOptions, student: StudentOptions) -> Recipe:
    """Complete the keys that ``options`` give with those of their preset: by default, that of the student's kind."""
    kind = "lora" if student.lora else "checkpoint" if student.checkpoint else "scratch"
    settings = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    return replace(RECIPES[options.preset or kind], **{name: value for name, value in settings.items() if value is not None})
