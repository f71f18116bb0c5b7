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
from understudy.engines.local.load import find_context, find_end_tokens
from understudy.engines.local.memory import is_out_of_memory, trim_memory
from understudy.training import batches
from understudy.training.memory import describe_shape, estimate, measure_free, out_of_memory, settle_micro_batch
from understudy.training.objectives import Objective
from understudy.training.optimizer import Optimizer, list_matrices
from understudy.training.options import STEPS, StudentOptions, TrainingOptions, complete_recipe
from understudy.training.packing import SCORES, collate_packed, is_worth_packing, pack
from understudy.training.ranks import Ranks, join
from understudy.training.record import LearningCurve, TrainingFacts, describe_training, write_examples, write_record
from understudy.training.sharing import can_share, is_worth_sharing, read_once
from understudy.training.state import collect_weights, load_state, save_state
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
    """What a state keeps besides tensors. ``examples``: the digest of what is learned, and of the size of the vocabulary."""

    examples: str
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
    mode = torch.get_deterministic_debug_mode()
    texts = vocabulary if options.processes == 1 else tuple(vocabulary)  # other processes cannot share an iterator
    plugin = find_added("objective", options.objective)
    plugins = {} if plugin is None else {plugin.path: plugin.digest}
    job = _Job(examples, student, options, out, seed, texts, score is not None, share, plugins)
    device = settle_device(options.device)
    try:
        with join(options.processes, partial(_train_other_rank, job), device=device, sharded=options.sharded) as ranks:
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
        torch.set_deterministic_debug_mode(mode)
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


def _train_other_rank(job: _Job, ranks: Ranks) -> None:
    """Train as another process than the first."""
    for path, digest in job.plugins.items():
        load(Path(path), digest=digest)
    _Training(job, ranks, None).run(silent)


