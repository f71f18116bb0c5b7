"""The two ways in which the decoding loop runs a model: it reads prompts, and it continues rows.

The loop always passes additive attention masks [B, 1, T, C] and positions. What `transformers` infers without them is silently
wrong for some families when rows are ragged. Legend: U prompts, B rows, T tokens, C columns, V vocabulary.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from understudy.core.errors import CheckpointError
from understudy.core.values import grouped
from understudy.engines.local.checkpoint import PROVEN
from understudy.engines.local.load import find_cache_argument
from understudy.engines.local.rows import Block, Rows, Start, build_mask

PIECE = 256  # columns of a prompt read at once: bounds the [U, H, T, C] attention scores, as `Prompts` bounds [U, C]


class Network:
    """A loaded model, called ``name`` in messages. Raises CheckpointError if it cannot be decoded in batches."""

    def __init__(self, model: Any, *, name: str) -> None:
        self.model, self.name = model, name
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.seq2seq = bool(model.config.is_encoder_decoder)
        parameters = inspect.signature(model.forward).parameters
        # Beware: with the number 1 the model slices a view of its states. To multiply a view in bfloat16 on a CPU, torch copies the
        # whole output layer for each prompt. An index tensor gives the states memory of their own.
        last = torch.tensor([-1], device=self.device)
        self.cache_argument = find_cache_argument(model)
        self.last_only: dict[str, Any] = {"logits_to_keep": last} if "logits_to_keep" in parameters else {}
        # Tokens of all prompts read at once, padding included: on a CPU, larger pieces spend their time on new memory.
        self.read_limit = 8192 if self.device.type == "cuda" else 2048
        # Others give the states of a beginning by what follows it: encoders, and positions whose scale depends on the length.
        scales = " ".join(str(getattr(module, "rope_type", "")) for module in model.modules())
        self.can_share = not self.seq2seq and "dynamic" not in scales and "longrope" not in scales
        # The token that a decoder with an encoder begins with.
        self.start: Any = getattr(model.config, "decoder_start_token_id", None) if self.seq2seq else None
        if self.seq2seq and self.start is None:
            raise CheckpointError(f"{name}: config.json has no decoder_start_token_id; set it (T5 uses the pad token's id)")
        if not self.seq2seq and "position_ids" not in parameters:
            raise self._unusable("take no position_ids, which batches of prompts of unequal length need")
        if model.config.model_type not in PROVEN:
            self._check_batches()

    def new_rows(self, size: int) -> Rows:
        """Return empty rows, with room for about ``size``."""
        return Rows(size=size, seq2seq=self.seq2seq, dtype=self.dtype, device=self.device)

    def read(self, prompts: Sequence[Sequence[int]], starts: Sequence[Start | None] = ()) -> Block:
        """Read prompts together, each once; of one that has a start, only what follows it. Beware: none may be empty."""
        return self._read_sources(prompts) if self.seq2seq else self._read_prompts(prompts, starts or [None] * len(prompts))

    def step(self, rows: Rows, tokens: Sequence[Sequence[int]]) -> torch.Tensor:
        """Give each of ``rows`` its next tokens [B][T] and return the logits [B, T, V] after each of them.

        Rows with fewer tokens are padded. Beware: no further step may follow, because it would see the padding.
        """
        columns = max(map(len, tokens))
        mask = rows.reserve(columns)
        ids = torch.tensor([[*row, *[0] * (columns - len(row))] for row in tokens], device=self.device)
        options: dict[str, Any] = {self.cache_argument: rows.cache, "use_cache": True}
        if self.seq2seq:
            # The cache has the sources' keys and values, so any encoder output will do.
            dummy = torch.zeros(1, 1, 1, dtype=self.dtype, device=self.device).expand(rows.n, 1, 1)
            options |= {"encoder_outputs": BaseModelOutput(last_hidden_state=dummy), "attention_mask": rows.source_mask()}
            options |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
        else:
            # Padding repeats the position of the row's last token, because the next position may be beyond the model's last.
            last = torch.tensor([len(row) - 1 for row in tokens])
            positions = rows.next[:, None] + torch.minimum(torch.arange(columns), last[:, None])
            options |= {"input_ids": ids, "attention_mask": mask, "position_ids": positions.to(self.device)}
        logits = self.model(**options).logits
        rows.advance(columns)
        return logits  # type: ignore[no-any-return]

    def _read_prompts(self, prompts: Sequence[Sequence[int]], starts: Sequence[Start | None]) -> Block:
        lengths = torch.tensor([len(p) for p in prompts])
        width = int(lengths.max())
        remaining = max(len(p) - (start.columns if start else 0) for p, start in zip(prompts, starts, strict=True))
        ids_UC = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=self.device)
        column = torch.arange(width)
        padded_UC = column < (width - lengths)[:, None]
        positions_UC = (column - (width - lengths)[:, None]).clamp(min=0).to(self.device)
        cache = self._copy_starts(starts, lengths - remaining, width - remaining)
        for first in range(width - remaining, width, PIECE):
            stop = min(first + PIECE, width)
            hidden = padded_UC[:, None, None, :stop] | (column[:stop] > column[first:stop, None])
            logits = self.model(
                input_ids=ids_UC[:, first:stop],
                attention_mask=build_mask(hidden.to(self.device), self.dtype),
                position_ids=positions_UC[:, first:stop],
                use_cache=True,
                **self.last_only | {self.cache_argument: cache},
            ).logits
        layers = [(layer.keys, layer.values) for layer in cache.layers]
        return Block(lengths=lengths.tolist(), logits=logits[:, -1], layers=layers, sources=[], cross=[])

    def _copy_starts(self, starts: Sequence[Start | None], copied: torch.Tensor, width: int) -> DynamicCache:
        """Make a cache of the first ``copied`` [U] columns of every start, right-aligned in ``width`` columns."""
        cache, copies = DynamicCache(), []
        blocks = grouped((start.block, (row, start.place)) for row, start in enumerate(starts) if start and copied[row] > 0)
        for block, pairs in blocks.items():
            rows, indices = torch.tensor(pairs).T
            first = block.layers[0][0].shape[2] - torch.tensor(block.lengths)[indices] - (width - copied[rows])
            columns = (first[:, None] + torch.arange(width)).clamp(min=0)  # what is padding in the new rows is masked
            copies.append((block, rows.to(self.device), indices[:, None].to(self.device), columns.to(self.device)))
        for index, pair in enumerate(copies[0][0].layers if copies else ()):
            buffers = [t.new_zeros(len(starts), t.shape[1], width, t.shape[3]) for t in pair]
            for block, row, prompt, column in copies:
                for states, read in zip(buffers, block.layers[index], strict=True):
                    states[row] = read[prompt, :, column].transpose(1, 2)
            cache.update(*buffers, index)
        return cache

    def _read_sources(self, prompts: Sequence[Sequence[int]]) -> Block:
        lengths = torch.tensor([len(p) for p in prompts])
        width = int(lengths.max())
        ids_US = torch.tensor([list(p) + [0] * (width - len(p)) for p in prompts], device=self.device)
        mask = build_mask((torch.arange(width) >= lengths[:, None])[:, None, None, :], self.dtype).to(self.device)
        encoded = self.model.get_encoder()(input_ids=ids_US, attention_mask=mask)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded.last_hidden_state),
            attention_mask=mask,
            decoder_input_ids=torch.full((len(prompts), 1), self.start, device=self.device),
            use_cache=True,
            **{self.cache_argument: cache},
        ).logits
        caches = cache.self_attention_cache, cache.cross_attention_cache
        layers, cross = ([(layer.keys, layer.values) for layer in part.layers] for part in caches)
        return Block(lengths=[1] * len(prompts), logits=logits[:, -1], layers=layers, sources=lengths.tolist(), cross=cross)

    def _check_batches(self) -> None:
        """Compare two ragged rows, of which the second joins later, with the model's plain forward pass, and raise CheckpointError
        if they differ.

        This protects families that no test covers. Positions counted from the padding or the cache, attention windows or recurrent
        states would otherwise give wrong answers silently.
        """
        size = self.model.get_input_embeddings().num_embeddings
        prompts = [[i * 7 % size for i in range(3, 6)], [i * 5 % size for i in range(2, 11)]]
        replies = [[1 % size, 2 % size, 3 % size], [4 % size, 5 % size]]
        try:
            rows, block = self.new_rows(2), self.read(prompts)
            rows.add(block, [0])
            self.step(rows, [replies[0][:1]])
            rows.add(block, [1])
            batch = torch.cat([self.step(rows, [[reply[i]] for reply in replies]) for i in (-2, -1)], dim=1).float()
        except (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError) as error:
            raise self._unusable(f"cannot be decoded in batches ({error})") from error
        for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)):
            plain = {"input_ids": prompt, "decoder_input_ids": [self.start, *reply]}
            if not self.seq2seq:
                plain = {"input_ids": prompt + reply}
            inputs = {name: torch.tensor([ids], device=self.device) for name, ids in plain.items()}
            expected = self.model(**inputs, use_cache=False).logits[0, -2:].float()
            if float((batch[row] - expected).abs().max()) > 0.02 * float(expected.abs().max()):
                raise self._unusable("answer differently in a batch than one by one")

    def _unusable(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.name}: models of type {self.model.config.model_type!r} {reason}; choose another model")
