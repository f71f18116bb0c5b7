"""The two ways in which the decoding loop runs a model: read prompts, and go on with a batch.

Attention masks are additive [B, 1, T, C] floats and positions are given, always: what `transformers` infers from anything
less is silently wrong for some families once rows are ragged. Legend: U prompts, B rows, T tokens, C columns, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from understudy.core.errors import CheckpointError
from understudy.engines.local.rows import Batch, Block, additive

PIECE = 256  # columns of a prompt read at once: bounds the [U, H, T, C] attention scores
READ = 8192  # tokens of all prompts read at once, padding included

PROVEN = frozenset({"gpt2", "opt", "llama", "qwen2", "qwen3", "t5"})
"""Families whose batched decoding the tests hold equal to `generate`; `Network.prove` tries others before they are used."""


class Network:
    """A loaded model. ``read_tokens`` counts the prompt tokens that it was shown."""

    def __init__(self, model: Any, *, device: str) -> None:
        self.model, self.device = model, device
        self.dtype: torch.dtype = model.dtype
        self.seq2seq = bool(model.config.is_encoder_decoder)
        self.read_tokens = 0
        takes = inspect.signature(model.forward).parameters
        self.last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self.start: int = -1  # the token that a decoder with an encoder begins with
        if self.seq2seq:
            if model.config.decoder_start_token_id is None:
                raise CheckpointError("the config has no decoder_start_token_id: the decoder cannot begin (T5: the pad token's id)")
            self.start = model.config.decoder_start_token_id
        elif "position_ids" not in takes:
            kind = model.config.model_type
            raise CheckpointError(f"models of type {kind!r} take no position_ids, which batches of unequal prompts need")

    def batch(self, size: int) -> Batch:
        """An empty batch for up to ``size`` rows."""
        return Batch(size=size, seq2seq=self.seq2seq, dtype=self.dtype, device=self.device)

    def read(self, prompts: Sequence[Sequence[int]]) -> list[Block]:
        """Read every prompt once; each is in one block, in the order given. No prompt is empty."""
        self.read_tokens += sum(map(len, prompts))
        blocks, group, longest = [], list[Sequence[int]](), 0
        for prompt in prompts:
            longest = max(longest, len(prompt))
            if group and longest * (len(group) + 1) > READ:
                blocks.append(self._read(group))
                group, longest = [], len(prompt)
            group.append(prompt)
        return [*blocks, self._read(group)] if group else blocks

    def step(self, batch: Batch, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Give each row of ``batch`` its next tokens [B][T]; the logits [B, T, V] after each of them.

        Where rows differ in T they are padded, which is good for one step only: what follows would see the padding.
        """
        columns = max(map(len, tokens))
        batch.reserve(columns)
        ids = torch.tensor([[*row, *[0] * (columns - len(row))] for row in tokens], device=self.device)
        options: dict[str, Any] = {"past_key_values": batch.cache, "use_cache": True}
        if self.seq2seq:
            # The sources' keys and values are in the cache; of the encoder's output only the fact that it is there matters.
            nothing = torch.zeros(1, 1, 1, dtype=self.dtype, device=self.device).expand(batch.n, 1, 1)
            logits = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=nothing),
                attention_mask=batch.source_mask(),
                decoder_input_ids=ids,
                decoder_attention_mask=batch.mask(columns),
                **options,
            ).logits
        else:
            # Padding stays at the position of the row's last token: the next one may be beyond the model's last.
            last = torch.tensor([len(row) - 1 for row in tokens])
            positions = batch.next[:, None] + torch.minimum(torch.arange(columns), last[:, None])
            logits = self.model(
                input_ids=ids, attention_mask=batch.mask(columns), position_ids=positions.to(self.device), **options
            ).logits
        batch.advance(columns)
        return logits  # type: ignore[no-any-return]

    def _read(self, prompts: list[Sequence[int]]) -> Block:
        return self._read_sources(prompts) if self.seq2seq else self._read_prompts(prompts)

    def _read_prompts(self, prompts: list[Sequence[int]]) -> Block:
        lengths = torch.tensor([len(p) for p in prompts])
        width = int(lengths.max())
        ids_UC = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=self.device)
        column = torch.arange(width)
        padded_UC = column < (width - lengths)[:, None]
        positions_UC = (column - (width - lengths)[:, None]).clamp(min=0).to(self.device)
        cache, logits = DynamicCache(), None
        for at in range(0, width, PIECE):
            end = min(at + PIECE, width)
            later = column[:end] > column[at:end, None]
            mask = additive(padded_UC[:, None, None, :end] | later, self.dtype).to(self.device)
            logits = self.model(
                input_ids=ids_UC[:, at:end],
                attention_mask=mask,
                position_ids=positions_UC[:, at:end],
                past_key_values=cache,
                use_cache=True,
                **self.last_only,
            ).logits
        assert logits is not None
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        return Block(lengths=lengths.tolist(), logits=logits[:, -1], layers=layers, sources=[], cross=[])

    def _read_sources(self, prompts: list[Sequence[int]]) -> Block:
        lengths = torch.tensor([len(p) for p in prompts])
        width = int(lengths.max())
        ids_US = torch.tensor([list(p) + [0] * (width - len(p)) for p in prompts], device=self.device)
        hidden = (torch.arange(width) >= lengths[:, None])[:, None, None, :]
        mask = additive(hidden, self.dtype).to(self.device)
        encoded = self.model.get_encoder()(input_ids=ids_US, attention_mask=mask)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.last_hidden_state),
            attention_mask=mask,
            decoder_input_ids=torch.full((len(prompts), 1), self.start, device=self.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        own, cross = (
            [(layer.keys, layer.values) for layer in c.layers] for c in (cache.self_attention_cache, cache.cross_attention_cache)
        )
        return Block(lengths=[1] * len(prompts), logits=logits[:, -1], layers=own, sources=lengths.tolist(), cross=cross)

    def prove(self) -> None:
        """Compare two ragged rows of a batch with the model's plain forward pass; CheckpointError where they differ.

        For families that the tests do not cover: positions counted from the padding, windows, recurrent states and the like
        would otherwise give wrong answers without a word.
        """
        size = self.model.get_input_embeddings().num_embeddings
        prompts = [[i * 7 % size for i in range(3, 6)], [i * 5 % size for i in range(2, 11)]]
        told = [[1 % size, 2 % size, 3 % size], [4 % size, 5 % size, 6 % size]]
        kind = self.model.config.model_type
        try:
            batch, (block,) = self.batch(2), self.read(prompts)
            batch.add(block, [0, 1])
            ours = torch.cat([self.step(batch, [t[:1] for t in told]), self.step(batch, [t[1:] for t in told])], dim=1).float()
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError) as error:
            raise CheckpointError(f"models of type {kind!r} cannot be decoded in batches here: {error}") from error
        self.read_tokens -= sum(map(len, prompts))
        for row, (prompt, said) in enumerate(zip(prompts, told, strict=True)):
            plain = self._plain(prompt, said).float()
            if float((ours[row] - plain).abs().max()) > 0.02 * float(plain.abs().max()):
                raise CheckpointError(f"models of type {kind!r} answer differently in a batch than alone: not supported")

    def _plain(self, prompt: list[int], said: list[int]) -> torch.Tensor:
        """Logits [T, V] after each token of ``said``, by one forward pass without cache, padding or mask."""
        if self.seq2seq:
            ids, told = torch.tensor([prompt], device=self.device), torch.tensor([[self.start, *said]], device=self.device)
            return self.model(input_ids=ids, decoder_input_ids=told).logits[0, 1:]  # type: ignore[no-any-return]
        logits = self.model(input_ids=torch.tensor([prompt + said], device=self.device), use_cache=False).logits
        return logits[0, len(prompt) :]  # type: ignore[no-any-return]
