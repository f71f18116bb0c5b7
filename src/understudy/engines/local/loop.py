"""The decoding loop: rows of one batch, from a source of requests to their replies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from understudy.core.asks import Finish, Reply, Request
from understudy.core.errors import EngineError
from understudy.core.protocols import Source
from understudy.engines.calculator import filled
from understudy.engines.local.draw import NotFiniteError, draw, uniform
from understudy.engines.local.forward import Network
from understudy.engines.local.prompts import Prompts
from understudy.engines.stops import StopStrings, cut


@dataclass(eq=False)
class Row:
    """One request under way. ``limit``: most tokens it may have. ``stop``, ``ends``: strings and tokens that end it.

    ``forced``: tokens that come next, whatever is drawn; they are in ``tokens`` and not in ``logprobs``.
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
        """Append what was drawn, or what is forced instead, and see whether the row is done."""
        if self.forced:
            token = self.forced.pop(0)
            self.tokens.append(token)
        else:
            self.tokens.append(token)
            self.logprobs.append(logprob)
            if self.request.decoding.calculator and token not in self.ends and stops.has_equals(token):
                self._calculate(stops)
                token = self.tokens[-1]
        if token in self.ends or (self.stop and stops.ended(self.tokens, self.stop)):
            self.finish = "stop"
        elif len(self.tokens) >= self.limit:
            self.finish = "length"

    def _calculate(self, stops: StopStrings) -> None:
        """Where the last token wrote the "=" of a mark, see to it that the value comes next.

        Nothing was read after that token yet, so one that goes on behind the "=" (``=-``, ``=2``) can be taken back.
        """
        drawn, text = self.tokens[:-1], stops.text(self.tokens)
        whole = filled(text, len(stops.text(drawn).rstrip("\ufffd")))  # bytes of which there are more to come may still change
        if whole is None or text.startswith(whole):
            return
        for kept in (self.tokens, drawn):
            forced = stops.rest(kept, whole)
            if forced is not None:
                if kept is drawn:
                    self.tokens.pop()
                    self.logprobs.pop()
                    self.tokens.append(forced.pop(0))
                self.forced = forced
                return

    def reply(self, stops: StopStrings) -> Reply:
        """The reply of a row that is done."""
        assert self.finish is not None
        ended = self.tokens[-1] in self.ends
        text = stops.text(self.tokens[:-1] if ended else self.tokens)
        at = cut(text, self.stop)
        return Reply(
            text=text[:at],
            finish=self.finish if at is None else "stop",
            tokens=len(self.logprobs),
            prompt_tokens=len(self.prompt),
            logprobs=tuple(self.logprobs),
        )


class Decoding:
    """One run of the loop. ``admit`` turns waiting requests into rows, answering by itself those that are no `Call`."""

    def __init__(
        self,
        source: Source,
        *,
        network: Network,
        prompts: Prompts,
        stops: StopStrings,
        size: int,
        admit: Callable[[list[tuple[int, Request]]], list[Row]],
        name: str,
    ) -> None:
        self.source, self.network, self.prompts, self.stops = source, network, prompts, stops
        self.size, self.admit, self.name = size, admit, name
        self.rows: list[Row] = []
        self.batch = network.batch(size)

    def run(self, waiting: list[tuple[int, Request]]) -> None:
        """Answer ``waiting``, and go on until nothing waits and no row is unfinished."""
        self._join(self.admit(waiting))
        while self._refill():
            logits_BV = self.network.step(self.batch, [[row.tokens[-1]] for row in self.rows])[:, -1]
            self._draw(self.rows, logits_BV)
            self._give_ended()

    def _refill(self) -> bool:
        """Fill empty places; whether there is any row under way."""
        # A few places are collected before they are filled: reading prompts one by one costs more than it saves.
        while not self.rows or self.size - len(self.rows) >= max(1, self.size // 8):
            waiting = self.source.take(self.size - len(self.rows))
            if not waiting:
                break
            self._join(self.admit(waiting))
        return bool(self.rows)

    def _join(self, new: list[Row]) -> None:
        """Draw the first token of each new row from its prompt's logits, and add to the batch those that go on."""
        for block, places in self.prompts.find([row.prompt for row in new]):
            joining = [new[place] for place, _ in places]
            self._draw(joining, block.logits[torch.tensor([index for _, index in places])])
            staying = [(row, index) for row, (_, index) in zip(joining, places, strict=True) if not row.finish]
            if staying:
                self.batch.add(block, [index for _, index in staying])
                self.rows += [row for row, _ in staying]
        for row in new:
            if row.finish:
                self._give(row)

    def _draw(self, rows: Sequence[Row], logits_BV: torch.Tensor) -> None:
        """The next token of every row, from the logits after its last."""
        temperature = np.array([row.request.decoding.temperature for row in rows])
        top_p = np.array([row.request.decoding.top_p for row in rows])
        u = np.zeros(len(rows))
        if temperature.any():
            u = uniform(np.array([row.noise for row in rows], np.uint64), np.array([len(row.tokens) for row in rows]))
        try:
            tokens, logprobs = draw(logits_BV, temperature=temperature, top_p=top_p, u=u)
        except NotFiniteError as error:
            row = rows[error.row]
            raise not_finite(self.name, row.request, at=len(row.tokens)) from None
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            row.take(token, logprob, self.stops)

    def _give_ended(self) -> None:
        ended = [row for row in self.rows if row.finish]
        if not ended:
            return
        order = without(len(self.rows), {place for place, row in enumerate(self.rows) if row.finish})
        self.batch.keep(order)
        self.rows = [self.rows[place] for place in order]
        for row in ended:
            self._give(row)

    def _give(self, row: Row) -> None:
        self.source.give(row.ticket, row.reply(self.stops))


def not_finite(name: str, request: Request, *, at: int) -> EngineError:
    """What to raise where the logits of the token at index ``at`` of a reply are NaN or infinite."""
    return EngineError(
        f"{name}: the model's logits are not finite (NaN or infinity) at token {at + 1} of {describe(request)}; "
        "the checkpoint is damaged, its training diverged, or this precision is too low for it"
    )


def without(n: int, ended: set[int]) -> list[int]:
    """The order in which ``n`` rows go on without ``ended``: the last rows take the empty places, all others stay."""
    left = n - len(ended)
    spare = [row for row in range(left, n) if row not in ended]
    return [spare.pop() if place in ended else place for place in range(left)]


def describe(request: Request) -> str:
    """Name a request in a message: its problem where it is known, and the beginning of its prompt."""
    prompt = request.ask.prompt if isinstance(request.ask.prompt, str) else " / ".join(m.content for m in request.ask.prompt)
    short = prompt if len(prompt) <= 60 else prompt[:57] + "..."
    problem = f"problem {request.ask.about.problem!r}, " if request.ask.about else ""
    return f"{problem}path {request.path}, prompt {short!r}"
