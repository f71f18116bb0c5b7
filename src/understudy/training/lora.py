"""LoRA (Hu et al. 2021, arXiv 2106.09685) by peft: a low-rank change of a checkpoint, saved merged or as an adapter."""

import copy
import warnings
from pathlib import Path
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from understudy.core.errors import CheckpointError, StudyError
from understudy.engines.local.checkpoint import base_of
from understudy.training.options import Lora


def adapt(model: Any, lora: Lora, start: Path, *, seed: int) -> Any:
    """``model``, loaded from ``start``, with an adapter that alone is trained; at first it changes nothing (B is 0).

    Raises StudyError where ``lora.targets`` names no module of the model.
    """
    from peft import LoraConfig, get_peft_model

    if not lora.merge and base_of(start) is not None:
        raise CheckpointError(f"{start}: is an adapter; lora.merge = false would save an adapter of an adapter: set merge = true")
    targets: Any = lora.targets if lora.targets == "all-linear" else [name.strip() for name in lora.targets.split(",")]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft looks at a name that transformers renamed
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            raise StudyError(f"student.lora.targets = {lora.targets!r}: {str(error).splitlines()[0]}") from error
    config.base_model_name_or_path = str(start.resolve())
    return adapted


def save_adapted(model: Any, lora: Lora, directory: Path) -> None:
    """Write the merged model, or the adapter alone; ``model`` stays as it is, bit for bit."""
    if lora.merge:
        copy.deepcopy(model).merge_and_unload().save_pretrained(directory, safe_serialization=True)
        return
    model.save_pretrained(directory, safe_serialization=True, save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # peft's empty form
    model.generation_config.save_pretrained(directory)
