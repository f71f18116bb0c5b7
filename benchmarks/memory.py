"""How good the estimate of a training's memory is: peak resident memory of a few steps, against `training.memory.estimate`.

    python benchmarks/memory.py            # three families, two sizes, each in a process of its own

"own": 8 examples that read a prompt each; "one": 30 that share one prompt, which is read once; "own, LoRA": the same 8, and an
adapter of weights that were published in bfloat16.
The peak counts from the moment before the student is made, so libraries are not in it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

FAMILIES = ("gpt2", "llama", "t5")
SIZES = {"small": (256, 4, 4), "larger": (768, 8, 12)}  # width, layers, heads
VOCABULARY = 8000
PROMPTS = {"own": (8, 96, 160), "one": (30, 300, 30), "own, LoRA": (8, 96, 160)}  # examples, tokens that are read and learned


def measure(family: str, size: str, precision: str, prompts: str) -> dict[str, float]:
    """One training of two steps in this process: estimated and measured bytes."""
    import resource

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, GPT2Config, LlamaConfig, T5Config

    from understudy.training.batches import EncodedExample, collate, scale_losses
    from understudy.training.memory import describe_shape, estimate
    from understudy.training.objectives import cross_entropy
    from understudy.training.optimizer import Optimizer, list_matrices
    from understudy.training.options import RECIPES, StudentOptions, TrainingOptions
    from understudy.training.sharing import read_once
    from understudy.training.student import narrow_frozen

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
    if prompts == "own, LoRA":
        model = get_peft_model(model.bfloat16().float(), LoraConfig(r=16, target_modules="all-linear"))
        if precision == "bfloat16":
            narrow_frozen(model)
    options = TrainingOptions(precision=precision).settle(StudentOptions())  # type: ignore[arg-type]
    optimizer = Optimizer(model, RECIPES["scratch"], steps=2, precision=precision)  # type: ignore[arg-type]
    examples, source, target = PROMPTS[prompts]
    rows = [EncodedExample(str(i), None, (5,) * source, (6,) * target, (1.0,) * target) for i in range(examples)]
    for step in range(2):
        scales, tokens = scale_losses(rows, reduction="token"), {"pad": 0, "start": 0 if seq2seq else None}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            batch = read_once(model, rows, scales, **tokens) if prompts == "one" else collate(rows, scales, **tokens)  # type: ignore[arg-type]
            loss = cross_entropy(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    numbers = sum(p.numel() for p in model.parameters())
    shape = describe_shape(
        config.to_dict(),
        parameters=numbers,
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        matrices=sum(p.numel() for p in list_matrices(model)),
        narrow=sum(p.numel() for p in model.parameters() if p.dtype == torch.bfloat16),
    )
    found = estimate(shape, options, source=source, target=target)
    shared = found.total(0) - found.copy + max(found.prompt + examples * found.branch, found.copy)
    return {"parameters": numbers, "estimate": shared if prompts == "one" else found.total(examples), "measured": peak}


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    print("| student | parameters | precision | prompts | estimate, MiB | measured, MiB | ratio |\n|---|---|---|---|---|---|---|")
    for family, size, precision, prompts in product(FAMILIES, SIZES, ("bfloat16", "float32"), PROMPTS):
        with tempfile.NamedTemporaryFile("r") as said:
            subprocess.run([sys.executable, __file__, "--one", family, size, precision, prompts, said.name], check=True)
            row = json.loads(said.read())
        estimated, measured = row["estimate"] / 2**20, row["measured"] / 2**20
        numbers = f"{row['parameters'] / 1e6:.1f}M"
        columns = [f"{family}, {SIZES[size][0]} wide", numbers, precision, prompts, f"{estimated:.0f}", f"{measured:.0f}"]
        print("| " + " | ".join([*columns, f"{estimated / measured:.2f}"]) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    if one := parser.parse_args().one:
        Path(one[4]).write_text(json.dumps(measure(*one[:4])))
    else:
        main()
