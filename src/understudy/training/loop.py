"""The one training path: causal and sequence-to-sequence students, from scratch or from a checkpoint.

A step is a pure function of (seed, step, state), and the state is saved whole: a training that was killed goes on from its
last saved step with the same losses as one that was not.
"""

import math
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from pydantic import TypeAdapter

from understudy.core.errors import CheckpointError, EngineError, StudyError, UnderstudyError, UserError
from understudy.core.protocols import Progress, ScoreFunction, silent
from understudy.core.registry import find
from understudy.core.tokens import Turn, assistant_turn
from understudy.core.values import Example
from understudy.engines.local.device import settle_device, settle_precision
from understudy.engines.local.load import end_tokens, place
from understudy.training.batches import (
    EncodedExample,
    TrainingBatch,
    VisitOrder,
    collate,
    encode,
    join_turns,
    leave_out_too_long,
    scale_losses,
)
from understudy.training.memory import estimate, free_on, is_out_of_memory, out_of_memory, settle_micro_batch, shape_of
from understudy.training.objectives import Objective
from understudy.training.optimizer import Optimizer, matrices_of
from understudy.training.options import STEPS, StudentOptions, TrainingOptions, recipe_of
from understudy.training.packing import collate_packed, is_worth_packing, pack
from understudy.training.record import LearningCurve, TrainingFacts, describe, write_record
from understudy.training.sharing import can_share, is_worth_sharing, read_once
from understudy.training.state import load_state, save_state
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
    this training may plan with. Raises CheckpointError for a student that cannot be loaded, UserError where no example fits
    into its context, UnderstudyError where the loss is not finite or the memory does not suffice, which is told before the
    first step where the estimate says so.
    """
    training: _Training | None = None
    try:
        training = _Training(examples, student, options, out, seed, vocabulary, score, share)
        training.run(progress)
        return training.finish()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if training is None:
            raise out_of_memory(None, 0, None) from error
        raise out_of_memory(training.estimate, training.notes.micro_batch, training.free) from error


class _Training:
    def __init__(  # noqa: PLR0917 - made by `train` only
        self,
        examples: Sequence[Example],
        student: StudentOptions,
        options: TrainingOptions,
        out: Path,
        seed: int,
        vocabulary: Iterable[str],
        score: ScoreFunction | None,
        share: float,
    ) -> None:
        device = settle_device(options.device)
        precision = settle_precision(options.precision, device)
        options = replace(options, device=device, precision=precision).settle(student)
        self.options, self.device = options, device
        self.out, self.seed, self.score, self.lora = out, seed, score, student.lora
        self.model, self.tokenizer = make_student(student, vocabulary, seed=seed)
        place(self.model, device)
        config = self.model.config
        self.start: int | None = config.decoder_start_token_id if config.is_encoder_decoder else None
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        self.objective: Objective = find("objective", options.objective)
        self.remarks: list[str] = []
        turn = self._chat(examples, student)
        encoded = [encode(example, self.tokenizer, seq2seq=config.is_encoder_decoder, turn=turn) for example in examples]
        self.spelled = count_spelled(self.tokenizer, (segment.text for example in examples for segment in example.segments))
        if student.checkpoint is not None and self.spelled:
            self.remarks.append(
                f"{self.spelled} words of the examples are not in the start's vocabulary and are spelled in letters"
            )
        context = min(student.context, getattr(config, "max_position_embeddings", None) or student.context)
        if options.join_turns and not config.is_encoder_decoder:
            encoded = join_turns(encoded, context)
        self.examples: list[EncodedExample] = leave_out_too_long(encoded, context, seq2seq=config.is_encoder_decoder)
        self.too_long = len(encoded) - len(self.examples)
        if not self.examples:
            raise UserError(
                f"none of the {len(encoded)} examples fits into the student's context of {context} tokens; raise student.context"
            )
        end = self.tokenizer.eos_token_id if turn is None else turn.end
        self.seen = describe(self.examples, encoded, self.tokenizer, context=context, end=end)
        self.order = VisitOrder(
            self.examples,
            visits=options.visits,
            batch_size=options.batch_size,
            seed=seed,
            per_visit=options.chains_per_visit,
        )
        self.steps = options.steps or (max(1, round(options.tokens / self.order.tokens)) if options.tokens else STEPS)
        recipe = recipe_of(options, student)
        if recipe.warmup > self.steps:
            self.remarks.append(f"warmup = {recipe.warmup:g} steps is more than the {self.steps} of the training")
        self.optimizer = Optimizer(self.model, recipe, self.steps, precision=precision)
        self.shares = can_share(self.model)
        # Other objectives may take a row for an example.
        self.packs = self.shares and self.start is None and options.objective == "cross_entropy"
        if options.chains_per_visit > 1 and not self.shares:
            kind = self.model.config.model_type
            self.remarks.append(f"prompts are read once for every chain: sharing them is not tested for models of type {kind!r}")
        self.notes = self._resume()
        self._fit(share)

    def _chat(self, examples: Sequence[Example], student: StudentOptions) -> Turn | None:
        """How the student's chat template writes a reply, where the examples are chats; None where they are raw text."""
        first = next((example for example in examples if example.messages), None)
        if first is None:
            return None
        try:
            turn = assistant_turn(self.tokenizer, first.messages)
        except EngineError as error:
            raise CheckpointError(f"{student.checkpoint or 'a student from scratch'}: {error}") from error
        self.model.generation_config.eos_token_id = sorted(end_tokens(self.model, self.tokenizer) | {turn.end})
        if turn.thinking:
            self.remarks.append("the chat template opens a <think> block before every reply: replies are learned inside it")
        if turn.inserted.strip():
            self.remarks.append(f"the chat template writes {turn.inserted!r} before replies; here they follow the prompt directly")
        return turn

    def _fit(self, share: float) -> None:
        """Settle how many examples go through the model at once: a resumed training does as before, where that still fits."""
        parameters = list(self.model.parameters())
        self.shape = shape = shape_of(
            self.model.config.to_dict(),
            parameters=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            matrices=sum(p.numel() for p in matrices_of(self.model)),
        )
        longest = max(self.examples, key=len)
        source = max(len(e.source) for e in self.examples) if shape.encoder else len(longest.source)
        target = max(len(e.target) for e in self.examples)
        self.estimate = estimate(shape, self.options, source=source, target=target)
        free = free_on(self.device)
        self.free = None if free is None else int(free * share)
        fits = settle_micro_batch(self.estimate, self.options, most=self.order.most, free=self.free)
        if fits == 0:
            raise out_of_memory(self.estimate, 1, self.free)
        self.notes.micro_batch = min(fits, self.notes.micro_batch or fits)

    def _resume(self) -> _Notes:
        loaded = load_state(self.out / "state", self.model)
        if loaded is None:
            return _Notes()
        tensors, notes = loaded
        self.optimizer.restore(tensors)
        return TypeAdapter(_Notes).validate_python(notes)

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
        while True:
            torch.manual_seed((self.seed << 32) + step)  # dropout, where a checkpoint has any
            try:
                total = self._gradients(examples, step)
                break
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error) or self.options.micro_batch or self.notes.micro_batch == 1:
                    raise
            # The estimate was too low. Outside `except`, whose error holds on to what did not fit.
            self.model.zero_grad(set_to_none=True)
            self.notes.micro_batch //= 2
        self.optimizer.step(step)
        self.notes.seen_tokens += sum(map(len, examples))
        self.notes.tokens += sum(weight * e.weight != 0 for e in examples for weight in e.weights)
        return total

    def _gradients(self, examples: Sequence[EncodedExample], step: int) -> float:
        """Add up the gradients of the step's parts; its loss."""
        if self.options.chains_per_visit > 1:  # those of one prompt side by side
            examples = sorted(examples, key=lambda example: (len(example.source), example.source))
        elif self.options.precision == "float32":  # parts of like lengths have less padding
            examples = sorted(examples, key=len)
        scale = scale_losses(examples, reduction=self.options.reduction)
        total = 0.0
        for begin in range(0, len(examples), self.notes.micro_batch):
            part = slice(begin, begin + self.notes.micro_batch)
            with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.options.precision == "bfloat16"):
                loss = self.objective(self.model, self._collate(examples[part], scale[part]))
            if not isinstance(loss, torch.Tensor) or loss.ndim:
                raise StudyError(f"training.objective = {self.options.objective!r}: it returned {loss!r}, not a scalar tensor")
            total += float(loss.detach())
            if not math.isfinite(total):
                diverged = f"training diverged: the loss of step {step + 1} is {total}"
                raise UnderstudyError(f'{diverged}; lower learning_rate or muon_rate, or use precision = "float32"')
            loss.backward()  # type: ignore[no-untyped-call]
        return total

    def _collate(self, examples: Sequence[EncodedExample], scales: Sequence[float]) -> TrainingBatch:
        if self.shares and is_worth_sharing(examples, seq2seq=self.start is not None):
            return read_once(self.model, examples, scales, pad=self.pad, start=self.start)
        if self.packs and is_worth_packing(examples, rows := pack(examples)):
            return collate_packed(examples, scales, rows, pad=self.pad, dtype=self.model.dtype).to(self.model.device)
        return collate(examples, scales, pad=self.pad, start=self.start).to(self.model.device)

    def _check(self) -> None:
        """Save a candidate, score it, and keep it where it is the best so far."""
        candidate = self.out / "candidate"
        save_student(self.model, self.tokenizer, candidate, lora=self.lora)
        if self.score is not None:
            self.model.eval()
            value = self.score(candidate)
            self.model.train()
            self.notes.dev.append((self.notes.step, value))
            if self.notes.best is not None and value <= self.notes.best[1]:
                return
            self.notes.best = self.notes.step, value
        kept = self.out / "student"
        shutil.rmtree(kept, ignore_errors=True)
        candidate.replace(kept)
        self._save()  # so that a later session knows which checkpoint lies there

    def _save(self) -> None:
        save_state(self.out / "state", self.model, self.optimizer.tensors(), asdict(self.notes))

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
        shutil.rmtree(self.out / "state", ignore_errors=True)
        return TrainingResult(
            **vars(curve),
            checkpoint=checkpoint,
            steps=self.steps,
            seen_tokens=notes.seen_tokens,
            tokens=notes.tokens,
            examples=len(self.examples),
            too_long=self.too_long,
            parameters=shape.parameters,
            trained=shape.trained,
            micro_batch=notes.micro_batch,
            vocabulary=len(self.tokenizer),
            spelled=self.spelled,
            seconds=round(notes.seconds, 2),
            notes=tuple(self.remarks),
        )
