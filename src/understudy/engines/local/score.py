"""The log-probabilities of given texts after given prompts, by teacher forcing."""

from collections.abc import Sequence

import torch

from understudy.engines.local.forward import Network
from understudy.engines.local.prompts import Prompts, Tokens

LOGITS = 2**26  # in memory at once: 256 MiB


def score(network: Network, prompts: Prompts, pairs: Sequence[tuple[Tokens, Tokens]], *, size: int) -> list[list[float]]:
    """The natural log-probability of each token of each text, for (prompt, text) ``pairs``, at most ``size`` rows at once.

    A log-probability is not finite where the model's logits are not.
    """
    scores: list[list[float]] = [[] for _ in pairs]
    for block, places in prompts.find([prompt for prompt, _ in pairs]):
        waiting = sorted(((len(pairs[place][1]), place, index) for place, index in places if pairs[place][1]), reverse=True)
        while waiting:
            longest = waiting[0][0]
            rows = max(1, min(size, LOGITS // (longest * block.logits.shape[1])))
            group, waiting = waiting[:rows], waiting[rows:]
            index = [index for *_, index in group]
            texts = [pairs[place][1] for _, place, _ in group]
            logits_BTV = block.logits[torch.tensor(index, device=network.device)][:, None]
            if longest > 1:
                decoding = network.new_rows(len(group))
                decoding.add(block, index)
                # A text of one token needs no step: its row gets a token whose logits are ignored.
                logits_BTV = torch.cat([logits_BTV, network.step(decoding, [text[:-1] or (0,) for text in texts])], dim=1)
            target_BT = torch.tensor([list(text) + [0] * (longest - len(text)) for text in texts], device=network.device)
            # Row by row, because float32 copies of all rows would be large.
            for (length, place, _), logits_TV, target_T in zip(group, logits_BTV, target_BT, strict=True):
                loss_T = torch.nn.functional.cross_entropy(logits_TV.float(), target_T, reduction="none")
                scores[place] = (-loss_T[:length]).tolist()
    return scores
