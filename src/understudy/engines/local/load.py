"""Loads a checkpoint directory of this machine, or a GGUF file, which it de-quantises in memory.

It reads only local files, safetensors or GGUF, and never runs code from the directory. Missing weights are an error before a model
runs, because `transformers` would fill them with random numbers.
"""

import inspect
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers.modeling_gguf_pytorch_utils as unpacking
from safetensors import SafetensorError
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
from transformers.tokenization_utils_tokenizers import TokenizersBackend
from transformers.utils import logging as transformers_logging

from understudy.core.errors import CheckpointError
from understudy.core.tokens import fix_date
from understudy.engines.local.attention import FAMILIES, GROUPED
from understudy.engines.local.checkpoint import check_vocabulary, find_base, read_config, read_context
from understudy.engines.local.gguf_file import is_gguf, read_gguf

transformers_logging.disable_progress_bar()  # a run shows its own progress
unpacking.tqdm = lambda tensors, **_: tensors  # its lock between processes would outlive a worker that is ended


def load_config(directory: Path) -> Any:
    """Load the config of the directory, or of an adapter's base. Raises CheckpointError if `transformers` cannot load it."""
    directory = find_base(directory) or directory
    try:
        return AutoConfig.from_pretrained(**_make_arguments(directory))
    except Exception as error:  # transformers' own checks of a config may raise any kind of error
        kind, path = read_config(directory).get("model_type"), directory if is_gguf(directory) else directory / "config.json"
        raise CheckpointError(
            f"{path}: its values contradict each other, or the installed transformers cannot load model_type "
            f"{kind!r} without the checkpoint's own code, which is never run ({' '.join(str(error).split())[:300]})"
        ) from error


def load_tokenizer(directory: Path) -> Any:
    """Load the tokenizer. Raises CheckpointError if it cannot be loaded or has no end token."""
    loader = TokenizersBackend if is_gguf(directory) else AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(**_make_arguments(directory))
    except Exception as error:  # the tokenizers library raises a bare Exception for a broken file
        raise CheckpointError(f"{directory}: the tokenizer cannot be loaded ({_first_line(error)}); save it again") from error
    if is_gguf(directory) and read_gguf(directory).metadata["tokenizer.ggml.pre"] == "smollm":
        # As the model's own tokenizer and llama.cpp do. transformers would split as GPT-2 does, which gives "\n\n1" other tokens.
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    if isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template = fix_date(tokenizer.chat_template)
    if tokenizer.eos_token_id is None:
        raise CheckpointError(f"{directory}: the tokenizer has no end token, so no reply would end; set its eos_token")
    return tokenizer


def load_model(directory: Path, config: Any, tokenizer: Any, *, dtype: str, device: str) -> Any:
    """Load the model in inference mode, with an adapter merged into its base. Raises CheckpointError if weights are missing or do
    not fit the config or the tokenizer.

    Attention on a CPU is "eager", or equal to it without its copies (`attend_grouped`). On one core a decoding step of 256 rows
    takes 9.3 ms against 12.3 with "sdpa" at 60 columns (15.0 against 17.3 at 120) for a 0.6M Llama. For GPT-2 the two are equal
    within 3 %, and so they are when reading prompts up to 256 columns.
    """
    loader = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    base = find_base(directory) or directory
    options = {"quantization_config": {"quant_method": "gguf", "dequantize": True}} if is_gguf(base) else {}  # so it can be trained
    try:
        model, info = loader.from_pretrained(
            **_make_arguments(base),
            **options,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
        )
    except (ValueError, KeyError, TypeError, AttributeError, ImportError, OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: the {config.model_type!r} weights cannot be loaded: {_first_line(error)}") from error
    for kind in ("missing_keys", "mismatched_keys"):
        if info.get(kind):
            names = sorted(str(key) for key in info[kind])
            reason = f"{len(names)} weights are {kind.removesuffix('_keys')} (first: {names[0]}); config and weights do not belong"
            raise CheckpointError(f"{directory}: {reason} together: save both again (model.save_pretrained)")
    check_vocabulary(directory, tokens=len(tokenizer), embeddings=model.get_input_embeddings().num_embeddings)
    if find_base(directory) is not None:
        model = _merge_adapter(model, directory)
    choose_attention(model, device)
    return model.eval().requires_grad_(False).to(device)


def choose_attention(model: Any, device: str) -> None:
    """Make ``model`` use the attention that suits ``device``."""
    if device != "cpu" and model._supports_sdpa:
        model.set_attn_implementation("sdpa")
    elif model.config.model_type in FAMILIES and model.config.num_key_value_heads < model.config.num_attention_heads:
        model.set_attn_implementation(GROUPED)
    if device == "cuda":  # cuDNN's attention plans for every new shape, and has been wrong: pytorch/pytorch issues 193893, 196678
        torch.backends.cuda.enable_cudnn_sdp(False)


def _make_arguments(checkpoint: Path) -> dict[str, Any]:
    """Return the arguments with which `transformers` loads a directory or a GGUF file, without downloading or running its code."""
    directory, file = (checkpoint.parent, {"gguf_file": checkpoint.name}) if is_gguf(checkpoint) else (checkpoint, {})
    return {"pretrained_model_name_or_path": directory, **file, "local_files_only": True, "trust_remote_code": False}


def _merge_adapter(model: Any, directory: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings(action="ignore"):
        warnings.filterwarnings("error", ".*missing adapter keys")
        try:
            model = PeftModel.from_pretrained(model, directory, local_files_only=True).merge_and_unload()
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RuntimeError, SafetensorError, UserWarning) as error:
            reason = _first_line(error)
            raise CheckpointError(f"{directory}: the adapter does not fit its model ({reason}); save it again") from error
    if (directory / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(directory, local_files_only=True)
    return model


def find_context(config: Any) -> int | None:
    """Return the number of positions of the decoder (`read_context`)."""
    return read_context(config.get_text_config(decoder=True).to_dict())


def find_cache_argument(model: Any) -> str:
    """Return what ``model`` calls the argument for keys and values: ``cache`` since transformers 5.24."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def find_end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end a reply: the tokenizer's end token and the generation config's (chat models have several)."""
    declared = getattr(model.generation_config, "eos_token_id", None)
    ids = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return frozenset([tokenizer.eos_token_id, *ids])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
