"""A prompt is read once for all examples that learn from it: their chains branch off its keys and values.

    batch = read_once(model, examples, scales, pad=pad, start=start)      # what `collate` gives, but for the sources
    loss = objective(model, batch)

The gradient flows back through the keys and values, so loss and gradients are those of the plain batch
(tests/training/test_sharing.py holds them equal for each family). Where a model has dropout, the branches of a prompt share what
is dropped while it is read. Legend: U prompts, S their longest, B examples, T positions of the longest target.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from understudy.engines.local.checkpoint import PROVEN
from understudy.engines.local.load import find_cache_argument
from understudy.training.batches import EncodedExample, TrainingBatch, collate, pad_rows
from understudy.training.objectives import logits_at

WORTH = 0.1
"""Share of a batch's tokens that must be saved: a prompt costs a pass of its own."""


def can_share(model: Any) -> bool:
    """Whether the tests hold that branches of a prompt equal plain rows for models of this family."""
    return model.config.model_type in PROVEN


def is_worth_sharing(examples: Sequence[EncodedExample], *, seq2seq: bool) -> bool:
    """Whether enough is saved when every source of ``examples`` is read once."""
    sources = {e.source for e in examples}
    saved = sum(len(e.source) for e in examples) - sum(map(len, sources))
    # A decoder reads the last token of a source with each target, so of a source of one token nothing is left to share.
    return saved > WORTH * sum(map(len, examples)) and (seq2seq or min(map(len, sources)) > 1)


def read_once(
    model: Any, examples: Sequence[EncodedExample], scales: Sequence[float], *, pad: int, start: int | None
) -> TrainingBatch:
    """The batch of ``examples`` with every source read already; arguments as of `collate`. It can be used for one pass."""
    positions = {source: i for i, source in enumerate(dict.fromkeys(e.source for e in examples))}
    index, keys_and_values = [positions[e.source] for e in examples], find_cache_argument(model)
    index_B = torch.tensor(index, device=model.device)
    stops = [*(i for i in range(1, len(index)) if index[i] != index[i - 1]), len(index)]
    runs = [(index[first], slice(first, stop)) for first, stop in pairwise([0, *stops])]
    sources = [source[:-1] for source in positions] if start is None else list(positions)
    ids_US = pad_rows(sources, pad).to(model.device)
    mask_US = pad_rows([[1] * len(source) for source in sources], 0).to(model.device)
    if start is not None:  # each source is encoded once, and its keys and values are computed once
        encoded = model.get_encoder()(input_ids=ids_US, attention_mask=mask_US)
        pair = EncoderDecoderCache(DynamicCache(), DynamicCache())
        first_U1 = torch.full((len(sources), 1), start, device=model.device)
        with logits_at(model, slice(0)):  # nowhere
            cached = {keys_and_values: pair, "use_cache": True}
            model(encoder_outputs=encoded, attention_mask=mask_US, decoder_input_ids=first_U1, **cached)
        batch = collate(examples, scales, pad=pad, start=start).to(model.device)
        layers = ((layer.keys, layer.values) for layer in pair.cross_attention_cache.layers)
        cross = ([_append(each, each.detach()[index_B, :, :0], runs) for each in both] for both in layers)
        inputs = {
            "decoder_input_ids": batch.inputs["decoder_input_ids"],
            "attention_mask": mask_US[index_B],
            # All that the decoder takes of the sources is in the cache; it only looks whether there is an encoder.
            "encoder_outputs": BaseModelOutput(last_hidden_state=encoded.last_hidden_state.new_zeros(len(examples), 1, 1)),
            keys_and_values: EncoderDecoderCache(DynamicCache(), DynamicCache(cross)),
        }
        return replace(batch, inputs=inputs)
    cache = DynamicCache()
    with logits_at(model, slice(0)):  # nowhere
        model(input_ids=ids_US, attention_mask=mask_US, use_cache=True, **{keys_and_values: cache})
    batch = collate([replace(e, source=e.source[-1:]) for e in examples], scales, pad=pad, start=None).to(model.device)
    target_mask_BT = batch.inputs["attention_mask"]
    positions_BT = torch.tensor([len(e.source) - 1 for e in examples], device=model.device)[:, None] + target_mask_BT.cumsum(1) - 1
    inputs = batch.inputs | {
        "attention_mask": torch.cat([mask_US[index_B], target_mask_BT], dim=1),
        "position_ids": positions_BT * target_mask_BT,  # padding may be beyond the last position
        keys_and_values: Cache(layers=[_Branched(layer, runs) for layer in cache.layers]),
    }
    return replace(batch, inputs=inputs)


Runs = Sequence[tuple[int, slice]]
"""(prompt, the examples in a row that have it)"""


class _Branched(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """A layer with the keys and values of the prompts, to which those of the examples are appended in one pass."""

    def __init__(self, prompts: Any, runs: Runs) -> None:
        super().__init__()
        self.keys, self.values, self.is_initialized, self.runs = prompts.keys, prompts.values, True, runs

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return _append(self.keys, key_states, self.runs), _append(self.values, value_states, self.runs)


class _Append(torch.autograd.Function):
    """[U, H, S, D], [B, H, T, D] -> [B, H, S + T, D]: to the columns of each example's prompt its own, in autocast's precision.

    An index and `torch.cat` would copy those of the prompts twice, and the gradient of an index adds them one by one.
    """

    @staticmethod
    def forward(ctx: Any, prompts: torch.Tensor, branch: torch.Tensor, runs: Runs) -> torch.Tensor:
        ctx.runs, ctx.shape = runs, prompts.shape
        examples, heads, columns, size = branch.shape
        # Attention would cast them, too.
        dtype = torch.get_autocast_dtype(branch.device.type) if torch.is_autocast_enabled(branch.device.type) else branch.dtype
        joined = branch.new_empty(examples, heads, prompts.shape[2] + columns, size, dtype=dtype)
        joined[:, :, prompts.shape[2] :] = branch
        for prompt, rows in runs:
            joined[rows, :, : prompts.shape[2]] = prompts[prompt].to(dtype)  # before it is repeated
        return joined

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        prompt_gradient = gradient.new_zeros(ctx.shape)
        for prompt, rows in ctx.runs:
            prompt_gradient[prompt] += gradient[rows, :, : ctx.shape[2]].sum(0)
        return prompt_gradient, gradient[:, :, ctx.shape[2] :], None


_append: Callable[[torch.Tensor, torch.Tensor, Runs], torch.Tensor] = _Append.apply
