"""Estimate how much memory a training will take, and how many examples can go through the model at once.

    weights + gradients + optimizer + max(activations of one micro-batch, one more copy of the weights while it is checked)

Activations: bytes per token and layer, times width, inner width and attention scores, counted over what autograd keeps for
GPT-2, OPT, Llama, Qwen3 and T5 (`benchmarks/memory.py` measures the sum against reality; docs/training.md has its table). No
model library is imported: `understudy run --dry-run` shows the estimate, too.
"""

import os
import re
import resource
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from understudy.core.errors import UnderstudyError
from understudy.engines.local.checkpoint import count_weights, read_config
from understudy.engines.local.device import SettledDevice
from understudy.training.options import StudentOptions, TrainingOptions

MARGIN = 0.8
"""Share of the free memory to plan with: trainings take 0.77 to 1.23 times the estimate."""
RESERVE = 2**30
"""Bytes that a training may keep between steps, however little it needs: giving memory back takes time."""
_ACTIVATIONS = {"bfloat16": (64, 14, 8), "float32": (60, 28, 12)}
"""Bytes per token and layer for each unit of width, of inner width, and for each attention score."""
_SILU = {"bfloat16": 10, "float32": 16}
"""Bytes for each unit of inner width if its activation is SiLU; GELU, as GPT-2 and T5 write it, keeps more."""
_LOGIT = {"bfloat16": 8, "float32": 12}
"""Bytes per target token and word: the logits and their gradient, and what the allocator keeps of them (measured)."""


@dataclass(frozen=True)
class Shape:
    """The facts about a model that decide how much memory its training keeps. ``keys``: the width of keys, and of values;
    ``encoder``: its layers, 0 for a decoder alone."""

    width: int
    keys: int
    inner: int
    layers: int
    encoder: int
    heads: int
    vocabulary: int
    parameters: int
    trained: int
    matrices: int
    """Of the ``trained`` numbers, those that Muon would take."""
    narrow: int = 0
    """Of the ``parameters``, those under adapters that are kept in bfloat16 (`narrow_frozen`)."""
    silu: bool = False
    """Whether that is the activation of its feed-forward part."""


