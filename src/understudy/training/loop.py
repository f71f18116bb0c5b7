"""The one training path: causal and sequence-to-sequence students, from scratch or from a checkpoint.

A step is a pure function of (seed, step, state), and the state is saved whole: a training that was killed goes on from its
last saved step with the same losses as one that was not.
"""

import math
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from pydantic import TypeAdapter

from understudy.core.errors import CheckpointError, EngineError, StudyError, UnderstudyError, UserError
from understudy.core.plugins import load
from understudy.core.protocols import Progress, ScoreFunction, silent
from understudy.core.registry import find, find_added
from understudy.core.tokens import Turn, encode_text, find_turn
from understudy.core.values import Example
from understudy.engines.local.device import settle_device
from understudy.engines.local.load import context_length, end_tokens
from understudy.engines.local.memory import is_out_of_memory, trim_memory
from understudy.training import batches
from understudy.training.memory import estimate, free_on, out_of_memory, settle_micro_batch, shape_of
from understudy.training.objectives import Objective
from understudy.training.optimizer import Optimizer, matrices_of
from understudy.training.options import STEPS, StudentOptions, TrainingOptions, recipe_of
from understudy.training.packing import collate_packed, is_worth_packing, pack
from understudy.training.ranks import Ranks, join
from understudy.training.record import LearningCurve, TrainingFacts, describe_training, write_examples, write_record
from understudy.training.sharing import can_share, is_worth_sharing, read_once
from understudy.training.state import load_state, save_state, trained_weights
from understudy.training.student import make_student, save_student
from understudy.training.words import count_spelled


@dataclass(frozen=True, kw_only=True)
class TrainingResult(LearningCurve, TrainingFacts):
    """What training left: the ``checkpoint`` directory, loaded by plain `transformers`. ``seen_tokens`` were read and learned,
    ``tokens`` of them bore loss."""

    checkpoint: Path
    seen_tokens: int
    tokens: int


