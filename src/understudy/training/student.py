"""The student before training: loaded from a checkpoint, or made from scratch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, LlamaConfig, T5Config

from understudy.engines.local import load as loading
from understudy.engines.local.checkpoint import look_at
from understudy.training.lora import adapt, save_adapted
from understudy.training.options import Lora, StudentOptions
from understudy.training.state import disk_errors
from understudy.training.words import train_words


def make_student(options: StudentOptions, vocabulary: Iterable[str], *, seed: int) -> tuple[Any, Any]:
    """(model in float32, tokenizer). From scratch: weights are a function of ``seed``, words come from ``vocabulary``.

    Attention is "eager": on a CPU it trains these sizes faster than SDPA does, which goes through its mathematical fallback
    when there is a mask. Raises CheckpointError for a directory that cannot be loaded.
    """
    torch.manual_seed(seed)
    if options.checkpoint is not None:
        model, tokenizer = _load(Path(options.checkpoint))
        if options.lora is not None:
            model = adapt(model, options.lora, Path(options.checkpoint), seed=seed)
        return model, tokenizer
    tokenizer = train_words(vocabulary, min_count=options.min_count)
    config = (_llama if options.family == "llama" else _t5)(options, len(tokenizer), tokenizer)
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return maker.from_config(config, attn_implementation="eager", dtype=torch.float32), tokenizer


def _load(directory: Path) -> tuple[Any, Any]:
    look_at(directory)
    config, tokenizer = loading.load_config(directory), loading.load_tokenizer(directory)
    model = loading.load_model(directory, config, tokenizer, dtype="float32", device="cpu")
    return model.train().requires_grad_(True), tokenizer


def _llama(options: StudentOptions, size: int, tokenizer: Any) -> Any:
    return LlamaConfig(
        vocab_size=size,
        hidden_size=options.hidden,
        intermediate_size=options.inner,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.heads,
        max_position_embeddings=options.context,
        rope_parameters={"rope_type": "default", "rope_theta": options.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _t5(options: StudentOptions, size: int, tokenizer: Any) -> Any:
    return T5Config(
        vocab_size=size,
        d_model=options.hidden,
        d_kv=options.hidden // options.heads,
        d_ff=options.inner,
        num_layers=options.layers,
        num_decoder_layers=options.layers,
        num_heads=options.heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def save_student(model: Any, tokenizer: Any, directory: Path, *, lora: Lora | None = None) -> None:
    """Write the student as any `transformers` checkpoint: safetensors, config, tokenizer (or an adapter: `Lora`)."""
    directory.mkdir(parents=True, exist_ok=True)
    with disk_errors(directory):
        if lora is None:
            model.save_pretrained(directory, safe_serialization=True)
        else:
            save_adapted(model, lora, directory)
    tokenizer.save_pretrained(directory)
