"""Muon for the matrices inside layers, AdamW for the rest. The learning rate is a pure function of the step."""

import math
from typing import Any

import torch

from understudy.core.values import grouped
from understudy.engines.local.device import Precision
from understudy.training.options import Recipe

GROUP_SIZE = 2**20
"""How many numbers to orthogonalise at once: grouped, small matrices waste no time between products, large ones no memory."""


class Muon(torch.optim.Muon):
    """torch's Muon, except that it orthogonalises in the precision of the weights. torch's own always uses bfloat16, which is very
    slow on processors without units for it. Small matrices of one size are orthogonalised together."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Change the parameters by their gradients."""
        for group in self.param_groups:
            by_size = grouped((tuple(sorted(p.shape)), p) for p in group["params"] if p.grad is not None)
            for (rows, columns), parameters in by_size.items():
                size = max(1, GROUP_SIZE // (rows * columns))
                for start in range(0, len(parameters), size):
                    self._step_together(parameters[start : start + size], group)

    def _step_together(self, parameters: list[torch.nn.Parameter], group: dict[str, Any]) -> None:
        """Change ``parameters``, each [M, N] or [N, M] with M <= N; they are orthogonalised as one [P, M, N]."""
        momentum, rate = group["momentum"], group["lr"]
        wide = []
        for parameter in parameters:
            gradient, state = parameter.grad, self.state[parameter]
            assert gradient is not None, "step leaves those out"
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(gradient)
            buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
            update = gradient.lerp(buffer, momentum) if group["nesterov"] else buffer
            wide.append(update.T if update.shape[0] > update.shape[1] else update)
        updates_PMN = orthogonalise(torch.stack(wide), group["ns_coefficients"], steps=group["ns_steps"], eps=group["eps"])
        for parameter, update in zip(parameters, updates_PMN, strict=True):
            rows, columns = parameter.shape
            parameter.mul_(1 - rate * group["weight_decay"])
            parameter.add_(update.T if rows > columns else update, alpha=-rate * math.sqrt(max(1, rows / columns)))


def orthogonalise(matrices_PMN: torch.Tensor, coefficients: tuple[float, float, float], *, steps: int, eps: float) -> torch.Tensor:
    """Bring the singular values of each matrix near 1 by ``steps`` of a quintic Newton-Schulz iteration (Jordan 2024,
    https://kellerjordan.github.io/posts/muon/): [P, M, N], M <= N."""
    a, b, c = coefficients
    x_PMN: torch.Tensor = matrices_PMN / matrices_PMN.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(steps):
        gram_PMM = x_PMN @ x_PMN.mT
        x_PMN = torch.baddbmm(x_PMN, torch.baddbmm(gram_PMM, gram_PMM, gram_PMM, beta=b, alpha=c), x_PMN, beta=a)
    return x_PMN


class Optimizer:
    """One or two torch optimizers that step together, ``steps`` times in all."""

    def __init__(self, model: Any, recipe: Recipe, steps: int, *, precision: Precision) -> None:
        self.recipe, self.steps, decay = recipe, steps, recipe.weight_decay
        matrices = list_matrices(model) if recipe.optimizer == "muon" else []
        matrix_ids = {id(p) for p in matrices}
        rest = [p for p in model.parameters() if p.requires_grad and id(p) not in matrix_ids]
        self.parameters = matrices + rest
        self.optimizers: list[torch.optim.Optimizer] = []
        if matrices:
            # On bfloat16 units torch's own is as fast, and earlier trainings with it stay comparable bit by bit.
            maker = torch.optim.Muon if precision == "bfloat16" else Muon
            self.optimizers.append(maker(matrices, lr=recipe.muon_rate, weight_decay=decay, momentum=0.95, nesterov=True))
        if rest:
            rate, fused = recipe.learning_rate, not matrices or rest[0].is_cuda
            self.optimizers.append(torch.optim.AdamW(rest, rate, recipe.betas, recipe.eps, weight_decay=decay, fused=fused))
        self.rates = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]

    def step(self, step: int) -> None:
        """Apply the gradients of step ``step`` (from 0) and clear them."""
        if self.recipe.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor(step, self.steps, self.recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the whole state by name; `restore` loads it."""
        tensors: dict[str, torch.Tensor] = {}
        for i, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{i}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return tensors

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        from torch.distributed.tensor import DTensor, distribute_tensor

        states: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in self.optimizers]
        for key, value in tensors.items():
            owner, index, name = key.split(".", 2)
            states[int(owner)].setdefault(int(index), {})[name] = value
        for optimizer, state in zip(self.optimizers, states, strict=True):
            for i, parameter in enumerate(optimizer.param_groups[0]["params"]):
                if isinstance(parameter, DTensor):  # this process has a part of it
                    layout = parameter.device_mesh, parameter.placements
                    state[i] |= {name: distribute_tensor(v, *layout) for name, v in state[i].items() if v.ndim}
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def factor(step: int, steps: int, recipe: Recipe) -> float:
    """Return the factor of the learning rates at ``step`` of ``steps``: up over the warm-up, then down to 0 at the end."""
    warmup = max(1, round(recipe.warmup if recipe.warmup >= 1 else recipe.warmup * steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}[recipe.schedule]


def list_matrices(model: Any) -> list[torch.nn.Parameter]:
    """List the trained matrices that are neither an embedding (of tokens, positions, relative positions) nor the output layer."""
    output = model.get_output_embeddings()
    tables = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding) or m is output}
    return [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in tables]