@dataclass
class _Notes:
    """What a state keeps besides tensors."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    dev: list[tuple[int, float]] = field(default_factory=list)
    best: tuple[int, float] | None = None
    seen_tokens: int = 0
    tokens: int = 0
    micro_batch: int = 0
    cut: int = 0
    """The fewest examples that went through the model at once for lack of memory; 0: there was enough."""
    seconds: float = 0.0


def train(
    examples: Sequence[Example],
    *,
    student: StudentOptions,
    options: TrainingOptions,
    out: Path,
    seed: int,
    vocabulary: Iterable[str] = (),
    score: ScoreFunction | None = None,
    progress: Progress = silent,
    share: float = 1.0,
) -> TrainingResult:
    """Train ``student`` on ``examples`` into ``out``/student, going on from a state that an interrupted call left in ``out``.

    ``vocabulary``: texts whose words a tokenizer from scratch knows. ``score``: checkpoint -> dev accuracy; the best of
    ``options.checks`` checkpoints is kept (the earliest of equals), without it the last. ``share``: of the free memory that
    this training may plan with. Raises CheckpointError for a student that cannot be loaded, UserError if no example fits into
    its context, and UnderstudyError if the loss is not finite or the memory does not suffice (before the first step, if the
    estimate already says so).
    """
    training: _Training | None = None
    texts = vocabulary if options.processes == 1 else tuple(vocabulary)  # other processes cannot share an iterator
    by = find_added("objective", options.objective)
    plugins = {} if by is None else {by.path: by.digest}
    job = _Job(examples, student, options, out, seed, texts, score is not None, share, plugins)
    device = settle_device(options.device)
    try:
        with join(options.processes, partial(_train_beside, job), device=device, sharded=options.sharded) as ranks:
            training = _Training(job, ranks, score)
            training.run(progress)
            return training.finish()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if training is None:
            raise out_of_memory(None, 0, None) from error
        raise out_of_memory(training.estimate, training.notes.micro_batch, training.free) from error
    finally:
        training = None  # its tensors go, so that the next stage of this process begins with little
        trim_memory()


@dataclass(frozen=True)
class _Job:
    """What `train` was asked for, as all processes of a training get it. ``scored``: whether there is a score. ``plugins``: the
    file that adds the objective -> its digest."""

    examples: Sequence[Example]
    student: StudentOptions
    options: TrainingOptions
    out: Path
    seed: int
    vocabulary: Iterable[str]
    scored: bool
    share: float
    plugins: Mapping[str, str]


def _train_beside(job: _Job, ranks: Ranks) -> None:
    """Train as another process than the first."""
    for path, digest in job.plugins.items():
        load(Path(path), digest=digest)
    _Training(job, ranks, None).run(silent)


class _Training:
    def __init__(self, job: _Job, ranks: Ranks, score: ScoreFunction | None) -> None:
        self.before = trim_memory()
        examples, student = job.examples, job.student
        options = job.options.settle(student)
        assert options.precision != "auto", "settled"
        device = settle_device(options.device)
        self.options, self.device, self.ranks = options, device, ranks
        self.out, self.seed, self.scored, self.score, self.lora = job.out, job.seed, job.scored, score, student.lora
        narrow = options.precision == "bfloat16"
        self.model, self.tokenizer = make_student(student, job.vocabulary, seed=self.seed, narrow=narrow)
        config, self.seq2seq = self.model.config, self.model.config.is_encoder_decoder
        self.start: int | None = config.decoder_start_token_id if self.seq2seq else None
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        self.objective: Objective = find("objective", options.objective)
        self.remarks: list[str] = []
        turn = self._chat(examples, student)
        encoded = [batches.encode(example, self.tokenizer, seq2seq=self.seq2seq, turn=turn) for example in examples]
        self.spelled = count_spelled(self.tokenizer, (segment.text for example in examples for segment in example.segments))
        if student.checkpoint is not None and self.spelled:
            said = "words of the examples are not in the start's vocabulary and are spelled in letters"
            self.remarks.append(f"{self.spelled} {said}")
        self._note_unwritable(examples, encoded)
        context = min(student.context, context_length(config) or student.context)
        if options.join_turns and not self.seq2seq:
            encoded = batches.join_turns(encoded, context)
        # A chain that is cut would teach never to end, and a question that is cut is another one.
        self.examples = [e for e in encoded if (max(len(e.source), len(e.target)) if self.seq2seq else len(e)) <= context]
        if not self.examples:
            none = f"none of the {len(encoded)} examples fits into the student's context of {context} tokens"
            raise UserError(f"{none}; raise student.context")
        end = self.tokenizer.eos_token_id if turn is None else turn.end
        self.seen = describe_training(self.examples, encoded, self.tokenizer, context=context, end=end)
        size, per_visit = options.batch_size, options.chains_per_visit
        self.order = batches.VisitOrder(self.examples, visits=options.visits, batch_size=size, seed=self.seed, per_visit=per_visit)
        self.steps = options.steps or (max(1, round(options.tokens / self.order.tokens)) if options.tokens else STEPS)
        recipe = recipe_of(options, student)
        if recipe.warmup > self.steps:
            self.remarks.append(f"warmup = {recipe.warmup:g} steps is more than the {self.steps} of the training")
        parameters = list(self.model.parameters())
        self.shape = shape_of(
            config.to_dict(),
            parameters=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            matrices=sum(p.numel() for p in matrices_of(self.model)),
            narrow=sum(p.numel() for p in parameters if p.dtype == torch.bfloat16),
        )
        saved = load_state(self.out / "state", self.model)
        self.notes = _Notes() if saved is None else TypeAdapter(_Notes).validate_python(saved[1])
        self.called = ranks.prepare(self.model, device)
        self.optimizer = Optimizer(self.model, recipe, self.steps, precision=options.precision)
        if saved is not None:
            self.optimizer.restore(saved[0])
        # FSDP gathers weights for a pass that leads to the loss, and that of a prompt leads to keys and values alone.
        self.shares = can_share(self.model) and not ranks.sharded
        # Other objectives may take a row for an example, and a sharded encoder cannot run before the decoder.
        self.packs = can_share(self.model) and options.objective == "cross_entropy" and not (self.seq2seq and ranks.sharded)
        if per_visit > 1 and not self.shares:
            why = "a sharded student cannot" if ranks.sharded else f"that models of type {config.model_type!r} can is not tested"
            self.remarks.append(f"prompts are read once for every chain, and not shared: {why}")
        self._fit(job.share, {} if saved is None else saved[0])

    def _note_unwritable(self, examples: Sequence[Example], encoded: Sequence[batches.EncodedExample]) -> None:
        """Tell of characters in targets that the tokenizer has no token for (T5's have none for "<" and "{")."""
        unknown = self.tokenizer.unk_token_id
        if lost := [example for example, row in zip(examples, encoded, strict=True) if unknown in row.target[:-1]]:
            texts = (segment.text for example in lost for segment in example.target)
            letters = {letter for text in texts for letter in text if unknown in encode_text(self.tokenizer, letter)}
            self.remarks.append(
                f"{len(lost)} of {len(examples)} examples have characters that the tokenizer cannot write "
                f"({' '.join(sorted(letters)[:10])}): they are learned as {self.tokenizer.unk_token!r}"
            )

    def _chat(self, examples: Sequence[Example], student: StudentOptions) -> Turn | None:
        """How the student's chat template writes a reply, where the examples are chats; None where they are raw text."""
        first = next((example for example in examples if example.messages), None)
        if first is None:
            return None
        try:
            turn = find_turn(self.tokenizer, first.messages)
        except EngineError as error:
            raise CheckpointError(f"{student.checkpoint or 'a student from scratch'}: {error}") from error
        self.model.generation_config.eos_token_id = sorted(end_tokens(self.model, self.tokenizer) | {turn.end})
        if turn.thinking:
            self.remarks.append("the chat template opens a <think> block before every reply: replies are learned inside it")
        if turn.inserted.strip():
            self.remarks.append(f"the chat template writes {turn.inserted!r} before replies; here they follow the prompt directly")
        return turn

    def _fit(self, share: float, restored: Mapping[str, torch.Tensor]) -> None:
        """Settle how many examples go through the model at once: a resumed training, whose optimizer was ``restored``, does as
        before, where that still fits."""
        shape = self.shape
        apart = shape.encoder or self.options.chains_per_visit > 1  # the longest prompt may be read without the longest target
        source = max(len(e.source) for e in self.examples) if apart else len(max(self.examples, key=len).source)
        self.estimate = estimate(shape, self.options, source=source, target=max(len(e.target) for e in self.examples))
        free = free_on(self.device)
        processes = self.ranks.size if self.device == "cpu" else 1  # which have one memory
        there = sum(tensor.nbytes for tensor in restored.values()) // (self.ranks.size if self.ranks.sharded else 1)
        self.free = None if free is None else int((free + there) * share / processes)
        fits = self.ranks.least(settle_micro_batch(self.estimate, self.options, most=self.order.most, free=self.free))
        if fits == 0:
            raise out_of_memory(self.estimate, 1, self.free)
        self.notes.micro_batch = min(fits, self.notes.micro_batch or fits)
        self.planned = settle_micro_batch(self.estimate, self.options, most=self.order.most, free=None)

    def run(self, progress: Progress) -> None:
        options, notes = self.options, self.notes
        checks = {round(self.steps * (i + 1) / options.checks) for i in range(options.checks)}
        self.model.train()
        started = time.perf_counter() - notes.seconds
        while notes.step < self.steps:
            notes.losses.append(self._step(notes.step))
            notes.step += 1
            notes.seconds = time.perf_counter() - started
            progress("student", notes.step, self.steps, f"loss {notes.losses[-1]:.3f}")
            if notes.step in checks or notes.step == self.steps:
                self._check()
                notes.seconds = time.perf_counter() - started
            if notes.step % options.save_every == 0:
                self._save()

    def _step(self, step: int) -> float:
        examples = [self.examples[i] for i in self.order.batch(step)]
        if self.options.chains_per_visit > 1:  # those of one prompt side by side
            examples.sort(key=lambda example: (len(example.source), example.source))
        elif self.options.precision == "float32" and self.device == "cpu":  # parts of like lengths have less padding
            examples.sort(key=len)
        while True:
            torch.manual_seed((self.seed << 32) + step + (self.ranks.rank << 24))  # dropout, where a checkpoint has any
            try:
                total = self._gradients(examples, step)
                break
            except (MemoryError, RuntimeError) as error:
                alone = self.ranks.size == 1  # the others would wait for this one
                if not is_out_of_memory(error) or self.options.micro_batch or self.notes.micro_batch == 1 or not alone:
                    raise
            # The estimate was too low. Outside `except`, whose error holds on to what did not fit.
            self.model.zero_grad(set_to_none=True)
            size = self._at_once(examples)
            while self.notes.micro_batch > 1 and self._at_once(examples) == size:
                self.notes.micro_batch //= 2
        self.optimizer.step(step)
        if self.device == "cpu":
            trim_memory(self.before + self.estimate.held(self.notes.micro_batch))
        self.notes.seen_tokens += sum(map(len, examples))
        self.notes.tokens += sum(weight * e.weight != 0 for e in examples for weight in e.weights)
        return total

    def _gradients(self, examples: Sequence[batches.EncodedExample], step: int) -> float:
        """Add up the gradients of the step's parts; its loss."""
        scale, size = batches.scale_losses(examples, reduction=self.options.reduction), self._at_once(examples)
        parts = self.ranks.parts(examples, scale, size, mixed=self.options.chains_per_visit == 1)
        if len(parts) > 1 and size < self.planned:
            self.notes.cut = min(size, self.notes.cut or size)
        losses: list[torch.Tensor] = []
        for i, part in enumerate(parts, 1):
            with self.ranks.part(self.called, last=i == len(parts)):
                with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.options.precision == "bfloat16"):
                    batch = self._collate([example for example, _ in part], [scale for _, scale in part])  # prompts are read here
                    loss = self.objective(self.called, batch)
                if not isinstance(loss, torch.Tensor) or loss.ndim:
                    raise StudyError(f"training.objective = {self.options.objective!r}: it returned {loss!r}, not a scalar tensor")
                losses.append(loss.detach())
                (loss * self.ranks.size).backward()  # type: ignore[no-untyped-call] # the mean over processes is taken
        total = self.ranks.sum(sum(map(float, losses)))  # a GPU is waited for once
        if not math.isfinite(total):
            diverged = f"training diverged: the loss of step {step + 1} is {total}"
            raise UnderstudyError(f'{diverged}; lower learning_rate or muon_rate, or use precision = "float32"')
        return total

    def _at_once(self, examples: Sequence[batches.EncodedExample]) -> int:
        """How many of a step's ``examples`` go through the model at once: the micro-batch, or more where they share prompts."""
        at_once, shared = self.notes.micro_batch, self.options.chains_per_visit > 1 and self.shares
        if self.options.micro_batch or not shared or not is_worth_sharing(examples, seq2seq=self.seq2seq):
            return at_once
        return min(self.planned, self.estimate.sharing([example.source for example in examples], at_once))

    def _collate(self, examples: Sequence[batches.EncodedExample], scales: Sequence[float]) -> batches.TrainingBatch:
        # A part that is larger than the micro-batch fits because its prompts are read once.
        larger = len(examples) > self.notes.micro_batch
        if self.shares and (larger or is_worth_sharing(examples, seq2seq=self.seq2seq)):
            return read_once(self.model, examples, scales, pad=self.pad, start=self.start)
        if self.packs and is_worth_packing(examples, rows := pack(examples, seq2seq=self.seq2seq), seq2seq=self.seq2seq):
            return collate_packed(self.model, examples, scales, rows, pad=self.pad, start=self.start)
        return batches.collate(examples, scales, pad=self.pad, start=self.start).to(self.model.device)

    def _check(self) -> None:
        """Save a candidate, score it, and keep it where it is the best so far."""
        candidate, kept, first = self.out / "candidate", self.out / "student", self.ranks.is_first
        weights = self.ranks.gather(self.model.state_dict(keep_vars=True)) if self.ranks.sharded else None
        if first:
            save_student(self.model, self.tokenizer, candidate, lora=self.lora, weights=weights)
        if self.scored:
            trim_memory()
            self.model.eval()
            value = self.ranks.sum(self.score(candidate) if self.score is not None else 0.0)  # the first process alone has a score
            self.model.train()
            self.notes.dev.append((self.notes.step, value))
            if self.notes.best is not None and value <= self.notes.best[1]:
                return
            self.notes.best = self.notes.step, value
        if first:
            shutil.rmtree(kept, ignore_errors=True)
            candidate.replace(kept)
        self._save()  # so that a later session knows which checkpoint lies there

    def _save(self) -> None:
        weights, optimizer = self.ranks.gather(trained_weights(self.model)), self.ranks.gather(self.optimizer.tensors())
        if self.ranks.is_first:
            save_state(self.out / "state", weights, optimizer, asdict(self.notes))

    def finish(self) -> TrainingResult:
        notes, shape = self.notes, self.shape
        checkpoint = self.out / "student"
        if not checkpoint.is_dir():
            raise CheckpointError(f"{checkpoint}: the trained student is gone; remove {self.out} and train again")
        shutil.rmtree(self.out / "candidate", ignore_errors=True)
        best = notes.best[0] if notes.best else notes.step
        curve = LearningCurve(losses=tuple(enumerate(notes.losses, 1)), dev=tuple(notes.dev), best=best)
        seen = replace(self.seen, steps=self.steps, seen_tokens=notes.seen_tokens, tokens=notes.tokens)
        write_record(self.out, seen, curve)
        write_examples(self.out, self.examples)
        shutil.rmtree(self.out / "state", ignore_errors=True)
        if notes.cut:  # the memory, which is in no stage's key, decided about the last digits
            said = f"for lack of memory {notes.cut} examples went through the model at once, not {self.planned}"
            self.remarks.append(f"{said}: weights differ in their last digits from those of a machine with more")
        return TrainingResult(
            **vars(curve),
            checkpoint=checkpoint,
            **{name: getattr(seen, name) for name in ("steps", "seen_tokens", "tokens", "examples", "too_long")},
            parameters=shape.parameters,
            trained=shape.trained,
            micro_batch=notes.micro_batch,
            vocabulary=len(self.tokenizer),
            spelled=self.spelled,
            seconds=round(notes.seconds, 2),
            notes=tuple(self.remarks),
        )
