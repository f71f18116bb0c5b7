"""How fast a student is trained, beside a bare loop: the same model, examples, precision and optimizer; equal losses first.

    python benchmarks/training.py                                   # writes benchmarks/results/training.json
    python benchmarks/training.py --models smollm2-135m --precisions bfloat16 --dry
    python benchmarks/training.py --subjects "bare loop" trl understudy --models smollm2-135m    # TRL in an environment of its own

One question with N chains is a step. The bare loop is what one writes by hand for transformers' model: padded rows, its default
attention (SDPA), the output layer at the target positions only, fused AdamW. Ours is `understudy.training.loop.train`, told to
take all chains in a visit. TRL's SFTTrainer gets the same rows (peers/run_trl.py, decoders only). Weights are random, in the
shapes of SmolLM2-135M, GPT-2, OPT-125M and T5-small; speed does not depend on them. Each subject is measured in a process of its
own, one thread, in CPU seconds of a step, the subjects in turn.

"ceiling": what sharing the prompt can bring at the most: the operations of the bare loop's rows by those of prompts read once.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from sampling import environment

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "training.json"
SHAPES = {"100/100": (100, 100), "300/30": (300, 30)}
MODELS = ("smollm2-135m", "gpt2-small", "opt-125m", "t5-small")
SUBJECTS = ("bare loop", "trl", "understudy")
VOCABULARY = {"smollm2-135m": 49_152, "gpt2-small": 50_257, "opt-125m": 50_272, "t5-small": 32_128}
RATE = 1e-4


def make_config(model: str, **changed: int) -> Any:
    from transformers import GPT2Config, LlamaConfig, OPTConfig, T5Config

    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, "vocab_size": VOCABULARY[model]}
    if model == "t5-small":
        sizes = {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "dropout_rate": 0.0}
        return T5Config(**sizes, **{name: value for name, value in ids.items() if value is not None}, decoder_start_token_id=0)
    if model == "gpt2-small":
        return GPT2Config(**ids, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)  # its sizes are the defaults
    if model == "opt-125m":
        return OPTConfig(**ids, dropout=0.0)  # so are its
    sizes = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    return LlamaConfig(**sizes | changed, **ids, num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=2048)


def save_checkpoint(model: str, directory: Path, **changed: int) -> None:
    """Random weights, and a tokenizer for which word ``wN`` is token N. ``changed``: sizes of SmolLM2-135M."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = make_config(model, **changed)
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    maker.from_config(config, dtype=torch.float32).save_pretrained(directory)
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {f"w{i}": i for i in range(3, VOCABULARY[model])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=plain, **special).save_pretrained(directory)


def make_examples(model: str, prompt: int, target: int, chains: int, questions: int) -> list[Any]:
    from understudy.core.values import Example

    def text(n: int, seed: int) -> str:
        return " ".join(f"w{3 + (seed * 7919 + i * 104_729) % (VOCABULARY[model] - 3)}" for i in range(n))

    # One token less: the end token is learned, too.
    return [
        Example.of("student", text(prompt, q), text(target - 1, 1000 * q + c + 1), problem=f"q{q}", chain=f"q{q}-{c}")
        for q in range(questions)
        for c in range(chains)
    ]


def run_ours(checkpoint: Path, examples: list[Any], precision: str, steps: int, chains: int) -> tuple[list[float], list[float]]:
    from understudy.training.loop import train
    from understudy.training.options import StudentOptions, TrainingOptions

    marks: list[float] = []

    def mark(_: str, done: int, __: int, ___: str = "") -> None:
        if done:
            marks.append(time.process_time())

    options = TrainingOptions(
        steps=steps,
        batch_size=1,
        chains_per_visit=chains,
        learning_rate=RATE,
        schedule="constant",
        warmup=0,
        checks=1,
        device="cpu",
        precision=precision,  # type: ignore[arg-type]
    )
    with tempfile.TemporaryDirectory() as out:
        result = train(
            examples,
            student=StudentOptions(checkpoint=str(checkpoint)),
            options=options,
            out=Path(out),
            seed=0,
            progress=mark,
        )
    return [loss for _, loss in result.losses], [after - before for before, after in pairwise(marks)]


def run_bare(checkpoint: Path, examples: list[Any], precision: str, steps: int, chains: int) -> tuple[list[float], list[float]]:
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    seq2seq = "t5" in checkpoint.name
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_pretrained(checkpoint, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    questions = list(dict.fromkeys(e.problem for e in examples))
    order = [i for epoch in range(steps) for i in visit_order(examples, epoch)][:steps]
    losses, seconds = [], []
    for question in order:
        before = time.process_time()
        rows = [e for e in examples if e.problem == questions[question]][:chains]
        sources = [tokenizer(e.source)["input_ids"] for e in rows]
        targets = [[*tokenizer(e.target[0].text)["input_ids"], 1] for e in rows]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            if seq2seq:
                labels = torch.tensor(targets)
                ids = torch.tensor(sources)
                loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
            else:
                ids = torch.tensor([s + t for s, t in zip(sources, targets, strict=True)])
                n = len(targets[0])
                hidden = model.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).last_hidden_state
                logits = model.lm_head(hidden[:, -n - 1 : -1]).float()
                loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, -n:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        seconds.append(time.process_time() - before)
    return losses, seconds[1:]


