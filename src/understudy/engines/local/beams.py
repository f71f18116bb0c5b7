"""Beam search with `generate` of the installed transformers, over requests that share their limit and their end tokens.

The score of a reply is the sum of its log-probabilities divided by its number of tokens (``length_penalty`` 1.0). A search ends
when no beam, at its present length, can beat the worst finished one (``early_stopping`` False). Both are the defaults of
transformers 5, to which SCoTD passes its NUM_BEAMS (arXiv 2306.14050, arguments.py of the authors' code). Like all other decoding
here, beam search ignores the rest of a checkpoint's generation_config, such as repetition penalties.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, StoppingCriteriaList

from understudy.core.values import grouped
from understudy.engines.local.forward import Network
from understudy.engines.local.loop import DecodingRow
from understudy.engines.local.prompts import Prompts, Tokens
from understudy.engines.stops import StopStrings

LOGITS = 2**26  # in memory at once: 256 MiB


def search(prompts: Prompts, stops: StopStrings, rows: Sequence[DecodingRow], *, size: int) -> None:
    """Give every row its tokens, their log-probabilities and its finish. At most ``size`` beams run at once, but always those of
    one row.

    If logits are not finite, a row has no finish, or log-probabilities that are not finite.
    """
    network = prompts.network
    network.model.generation_config = GenerationConfig()  # otherwise `generate` fills in the checkpoint's own options
    for group in _group(rows, size, network.read_limit):
        for row, tokens in zip(group, _generate(network, stops, group), strict=True):
            for token in tokens:
                if not row.finish:
                    row.take(token, 0.0, stops)
    scores = score(prompts, [(row.prompt, tuple(row.tokens)) for row in rows], size=size)
    for row, logprobs in zip(rows, scores, strict=True):
        row.logprobs = logprobs


def _group(rows: Sequence[DecodingRow], size: int, read_limit: int) -> Iterator[list[DecodingRow]]:
    """Group rows for `generate`: one call has one limit and one set of end tokens."""
    by_length = sorted(rows, key=lambda r: len(r.prompt))  # so that prompts read together need little padding
    compatible = grouped(((row.request.decoding.beams, row.limit, row.stop, row.ends), row) for row in by_length)
    for (beams, *_), remaining in compatible.items():
        while remaining:
            # `generate` reads a prompt once per beam.
            n = max(1, min(size // beams, read_limit // (beams * len(remaining[-1].prompt))))
            yield remaining[-n:]
            del remaining[-n:]


def _generate(network: Network, stops: StopStrings, rows: Sequence[DecodingRow]) -> list[list[int]]:
    """Return the best beam of each row, with whatever `generate` writes after its end."""
    first, pad = rows[0], min(rows[0].ends)
    side = "right" if network.seq2seq else "left"
    prompts = [torch.tensor(row.prompt) for row in rows]
    ids = pad_sequence(prompts, batch_first=True, padding_value=pad, padding_side=side)
    mask = pad_sequence([torch.ones_like(prompt) for prompt in prompts], batch_first=True, padding_side=side)
    start = 1 if network.seq2seq else ids.shape[1]

    def find_stopped(beams: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return torch.tensor([stops.contains_stop(beam, first.stop) for beam in beams[:, start:].tolist()], device=beams.device)

    out = network.model.generate(
        ids.to(network.device),
        attention_mask=mask.to(network.device),
        stopping_criteria=StoppingCriteriaList([find_stopped] if first.stop else []),
        generation_config=GenerationConfig(
            num_beams=first.request.decoding.beams,
            do_sample=False,
            length_penalty=1.0,
            early_stopping=False,
            max_new_tokens=first.limit,
            eos_token_id=sorted(first.ends),
            pad_token_id=pad,
            decoder_start_token_id=network.start,
        ),
    )
    return out[:, start:].tolist()  # type: ignore[no-any-return]


def score(prompts: Prompts, pairs: Sequence[tuple[Tokens, Tokens]], *, size: int) -> list[list[float]]:
    """Return the natural log-probability of each token of each text, for (prompt, text) ``pairs``, at most ``size`` rows at once.

    A log-probability is not finite where the model's logits are not.
    """
    scores: list[list[float]] = [[] for _ in pairs]
    for block, positions in prompts.find([prompt for prompt, _ in pairs]):
        waiting = sorted(((len(pairs[i][1]), i, index) for i, index in positions if pairs[i][1]), reverse=True)
        while waiting:
            longest = waiting[0][0]
            rows = max(1, min(size, LOGITS // (longest * block.logits.shape[1])))
            group, waiting = waiting[:rows], waiting[rows:]
            index = [index for *_, index in group]
            texts = [pairs[i][1] for _, i, _ in group]
            logits_BTV = block.logits[torch.tensor(index, device=prompts.network.device)][:, None]
            if longest > 1:
                decoding = prompts.network.new_rows(len(group))
                decoding.add(block, index)
                # A text of one token needs no step, so its row gets a token whose logits are ignored.
                logits_BTV = torch.cat([logits_BTV, prompts.network.step(decoding, [text[:-1] or (0,) for text in texts])], dim=1)
            target_BT = torch.tensor([list(text) + [0] * (longest - len(text)) for text in texts], device=prompts.network.device)
            # Row by row, because float32 copies of all rows would be large.
            for (length, i, _), logits_TV, target_T in zip(group, logits_BTV, target_BT, strict=True):
                scores[i] = (-torch.nn.functional.cross_entropy(logits_TV.float(), target_T, reduction="none"))[:length].tolist()
    return scores
