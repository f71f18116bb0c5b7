"""Check which layers LoRA may train by the names in a checkpoint's files: before a teacher is asked, without loading a model."""

from pathlib import Path

from understudy.core.errors import CheckpointError, StudyError, with_known
from understudy.engines.local.checkpoint import PROVEN, count_weights, find_base, read_config
from understudy.engines.local.gguf_file import is_gguf
from understudy.training.memory import describe_shape
from understudy.training.options import Lora

OUTPUT = "lm_head"
EMBEDDINGS = frozenset({"wte", "embed_tokens", "shared"})
"""What the families of `PROVEN` call their embeddings."""
SHARED = (
    "{where}.lora.targets = {targets!r}: the embeddings and the output layer of {start} share their weights, so what one learns "
    "would change the other when the student is saved; leave both out of targets"
)
_GGUF_LAYERS = frozenset("embed_tokens q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split())
"""The layers of every family that a GGUF file may have; llama.cpp has other names for them."""


def check_lora(lora: Lora, start: Path, *, location: str = "student") -> None:
    """Raise StudyError, naming the ``location`` of the options, if a name of ``lora.targets`` is not a layer of the checkpoint
    ``start``, or is one that shares its weights. Raise CheckpointError if the adapter could not be saved alone.

    Families outside `PROVEN` may have other names in their files than in the model: peft checks those when training begins.
    """
    base = find_base(start) or start
    if not lora.merge and (is_gguf(start) or base != start):
        kind = "a GGUF file" if is_gguf(start) else "an adapter"
        raise CheckpointError(f"{start}: is {kind}; lora.merge = false would save an adapter of {kind}: set merge = true")
    config = read_config(base)
    if lora.targets == "all-linear" or config.get("model_type") not in PROVEN:
        return
    width = describe_shape(config, parameters=0, trained=0, matrices=0).width
    layers = {name.split(".")[-2] for name, n in count_weights(base).items() if name.endswith(".weight") and n > width}
    if is_gguf(base):
        layers = {*_GGUF_LAYERS, *([OUTPUT] if "output" in layers else [])}
    for target in lora.names:
        layer = target.rpartition(".")[2]
        if OUTPUT not in layers and layer in {OUTPUT, *EMBEDDINGS & layers}:
            raise StudyError(SHARED.format(where=location, targets=lora.targets, start=start))
        if layer not in layers:
            unknown = with_known(layer, sorted(layers), "it has")
            raise StudyError(f"{location}.lora.targets = {lora.targets!r}: {start} has no layer {unknown}")
