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

Beam search is the exception: it is `generate`'s own (`beams`).
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache, partial
from itertools import takewhile
from pathlib import Path as FilePath
from typing import Literal

import torch

from understudy.core.asks import Call, Prompt, Reply, Request
from understudy.core.asks import Decoding as Settled
from understudy.core.errors import CheckpointError, EngineError, TooLongError
from understudy.core.protocols import Source
from understudy.core.tokens import encode_messages, encode_source, encode_text
from understudy.engines.local import load as loading
from understudy.engines.local.beams import search
from understudy.engines.local.checkpoint import identity, look_at
from understudy.engines.local.forward import PROVEN, Network
from understudy.engines.local.loop import Decoding, Row, describe, not_finite
from understudy.engines.local.prompts import Prompts, Tokens
from understudy.engines.local.score import score
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
    where the weights cannot: they are loaded only then. A prompt that is empty or has no room in the context, messages without
    a chat template and impossible decoding options fail their own request; `serve` raises EngineError for logits that are not
    finite.
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
        look_at(self.directory)
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
        return identity(self.directory, self.dtype)

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

        waiting = source.take(self.batch_size)
        if not waiting:
            return
        Decoding(
            source,
            network=self._network,
            prompts=self._prompts,
            stops=self.stops,
            size=self.batch_size,
            admit=partial(self._admit, source),
            name=str(self.directory),
        ).run(waiting)

    @cached_property
    def _network(self) -> Network:
        model = loading.load_model(self.directory, self.config, self.tokenizer, dtype=self.dtype, device=self.device)
        self._ends = loading.end_tokens(model, self.tokenizer)
        try:
            network = Network(model, device=self.device)
            if self.config.model_type not in PROVEN:
                with torch.inference_mode():
                    network.prove()
        except CheckpointError as error:
            raise CheckpointError(f"{self.directory}: {error}") from error
        return network

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self._network, limit=KEPT_BYTES)

    def _admit(self, source: Source, waiting: list[tuple[int, Request]]) -> list[Row]:
        """Rows for the calls that wait; scores and beam searches among them are answered at once, what cannot be is failed."""
        rows: list[Row] = []
        searches: list[Row] = []
        scores = []
        for ticket, request in waiting:
            try:
                if isinstance(request.ask, Call):
                    (searches if request.decoding.beams > 1 else rows).append(self._row(ticket, request))
                else:
                    text = tuple(encode_text(self.tokenizer, request.ask.text))
                    scores.append((ticket, request, self._tokens(request, more=len(text)), text))
            except EngineError as error:
                source.fail(ticket, error)
        if scores:
            self._score(source, scores)
        if searches:
            self._search(source, searches)
        return rows

    def _row(self, ticket: int, request: Request) -> Row:
        ask, decoding = request.ask, request.decoding
        assert isinstance(ask, Call)
        if ask.max_tokens < 1:
            raise EngineError(f"{describe(request)}: max_tokens {ask.max_tokens} leaves nothing to say; give 1 or more")
        if not 0 <= decoding.temperature < math.inf:
            raise EngineError(f"{describe(request)}: temperature {decoding.temperature} is not a number from 0 on")
        if not 0 < decoding.top_p <= 1:
            raise EngineError(f"{describe(request)}: top_p {decoding.top_p} is not above 0 and at most 1")
        if decoding.beams < 1 or (decoding.beams > 1 and decoding != Settled(beams=decoding.beams)):
            raise EngineError(
                f"{describe(request)}: {decoding}: at least 1 beam; beam search needs temperature 0, top_p 1 and no calculator"
            )
        prompt = self._tokens(request, more=1)
        stop, special = self.stops.split(ask.stop)
        return Row(
            ticket=ticket,
            request=request,
            prompt=prompt,
            limit=ask.max_tokens if self.context is None else min(ask.max_tokens, self.context - self._columns(prompt)),
            stop=stop,
            ends=self._ends | special,
            noise=request.noise(self.seed) if decoding.temperature else 0,
        )

    def _score(self, source: Source, waiting: list[tuple[int, Request, Tokens, Tokens]]) -> None:
        pairs = [(prompt, text) for _, _, prompt, text in waiting]
        logprobs = score(self._network, self._prompts, pairs, size=self.batch_size)
        for (ticket, request, prompt, text), said in zip(waiting, logprobs, strict=True):
            if not all(map(math.isfinite, said)):
                raise not_finite(str(self.directory), request, at=len(list(takewhile(math.isfinite, said))))
            source.give(ticket, Reply("", tokens=len(text), prompt_tokens=len(prompt), logprobs=tuple(said)))

    def _search(self, source: Source, rows: list[Row]) -> None:
        search(self._network, self._prompts, self.stops, rows, size=self.batch_size)
        for row in rows:
            if row.finish is None or not all(map(math.isfinite, row.logprobs)):
                raise not_finite(str(self.directory), row.request, at=len(list(takewhile(math.isfinite, row.logprobs))))
            source.give(row.ticket, row.reply(self.stops))

    def _tokens(self, request: Request, *, more: int) -> Tokens:
        """The prompt's tokens. Raises EngineError where there are none, or no room for ``more`` after them."""
        try:
            prompt = self._encode(request.ask.prompt)
        except EngineError as error:
            raise EngineError(f"{self.directory}: {describe(request)}: {error}") from error
        if not prompt:
            raise EngineError(f"{self.directory}: {describe(request)}: the prompt has no tokens; ask with at least one")
        if self.context is not None and self._columns(prompt) + more > self.context:
            raise TooLongError(
                f"{self.directory}: {describe(request)}: {len(prompt)} tokens of prompt and {more} more do not fit into the "
                f"model's context of {self.context}; shorten the prompt (fewer exemplars?) or take another model"
            )
        return prompt

    def _columns(self, prompt: Tokens) -> int:
        """Decoder positions that the prompt takes."""
        return 1 if self.config.is_encoder_decoder else len(prompt)

    def _encode_prompt(self, prompt: Prompt) -> Tokens:
        if isinstance(prompt, str):
            return tuple(encode_source(self.tokenizer, prompt, seq2seq=self.config.is_encoder_decoder))
        return tuple(encode_messages(self.tokenizer, prompt))

    def _rows_that_fit(self) -> int:
        """Rows whose keys and values of COLUMNS columns fit into CACHE_BYTES."""
        text = self.config.get_text_config(decoder=True)
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        layers = getattr(text, "num_decoder_layers", None) or text.num_hidden_layers
        row: int = 2 * layers * heads * size * COLUMNS * loading.DTYPES[self.dtype].itemsize
        return max(1, min(ROWS, CACHE_BYTES // row))