def run_trl(checkpoint: Path, examples: list[Any], precision: str, steps: int, chains: int) -> tuple[list[float], list[float]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    questions = list(dict.fromkeys(e.problem for e in examples))
    order = [i for epoch in range(steps) for i in visit_order(examples, epoch)][:steps]
    rows = []
    for question in order:
        pairs = [
            (tokenizer(e.source)["input_ids"], [*tokenizer(e.target[0].text)["input_ids"], 1])
            for e in examples
            if e.problem == questions[question]
        ]
        rows.append([{"input_ids": s + t, "labels": [-100] * len(s) + t} for s, t in pairs[:chains]])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(rows, file)
        file.flush()
        command = [environment("trl"), HERE / "peers" / "run_trl.py", checkpoint, file.name, precision]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    return found["losses"], found["seconds"]


def visit_order(examples: list[Any], epoch: int) -> list[int]:
    """The questions in the order in which ours visits them."""
    import numpy as np

    return list(np.random.default_rng([0, epoch]).permutation(len({e.problem for e in examples})))


def ceiling(model: str, prompt: int, target: int, chains: int) -> float:
    """Operations of the bare loop by those of a prompt that is read once, counted in products of a number by a number."""
    config = make_config(model)
    if model == "t5-small":
        d, layers, inner = config.d_model, config.num_layers, config.d_ff
        encoder = layers * (4 * d * d + 2 * d * inner + 2 * prompt * d)  # of a token
        cross = layers * 2 * d * d  # keys and values of a source token
        decoder = layers * (6 * d * d + 2 * d * inner + 2 * (target / 2 + prompt) * d) + d * config.vocab_size
        bare = chains * (prompt * (encoder + cross) + target * decoder)
        return bare / (prompt * (encoder + cross) + chains * target * decoder)
    d, layers = config.hidden_size, config.num_hidden_layers
    if model == "smollm2-135m":
        shared_heads = config.num_key_value_heads / config.num_attention_heads
        linear = layers * (2 * d * d * (1 + shared_heads) + 3 * d * config.intermediate_size)
    else:
        linear = layers * (4 * d * d + 2 * d * 4 * d)
    read = prompt * (linear + layers * 2 * (prompt / 2) * d)
    learned = target * (linear + layers * 2 * (prompt + target / 2) * d + d * config.vocab_size)
    return chains * (read + learned) / (read + chains * learned)


def measure(subject: str, model: str, checkpoint: Path, precision: str, shape: str, *, steps: int, chains: int) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    prompt, target = SHAPES[shape]
    examples = make_examples(model, prompt, target, chains, questions=2)
    run = {"understudy": run_ours, "trl": run_trl, "bare loop": run_bare}[subject]
    losses, seconds = run(checkpoint, examples, precision, steps, chains)
    return {"losses": losses, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=("bare loop", "understudy"))
    parser.add_argument("--precisions", nargs="+", choices=("bfloat16", "float32"), default=("bfloat16", "float32"))
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=tuple(SHAPES))
    parser.add_argument("--chains", type=int, default=30)
    parser.add_argument("--steps", type=int, default=3, help="of which the first is not timed")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        subject, model, checkpoint, precision, shape = options.one
        print(json.dumps(measure(subject, model, Path(checkpoint), precision, shape, steps=options.steps, chains=options.chains)))
        return
    rows = []
    print(f"| model | precision | prompt/chain | {', s | '.join(options.subjects)}, s | ceiling | losses |")
    with tempfile.TemporaryDirectory() as directory:
        for model in options.models:
            checkpoint = Path(directory, model)
            save_checkpoint(model, checkpoint)
            for precision in options.precisions:
                for shape in options.shapes:
                    row = compare(options, model, checkpoint, precision, shape)
                    rows.append(row)
                    seconds = [f"{median(row['seconds'][subject]):.2f}" for subject in row["seconds"]]
                    losses = ", ".join(f"{row['losses'][subject][-1]:.4f}" for subject in row["losses"])
                    cells = [model, precision, shape, *seconds, f"{row['ceiling']:.2f}", losses]
                    print(f"| {' | '.join(cells)} |", flush=True)
    if not options.dry:
        options.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")


def compare(options: argparse.Namespace, model: str, checkpoint: Path, precision: str, shape: str) -> dict[str, Any]:
    losses: dict[str, list[float]] = {}
    subjects = [subject for subject in options.subjects if (subject, model) != ("trl", "t5-small")]
    seconds: dict[str, list[float]] = {subject: [] for subject in subjects}
    for _ in range(options.repeats):
        for subject in subjects:
            command = [sys.executable, __file__, "--one", subject, model, str(checkpoint), precision, shape]
            command += ["--steps", str(options.steps), "--chains", str(options.chains)]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(ran.stdout.splitlines()[-1])
            losses[subject] = found["losses"]
            seconds[subject] += found["seconds"]
    prompt, target = SHAPES[shape]
    same = {"model": model, "precision": precision, "shape": shape, "chains": options.chains}
    return {**same, "ceiling": ceiling(model, prompt, target, options.chains), "losses": losses, "seconds": seconds}


def machine() -> dict[str, str]:
    import torch
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__, "processor": platform.machine()}


if __name__ == "__main__":
    main()
