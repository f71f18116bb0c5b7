"""The decoding loop: takes requests from a source and decodes them in rows until each has its reply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from understudy.core.asks import Finish, Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import Source
from understudy.engines.calculator import fill_value
from understudy.engines.local.draw import NotFiniteError, draw, uniform
from understudy.engines.local.prompts import Prompts
from understudy.engines.stops import StopStrings, find_stop


@dataclass(eq=False)
class DecodingRow:
    """One request and its reply so far. ``limit`` is the most tokens that it may have; ``stop`` strings and ``ends`` tokens end it.

    ``forced`` tokens come next, whatever is drawn. They are in ``tokens`` but not in ``logprobs``.
    """

    ticket: int
    request: Request
    prompt: tuple[int, ...]
    limit: int
    stop: tuple[str, ...]
    ends: frozenset[int]
    noise: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    finish: Finish | None = None

    def take(self, token: int, logprob: float, stops: StopStrings) -> None:
        """Append the drawn token, or a forced one instead, and decide whether the row is finished."""
        is_drawn = not self.forced
        self.tokens.append(token if is_drawn else self.forced.pop(0))
        if is_drawn:
            self.logprobs.append(logprob)
            if self.request.decoding.calculator and token not in self.ends and stops.has_equals(token):
                self._calculate(stops)
        if self.tokens[-1] in self.ends or (self.stop and stops.contains_stop(self.tokens, self.stop)):
            self.finish = "stop"
        elif len(self.tokens) >= self.limit:
            self.finish = "length"

    def _calculate(self, stops: StopStrings) -> None:
        """Force the value next if the last token wrote the "=" of a mark.

        The model has read nothing after that token yet, so a token that continues after the "=" (``=-``, ``=2``) can be taken back.
        """
        earlier, text = self.tokens[:-1], stops.text(self.tokens)
        # The bytes of an unfinished character may still change, so they do not count as text.
        filled = fill_value(text, len(stops.text(earlier).rstrip("\ufffd")))
        if filled is None or text.startswith(filled):
            return
        forced = stops.find_rest(self.tokens, filled)
        if forced is None and (forced := stops.find_rest(earlier, filled)):
            self.logprobs.pop()
            self.tokens[-1] = forced.pop(0)
        self.forced = forced or []

    def text_so_far(self, stops: StopStrings) -> str:
        """Return the text that is final: no half characters, and nothing that may be the beginning of a stop string."""
        text = stops.text(self.tokens).rstrip("\ufffd")
        return text[: max(0, len(text) + 1 - max(map(len, self.stop), default=1))]

    def reply(self, stops: StopStrings) -> Reply:
        """Return the reply of a finished row."""
        assert self.finish is not None
        text = stops.text(self.tokens[:-1] if self.tokens[-1] in self.ends else self.tokens)
        stop = find_stop(text, self.stop)
        return Reply(
            text=text[:stop],
            finish=self.finish if stop is None else "stop",
            tokens=len(self.logprobs),
            prompt_tokens=len(self.prompt),
            logprobs=tuple(self.logprobs),
        )


Admit = Callable[[Source, list[tuple[int, Request]]], list[DecodingRow]]


class DecodingLoop:
    """One run of the loop, ``size`` rows at once. ``admit`` turns waiting requests into rows, and itself answers those that need no
    row."""

    def __init__(self, source: Source, prompts: Prompts, stops: StopStrings, admit: Admit, *, size: int) -> None:
        self.source, self.prompts, self.stops, self.admit, self.size = source, prompts, stops, admit, size
        self.network = prompts.network
        self.rows = self.network.new_rows(size)
        self.live: list[DecodingRow] = []

    def run(self, waiting: list[tuple[int, Request]]) -> None:
        """Answer ``waiting`` and everything that follows, until no request waits and every row is finished."""
        self._join(self.admit(self.source, waiting))
        while self._refill():
            self._draw(self.live, self.network.step(self.rows, [[row.tokens[-1]] for row in self.live])[:, -1])
            self._give_finished()

    def _refill(self) -> bool:
        """Fill empty places, and tell whether any row is live."""
        # Wait until several places are empty: reading prompts one by one costs more than it saves.
        while not self.live or self.size - len(self.live) >= max(1, self.size // 8):
            waiting = self.source.take(self.size - len(self.live))
            if not waiting:
                break
            self._join(self.admit(self.source, waiting))
        return bool(self.live)

    def _join(self, rows: list[DecodingRow]) -> None:
        """Draw the first token of each new row from its prompt's logits, and add the unfinished rows to the live ones."""
        for block, positions in self.prompts.find([row.prompt for row in rows]):
            joining = [rows[position] for position, _ in positions]
            self._draw(joining, block.logits[torch.tensor([index for _, index in positions])])
            staying = [(row, index) for row, (_, index) in zip(joining, positions, strict=True) if not row.finish]
            if staying:
                self.rows.add(block, [index for _, index in staying])
                self.live += [row for row, _ in staying]
        for row in rows:
            if row.finish:
                self.source.give(row.ticket, row.reply(self.stops))

    def _draw(self, rows: Sequence[DecodingRow], logits_BV: torch.Tensor) -> None:
        """Draw the next token of every row from the logits after its last token."""
        temperature = np.array([row.request.decoding.temperature for row in rows])
        top_p = np.array([row.request.decoding.top_p for row in rows])
        u = uniform(np.array([row.noise for row in rows], np.uint64), np.array([len(row.tokens) for row in rows]))
        try:
            tokens, logprobs = draw(logits_BV, temperature=temperature, top_p=top_p, u=u)
        except NotFiniteError as error:
            row = rows[error.args[0]]
            raise not_finite(self.network.name, row.request, index=len(row.tokens)) from None
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            row.take(token, logprob, self.stops)
            if row.request.ask.hear is not None and not row.finish:
                row.request.ask.hear(row.text_so_far(self.stops))

    def _give_finished(self) -> None:
        finished = {index for index, row in enumerate(self.live) if row.finish}
        if not finished:
            return
        previous, order = self.live, reorder(len(self.live), finished)
        self.rows.keep(order)
        self.live = [previous[index] for index in order]
        for index in sorted(finished):
            self.source.give(previous[index].ticket, previous[index].reply(self.stops))


def not_finite(name: str, request: Request, *, index: int) -> EngineError:
    """Make the error for logits that are NaN or infinite at the token with index ``index`` of a reply."""
    return EngineError(
        f"{name}: the model's logits are not finite (NaN or infinity) at token {index + 1} of {describe_request(request)}; "
        "the checkpoint is damaged, its training diverged, or this precision is too low for it"
    )


def reorder(n: int, finished: set[int]) -> list[int]:
    """Order ``n`` rows without the ``finished`` ones: the last rows take the empty places, and all others stay."""
    remaining = n - len(finished)
    spare = [row for row in range(remaining, n) if row not in finished]
    return [spare.pop() if index in finished else index for index in range(remaining)]


def describe_request(request: Request) -> str:
    """Describe a request for a message: its problem if known, its path and the beginning of its prompt."""
    prompt = request.ask.prompt if isinstance(request.ask.prompt, str) else " / ".join(m.content for m in request.ask.prompt)
    short = prompt if len(prompt) <= 60 else prompt[:57] + "..."
    return (f"problem {request.problem!r}, " if request.problem else "") + f"path {request.path}, prompt {short!r}"
