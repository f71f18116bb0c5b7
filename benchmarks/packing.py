"""What packing saves: a step of unequal examples in packed rows and in padded ones; equal losses first.

    python benchmarks/packing.py                                        # a table; benchmarks/results/packing.json
    python benchmarks/packing.py --models t5-small --precisions float32 --steps 3 --dry

The examples have 30 to 90 tokens of prompt and 30 to 120 of chain, each length equally likely, 16 in a step, in one part. Weights
are random, in the shapes of benchmarks/training.py; attention is eager, as students train on a processor. CPU seconds of forward
and backward pass, one thread; packed and padded rows take turns, and "times" is the median of the quotients of a pair.
"""

import argparse
import json
import random
import time
from pathlib import Path
from statistics import median
from typing import Any

from training import MODELS, VOCABULARY, machine, make_config

RESULTS = Path(__file__).parent / "results" / "packing.json"


def make_step(model: str, seed: int, size: int) -> list[Any]:
    from understudy.training.batches import EncodedExample

    draw = random.Random(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, VOCABULARY[model]) for _ in range(n))

    lengths = [(draw.randint(30, 90), draw.randint(30, 120)) for _ in range(size)]
    return [EncodedExample(str(i), None, tokens(s), tokens(t), (1.0,) * t) for i, (s, t) in enumerate(lengths)]


def measure(name: str, precision: str, steps: int, size: int) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from understudy.training.batches import collate, scale_losses
    from understudy.training.objectives import cross_entropy
    from understudy.training.packing import collate_packed, pack

    torch.manual_seed(0)
    config = make_config(name)
    seq2seq = config.is_encoder_decoder
    maker = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
    model = maker.from_config(config, dtype=torch.float32, attn_implementation="eager").train()
    start = config.decoder_start_token_id if seq2seq else None
    pairs, losses = [], []
    for step in range(steps + 1):
        examples = make_step(name, step, size)
        scales, rows = scale_losses(examples, reduction="token"), pack(examples, seq2seq=seq2seq)
        seconds = []
        for packed in (False, True):
            model.zero_grad(set_to_none=True)
            before = time.process_time()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
                if packed:
                    batch = collate_packed(model, examples, scales, rows, pad=0, start=start)
                else:
                    batch = collate(examples, scales, pad=0, start=start)
                loss = cross_entropy(model, batch)
            loss.backward()
            seconds.append(time.process_time() - before)
            losses.append(float(loss.detach()))
        pairs.append(seconds)
    padded, packed = zip(*pairs[1:], strict=True)  # the first step is not timed
    return {
        "model": name,
        "precision": precision,
        "padded": median(padded),
        "packed": median(packed),
        "times": median(a / b for a, b in zip(padded, packed, strict=True)),
        "range": [f(a / b for a, b in zip(padded, packed, strict=True)) for f in (min, max)],
        "steps": steps,
        "largest difference of losses": max(abs(a - b) for a, b in zip(losses[::2], losses[1::2], strict=True)),
    }


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=("smollm2-135m", "t5-small"))
    parser.add_argument("--precisions", nargs="+", choices=("bfloat16", "float32"), default=("bfloat16", "float32"))
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--size", type=int, default=16, help="examples of a step")
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| model | precision | padded, s | packed, s | times (least to most) | losses differ by at most |",
        "|---" * 6 + "|",
        sep="\n",
    )
    rows = []
    for name in options.models:
        for precision in options.precisions:
            row = measure(name, precision, options.steps, options.size)
            rows.append(row)
            low, high = row["range"]
            times = f"{row['times']:.2f} ({low:.2f} to {high:.2f})"
            cells = [
                name,
                precision,
                f"{row['padded']:.2f}",
                f"{row['packed']:.2f}",
                times,
                f"{row['largest difference of losses']:.1e}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)
    if not options.dry:
        RESULTS.write_text(
            json.dumps({"machine": machine(), "size": options.size, "rows": rows}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