class Estimate(NamedTuple):
    """Bytes. ``activations`` are those of one example; if a prompt is read once for several, those of the ``prompt`` and of each
    ``branch``. ``copy`` is what a check of the student loads besides."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    copy: int
    prompt: int = 0
    branch: int = 0

    def total(self, examples: int) -> int:
        """Return all of them together, with ``examples`` in a micro-batch."""
        return self.weights + self.gradients + self.optimizer + max(examples * self.activations, self.copy)

    def memory_limit(self, examples: int) -> float:
        """Return what a process may hold between steps, so that the next one stays within `total`."""
        return max(RESERVE, MARGIN * self.total(examples))

    def max_micro_batch(self, free: int, limit: int) -> int:
        """Return the largest micro-batch, at most ``limit``, that fits into ``free`` bytes once the weights are loaded; 0: none."""
        available = int(free * MARGIN) - self.gradients - self.optimizer
        return 0 if available < max(self.copy, self.activations) else min(limit, available // max(1, self.activations))

    def max_sharing(self, sources: Sequence[Hashable], examples: int) -> int:
        """Return how many of a step's examples, which have these ``sources``, go through the model at once if neighbours share a
        source: the step is cut into the fewest equal parts that take no more memory than ``examples`` with a source each."""
        prompts = list(accumulate((source != following for source, following in pairwise(sources)), initial=1))
        parts = 1
        while True:
            size = -(-len(sources) // parts)
            count = 1 + max(last - first for first, last in zip(prompts, prompts[size - 1 :], strict=False))
            if size <= examples or count * self.prompt + size * self.branch <= examples * self.activations:
                return max(size, min(examples, len(sources)))
            parts += 1


def estimate(shape: Shape, options: TrainingOptions, *, source: int, target: int) -> Estimate:
    """Estimate the memory for examples of at most ``source`` tokens that are read and ``target`` tokens that are learned."""
    per_width, per_inner, per_score = _ACTIVATIONS[options.precision]
    # SDPA keeps no scores there, except for T5's bias and, in float32, for heads that share keys.
    is_fused = options.precision == "bfloat16" or shape.keys == shape.width
    per_score = 0 if options.device == "cuda" and is_fused and not shape.encoder else per_score
    per_inner = _SILU[options.precision] if shape.silu else per_inner

    def layer_bytes(n: int, tokens: int, scores: int, width_factor: float = 1.0) -> float:
        return n * (tokens * (per_width * width_factor * shape.width + per_inner * shape.inner) + shape.heads * scores * per_score)

    prompt = layer_bytes(shape.encoder or shape.layers, source, source**2)
    if shape.encoder:
        prompt *= 1.25  # T5: measured
        activations = prompt + 1.25 * layer_bytes(shape.layers, target, target**2 + target * source, width_factor=1.5)
    else:
        activations = layer_bytes(shape.layers, source + target, (source + target) ** 2)
    activations += _LOGIT[options.precision] * shape.vocabulary * target
    if shape.trained < shape.parameters and options.precision == "float32" and options.device == "cpu":
        # Adding an adapter's output leaves pieces of memory that glibc does not use again: measured.
        prompt *= 1.5
        activations *= 1.5
    keys = shape.keys if options.device == "cpu" else shape.width  # elsewhere they are repeated for every head
    copied_keys = 16 * shape.layers * source * keys  # keys and values of the prompt, for every example (measured)
    # Autocast keeps a copy of the weights, except of narrow ones, which take half themselves.
    cast = 2 * shape.parameters - 4 * shape.narrow if options.precision == "bfloat16" else 0
    matrices = shape.matrices if options.optimizer == "muon" else 0
    owners = options.processes if options.sharded else 1
    return Estimate(
        weights=(4 * shape.parameters + cast) // owners,
        gradients=4 * shape.trained // owners,
        optimizer=(4 * matrices + 8 * (shape.trained - matrices)) // owners,
        activations=int(activations),
        copy=4 * shape.parameters,
        prompt=int(prompt),
        branch=int(activations - prompt + copied_keys),
    )


def settle_micro_batch(memory: Estimate, options: TrainingOptions, *, examples: int, free: int | None) -> int:
    """Decide how many of a step's ``examples`` go through the model at once: as the options say, else as many as fit into
    ``free`` bytes (None: unknown). Returns 0 if not even one fits.

    In float32 on a processor the limit is eight, sorted by length: for a student from scratch, less padding saves more time than
    smaller products cost. All chains of one visit stay together, because their prompt is read once. Elsewhere the limit is all.
    """
    if options.micro_batch:
        return min(options.micro_batch, examples)
    limited = options.precision == "float32" and options.device == "cpu"
    limit = min(examples, max(8, options.chains_per_visit)) if limited else examples
    return limit if free is None else memory.max_micro_batch(free, limit)


def describe_shape(config: Mapping[str, Any], **numbers: int) -> Shape:
    """Read the shape from a config.json, whose keys have other names in every family. ``numbers``: the fields of `Shape` from
    ``parameters`` to ``narrow``, which no config has."""
    config = {**config, **(config.get("text_config") or {})}

    def read_first(*names: str) -> int:
        value = next((config[name] for name in names if config.get(name)), 0)
        return max(value) if isinstance(value, list) else int(value)  # Gemma 3n has one for each layer

    width, heads = read_first("hidden_size", "n_embd", "d_model"), read_first("num_attention_heads", "n_head", "num_heads")
    layers = read_first("num_hidden_layers", "n_layer", "num_layers")
    width = max(width, heads * read_first("head_dim", "d_kv"))
    return Shape(
        width=width,
        keys=width * (read_first("num_key_value_heads") or heads) // max(1, heads),
        inner=read_first("intermediate_size", "n_inner", "ffn_dim", "d_ff") or 4 * width,
        layers=read_first("num_decoder_layers") or layers,
        encoder=layers if config.get("is_encoder_decoder") else 0,
        heads=heads,
        vocabulary=read_first("vocab_size"),
        silu=config.get("hidden_act") == "silu",
        **numbers,
    )


def plan_shape(student: StudentOptions, *, vocabulary: int) -> Shape:
    """Tell the shape of a student that is not made yet, from its checkpoint's files, or from its options and vocabulary size."""
    if student.checkpoint is None:
        width, inner, layers = student.hidden, student.inner, student.layers
        attentions, feed_forwards, encoder = (3, 2, layers) if student.family == "t5" else (1, 1, 0)
        matrices = layers * width * (attentions * 4 * width + feed_forwards * 3 * inner)
        total = matrices + vocabulary * width
        silu = student.family == "llama"
        return Shape(width, width, inner, layers, encoder, student.heads, vocabulary, total, total, matrices, silu=silu)
    directory = Path(student.checkpoint)
    config = read_config(directory)
    total = sum(count_weights(directory).values())
    shape = describe_shape(config, parameters=total, trained=total, matrices=0)
    matrices = max(0, total - shape.vocabulary * shape.width * (1 if config.get("tie_word_embeddings", True) else 2))
    if student.lora is None:
        return replace(shape, matrices=matrices)
    published = config.get("dtype") or config.get("torch_dtype")
    narrow = matrices if published == "bfloat16" and student.lora.targets == "all-linear" else 0
    trained = student.lora.rank * (4 * 2 * shape.width + 3 * (shape.width + shape.inner)) * (shape.layers + shape.encoder)
    return replace(shape, parameters=total + trained, trained=trained, matrices=trained, narrow=narrow)


