"""The student before training: loaded from a checkpoint, or made from scratch."""

import copy
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, LlamaConfig, T5Config

from understudy.core.errors import StudyError
from understudy.engines.local import load as loading
from understudy.engines.local.checkpoint import check_checkpoint
from understudy.engines.local.forward import Network
from understudy.training.options import Lora, StudentOptions
from understudy.training.state import Tensors, disk_errors
from understudy.training.targets import SHARED, check_lora
from understudy.training.words import train_words


def make_student(options: StudentOptions, vocabulary: Iterable[str], *, seed: int, narrow: bool = False) -> tuple[Any, Any]:
    """Make (model in float32, tokenizer). From scratch, the weights are a function of ``seed``, and the words come from
    ``vocabulary``. ``narrow``: it is trained under autocast, so the weights under adapters may be bfloat16 (`narrow_frozen`).

    Attention is "eager": on a processor it trains these sizes faster than SDPA, which falls back to plain mathematics when there
    is a mask; SmolLM2-135M too (docs/training-speed.md). Raises CheckpointError for a directory that cannot be loaded.
    """
    torch.manual_seed(seed)
    if options.checkpoint is not None:
        start = Path(options.checkpoint)
        check_checkpoint(start)
        config, tokenizer = loading.load_config(start), loading.load_tokenizer(start)
        model = loading.load_model(start, config, tokenizer, dtype="float32", device="cpu")
        Network(model, name=str(start))  # a student that cannot be decoded is not worth training
        model.train().requires_grad_(True)
        if options.lora is not None:
            model = adapt(model, options.lora, start, seed=seed)
            if narrow:
                narrow_frozen(model)
        return model, tokenizer
    tokenizer = train_words(vocabulary, min_count=options.min_count)
    tokens = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = (_configure_llama if options.family == "llama" else _configure_t5)(options, tokens)
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return maker.from_config(config, attn_implementation="eager", dtype=torch.float32), tokenizer


def _configure_llama(options: StudentOptions, tokens: dict[str, int]) -> Any:
    return LlamaConfig(
        **tokens,
        hidden_size=options.hidden,
        intermediate_size=options.inner,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        max_position_embeddings=options.context,
        rope_parameters={"rope_type": "default", "rope_theta": options.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
    )


def _configure_t5(options: StudentOptions, tokens: dict[str, int]) -> Any:
    return T5Config(
        **tokens,
        d_model=options.hidden,
        d_kv=options.hidden // options.heads,
        d_ff=options.inner,
        num_layers=options.layers,
        num_heads=options.heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        decoder_start_token_id=tokens["pad_token_id"],
    )


def save_student(model: Any, tokenizer: Any, directory: Path, *, lora: Lora | None = None, weights: Tensors | None = None) -> None:
    """Write the student as a plain `transformers` checkpoint: safetensors, config, tokenizer (or an adapter: `Lora`). ``weights``:
    all tensors, if the model has only parts of them."""
    directory.mkdir(parents=True, exist_ok=True)
    with disk_errors(directory):
        if lora is None:
            model.save_pretrained(directory, safe_serialization=True, state_dict=weights)
        elif lora.merge:
            with warnings.catch_warnings(action="ignore"):  # the config may say that weights are tied when they are not
                # A copy, so that the model in training stays the same, bit for bit.
                copy.deepcopy(model).float().merge_and_unload().save_pretrained(directory, safe_serialization=True)
        else:
            model.save_pretrained(directory, safe_serialization=True, save_embedding_layers=False)
            (directory / "README.md").unlink(missing_ok=True)  # peft's empty template
            model.generation_config.save_pretrained(directory)
        tokenizer.save_pretrained(directory)


def adapt(model: Any, lora: Lora, start: Path, *, seed: int) -> Any:
    """Add an adapter to ``model``, loaded from ``start``. Only the adapter is trained; at first it changes nothing (B is 0).

    Raises StudyError if ``lora.targets`` names no module of the model, or one that shares its weights with another module.
    """
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    check_lora(lora, start)
    targets: Any = lora.targets if lora.targets == "all-linear" else lora.names
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)
    torch.manual_seed(seed)
    # peft warns about a name that transformers renamed, about GPT-2's transposed layers, which it finds by itself, and about tied
    # weights, which are refused below
    for target in lora.names:  # peft only asks that one of them is a layer
        if targets != "all-linear" and not any(f".{name}".endswith(f".{target}") for name, _ in model.named_modules()):
            raise StudyError(f"student.lora.targets = {lora.targets!r}: the model has no layer {target!r}")
    with warnings.catch_warnings(action="ignore"):
        try:
            adapted = get_peft_model(model, config)
        except ValueError as error:
            raise StudyError(f"student.lora.targets = {lora.targets!r}: {str(error).splitlines()[0]}") from error
    uses = Counter(id(weight) for _, weight in adapted.named_parameters(remove_duplicate=False))
    layers = (module for module in adapted.modules() if isinstance(module, BaseTunerLayer))
    if any(uses[id(layer.get_base_layer().weight)] > 1 for layer in layers):
        raise StudyError(SHARED.format(where="student", targets=lora.targets, start=start))
    config.base_model_name_or_path = str(start.resolve())
    return adapted


def narrow_frozen(model: Any) -> None:
    """Keep the weights under adapters in bfloat16, unless they would lose digits. Training stays the same, because autocast rounds
    them for each product anyway."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    # T5 converts a layer's input to the type of such a weight.
    wide = getattr(model.get_base_model(), "_keep_in_fp32_modules", None) or ()
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and name.rpartition(".")[2] not in wide:
            layer: Any = module.get_base_layer()
            # Autocast does not round the output of embeddings.
            if not isinstance(layer, torch.nn.Embedding) and torch.equal((narrow := layer.weight.bfloat16()).float(), layer.weight):
                layer.weight.data = narrow
