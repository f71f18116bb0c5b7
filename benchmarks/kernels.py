"""How many kernels a step of training takes, as a GPU would run them, for each way to lay out a step; equal losses first.

    python benchmarks/kernels.py

A small model on a GPU waits for kernels to be launched, not for their sums. This counts them without a GPU: calls of torch that are
no views, in the forward and backward pass with SDPA, in a model with the 30 layers and the grouped heads of SmolLM2-135M but tiny
matrices. Rows are packed as for the
real width of 576. "columns" are those that go through the layers; "waits" are the calls for which the processor waits for a GPU.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

STEPS = {
    "1 prompt of 300, 30 chains of 30": (1, 30, 300, 30),
    "1 prompt of 100, 30 chains of 100": (1, 30, 100, 100),
    "8 prompts of 50, 4 chains of 60 each": (8, 4, 50, 60),
    "32 prompts of 50, 1 chain of 60 each": (32, 1, 50, 60),
}


def make_examples(prompts: int, chains: int, source: int, target: int) -> list[Any]:
    from understudy.training.batches import EncodedExample

    draw = random.Random(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 500) for _ in range(n))

    sources = [tokens(source) for _ in range(prompts)]
    return [
        EncodedExample(str(p), str(c), s, tokens(target), (1.0,) * target) for p, s in enumerate(sources) for c in range(chains)
    ]


def count(model: Any, collate: Callable[[], Any]) -> tuple[float, Counter[str]]:
    """Return the loss of the batch that ``collate`` makes, and the calls, columns and waits of its step."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from understudy.training.objectives import cross_entropy

    calls: Counter[str] = Counter()

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            schema = operator._schema
            calls["kernels"] += not any(out.alias_info is not None and not out.alias_info.is_write for out in schema.returns)
            masks = [a for a in (args[1] if len(args) > 1 and isinstance(args[1], Sequence) else ()) if isinstance(a, torch.Tensor)]
            calls["waits"] += schema.name == "aten::_local_scalar_dense" or any(mask.dtype == torch.bool for mask in masks)
            return operator(*args, **(kwargs or {}))

    def read(_: Any, ids: Any, __: Any) -> None:
        calls["columns"] += ids[0].numel()

    hook = model.get_input_embeddings().register_forward_hook(read)
    model.zero_grad(set_to_none=True)
    with Counting(), torch.autocast("cpu", dtype=torch.bfloat16):
        loss = cross_entropy(model, collate())
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
    main()
