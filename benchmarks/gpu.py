"""What only a GPU can show, as one command: training and answering beside plain loops, and a resumed training. Equal results first.

    python benchmarks/gpu.py --to DIR                               # at most 33 minutes; DIR/gpu.jsonl gets each row as it comes
    python benchmarks/lengths.py studies/real/quarel.toml --to quarel.json      # where the data are: lengths alone, no text
    python benchmarks/gpu.py --to DIR --parts train --lengths quarel.json
    python benchmarks/gpu.py --to DIR --device cpu --small          # tries the command where there is no GPU: a tiny model

Every row is measured in a process of its own with a limit of its own, so one that fails or hangs does not take the others with it.
Weights are random, in the shapes of SmolLM2-135M, and speed does not depend on them.

- train: examples per second, forward and backward pass and optimizer, in wall time without the first steps. The bare loop is what
  one writes by hand: padded rows, SDPA, bfloat16 autocast, fused AdamW, the output layer at the target positions only. It learns
  from the examples that ours learns from in the same step, so the losses are equal but for rounding. "compiled": torch.compile of
  every decoder layer, for rows of any length.
- answer: seconds for 16 prompts of 100 tokens, 30 sampled replies of 100 tokens each, beside generate(num_return_sequences=30);
  greedy replies are compared first.
- resume: a training that is stopped and continued has the losses of one that is not.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from training import RATE, machine, save_checkpoint

MODEL = "smollm2-135m"
SHAPES = {"30 chains, 100/100": (1, 30, (100, 100), (100, 100)), "30 chains, 300/30": (1, 30, (300, 300), (30, 30))}
"""Name -> questions and chains of a step, and the least and most tokens of a prompt and of a chain."""
TRAINERS = ("bare loop", "bare loop, compiled", "understudy", "understudy, compiled")


def write(length: int, seed: int) -> str:
    """Write ``length`` words, each a token of the checkpoint's tokenizer."""
    return " ".join(f"w{3 + (seed * 7919 + i * 104_729) % 49_000}" for i in range(length))


def make_examples(lengths: list[tuple[str, int, int]]) -> list[Any]:
    """Make examples by (question, tokens of its prompt, tokens of the chain with its end token)."""
    from understudy.core.values import Example

    questions = {name: i for i, (name, _, __) in enumerate(lengths)}
    return [
        Example.of("student", write(source, questions[name]), write(target - 1, 100_000 + i), problem=name, chain=str(i))
        for i, (name, source, target) in enumerate(lengths)
    ]


def list_lengths(shape: str, path: Path | None) -> tuple[list[tuple[str, int, int]], int, int]:
    """List the lengths of ``shape``'s examples; visits of a step, chains of a visit."""
    if shape in SHAPES:
        questions, chains, source, target = SHAPES[shape]
        draw = random.Random(0)
        sources = {f"q{q}": draw.randint(*source) for q in range(4 * questions)}
        return [(q, n, draw.randint(*target)) for q, n in sources.items() for _ in range(chains)], questions, chains
    assert path is not None
    batch, per_visit = (int(number) for number in shape.removesuffix(" chains").split(" x "))
    rows = [(str(question), int(source), int(target)) for question, source, target in json.loads(path.read_text("utf-8"))]
    chains = Counter(question for question, _, __ in rows)  # of others a step would have fewer examples than it is divided by
    return [row for row in rows if chains[row[0]] >= per_visit], batch, per_visit


def settle(device: str) -> None:
    """Wait until ``device`` has finished."""
    import torch

    if device != "cpu":
        getattr(torch, device).synchronize()


