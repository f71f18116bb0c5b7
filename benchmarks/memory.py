"""How good the estimate of a training's memory is: peak resident memory of a few steps, against `training.memory.estimate`.

    python benchmarks/memory.py                        # three families, two sizes, each in a process of its own
    python benchmarks/memory.py --whole float32 12     # SmolLM2-135M by `train`: 12 steps of 8 made-up word problems

The peak counts from the moment before the student is made, so libraries are not in it.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAMILIES = ("gpt2", "llama", "t5")
SIZES = {"small": (256, 4, 4), "larger": (768, 8, 12)}  # width, layers, heads
VOCABULARY, EXAMPLES, SOURCE, TARGET = 8000, 8, 96, 160


def measure(family: str, size: str, precision: str) -> dict[str, float]:
    """One training of two steps in this process: estimated and measured bytes."""
    import resource

    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, LlamaConfig, T5Config

    from understudy.training.batches import EncodedExample, collate, scale_losses
    from understudy.training.memory import estimate, resident, shape_of
    from understudy.training.objectives import cross_entropy
    from understudy.training.optimizer import Optimizer, matrices_of
    from understudy.training.options import RECIPES, StudentOptions, TrainingOptions

    torch.set_num_threads(1)
    torch.nn.Linear(64, 64)(torch.zeros(2, 64)).sum().backward()  # what torch takes at its first use
    width, layers, heads = SIZES[size]
    config = {
        "gpt2": lambda: GPT2Config(vocab_size=VOCABULARY, n_embd=width, n_layer=layers, n_head=heads),
        "llama": lambda: LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=width * 8 // 3,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            tie_word_embeddings=True,
        ),
        "t5": lambda: T5Config(
            vocab_size=VOCABULARY,
            d_model=width,
            d_kv=width // heads,
            d_ff=width * 8 // 3,
            num_layers=layers,
            num_heads=heads,
            feed_forward_proj="gated-gelu",
            decoder_start_token_id=0,
        ),
    }[family]()
    before = resident()
    seq2seq = bool(config.is_encoder_decoder)
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_config(config, attn_implementation="eager").train()
    options = TrainingOptions(precision=precision).settle(StudentOptions())  # type: ignore[arg-type]
    optimizer = Optimizer(model, RECIPES["scratch"], steps=2, precision=precision)  # type: ignore[arg-type]
    rows = [EncodedExample(str(i), None, (5,) * SOURCE, (6,) * TARGET, (1.0,) * TARGET) for i in range(EXAMPLES)]
    for step in range(2):
        batch = collate(rows, scale_losses(rows, reduction="token"), pad=0, start=0 if seq2seq else None)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss = cross_entropy(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    numbers = sum(p.numel() for p in model.parameters())
    matrices = sum(p.numel() for p in matrices_of(model))
    shape = shape_of(config.to_dict(), parameters=numbers, trained=numbers, matrices=matrices)
    found = estimate(shape, options, source=SOURCE, target=TARGET)
    return {"parameters": numbers, "estimate": found.total(EXAMPLES), "measured": peak}


def train_whole(precision: str, steps: int) -> None:
    """Print the estimate and the peak of a training of SmolLM2-135M, whose steps have rows of other lengths each."""
    import resource

    import torch

    from understudy.core.values import Example
    from understudy.engines.local.checkpoint import SMOLLM2, find_checkpoint
    from understudy.training import loop
    from understudy.training.memory import resident, size
    from understudy.training.options import StudentOptions, TrainingOptions

    torch.set_num_threads(1)
    draw, problems = random.Random(0), []
    for i in range(200):
        x, gifts = draw.randint(2, 99), [draw.randint(2, 99) for _ in range(draw.randint(1, 7))]
        told = " ".join(f"Then Bob gives her {gift} more of them." for gift in gifts)
        sums = " ".join(f"With {gift} more there are {x + sum(gifts[: j + 1])}." for j, gift in enumerate(gifts))
        question, reply = f"Q: Ana has {x} coins. {told} How many coins has she?\nA:", f" {sums} So the answer is: {x + sum(gifts)}"
        problems.append(Example.of("student", question, f" Ana has {x}.{reply}\n\n", problem=f"p{i}"))
    planned = []

    class Watched(loop._Training):
        def _fit(self, share: float) -> None:
            super()._fit(share)
            planned.append(self.estimate.total(self.notes.micro_batch))

    loop._Training = Watched
    student = StudentOptions(checkpoint=str(find_checkpoint(SMOLLM2, Path())), context=192)
    options = TrainingOptions(steps=steps, batch_size=8, checks=1, precision=precision)  # type: ignore[arg-type]
    before = resident()
    with tempfile.TemporaryDirectory() as out:
        began = time.process_time()
        loop.train(problems, student=student, options=options, out=Path(out), seed=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    seconds = (time.process_time() - began) / steps
    print(f"| {precision} | {steps} | {size(planned[0])} | {size(peak)} | {planned[0] / peak:.2f} | {seconds:.1f} |", flush=True)


def main() -> None:
    print("| student | parameters | precision | estimate, MiB | measured, MiB | ratio |\n|---|---|---|---|---|---|")
    for family in FAMILIES:
        for size in SIZES:
            for precision in ("bfloat16", "float32"):
                with tempfile.NamedTemporaryFile("r") as said:
                    subprocess.run([sys.executable, __file__, family, size, precision, said.name], check=True)
                    row = json.loads(said.read())
                estimated, measured = row["estimate"] / 2**20, row["measured"] / 2**20
                numbers = f"{row['parameters'] / 1e6:.1f}M"
                columns = [f"{family}, {SIZES[size][0]} wide", numbers, precision, f"{estimated:.0f}", f"{measured:.0f}"]
                print("| " + " | ".join([*columns, f"{estimated / measured:.2f}"]) + " |", flush=True)


if __name__ == "__main__":
    if "--whole" in sys.argv:
        train_whole(sys.argv[2], int(sys.argv[3]))
    elif len(sys.argv) > 1:
        Path(sys.argv[4]).write_text(json.dumps(measure(*sys.argv[1:4])))
    else:
        main()
