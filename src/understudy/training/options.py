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
"""Of learning: above 0, and usually far below 1."""
NARROW = 256
"""Below this width a processor's matrix units save less in bfloat16 than casting costs (docs/training.md)."""


@dataclass(frozen=True)
class Lora:
    """Train an adapter of the checkpoint, a low-rank change of its layers, instead of its weights (Hu et al. 2021, arXiv
    2106.09685).

    Needs ``pip install 'understudy[lora]'``.
    """

    rank: Positive = 8
    """Of the change: 8, as in most of the paper's tables and peft's default."""
    alpha: Positive = 16
    """The change is scaled by ``alpha`` / ``rank`` (the paper fixes it and does not tune it; peft's own default is 8, twice the
    rank is the usual choice)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """On what goes into the change; 0 is peft's default."""
    targets: str = "all-linear"
    """``all-linear``: every linear layer but the output (QLoRA, arXiv 2305.14314, found that needed to match full training); or
    names of modules, "q_proj,v_proj"."""
    merge: bool = True
    """Save the student merged, as a checkpoint like any other; false saves the adapter alone, which needs peft and the directory it
    started from."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError(f'targets = {self.targets!r}: must be "all-linear", or names of modules with commas between')

    @property
    def names(self) -> list[str]:
        """The ``targets``, one by one."""
        return [name for part in self.targets.split(",") if (name := part.strip())]


@dataclass(frozen=True)
class StudentOptions:
    """The student that every arm trains: a ``checkpoint``, or one from scratch, made of the keys below ``lora``.

    From scratch the feed-forward part is 8/3 of ``hidden`` (gated, as Llama's). ``context`` holds for both.
    """

    checkpoint: str | None = unkeyed(None)
    """A directory that ``transformers`` loads (an earlier student is one: ``runs/x/students/ARM``), a ``.gguf`` file, a model of
    the Hugging Face hub ("facebook/opt-125m"), or "smollm2-135m-instruct" (docs/training.md); without it the student is made from
    scratch."""
    lora: Lora | None = None
    """Train an adapter of ``checkpoint``, not all its weights."""
    family: Literal["llama", "t5"] = "llama"
    """``llama``: a causal decoder; ``t5``: an encoder and a decoder."""
    hidden: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Its width, a multiple of twice ``heads``."""
    layers: Annotated[int, Field(ge=1, le=1_000)] = 3
    """Its depth; ``t5`` has so many in the encoder and so many in the decoder."""
    heads: Positive = 8
    """Attention heads of each layer."""
    rope_theta: Annotated[float, Field(gt=0)] = 10_000.0
    """Base of the rotary positions (10,000: Su et al. 2021, arXiv 2104.09864); the example studies set 100 (docs/training.md)."""
    tokenizer: Literal["words"] = "words"
    """Words that the training text has ``min_count`` times are tokens, all others are spelled in letters, so any text can be read
    and written."""
    min_count: Positive = 1
    """How often the training text must have a word that is a token."""
    context: Positive = 512
    """Most tokens of prompt and reply together; longer examples are left out and counted."""

    def __post_init__(self) -> None:
        if self.lora is not None and self.checkpoint is None:
            raise ValueError("lora needs a pretrained model: give checkpoint, or leave lora out")
        if self.hidden % (2 * self.heads):
            raise ValueError(f"hidden = {self.hidden}: must be a multiple of 2 x heads = {2 * self.heads}")

    @property
    def inner(self) -> int:
        """Width of the feed-forward part from scratch: 8/3 of ``hidden``, rounded up to a multiple of 32."""
        return -(-self.hidden * 8 // 3 // 32) * 32


@dataclass(frozen=True)
class Recipe:
    """How the optimizer changes weights: the keys of `TrainingOptions` from ``optimizer`` to ``clip``, all of them given."""

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
"""Where a study gives neither ``steps`` nor ``tokens``."""


@dataclass(frozen=True)
class TrainingOptions:
    """How a student is trained: the same for every arm, unless an arm says otherwise."""

    steps: Positive | None = None
    """Steps of the optimizer; 500 where neither ``steps`` nor ``tokens`` is given. An arm that gives one of the two is not bound by
    the other of [training]."""
    tokens: Annotated[int, Field(ge=0)] = 0
    """Instead of ``steps``: as many steps as show each student this many tokens, read and learned. So methods with short and with
    long examples learn from equally many, and by ``tokens_of`` those with one student and with two. 0: ``steps`` decides, as in
    SCoTD's train.yaml."""
    tokens_of: Literal["student", "arm"] = "student"
    """Whose ``tokens`` they are: of every ``student``, or of the whole ``arm``, shared equally by its students (those of folds come
    on top). ``student`` is the default chosen by this project: a student learns the same whatever others its arm has."""
    join_turns: bool = True
    """Turns of one conversation, where each prompt goes on from the one before, go through a decoder as one sequence: the question
    is read once. Each reply is learned from the same tokens; the end token is learned after the last one. On is the
    default chosen by this project: the loss of the replies is equal and less is read."""
    batch_size: Positive = 32
    """Visits of one step: an example each, or one of every loss group of the problem that is visited."""
    visits: Literal["problem", "example"] = "problem"
    """What an epoch goes through. ``problem``: every problem once, one of its examples drawn anew each time (of each loss group
    one, where the method has several), so that problems weigh the same however many chains they have (SCoTD's
    ``all_correct_paths_balanced``, its default). ``example``: every example once (``all_correct_paths``)."""
    chains_per_visit: Positive = 1
    """Different examples of a problem (of each loss group) that one visit takes, where it has so many. 1: SCoTD. With more, the
    prompt is read once for all of them, and a step has ``batch_size`` times as many examples (docs/training.md)."""
    preset: Literal["scratch", "checkpoint", "lora", "scotd"] | None = None
    """Where the keys that are not given, from here to ``clip``, come from (docs/training.md has the values and their sources). By
    default ``scratch``, ``checkpoint`` or ``lora``, as the student is; ``scotd``: as SCoTD's code sets them."""
    optimizer: Literal["muon", "adamw"] | None = None
    """``muon``: Muon (Jordan 2024) for the matrices inside layers, AdamW for embeddings, norms and the rest; ``adamw``: AdamW for
    all."""
    learning_rate: Rate | None = None
    """Of AdamW."""
    muon_rate: Rate | None = None
    """Of Muon."""
    betas: tuple[Share, Share] | None = None
    """Of AdamW: how much of its mean gradient and of its mean squared gradient a step keeps."""
    eps: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of AdamW: what is added to the root of the mean squared gradient."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Of AdamW and of Muon."""
    warmup: Annotated[float, Field(ge=0)] | None = None
    """The steps in which the rates rise: their number, or, below 1, their share of all steps."""
    schedule: Literal["cosine", "linear", "constant"] | None = None
    """How the rates go down to 0 afterwards, or stay."""
    clip: Annotated[float, Field(ge=0)] | None = None
    """Largest norm of the gradient; 0: no limit."""
    objective: str = "cross_entropy"
    """What is minimised: ``cross_entropy`` of the target's tokens, or an objective of your own (docs/extending.md)."""
    reduction: Literal["token", "example"] = "token"
    """The loss is the mean over the target tokens of the step (SCoTD), or over its examples of their token means; where the method
    has several loss groups, the sum of such means of each."""
    device: Device = "auto"
    """Where it is trained. ``auto``: on a GPU that torch can use (``cuda``, ``mps``), else on the processor; settled when the study
    is planned."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """``bfloat16``: autocast; weights and optimizer stay in float32. ``float32``: everything is. ``auto``: bfloat16 where the
    device has matrix units for it, else float32, as for students from scratch whose ``hidden`` is below 256 on a processor;
    settled when the study is planned (docs/training.md)."""
    processes: Positive = 1
    """Processes that train one student together, each on a GPU (or processor core) of its own: each takes a part of every step's
    examples. The step is the same but for rounding."""
    sharded: bool = False
    """Each of ``processes`` keeps only a part of the weights, gradients and optimizer state (FSDP), for a student that does not fit
    into one GPU. Without it each has all of them (DDP), which is faster."""
    micro_batch: Annotated[int, Field(ge=0)] = 0
    """Examples that go through the model at once (of each process); a step that has more adds the gradients of its parts up, and is
    the same step but for rounding (and dropout, where the model has any). 0: as many as fit into the memory."""
    checks: Positive = 4
    """How often, evenly spread and last at the end, dev accuracy of generated answers is measured; the best checkpoint is kept. 1:
    the last one is kept, and dev is not asked."""
    save_every: Positive = 100
    """Steps between saved states, from which an interrupted training goes on exactly."""

    def __post_init__(self) -> None:
        if self.tokens_of == "arm" and not self.tokens:
            raise ValueError('tokens_of = "arm": there are no tokens to share; give tokens, and leave steps out')
        if self.sharded and self.processes == 1:
            raise ValueError("sharded = true: one process has nothing to share; give processes, or leave sharded out")
        if self.steps is not None and self.tokens:
            raise ValueError(f"steps = {self.steps} and tokens = {self.tokens}: only one can end training; leave the other out")

    def settle(self, student: StudentOptions) -> "TrainingOptions":
        """These options with every key given: what "auto" means on this machine, and what the preset decides, theirs or that of
        ``student``'s kind."""
        device = settle_device(self.device, "training.device")
        narrow = device == "cpu" and student.checkpoint is None and student.hidden < NARROW
        precision = settle_precision("float32" if self.precision == "auto" and narrow else self.precision, device)
        recipe = recipe_of(self, student)
        if self.sharded and (recipe.optimizer == "muon" or student.lora):
            with_what = "student.lora" if student.lora else 'training.optimizer = "muon"'
            raise StudyError(f"training.sharded = true: {with_what} needs whole matrices; leave one of the two out")
        return replace(self, device=device, precision=precision, **asdict(recipe))


def recipe_of(options: TrainingOptions, student: StudentOptions) -> Recipe:
    """What ``options`` give, and for the rest what their preset says, which is by default that of the student's kind."""
    kind = "lora" if student.lora else "checkpoint" if student.checkpoint else "scratch"
    given = {field.name: getattr(options, field.name) for field in fields(Recipe)}
    return replace(RECIPES[options.preset or kind], **{name: value for name, value in given.items() if value is not None})
