"""How many kernels a step of training takes, as a GPU would run them, for each way to lay out a step; equal losses first.

    python benchmarks/kernels.py

A small model on a GPU waits for kernels to be launched, not for their sums. This counts them without a GPU: calls of torch that are
no views and do more than reserve memory, in the forward and backward pass of a batch with SDPA, in a model with the 30 layers and
the grouped heads of SmolLM2-135M but tiny matrices. Rows are packed as for its real width of 576. Batches are on the device
already. "columns" are those that go through the layers; "waits" are calls that a GPU must finish before the program goes on.
"""

import argparse
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

STEPS = {
    "1 prompt of 300, 30 chains of 30": (1, 30, (300, 300), (30, 30)),
    "1 prompt of 100, 30 chains of 100": (1, 30, (100, 100), (100, 100)),
    "8 prompts of 50, 4 chains of 60 each": (8, 4, (50, 50), (60, 60)),
    "8 prompts of 25 to 85, 4 chains of 25 to 110 each": (8, 4, (25, 85), (25, 110)),
    "32 prompts of 25 to 85, 1 chain of 25 to 110 each": (32, 1, (25, 85), (25, 110)),
}
RESERVES = {"aten::_unsafe_view", "aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty"}


def make_examples(prompts: int, chains: int, source: tuple[int, int], target: tuple[int, int]) -> list[Any]:
    """Make ``prompts`` with ``chains`` each; lengths are drawn between two numbers."""
    from understudy.training.batches import EncodedExample

    draw = random.Random(0)

    def tokens(lengths: tuple[int, int]) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 500) for _ in range(draw.randint(*lengths)))

    sources = [tokens(source) for _ in range(prompts)]
    pairs = [(p, s, tokens(target)) for p, s in enumerate(sources) for _ in range(chains)]
    return [EncodedExample(str(p), None, s, t, (1.0,) * len(t)) for p, s, t in pairs]


def count(model: Any, collate: Callable[[], Any]) -> tuple[float, Counter[str]]:
    """Return the loss of the batch that ``collate`` makes, and the calls, columns and waits of its step."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from understudy.training.objectives import cross_entropy

    calls: Counter[str] = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            schema = operator._schema
            views = any(out.alias_info is not None and not out.alias_info.is_write for out in schema.returns)
            calls["kernels"] += not views and schema.name not in RESERVES
            masks = [a for a in (args[1] if len(args) > 1 and isinstance(args[1], Sequence) else ()) if isinstance(a, torch.Tensor)]
            calls["waits"] += schema.name == "aten::_local_scalar_dense" or any(mask.dtype == torch.bool for mask in masks)
            return operator(*args, **(kwargs or {}))

    def read(_: Any, ids: Any, __: Any) -> None:
        calls["columns"] += ids[0].numel()

    hook = model.get_input_embeddings().register_forward_hook(read)
    model.zero_grad(set_to_none=True)
    # Rows are put together by the processor; only what the model reads of prompts in a pass of their own counts.
    with Counting(), torch.autocast("cpu", dtype=torch.bfloat16):
        batch = collate()
        if not {"past_key_values", "cache"} & set(batch.inputs):
            calls.clear()
        loss = cross_entropy(model, batch)
        loss.backward()
    hook.remove()
    return float(loss.detach()), calls


def main() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from understudy.training.batches import collate, scale_losses
    from understudy.training.packing import collate_packed, pack
    from understudy.training.sharing import read_once

    torch.manual_seed(0)
    sizes = {"hidden_size": 72, "intermediate_size": 96, "num_attention_heads": 9, "num_key_value_heads": 3}
    config = LlamaConfig(num_hidden_layers=30, vocab_size=500, max_position_embeddings=2048, **sizes)
    model = LlamaForCausalLM(config).train()
    model.set_attn_implementation("sdpa")
    print("| step | layout | columns | kernels | waits | loss |\n|---|---|---|---|---|---|")
    for name, numbers in STEPS.items():
        examples = make_examples(*numbers)
        arguments: Any = model, examples, scale_losses(examples, reduction="token")
        layouts: dict[str, Callable[[], Any]] = {
            "padded rows": lambda a=arguments: collate(*a[1:], pad=0, start=None),
            "prompts first": lambda a=arguments: read_once(*a, pad=0, start=None),
            "packed rows": lambda a=arguments: collate_packed(*a, pack(a[1], seq2seq=False, scores=3 * 576), pad=0, start=None),
        }
        for layout, make in layouts.items():
            loss, calls = count(model, make)
            print(
                f"| {name} | {layout} | {calls['columns']:,} | {calls['kernels']:,} | {calls['waits']} | {loss:.4f} |", flush=True
            )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
