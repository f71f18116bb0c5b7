"""The one training path: causal and sequence-to-sequence students, from scratch or from a checkpoint.

A step is a pure function of (seed, step, state), and the state is saved whole: a training that was killed goes on from its
last saved step with the same losses as one that was not.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from understudy.core.errors import CheckpointError, UnderstudyError, UserError
from understudy.core.protocols import Progress, ScoreFunction, silent
from understudy.core.values import Example
from understudy.training.batches import Order, Tokens, collate, encode, leave_out_too_long, loss
from understudy.training.optimizer import Optimizer
from understudy.training.options import StudentOptions, TrainingOptions
from understudy.training.seen import describe
from understudy.training.state import clear_state, load_state, save_state
from understudy.training.student import make_student, save_student


@dataclass(frozen=True)
class Trained:
    """What training left: the ``checkpoint`` directory, loaded by plain `transformers`.

    ``losses``: (step, loss) of every step, steps from 1. ``dev``: (step, score) of every check; ``best``: the step whose
    checkpoint is kept. ``tokens`` bore loss, ``too_long`` examples were left out, ``seconds`` of all sessions together.
    """

    checkpoint: Path
    losses: tuple[tuple[int, float], ...]
    dev: tuple[tuple[int, float], ...]
    best: int
    tokens: int
    examples: int
    too_long: int
    parameters: int
    vocabulary: int
    seconds: float


@dataclass
class _Notes:
    """What a state keeps besides tensors."""

    step: int = 0
    losses: list[float] = field(default_factory=list)
    dev: list[tuple[int, float]] = field(default_factory=list)
    best: tuple[int, float] | None = None
    tokens: int = 0
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
) -> Trained:
    """Train ``student`` on ``examples`` into ``out``/student, going on from a state that an interrupted call left in ``out``.

    ``vocabulary``: texts whose words a tokenizer from scratch knows. ``score``: checkpoint -> dev accuracy; the best of
    ``options.checks`` checkpoints is kept (the earliest of equals), without it the last. Raises CheckpointError for a student
    that cannot be loaded, UserError where no example fits into its context, UnderstudyError where the loss is not finite.
    """
    transformers_logging.disable_progress_bar()
    training = _Training(examples, student, options, out, seed, vocabulary, score)
    training.run(progress)
    return training.finish()


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
    ) -> None:
        self.options, self.out, self.seed, self.score = options, out, seed, score
        self.model, self.tokenizer = make_student(student, vocabulary, seed=seed)
        config = self.model.config
        self.start: int | None = config.decoder_start_token_id if config.is_encoder_decoder else None
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.tokenizer.eos_token_id
        encoded = [encode(example, self.tokenizer, seq2seq=config.is_encoder_decoder) for example in examples]
        context = min(student.context, getattr(config, "max_position_embeddings", None) or student.context)
        self.examples: list[Tokens] = leave_out_too_long(encoded, context, seq2seq=config.is_encoder_decoder)
        self.too_long = len(encoded) - len(self.examples)
        if not self.examples:
            raise UserError(f"none of the {len(encoded)} examples fits into the student's context of {context} tokens")
        self.seen = describe(self.examples, encoded, self.tokenizer, context=context)
        self.order = Order(self.examples, visits=options.visits, batch_size=options.batch_size, seed=seed)
        self.optimizer = Optimizer(self.model, options)
        self.notes = self._resume()

    def _resume(self) -> _Notes:
        loaded = load_state(self.out / "state", self.model)
        if loaded is None:
            return _Notes()
        tensors, notes = loaded
        self.optimizer.restore(tensors)
        best = notes.pop("best")
        return _Notes(**notes, best=tuple(best) if best else None)

    def run(self, progress: Progress) -> None:
        options, notes = self.options, self.notes
        checks = {round(options.steps * (i + 1) / options.checks) for i in range(options.checks)}
        self.model.train()
        started = time.perf_counter() - notes.seconds
        while notes.step < options.steps:
            notes.losses.append(self._step(notes.step))
            notes.step += 1
            notes.seconds = time.perf_counter() - started
            progress("student", notes.step, options.steps, f"loss {notes.losses[-1]:.3f}")
            if notes.step in checks or notes.step == options.steps:
                self._check()
                notes.seconds = time.perf_counter() - started
            if notes.step % options.save_every == 0:
                self._save()

    def _step(self, step: int) -> float:
        torch.manual_seed((self.seed << 32) + step)  # dropout, where a checkpoint has any
        batch = collate([self.examples[i] for i in self.order.batch(step)], pad=self.pad, start=self.start)
        with self._autocast():
            logits = self.model(**batch.inputs, use_cache=False).logits
        value = loss(logits, batch, reduction=self.options.reduction)
        if not torch.isfinite(value.detach()):
            raise UnderstudyError(
                f"training diverged: the loss of step {step + 1} is {float(value.detach())}; lower learning_rate or muon_rate, or "
                'use precision = "float32"'
            )
        value.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(step)
        self.notes.tokens += int((batch.weights != 0).sum())
        return float(value.detach())

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.options.precision == "bfloat16" else nullcontext()

    def _check(self) -> None:
        """Save a candidate, score it, and keep it where it is the best so far."""
        candidate = self.out / "candidate"
        save_student(self.model, self.tokenizer, candidate)
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
        notes = {name: getattr(self.notes, name) for name in ("step", "losses", "dev", "best", "tokens", "seconds")}
        save_state(self.out / "state", self.model, self.optimizer.tensors(), notes)

    def finish(self) -> Trained:
        notes = self.notes
        checkpoint = self.out / "student"
        if not checkpoint.is_dir():
            raise CheckpointError(f"{checkpoint}: the trained student is gone; remove {self.out} and train again")
        shutil.rmtree(self.out / "candidate", ignore_errors=True)
        trained = Trained(
            checkpoint=checkpoint,
            losses=tuple(enumerate(notes.losses, 1)),
            dev=tuple((int(step), float(value)) for step, value in notes.dev),
            best=notes.best[0] if notes.best else notes.step,
            tokens=notes.tokens,
            examples=len(self.examples),
            too_long=self.too_long,
            parameters=sum(p.numel() for p in self.model.parameters()),
            vocabulary=len(self.tokenizer),
            seconds=round(notes.seconds, 2),
        )
        (self.out / "curve.json").write_text(json.dumps({"losses": trained.losses, "dev": trained.dev, "best": trained.best}))
        (self.out / "seen.json").write_text(json.dumps(self.seen, ensure_ascii=False))
        clear_state(self.out / "state")
        return trained
