"""The local engine: a checkpoint that plain `transformers` loads, and this project's own decoding loop over its forward pass.

    engine = TransformersEngine("runs/demo/students/scotd")
    engine.serve(source)          # answers every request of the source

The loop does what `generate` does not (docs/decoding.md):

- It reads a prompt once for all paths of its problem, and copies its keys and values to them (`prompts`).
- It keeps its rows busy: a row that ends frees its place at once, and new rows join while the others continue (`loop`, `rows`).
- Each row draws from its own noise, so a reply does not depend on the other rows (`draw`).
- Each row has its own stop strings, limit and end tokens (`stops`).
- It returns the log-probability of every token.

Beam search is the exception: `generate` does it (`beams`).
"""

import math
from functools import cached_property, lru_cache, partial
from itertools import takewhile
from pathlib import Path

import torch

from understudy.core.asks import Decoding, Request
from understudy.core.errors import EngineError, TooLongError
from understudy.core.protocols import Source
from understudy.core.tokens import encode_prompt, encode_text
from understudy.engines.local import load as loading
from understudy.engines.local.beams import search
from understudy.engines.local.checkpoint import check_checkpoint, count_weights, hash_files
from understudy.engines.local.device import Precision
from understudy.engines.local.forward import Network
from understudy.engines.local.loop import DecodingLoop, DecodingRow, describe_request, not_finite
from understudy.engines.local.memory import is_out_of_memory, trim_memory
from understudy.engines.local.prompts import Prompts, Tokens
from understudy.engines.stops import StopStrings

ROWS = 256  # more rows were no faster on a CPU
COLUMNS = 256  # the default number of rows is how many have room with so many