class _Training:
    def __init__(self, job: _Job, ranks: Ranks, score: ScoreFunction | None) -> None:
        self.memory_before = trim_memory()
        examples, student = job.examples, job.student
        options = job.options.settle(student)
        assert options.precision != "auto", "settled"
        device = settle_device(options.device)
        self.options, self.device, self.ranks = options, device, ranks
        self.out, self.seed, self.scored, self.score, self.lora = job.out, job.seed, job.scored, score, student.lora
        self.model, self.tokenizer = make_student(student, job.vocabulary, seed=self.seed, narrow=options.precision == "bfloat16")
        config, self.seq2seq = self.model.config, self.model.config.is_encoder_decoder
        self.start: int | None = config.decoder_start_token_id if self.seq2seq else None
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        self.objective: Objective = find("objective", options.objective)
        self.remarks: list[str] = []
        turn = self._read_turn(examples, student)
        encoded = [batches.encode(example, self.tokenizer, seq2seq=self.seq2seq, turn=turn) for example in examples]
        self.spelled = count_spelled(self.tokenizer, (segment.text for example in examples for segment in example.segments))
        if student.checkpoint is not None and self.spelled:
            message = "words of the examples are not in the start's vocabulary and are spelled in letters"
            self.remarks.append(f"{self.spelled} {message}")
        self._note_unwritable(examples, encoded)
        context = min(student.context, find_context(config) or student.context)
        if options.join_turns and not self.seq2seq:
            encoded = batches.join_turns(encoded, context)
        self.examples = _select_fitting(encoded, context, seq2seq=self.seq2seq)
        end_token = self.tokenizer.eos_token_id if turn is None else turn.end
        self.record = describe_training(self.examples, encoded, self.tokenizer, context=context, end=end_token)
        size, per_visit = options.batch_size, options.chains_per_visit
        self.order = batches.VisitOrder(self.examples, visits=options.visits, batch_size=size, seed=self.seed, per_visit=per_visit)
        self.steps = options.steps or (max(1, round(options.tokens / self.order.tokens)) if options.tokens else STEPS)
        recipe = complete_recipe(options, student)
        if recipe.warmup > self.steps:
            self.remarks.append(f"warmup = {recipe.warmup:g} steps is more than the {self.steps} of the training")
        parameters = list(self.model.parameters())
        self.shape = describe_shape(
            config.to_dict(),
            parameters=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            matrices=sum(p.numel() for p in list_matrices(self.model)),
            narrow=sum(p.numel() for p in parameters if p.dtype == torch.bfloat16),
        )
        learned = batches.digest_examples(self.examples, words=len(self.tokenizer))
        saved = load_state(self.out / "state", self.model, learned)
        self.notes = _Notes(learned) if saved is None else TypeAdapter(_Notes).validate_python(saved[1])
        self.wrapped_model = ranks.prepare(self.model, device)
        self.optimizer = Optimizer(self.model, recipe, self.steps, precision=options.precision)
        if saved is not None:
            self.optimizer.restore(saved[0])
        # Other objectives may take a row for an example, and a sharded encoder cannot run before the decoder.
        self.can_pack = can_share(self.model) and options.objective == "cross_entropy" and not (self.seq2seq and ranks.sharded)
        # A pass of its own for prompts spares attention scores that a packed row's mask hides. But on a GPU two passes take twice
        # the kernels, and FSDP gathers weights only for a pass that leads to the loss.
        self.can_read_first = can_share(self.model) and not ranks.sharded and (device == "cpu" or not self.can_pack)
        if per_visit > 1 and not (self.can_read_first or self.can_pack):
            reason = "a sharded student cannot" if ranks.sharded else f"that models of type {config.model_type!r} can is not tested"
            self.remarks.append(f"prompts are read once for every chain, and not shared: {reason}")
        self._settle_micro_batch(job.share, {} if saved is None else saved[0])

    def _note_unwritable(self, examples: Sequence[Example], encoded: Sequence[batches.EncodedExample]) -> None:
        """Tell of characters in targets that the tokenizer has no token for (T5's have none for "<" and "{")."""
        unknown = self.tokenizer.unk_token_id
        if unwritable := [example for example, encoding in zip(examples, encoded, strict=True) if unknown in encoding.target[:-1]]:
            texts = (segment.text for example in unwritable for segment in example.target)
            letters = {letter for text in texts for letter in text if unknown in encode_text(self.tokenizer, letter)}
            self.remarks.append(
                f"{len(unwritable)} of {len(examples)} examples have characters that the tokenizer cannot write "
                f"({' '.join(sorted(letters)[:10])}): they are learned as {self.tokenizer.unk_token!r}"
            )

    def _read_turn(self, examples: Sequence[Example], student: StudentOptions) -> Turn | None:
        """How the student's chat template writes a reply, where the examples are chats; None where they are raw text."""
        ends = find_end_tokens(self.model, self.tokenizer)
        self.model.generation_config.eos_token_id = sorted(ends)
        if (first := next((example for example in examples if example.messages), None)) is None:
            return None
        try:
            turn = find_turn(self.tokenizer, first.messages)
        except EngineError as error:
            raise CheckpointError(f"{student.checkpoint or 'a student from scratch'}: {error}") from error
        self.model.generation_config.eos_token_id = sorted(ends | {turn.end})
        if turn.thinking:
            self.remarks.append("the chat template opens a <think> block before every reply: replies are learned inside it")
        if turn.inserted.strip():
            self.remarks.append(f"the chat template writes {turn.inserted!r} before replies; here they follow the prompt directly")
        return turn

    def _settle_micro_batch(self, share: float, restored: Mapping[str, torch.Tensor]) -> None:
        """Settle how many examples go through the model at once: a resumed training, whose optimizer was ``restored``, does as
        before, where that still fits."""
        shape = self.shape
        separate = shape.encoder or self.options.chains_per_visit > 1  # the longest prompt may be read without the longest target
        source = max(len(e.source) for e in self.examples) if separate else len(max(self.examples, key=len).source)
        self.estimate = estimate(shape, self.options, source=source, target=max(len(e.target) for e in self.examples))
        free = measure_free(self.device)
        processes = self.ranks.size if self.device == "cpu" else 1  # which have one memory
        restored_bytes = sum(tensor.nbytes for tensor in restored.values()) // (self.ranks.size if self.ranks.sharded else 1)
        self.free = None if free is None else int((free + restored_bytes) * share / processes)
        size = self.ranks.minimum(settle_micro_batch(self.estimate, self.options, examples=self.order.largest, free=self.free))
        if size == 0:
            raise out_of_memory(self.estimate, 1, self.free)
        self.notes.micro_batch = min(size, self.notes.micro_batch or size)
        self.planned = settle_micro_batch(self.estimate, self.options, examples=self.order.largest, free=None)

    def run(self, progress: Progress) -> None:
        options, notes = self.options, self.notes
        checks = {round(self.steps * (i + 1) / options.checks) for i in range(options.checks)}
        mode = torch.get_deterministic_debug_mode()
        self.model.train()
        started = time.perf_counter() - notes.seconds
        while notes.step < self.steps:
            if self.device == "cuda":  # so that a resumed training is exact there, too
                torch.set_deterministic_debug_mode("error")
                torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # 2,300 kernels more
            notes.losses.append(self._step(notes.step))
            torch.set_deterministic_debug_mode(mode)  # answers, which a check asks for, draw with sums that would raise
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
                total = self._add_gradients(examples, step)
                break
            except (MemoryError, RuntimeError) as error:
                single = self.ranks.size == 1  # the others would wait for this one
                if not is_out_of_memory(error) or self.options.micro_batch or self.notes.micro_batch == 1 or not single:
                    raise
            # The estimate was too low. Outside `except`, whose error holds on to what did not fit.
            self.model.zero_grad(set_to_none=True)
            size = self._choose_part_size(examples)
            while self.notes.micro_batch > 1 and self._choose_part_size(examples) == size:
                self.notes.micro_batch //= 2
        self.optimizer.step(step)
        if self.device == "cpu":
            trim_memory(self.memory_before + self.estimate.memory_limit(self.notes.micro_batch))
        self.notes.seen_tokens += sum(map(len, examples))
        self.notes.tokens += sum(weight * e.weight != 0 for e in examples for weight in e.weights)
        return total

    def _add_gradients(self, examples: Sequence[batches.EncodedExample], step: int) -> float:
        """Add up the gradients of the step's parts; its loss."""
        scale, size = batches.scale_losses(examples, reduction=self.options.reduction), self._choose_part_size(examples)
        parts = self.ranks.split(examples, scale, size, mixed=self.options.chains_per_visit == 1)
        if len(parts) > 1 and size < self.planned:
            self.notes.cut = min(size, self.notes.cut or size)
        losses: list[torch.Tensor] = []
        for i, part in enumerate(parts, 1):
            with self.ranks.sync_gradients(self.wrapped_model, last=i == len(parts)):
                with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.options.precision == "bfloat16"):
                    batch = self._collate([example for example, _ in part], [scale for _, scale in part])  # prompts are read here
                    loss = self.objective(self.wrapped_model, batch)
                if not isinstance(loss, torch.Tensor) or loss.ndim:
                    raise StudyError(f"training.objective = {self.options.objective!r}: it returned {loss!r}, not a scalar tensor")
                losses.append(loss.detach())
                (loss * self.ranks.size).backward()  # type: ignore[no-untyped-call] # the mean over processes is taken
        total = self.ranks.sum(sum(map(float, losses)))  # a GPU is waited for once
        if not math.isfinite(total):
            message = f"training diverged: the loss of step {step + 1} is {total}"
            raise UnderstudyError(f'{message}; lower learning_rate or muon_rate, or use precision = "float32"')
        return total

    def _choose_part_size(self, examples: Sequence[batches.EncodedExample]) -> int:
        """How many of a step's ``examples`` go through the model at once: the micro-batch, or more where they share prompts."""
        micro_batch, shared = self.notes.micro_batch, self.options.chains_per_visit > 1 and self.can_read_first
        if self.options.micro_batch or not shared or not is_worth_sharing(examples, seq2seq=self.seq2seq):
            return micro_batch
        return min(self.planned, self.estimate.max_sharing([example.source for example in examples], micro_batch))

    def _collate(self, examples: Sequence[batches.EncodedExample], scales: Sequence[float]) -> batches.TrainingBatch:
        # A part that is larger than the micro-batch fits because its prompts are read once.
        larger = len(examples) > self.notes.micro_batch
        if self.can_read_first and (larger or is_worth_sharing(examples, seq2seq=self.seq2seq)):
            return read_once(self.model, examples, scales, pad=self.pad, start=self.start)
        # With CUDA SDPA keeps no scores of decoders. There a column takes 24 * width ** 2 operations of a layer, a score 4 * width,
        # at half the speed of matrix products.
        seq2seq, scores = self.seq2seq, 3 * self.shape.width if self.device == "cuda" and not self.seq2seq else SCORES
        rows = pack(examples, seq2seq=seq2seq, scores=scores) if self.can_pack else []
        if rows and is_worth_packing(examples, rows, seq2seq=seq2seq, scores=scores):
            return collate_packed(self.model, examples, scales, rows, pad=self.pad, start=self.start)
        return batches.collate(examples, scales, pad=self.pad, start=self.start).to(self.model.device)

    def _check(self) -> None:
        """Save a candidate, score it, and keep it where it is the best so far."""
        candidate, student, is_first = self.out / "candidate", self.out / "student", self.ranks.rank == 0
        weights = self.ranks.gather(self.model.state_dict(keep_vars=True)) if self.ranks.sharded else None
        if is_first:
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
        if is_first:
            shutil.rmtree(student, ignore_errors=True)
            candidate.replace(student)
        self._save()  # so that a later session knows which checkpoint lies there

    def _save(self) -> None:
        weights, optimizer = self.ranks.gather(collect_weights(self.model)), self.ranks.gather(self.optimizer.tensors())
        if self.ranks.rank == 0:
            save_state(self.out / "state", weights, optimizer, asdict(self.notes))

    def finish(self) -> TrainingResult:
        notes, shape = self.notes, self.shape
        checkpoint = self.out / "student"
        if not checkpoint.is_dir():
            raise CheckpointError(f"{checkpoint}: the trained student is gone; remove {self.out} and train again")
        shutil.rmtree(self.out / "candidate", ignore_errors=True)
        best = notes.best[0] if notes.best else notes.step
        curve = LearningCurve(losses=tuple(enumerate(notes.losses, 1)), dev=tuple(notes.dev), best=best)
        record = replace(self.record, steps=self.steps, seen_tokens=notes.seen_tokens, tokens=notes.tokens)
        write_record(self.out, record, curve)
        write_examples(self.out, self.examples, self.tokenizer)
        shutil.rmtree(self.out / "state", ignore_errors=True)
        if notes.cut:  # the memory, which is in no stage's key, decided about the last digits
            message = f"for lack of memory {notes.cut} examples went through the model at once, not {self.planned}"
            self.remarks.append(f"{message}: weights differ in their last digits from those of a machine with more")
        return TrainingResult(
            **vars(curve),
            checkpoint=checkpoint,
            **{name: getattr(record, name) for name in ("steps", "seen_tokens", "tokens", "examples", "too_long")},
            parameters=shape.parameters,
            trained=shape.trained,
            micro_batch=notes.micro_batch,
            vocabulary=len(self.tokenizer),
            spelled=self.spelled,
            seconds=round(notes.seconds, 2),
            notes=tuple(self.remarks),
        )


def _select_fitting(encoded: Sequence[batches.EncodedExample], context: int, *, seq2seq: bool) -> list[batches.EncodedExample]:
    """Select the examples that fit into the student's ``context``: a chain that is cut would teach never to end, and a question
    that is cut is another one."""
    sizes = [max(len(e.source), len(e.target)) if seq2seq else len(e) for e in encoded]
    if not (fitting := [example for example, size in zip(encoded, sizes, strict=True) if size <= context]):
        none_fits = f"none of the {len(encoded)} examples fits into the student's context of {context} tokens"
        raise UserError(f"{none_fits}, and the shortest has {min(sizes, default=0)}; raise student.context")
    return fitting