def measure_free(device: SettledDevice) -> int | None:
    """Return the bytes that a training on ``device`` may still take; None if the system does not say."""
    if device == "cpu":
        return measure_free_ram()
    import torch

    if device == "cuda":
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()


def measure_free_ram(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process may still take: what the system has left, within the limits of the process's control group
    and address space. None if the system does not say."""
    available = re.findall(r"^MemAvailable:\s+(\d+)", _read(root / "proc/meminfo"), re.MULTILINE)
    limits = [1024 * int(kilobytes) for kilobytes in available] + _read_control_groups(root)
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    used = _read(root / "proc/self/statm").split()
    if space != resource.RLIM_INFINITY and used:
        limits.append(max(0, space - int(used[0]) * os.sysconf("SC_PAGE_SIZE")))
    return min(limits, default=None)


def _read_control_groups(root: Path) -> list[int]:
    """List what is left within each memory limit of this process's control group and of those above it (versions 2 and 1)."""
    remaining = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        old = controllers == "memory"
        mount = root / "sys/fs/cgroup" / ("memory" if old else "")
        limit, usage = ("memory.limit_in_bytes", "memory.usage_in_bytes") if old else ("memory.max", "memory.current")
        for directory in accumulate(Path(name).parts[1:], Path.joinpath, initial=mount):
            maximum, used = _read(directory / limit).strip(), _read(directory / usage).strip()
            if maximum.isdigit() and used.isdigit():
                stat = dict(row.split(" ", 1) for row in _read(directory / "memory.stat").splitlines() if " " in row)
                cached = int(stat.get("total_inactive_file" if old else "inactive_file", 0))  # the system gives it back when needed
                remaining.append(max(0, int(maximum) - int(used) + cached))
    return remaining


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def out_of_memory(memory: Estimate | None, examples: int, free: int | None) -> UnderstudyError:
    """Make the error for a training that does not fit into the memory, or did not."""
    if memory is None:
        return UnderstudyError("out of memory while loading the student: choose a smaller one, or run fewer at once (--workers 1)")
    parts = ", ".join(f"{name} {format_size(getattr(memory, name))}" for name in ("weights", "gradients", "optimizer"))
    room = "" if free is None else f", and {format_size(free)} were free for this training besides the weights"
    return UnderstudyError(
        f"out of memory: training with micro_batch = {examples} takes about {format_size(memory.total(examples))} ({parts}, "
        f"activations {format_size(examples * memory.activations)}){room}. Lower training.micro_batch (the step stays the same), "
        "student.context or the student's size, train a checkpoint with student.lora, or train fewer students at once (--workers 1)"
    )


def format_size(n: int) -> str:
    """Write bytes for people."""
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.0f} MiB"
