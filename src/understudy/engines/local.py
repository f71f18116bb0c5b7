"""The local engine: a checkpoint directory that plain `transformers` loads, and our own decoding loop over its forward pass.

    engine = TransformersEngine("runs/demo/students/scotd")
    engine.serve(source)          # answers everything that the source has

What the loop does, and why it is not `generate` (DESIGN sections 5 and 6):

- A prompt is read once for all paths of its problem, and its keys and values are copied to them (`prompts`).
- The batch stays full: a row that ends gives its place up at once, and new rows join while the others go on (`decoding`,
  `batch`).
- A row draws from noise of its own, so what it says does not depend on its batch (`draw`).
- Rows stop on their own stop strings, limits and end tokens (`stops`).
- The log-probability of every token comes with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path as FilePath
from typing import Literal

import torch

from understudy.core.asks import Call, Prompt, Reply, Request, Score
from understudy.core.errors import CheckpointError, EngineError
from understudy.core.protocols import Source
from understudy.core.tokens import encode_messages, encode_source, encode_text
from understudy.engines import loading
from understudy.engines.decoding import Decoding, Row, describe
from understudy.engines.forward import PROVEN, Network
from understudy.engines.prompts import Prompts, Tokens
from understudy.engines.scoring import score
from understudy.engines.stops import StopStrings

ROWS = 256  # more rows than this made nothing faster on a CPU
CACHE_BYTES = 2**30  # of keys and values: with COLUMNS, the default number of rows
COLUMNS = 256
KEPT_BYTES = 2**26  # of prompts already read, kept for paths that come later


class TransformersEngine:
    """Answers `Call` and `Score` with the causal or sequence-to-sequence checkpoint in ``directory`` (a `LocalEngine`).

    ``dtype``: precision of weights and arithmetic; "bfloat16" is another model with an identity of its own. ``batch_size``:
    rows decoded together; None means as many as fit in 1 GiB of keys and values at 256 columns, 256 at most. Replies do not
    depend on it, except where rounding decides (in float32: top two logits closer than 1e-3). ``seed``: of sampled replies.

    A raw prompt is tokenised as training does it (`core.tokens`); messages go through the tokenizer's chat template. A reply
    ends with the end token, a stop string, ``max_tokens``, or a full context (``finish`` "length"). A `Score` reply has the
    log-probabilities of the text's own tokens, without an end token; its ``tokens`` counts them.

    Raises CheckpointError at once where the directory, its config or its tokenizer cannot be used, and at the first request
    where the weights cannot: they are loaded only then. `serve` raises EngineError for a prompt that is empty or has no room
    in the context, for messages without a chat template, and for logits that are not finite.
    """

    def __init__(
        self,
        directory: str | FilePath,
        *,
        dtype: Literal["float32", "bfloat16"] = "float32",
        batch_size: int | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if dtype not in loading.DTYPES:
            raise CheckpointError(f"dtype {dtype!r} is not one of {', '.join(loading.DTYPES)}")
        if batch_size is not None and batch_size < 1:
            raise CheckpointError(f"batch_size {batch_size} is not a positive number of rows")
        self.directory = FilePath(directory)
        loading.look_at(self.directory)
        self.config = loading.load_config(self.directory)
        self.tokenizer = loading.load_tokenizer(self.directory)
        self.dtype, self.seed, self.device = dtype, seed, device
        self.batch_size = batch_size or self._rows_that_fit()
        self.context = loading.context_length(self.config)
        self.stops = StopStrings(self.tokenizer)
        self._encode = lru_cache(maxsize=4096)(self._encode_prompt)

    @cached_property
    def identity(self) -> str:
        """Hash of config, weights, tokenizer files and precision."""
        return loading.identity(self.directory, self.dtype)

    @property
    def capabilities(self) -> frozenset[str]:
        return frozenset({"n", "logprobs", "score", "seed", "stop"})

    @property
    def read_tokens(self) -> int:
        """Prompt tokens that the model was shown so far: those of a prompt count once, however many paths it has."""
        return self._network.read_tokens

    @torch.inference_mode()
    def serve(self, source: Source) -> None:
        """Answer everything that ``source`` has (`LocalEngine.serve`)."""

        def admit(waiting: list[tuple[int, Request]]) -> list[Row]:
            self._score(source, [(ticket, request) for ticket, request in waiting if isinstance(request.ask, Score)])
            return [self._row(ticket, request) for ticket, request in waiting if isinstance(request.ask, Call)]

        first = _Peeked(source)
        if not first.look():
            return
        Decoding(
            first,
            network=self._network,
            prompts=self._prompts,
            stops=self.stops,
            size=self.batch_size,
            admit=admit,
            name=str(self.directory),
        ).run()
