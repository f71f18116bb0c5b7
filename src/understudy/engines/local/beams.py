"""Beam search: `generate` of the installed transformers, over the requests of a batch that end in the same way.

Its score of a reply is the sum of the log-probabilities over the number of its tokens (``length_penalty`` 1.0), and a search
ends when no beam can beat the worst finished one at its present length (``early_stopping`` False): the defaults of
transformers 5, which is where SCoTD's NUM_BEAMS goes (arXiv 2306.14050, arguments.py of the authors' code). Whatever else a
checkpoint's generation_config asks for (repetition penalties and the like) is left out, as in all other decoding here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from understudy.engines.local.forward import READ, Network
from understudy.engines.local.loop import Row
from understudy.engines.local.prompts import Prompts
from understudy.engines.local.score import score
from understudy.engines.stops import StopStrings


def search(network: Network, prompts: Prompts, stops: StopStrings, rows: Sequence[Row], *, size: int) -> None:
    """Give every row its tokens, their log-probabilities and its finish; at most ``size`` beams at once, and one row's at least.

    Logits that are not finite leave a row without a finish, or with log-probabilities that are not finite.
    """
    network.model.generation_config = GenerationConfig()  # what `generate` is not told it would take from the checkpoint's
    for group in _groups(rows, size):
        for row, tokens in zip(group, _generate(network, stops, group), strict=True):
            for token in tokens:
                if not row.finish:
                    row.take(token, 0.0, stops)
    scored = score(network, prompts, [(row.prompt, tuple(row.tokens)) for row in rows], size=size)
    for row, logprobs in zip(rows, scored, strict=True):
        row.logprobs = logprobs


def _groups(rows: Sequence[Row], size: int) -> Iterator[list[Row]]:
    """Rows that one call of `generate` can answer: it knows one limit and one set of ends."""
    alike: dict[Any, list[Row]] = {}
    for row in sorted(rows, key=lambda r: len(r.prompt)):  # so that prompts read together need little padding
        alike.setdefault((row.request.decoding.beams, row.limit, row.stop, row.ends), []).append(row)
    for (beams, *_), left in alike.items():
        while left:
            # `generate` reads a prompt once for each of its beams.
            n = max(1, min(size // beams, READ // (beams * len(left[-1].prompt))))
            yield left[-n:]
            del left[-n:]


def _generate(network: Network, stops: StopStrings, rows: Sequence[Row]) -> list[list[int]]:
    """The best beam of each row, with whatever `generate` puts after its end."""
    width, first = max(len(row.prompt) for row in rows), rows[0]
    pad = min(first.ends)
    ids, seen = [], []
    for row in rows:
        padding, prompt, ones = [pad] * (width - len(row.prompt)), list(row.prompt), [1] * len(row.prompt)
        zeros = [0] * len(padding)
        ids.append(prompt + padding if network.seq2seq else padding + prompt)
        seen.append(ones + zeros if network.seq2seq else zeros + ones)
    begun = 1 if network.seq2seq else width
    out = network.model.generate(
        torch.tensor(ids, device=network.device),
        attention_mask=torch.tensor(seen, device=network.device),
        stopping_criteria=StoppingCriteriaList([_Stopped(stops, first.stop, begun)] if first.stop else []),
        generation_config=GenerationConfig(
            num_beams=first.request.decoding.beams,
            do_sample=False,
            length_penalty=1.0,
            early_stopping=False,
            max_new_tokens=first.limit,
            eos_token_id=sorted(first.ends),
            pad_token_id=pad,
            decoder_start_token_id=network.start if network.seq2seq else None,
        ),
    )
    return out[:, begun:].tolist()  # type: ignore[no-any-return]


class _Stopped(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Ends a beam whose text, from its ``begun``-th token on, holds a stop string."""

    def __init__(self, stops: StopStrings, stop: tuple[str, ...], begun: int) -> None:
        self.stops, self.stop, self.begun = stops, stop, begun

    def __call__(self, input_ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        ended = [self.stops.ended(beam, self.stop) for beam in input_ids[:, self.begun :].tolist()]
        return torch.tensor(ended, device=input_ids.device)
