"""The saved state of a training under way: safetensors and JSON, whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

STATE = "state.safetensors"
Tensors = dict[str, torch.Tensor]


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors of safetensors and tokenizers on a full or closed disk into OSError."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, SafetensorError) and type(error) is not Exception:  # tokenizers raises a bare one
            raise
        raise OSError(None, str(error), str(path)) from error


def save_state(directory: Path, weights: Tensors, optimizer: Tensors, notes: dict[str, Any]) -> None:
    """Write `collect_weights`, the optimizer's tensors and ``notes`` (JSON) to one file that appears whole."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value.contiguous() for name, value in weights.items()}
    tensors |= {f"optimizer.{name}": value.contiguous() for name, value in optimizer.items()}
    temporary = directory / f"{STATE}.tmp"
    with disk_errors(temporary):
        save_file(tensors, temporary, metadata={"notes": json.dumps(notes)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(directory / STATE)


def load_state(directory: Path, model: Any, examples: str) -> tuple[Tensors, dict[str, Any]] | None:
    """Load the saved weights into ``model``, and return (optimizer tensors, notes); None if no whole state of a training on the
    ``examples`` (their digest) is saved: the teacher may have written more chains since."""
    path = directory / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads(file.metadata()["notes"])
            if notes.get("examples") != examples:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError):
        return None
    with torch.no_grad():
        for name, value in collect_weights(model).items():
            value.copy_(tensors[f"model.{name}"])
    return {name.removeprefix("optimizer."): t for name, t in tensors.items() if name.startswith("optimizer.")}, notes


def collect_weights(model: Any) -> Tensors:
    """Return the weights that training changes, by name, tied ones once. Frozen weights (LoRA) and buffers are recreated."""
    return {name: value.data for name, value in model.named_parameters() if value.requires_grad}
