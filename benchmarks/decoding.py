"""Our decoding loop against `transformers`' generate on the same student, the same prompts, equal replies checked first.

    python benchmarks/decoding.py STUDENT [--problems 256] [--votes 8] [--threads 1]

STUDENT: a student of the diary world, e.g. runs/demo/students/N-chains-correct. Three ways in one run: generate one prompt at
a time, generate on left-padded batches of 64 and of 256 (sorted by length; the usual way), and our loop. Then k sampled paths per
problem. Times are of the decoding alone; the model is loaded and warm. The floor is the model's forward passes over a full
batch, without drawing, stopping, or moving caches.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, StoppingCriteria

from understudy.core.asks import Decoding
from understudy.core.prompt_format import END, PromptFormat
from understudy.core.tokens import encode_source
from understudy.engines.local.engine import TransformersEngine
from understudy.evaluation.run import answer
from understudy.methods.scotd import SCoTD
from understudy.tasks.worlds.diary import Diary

LIMIT = 256
SIZES = (64, 256)


class Ends(StoppingCriteria):  # type: ignore[misc]
    """Stops a row once it wrote the end of a reply: the peer is given what it needs to stop in time."""

    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, input_ids: torch.Tensor, _scores: Any, **_: Any) -> torch.Tensor:
        return (input_ids[:, -4:] == self.token).any(dim=1)


def generate(model: Any, tokenizer: Any, prompts: list[str], *, size: int, **sampling: Any) -> list[str]:
    end = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(END)[0])
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    texts = [""] * len(prompts)
    for at in range(0, len(order), size):
        group = order[at : at + size]
        rows = [encode_source(tokenizer, prompts[i], seq2seq=False) for i in group]
        width = max(map(len, rows))
        ids = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        out = model.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=LIMIT,
            stopping_criteria=[Ends(end)],
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )
        for i, text in zip(group, tokenizer.batch_decode(out[:, width:], skip_special_tokens=True), strict=True):
            texts[i] = text.split(END)[0]
    return texts


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """(best seconds of ``repeats``, result of the last)"""
    best = float("inf")
    result = None
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - started)
    return best, result


def floor(engine: TransformersEngine, rows: int, columns: int, steps: int) -> float:
    """Seconds of ``steps`` forward passes that give each of ``rows`` rows one token after ``columns`` others."""
    network = engine._network
    with torch.inference_mode():
        block = network.read([list(range(3, 3 + columns))])
        decoded = network.new_rows(rows)
        decoded.add(block, [0] * rows)
        network.step(decoded, [[5]] * rows)
        started = time.perf_counter()
        for _ in range(steps):
            network.step(decoded, [[5]] * rows)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--problems", type=int, default=256)
    parser.add_argument("--votes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="eager", help="the peer's; sdpa is its own default")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    world = Diary(train=0, dev=0, test=arguments.problems, longer_test=0)
    problems = world.problems(seed=77)
    prompts = [PromptFormat().write_prompt(p) for p in problems]
    model = AutoModelForCausalLM.from_pretrained(arguments.student, attn_implementation=arguments.attention).eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.student)
    engine = TransformersEngine(arguments.student, batch_size=256)

    def ours(votes: int, decoding: Decoding) -> list[Any]:
        return answer(problems, SCoTD(), {"student": engine}, votes=votes, decoding=decoding).solutions

    ours(1, Decoding())  # loads
    with torch.inference_mode():
        one, texts_one = timed(lambda: generate(model, tokenizer, prompts, size=1, do_sample=False), 1)
        peer = {size: timed(lambda size=size: generate(model, tokenizer, prompts, size=size, do_sample=False)) for size in SIZES}  # type: ignore[misc]
    loop, solutions = timed(lambda: ours(1, Decoding()))
    tokens = sum(s.tokens for s in solutions)
    print(f"{len(problems)} problems, {tokens:,} tokens, {arguments.threads} thread(s), greedy, float32")
    for name, texts in [("one at a time", texts_one), *((f"batches of {size}", texts) for size, (_, texts) in peer.items())]:
        equal = sum(a == s.text for a, s in zip(texts, solutions, strict=True))
        print(f"replies of generate, {name}, equal to ours: {equal} of {len(problems)}")
        assert equal >= 0.99 * len(problems), "replies differ: speed does not matter"
    print(f"generate, one at a time    {one:7.2f} s  {tokens / one:9,.0f} tokens/s   1.0")
    for size, (seconds, _) in peer.items():
        print(f"generate, batches of {size:<4}  {seconds:7.2f} s  {tokens / seconds:9,.0f} tokens/s  {one / seconds:5.1f}")
    print(f"ours, batch of 256         {loop:7.2f} s  {tokens / loop:9,.0f} tokens/s  {one / loop:5.1f}")
    repeated = [p for p in prompts for _ in range(arguments.votes)]
    sampling = {"do_sample": True, "temperature": 0.7}
    with torch.inference_mode():
        drawn = {size: timed(lambda size=size: generate(model, tokenizer, repeated, size=size, **sampling), 1)[0] for size in SIZES}  # type: ignore[misc]
    loop, solutions = timed(lambda: ours(arguments.votes, Decoding(0.7)), 1)
    tokens = sum(s.tokens for s in solutions)
    print(f"\n{arguments.votes} sampled paths per problem at T=0.7, {tokens:,} tokens")
    for size, seconds in drawn.items():
        print(f"generate, batches of {size:<4}  {seconds:7.2f} s")
    best = min(drawn.values())
    print(f"ours, batch of 256         {loop:7.2f} s  {best / loop:5.1f} times as fast  {tokens / loop:9,.0f} tokens/s")
    steps = 40
    seconds = floor(engine, 256, 40, steps)
    print(f"floor: forward passes of 256 full rows alone {256 * steps / seconds:9,.0f} tokens/s")


if __name__ == "__main__":
    main()