class TransformersEngine:
    """A `LocalEngine` over the causal or sequence-to-sequence checkpoint in ``directory``.

    ``dtype`` is the precision of weights and arithmetic; with "bfloat16" the model has another identity. ``batch_size`` is the
    number of rows that are decoded together. None means as many as fit in 1 GiB of keys and values at 256 columns, and at most
    256. With CUDA the memory is two fifths of what the weights leave free, and it limits ``batch_size``, too. Replies do not depend
    on it, except where rounding decides (in float32: the top two logits differ by less than 1e-3). ``seed``: of sampled replies.

    A raw prompt becomes tokens as in training (`core.tokens`); messages go through the tokenizer's chat template. A reply ends with
    the end token, a stop string, ``max_tokens``, or a full context (``finish`` "length").

    Raises CheckpointError at once if the directory, its config or its tokenizer is unusable, and at the first request if the
    weights are, because they are loaded only then. An empty prompt, a prompt that leaves no room in the context, messages without a
    chat template and impossible decoding options fail only their own request. `serve` raises EngineError for logits that are not
    finite.
    """

    def __init__(
        self, directory: Path, *, dtype: Precision = "float32", batch_size: int | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.directory = Path(directory)
        check_checkpoint(self.directory)
        self.config = loading.load_config(self.directory)
        self.tokenizer = loading.load_tokenizer(self.directory)
        self.dtype, self.seed, self.device = dtype, seed, device
        self.batch_size = batch_size if batch_size and device != "cuda" else self._fit_rows(batch_size or ROWS)
        self.context = loading.find_context(self.config)
        self.stops = StopStrings(self.tokenizer)
        # Not of a method: it would keep the engine, and its weights.
        self.encode = lru_cache(maxsize=4096)(partial(encode_prompt, self.tokenizer, seq2seq=self.config.is_encoder_decoder))

    @cached_property
    def identity(self) -> str:
        """The hash of config, weights, tokenizer files and precision."""
        return hash_files(self.directory, self.dtype)

    def load(self) -> None:
        """Load the weights now, not at the first request."""
        self._prompts  # noqa: B018 - it is loaded when it is looked at

    @torch.inference_mode()
    def serve(self, source: Source) -> None:
        """Answer every request of ``source`` (`LocalEngine.serve`). When memory runs out, unanswered requests begin again with half
        as many rows. Raises EngineError if memory does not suffice for one row."""
        while waiting := source.take(self.batch_size):
            try:
                DecodingLoop(source, self._prompts, self.stops, self._admit, size=self.batch_size).run(waiting)
                continue
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.batch_size == 1:
                    raise self._out_of_memory("one request was answered") from error
            # Outside `except`, because its error keeps alive what did not fit.
            self.batch_size //= 2
            del self._prompts
            trim_memory()
            source.begin_again()

    @torch.inference_mode()
    def score(self, text: Tokens) -> torch.Tensor:
        """Return the natural log-probabilities [T, V] of what may follow each token of ``text``; causal models only. Raises
        TooLongError if the text is longer than the context."""
        if self.context is not None and len(text) > self.context:
            raise TooLongError(f"{self.directory}: the text has {len(text)} tokens, the model's context only {self.context}")
        ids = torch.tensor([text], device=self.device)
        return self._network.model(input_ids=ids, use_cache=False).logits[0].float().log_softmax(-1)  # type: ignore[no-any-return]

    @cached_property
    def _network(self) -> Network:
        try:
            model = loading.load_model(self.directory, self.config, self.tokenizer, dtype=self.dtype, device=self.device)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory("its weights were loaded") from error
        self._ends = loading.find_end_tokens(model, self.tokenizer)
        return Network(model, name=str(self.directory))

    def _out_of_memory(self, activity: str) -> EngineError:
        return EngineError(
            f'{self.directory}: out of memory while {activity}: use a smaller model, "bfloat16" or a device with more memory, or '
            "run fewer stages at once (--workers 1)"
        )

    @cached_property
    def _prompts(self) -> Prompts:
        return Prompts(self._network)

    def _admit(self, source: Source, waiting: list[tuple[int, Request]]) -> list[DecodingRow]:
        """Make rows of ``waiting`` requests. Beam searches are answered at once, and impossible requests fail."""
        rows: list[DecodingRow] = []
        searches: list[DecodingRow] = []
        for ticket, request in waiting:
            try:
                (searches if request.decoding.beams > 1 else rows).append(self._make_row(ticket, request))
            except EngineError as error:
                source.fail(ticket, type(error)(f"{self.directory}: {describe_request(request)}: {error}"))
        if searches:
            self._search(source, searches)
        return rows

    def _make_row(self, ticket: int, request: Request) -> DecodingRow:
        """Make the row of a request. Raises EngineError if it cannot be answered."""
        ask, decoding = request.ask, request.decoding
        compatible = decoding.beams == 1 or decoding == Decoding(beams=decoding.beams)
        in_range = ask.max_tokens >= 1 and 0 <= decoding.temperature < math.inf and 0 < decoding.top_p <= 1 <= decoding.beams
        if not (compatible and in_range):
            raise EngineError(
                f"max_tokens = {ask.max_tokens}, {decoding}: max_tokens and beams must be 1 or more, "
                "temperature 0 or more, top_p above 0 and at most 1; beam search needs temperature 0, top_p 1, no calculator"
            )
        prompt, beginning = self.encode(ask.prompt), encode_text(self.tokenizer, request.begun)
        if not prompt:
            raise EngineError("the prompt has no tokens; it needs at least one")
        columns = 1 if self.config.is_encoder_decoder else len(prompt)  # the decoder's positions that the prompt takes
        room = math.inf if self.context is None else self.context - columns
        if room <= 0:
            raise TooLongError(
                f"the prompt has {len(prompt)} tokens, the model's context only {self.context}, which leaves no room for a reply; "
                "shorten the prompt (fewer exemplars?) or use another model"
            )
        if room <= len(beginning):
            raise TooLongError("the reply's given beginning fills the context")
        stop, special = self.stops.split(ask.stop)
        return DecodingRow(
            ticket=ticket,
            request=request,
            prompt=prompt,
            limit=int(min(ask.max_tokens + len(beginning), room)),
            stop=stop,
            ends=self._ends | special,
            noise=request.noise(self.seed) if decoding.temperature else 0,
            forced=beginning,
        )

    def _search(self, source: Source, rows: list[DecodingRow]) -> None:
        search(self._prompts, self.stops, rows, size=self.batch_size)
        for row in rows:
            if row.finish is None or not all(map(math.isfinite, row.logprobs)):
                raise not_finite(self._network.name, row.request, index=len(list(takewhile(math.isfinite, row.logprobs))))
            source.give(row.ticket, row.reply(self.stops))

    def _fit_rows(self, limit: int) -> int:
        """Count the rows of COLUMNS columns, ``limit`` at most, whose keys and values fit into the memory for them."""
        text = self.config.get_text_config(decoder=True)
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        # Not the attribute, which raises for a model whose layers differ (Gemma 4): that of most layers.
        head_size = text.to_dict().get("head_dim") or getattr(text, "d_kv", None) or text.hidden_size // text.num_attention_heads
        layers = getattr(text, "num_decoder_layers", None) or text.num_hidden_layers
        item_size = getattr(torch, self.dtype).itemsize
        row: int = 2 * layers * heads * head_size * COLUMNS * item_size
        cache = 2**30  # bytes of keys and values
        if self.device == "cuda":
            trim_memory()  # what an earlier engine left
            cache = int(0.4 * (torch.cuda.mem_get_info()[0] - sum(count_weights(self.directory).values()) * item_size))
        return max(1, min(limit, cache // row))
