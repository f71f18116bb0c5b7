"""The student before training: loaded from a checkpoint, or made from scratch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, LlamaConfig, T5Config

from understudy.core.errors import CheckpointError
from understudy.training.options import StudentOptions
from understudy.training.words import train_words


def make_student(options: StudentOptions, vocabulary: Iterable[str], *, seed: int) -> tuple[Any, Any]:
    """(model in float32, tokenizer). From scratch: weights are a function of ``seed``, words come from ``vocabulary``.

    Attention is "eager": on a CPU it trains these sizes faster than SDPA does, which goes through its mathematical fallback
    when there is a mask. Raises CheckpointError for a directory that cannot be loaded.
    """
    torch.manual_seed(seed)
    if options.checkpoint is not None:
        return _load(Path(options.checkpoint))
    tokenizer = train_words(vocabulary, min_count=options.min_count)
    config = (_llama if options.family == "llama" else _t5)(options, len(tokenizer), tokenizer)
    maker = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return maker.from_config(config, attn_implementation="eager", dtype=torch.float32), tokenizer


def _load(directory: Path) -> tuple[Any, Any]:
    from understudy.engines import loading

    loading.look_at(directory)
    config: Any = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    if tokenizer.eos_token_id is None:
        raise CheckpointError(f"{directory}: the tokenizer has no end token (eos_token): set one and save it")
    model = loading.load_model(directory, config, tokenizer, dtype="float32", device="cpu")
    return model.train().requires_grad_(True), tokenizer


def _llama(options: StudentOptions, size: int, tokenizer: Any) -> Any:
    return LlamaConfig(
        vocab_size=size,
        hidden_size=options.hidden,
        intermediate_size=_wide(options.hidden),
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
        d_ff=_wide(options.hidden),
        num_layers=options.layers,
        num_decoder_layers=options.layers,
        num_heads=options.heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        decoder_start_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _wide(hidden: int) -> int:
    return -(-hidden * 8 // 3 // 32) * 32


def save_student(model: Any, tokenizer: Any, directory: Path) -> None:
    """Write the student as any `transformers` checkpoint: safetensors, config, tokenizer."""
    directory.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(directory, safe_serialization=True)
    tokenizer.save_pretrained(directory)