def name_device(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else device


def peak(device: str) -> float | None:
    """The most memory that torch held, in GiB."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None


def compile_layers(model: Any) -> None:
    import torch

    torch._dynamo.config.cache_size_limit = 64  # layers differ by their number, which the compiler takes for a constant
    for layer in model.model.layers:
        layer.compile(dynamic=True)


def train_ours(checkpoint: Path, examples: list[Any], options: Any, *, out: Path, compiled: bool = False, stop_at: int = 0) -> Any:
    """Train, at most to step ``stop_at`` if that is given; (losses, marks of the steps' ends)."""
    from understudy.training import loop

    marks: list[float] = []
    make_student = loop.make_student

    def make_compiled(*arguments: Any, **keywords: Any) -> Any:
        model, tokenizer = make_student(*arguments, **keywords)
        compile_layers(model)
        return model, tokenizer

    def mark(_: str, done: int, __: int, ___: str = "") -> None:
        settle(options.device)
        marks.append(time.perf_counter())
        if done and done == stop_at:
            raise KeyboardInterrupt

    loop.make_student = make_compiled if compiled else make_student
    student = loop.StudentOptions(checkpoint=str(checkpoint), context=2048)
    result = loop.train(examples, student=student, options=options, out=out, seed=0, progress=mark)
    return [loss for _, loss in result.losses], marks


def train_bare(checkpoint: Path, examples: list[Any], options: Any, *, compiled: bool) -> Any:
    """Train by a bare loop; (losses, marks of the steps' ends)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from understudy.training.batches import VisitOrder, encode

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    device = torch.device(options.device)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="sdpa").to(device).train()
    if compiled:
        compile_layers(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    encoded = [encode(example, tokenizer, seq2seq=False) for example in examples]
    order = VisitOrder(encoded, visits=options.visits, batch_size=options.batch_size, seed=0, per_visit=options.chains_per_visit)
    losses, marks = [], []
    for step in range(options.steps):
        rows = [(encoded[i].source, encoded[i].target) for i in order.batch(step)]
        width = max(len(source) + len(target) for source, target in rows)
        ids = torch.tensor([[*s, *t, *[0] * (width - len(s) - len(t))] for s, t in rows]).to(device)
        mask = torch.tensor([[1] * (len(s) + len(t)) + [0] * (width - len(s) - len(t)) for s, t in rows]).to(device)
        learned = torch.tensor([[0] * len(s) + [1] * len(t) + [0] * (width - len(s) - len(t)) for s, t in rows]).to(device).bool()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.precision == "bfloat16"):
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[:, :-1][learned[:, 1:]])
            loss = torch.nn.functional.cross_entropy(logits.float(), ids[learned])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        settle(options.device)
        marks.append(time.perf_counter())
    return [float(loss) for loss in losses], marks


def make_options(arguments: argparse.Namespace, steps: int, batch: int, per_visit: int, **others: Any) -> Any:
    from understudy.training.options import TrainingOptions

    return TrainingOptions(
        steps=steps,
        batch_size=batch,
        chains_per_visit=per_visit,
        learning_rate=RATE,
        schedule="constant",
        warmup=0,
        checks=1,
        device=arguments.device,
        precision="bfloat16" if arguments.device == "cuda" else "float32",
        **others,
    )


def measure_training(arguments: argparse.Namespace, checkpoint: Path, shape: str, trainer: str) -> dict[str, Any]:
    lengths, batch, per_visit = list_lengths(shape, arguments.lengths)
    examples = make_examples(lengths)
    options = make_options(arguments, arguments.steps, batch, per_visit)
    compiled = trainer.endswith("compiled")
    with tempfile.TemporaryDirectory() as directory:
        if trainer.startswith("bare"):
            losses, marks = train_bare(checkpoint, examples, options, compiled=compiled)
        else:
            losses, marks = train_ours(checkpoint, examples, options, compiled=compiled, out=Path(directory))
    seconds = [after - before for before, after in pairwise(marks)][arguments.steps // 3 :]
    return {"examples/s": batch * per_visit / median(seconds), "seconds": seconds, "losses": losses, "GiB": peak(arguments.device)}


def measure_resume(arguments: argparse.Namespace, checkpoint: Path) -> dict[str, Any]:
    """The losses of a training that was stopped after its 5th step, and of one that was not."""
    lengths, _, __ = list_lengths("30 chains, 100/100", None)
    examples = make_examples(lengths)
    options = make_options(arguments, 8, 2, 4, save_every=2)
    with tempfile.TemporaryDirectory() as directory:
        whole, _ = train_ours(checkpoint, examples, options, out=Path(directory, "whole"))
        try:
            train_ours(checkpoint, examples, options, out=Path(directory, "stopped"), stop_at=5)
        except KeyboardInterrupt:
            continued, _ = train_ours(checkpoint, examples, options, out=Path(directory, "stopped"))
    return {"whole": whole, "continued": continued, "equal": whole == continued}


def ask(engine: Any, prompts: list[str], samples: int, tokens: int, temperature: float) -> list[str]:
    """Ask for ``samples`` replies of ``tokens`` to each prompt; their texts, in order."""
    from understudy.core.asks import Call, Decoding, SamplePath
    from understudy.flows.cast import Cast
    from understudy.flows.drive import drive

    def flow(prompt: str) -> Any:
        reply = yield Call("student", prompt, max_tokens=tokens)
        return reply.text

    paths = [(SamplePath(str(i), k, 0), flow(prompt)) for i, prompt in enumerate(prompts) for k in range(samples)]
    cast = Cast({"student": engine}, {"student": Decoding(temperature)})
    texts = {(int(done.path.problem), done.path.index): done.value for done in drive(iter(paths), cast)}
    return [texts[key] for key in sorted(texts)]


def measure_answers(arguments: argparse.Namespace, checkpoint: Path, precision: str) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from understudy.engines.local.engine import TransformersEngine

    dtype = getattr(torch, precision)
    n_prompts, samples, length = (2, 4, 10) if arguments.small else (16, 30, 100)
    prompts = [write(100, i) for i in range(n_prompts)]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, attn_implementation="sdpa").to(arguments.device).eval()
    model.generation_config.eos_token_id = None  # every reply has all its tokens
    ids = torch.tensor([tokenizer(prompt)["input_ids"] for prompt in prompts], device=arguments.device)

    def generate(**sampling: Any) -> list[str]:
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            out = model.generate(ids, attention_mask=mask, max_new_tokens=length, min_new_tokens=length, pad_token_id=0, **sampling)
        return list(tokenizer.batch_decode(out[:, ids.shape[1] :]))

    engine = TransformersEngine(checkpoint, dtype=precision, device=arguments.device)  # type: ignore[arg-type]
    greedy = zip(ask(engine, prompts, 1, length, 0.0), generate(do_sample=False), strict=True)
    row: dict[str, Any] = {"equal greedy replies": sum(a.split() == b.split() for a, b in greedy), "of": n_prompts}
    sampled = {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 1.0, "num_return_sequences": samples}
    ways = {"understudy": lambda: ask(engine, prompts, samples, length, 0.7), "generate": lambda: generate(**sampled)}
    for name, work in ways.items():
        seconds = []
        for _ in range(3):
            settle(arguments.device)
            before = time.perf_counter()
            texts = work()
            settle(arguments.device)
            seconds.append(time.perf_counter() - before)
        tokens = sum(len(text.split()) for text in texts)
        row |= {f"{name}, s": seconds, f"{name}, tokens/s": tokens / min(seconds)}
    return row | {"GiB": peak(arguments.device)}


def list_rows(arguments: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    shapes = ["32 x 1 chains", "8 x 4 chains"] if arguments.lengths else list(SHAPES)
    yield from (("train", shape, trainer) for shape in shapes for trainer in TRAINERS if "train" in arguments.parts)
    yield from (("answer", precision) for precision in ("float32", "bfloat16") if "answer" in arguments.parts)
    yield from (("resume",) for _ in range("resume" in arguments.parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", choices=("train", "answer", "resume"), default=("train", "answer", "resume"))
    parser.add_argument("--device", choices=("cuda", "mps", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=24, help="of a training, of which a third is not timed")
    parser.add_argument("--lengths", type=Path, help="train on examples of these lengths, 32 in a step")
    parser.add_argument("--limit", type=int, default=180, help="seconds of a row")
    parser.add_argument("--small", action="store_true", help="a tiny model: tries the command, measures nothing")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    checkpoint = arguments.to / MODEL
    if arguments.one:
        part, *names = arguments.one
        measures = {"train": measure_training, "answer": measure_answers, "resume": measure_resume}
        print(json.dumps(measures[part](arguments, checkpoint, *names)))  # type: ignore[operator]
        return
    arguments.to.mkdir(parents=True, exist_ok=True)
    small = {"hidden_size": 72, "intermediate_size": 96, "num_hidden_layers": 2} if arguments.small else {}
    save_checkpoint(MODEL, checkpoint, **small)
    failed = 0
    with (arguments.to / "gpu.jsonl").open("a", encoding="utf-8") as file:
        for row in list_rows(arguments):
            command = [sys.executable, __file__, *sys.argv[1:], "--one", *row]
            try:
                ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=arguments.limit)
                measured = json.loads(ran.stdout.splitlines()[-1]) if ran.returncode == 0 else {"failed": ran.stderr[-2000:]}
            except subprocess.TimeoutExpired:
                measured = {"failed": f"took more than {arguments.limit} seconds"}
            failed += "failed" in measured or measured.get("equal") is False
            file.write(json.dumps({"row": row, "machine": machine(), "device": name_device(arguments.device), **measured}) + "\n")
            file.flush()
            shown = {key: f"{v:.4g}" if isinstance(v, float) else v for key, v in measured.items() if not isinstance(v, list)}
            losses = [f"{loss:.4f}" for loss in measured.get("losses", [])[:1] + measured.get("losses", [])[-1:]]
            print(" | ".join(row), shown, *losses, flush=True)
    sys.exit(f"{failed} rows failed" if failed else 0)


if __name__ == "__main__":
    main()
