"""Drawing the next token: one uniform number per row and position, and one inverse CDF over the vocabulary.

A row's noise is a counter-based hash of (the row's 64 bits, position). So a row draws the same tokens whatever the other rows, the
order and the device, and two students that answer the same request share their noise.

Over 50k logits, on one core, `torch.multinomial` costs 1.0 ms a row and `sort` (the usual basis of a top-p filter) 3.7 ms. A
softmax, block sums and two short searches cost 0.04 ms. Legend: B rows, V vocabulary, K block.
"""

import numpy as np
import torch
from numpy.typing import NDArray

BLOCK = 256
CHUNK = 2**20  # logits per chunk: 4 MB, which stays in a core's cache; on a GPU 64 times as many


class NotFiniteError(ArithmeticError):
    """The logits of a row hold NaN or infinity. Its argument is the row's index."""


def uniform(noise: NDArray[np.uint64], position: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) per row: splitmix64 (Steele, Lea, Flood 2014) of the row's stream at ``position``."""
    with np.errstate(over="ignore"):
        z = noise + np.uint64(0x9E3779B97F4A7C15) * (position.astype(np.uint64) + np.uint64(1))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit: NDArray[np.float64] = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return unit


def draw(
    logits_BV: torch.Tensor, *, temperature: NDArray[np.float64], top_p: NDArray[np.float64], u: NDArray[np.float64]
) -> tuple[list[int], list[float]]:
    """Draw one token per row, and return its natural log-probability under the untempered, untruncated model.

    ``temperature`` 0 takes the largest logit (the first of equals). ``top_p`` below 1 keeps the most probable tokens, after
    temperature, up to the one whose addition reaches that mass. It also keeps tokens exactly as probable as the last one, so that
    the result does not depend on a sort. ``u`` comes from `uniform`; greedy rows ignore it. Raises NotFiniteError.
    """
    if logits_BV.device.type == "mps":  # has no float64
        logits_BV = logits_BV.cpu()
    rows = max(1, (64 if logits_BV.is_cuda else 1) * CHUNK // logits_BV.shape[1])
    chunks = [
        _draw_chunk(logits_BV[i : i + rows].float(), temperature[i : i + rows], top_p[i : i + rows], u[i : i + rows], i)
        for i in range(0, logits_BV.shape[0], rows)
    ]
    token, logprob = torch.cat([chunk[0] for chunk in chunks]), torch.cat([chunk[1] for chunk in chunks])
    return token.tolist(), logprob.tolist()


def _draw_chunk(
    logits_BV: torch.Tensor, temperature: NDArray[np.float64], top_p: NDArray[np.float64], u: NDArray[np.float64], start: int
) -> tuple[torch.Tensor, torch.Tensor]:
    total_B = torch.logsumexp(logits_BV, dim=-1)
    if not bool(torch.isfinite(total_B).all()):
        raise NotFiniteError(start + int(torch.isfinite(total_B).logical_not().nonzero()[0]))
    token_B = logits_BV.argmax(dim=-1)
    sampled = np.flatnonzero(temperature > 0)
    if len(sampled):
        all_sampled = len(sampled) == len(logits_BV)
        rows = torch.from_numpy(sampled).to(logits_BV.device)
        temperature_B = torch.from_numpy(temperature[sampled]).to(logits_BV).clamp(min=1e-30)  # smaller ones give infinity
        weight_BV = torch.softmax((logits_BV if all_sampled else logits_BV[rows]) / temperature_B[:, None], dim=-1)
        if (top_p[sampled] < 1).any():
            weight_BV = truncate(weight_BV, torch.from_numpy(top_p[sampled]).to(weight_BV))
        token_B[rows] = inverse_cdf(weight_BV, torch.from_numpy(u[sampled]).to(logits_BV.device))
    return token_B, logits_BV.gather(1, token_B[:, None])[:, 0] - total_B


def truncate(weight_BV: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """Set the probabilities ``weight_BV`` outside the nucleus (Holtzman et al. 2019) to 0, without renormalising."""
    vocabulary = weight_BV.shape[1]
    count = min(64, vocabulary)
    while True:
        # The nucleus nearly always has few tokens, so look for its edge among the largest few before sorting all.
        largest = weight_BV.topk(count, dim=-1).values
        size = (largest.cumsum(dim=-1) - largest < top_p_B[:, None]).sum(dim=-1)  # by the mass before each
        if count == vocabulary or bool((size < count).all()):
            break
        count = min(8 * count, vocabulary)
    edge = largest.gather(1, (size.clamp(min=1) - 1)[:, None]).masked_fill(top_p_B[:, None] >= 1, 0.0)
    return torch.where(weight_BV >= edge, weight_BV, 0.0)


def inverse_cdf(weight_BV: torch.Tensor, u_B: torch.Tensor) -> torch.Tensor:
    """Return the first token of each row at which the running sum of non-negative weights exceeds ``u`` times their sum.

    The search has two levels: the sums of blocks of K, then the weights inside one block. A running sum over all of V is slow and
    loses the tail in float32.
    """
    blocks = -(-weight_BV.shape[1] // BLOCK)
    weight_BNK = torch.nn.functional.pad(weight_BV, (0, blocks * BLOCK - weight_BV.shape[1])).view(-1, blocks, BLOCK)
    sum_BN = weight_BNK.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    block_B, rest_B = _search(sum_BN, u_B * sum_BN[:, -1])
    sum_BK = weight_BNK[torch.arange(len(block_B), device=block_B.device), block_B].double().cumsum(dim=-1)
    return block_B * BLOCK + _search(sum_BK, rest_B)[0]


def _search(sums: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first index whose running sum exceeds ``target``, and the target minus the sum before that index."""
    # The target stays strictly below the last sum, so that rounding cannot go past the last token that has any weight.
    target = torch.minimum(target, sums[:, -1] * (1 - 1e-12))
    index = torch.searchsorted(sums, target[:, None], right=True)[:, 0]
    previous = sums.gather(1, (index - 1).clamp(min=0)[:, None])[:, 0]
    return index, target - torch.where(index > 0, previous, 0.0)
