"""Writes a student's weights and tokenizer as one GGUF file, which llama.cpp, Ollama and LM Studio run.

It writes only model types for which a test shows, by running llama.cpp itself, that llama.cpp splits text into the same tokens and
gives the same greedy answer.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.core.errors import CheckpointError
from understudy.engines.local.load import load_config, load_model, load_tokenizer

KINDS = ("gpt2", "llama", "qwen2", "qwen3")
"""Values of ``model_type`` in config.json."""
ADVICE = "understudy serve and transformers run its directory as it is"
_SPLIT_NAMES = {"ByteLevel": "gpt-2", "Digits ByteLevel": "smollm", "Split ByteLevel": "qwen2"}
"""The steps of a tokenizer.json's pre-tokenizer -> llama.cpp's name for them."""
_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""Qwen's pattern. llama.cpp's is equal, differently written. It does not compose characters (NFC), as Qwen's tokenizer does."""
_USUAL: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("attention_bias", "mlp_bias", "use_sliding_window", "scale_attn_by_inverse_layer_idx"), (False, None)),
    **{"scale_attn_weights": (True,), "rope_type": ("default",), "hidden_act": ("silu", "swish")},
    "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"),
}
"""Options of a config.json -> the values that llama.cpp takes for granted."""
_TRANSPOSED = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
"""GPT-2's weights that transformers keeps transposed."""


def write_gguf(student: Path, path: Path, *, end: int | None = None) -> None:
    """Write the checkpoint in the directory ``student``, an adapter merged, to ``path`` in float32. ``end``: the token that ends
    its replies; None: the tokenizer's end token. Raises CheckpointError if llama.cpp would not answer as the student does."""
    if importlib.util.find_spec("gguf") is None:
        raise CheckpointError(f"{path}: writing a GGUF file needs gguf: pip install 'understudy[gguf]'")
    from gguf import MODEL_ARCH, GGUFWriter, get_tensor_name_map

    config, tokenizer = load_config(student), load_tokenizer(student)
    if config.model_type not in KINDS:
        reason = f"models of type {config.model_type!r} are not written as GGUF (only {', '.join(KINDS)})"
        raise CheckpointError(f"{student}: {reason}; {ADVICE}")
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    split = _name_split(student, spec)
    _check_options(student, config)
    model = load_model(student, config, tokenizer, dtype="float32", device="cpu")
    gpt2 = config.model_type == "gpt2"
    writer = GGUFWriter(path, config.model_type)
    writer.add_name(student.resolve().name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_feed_forward_length((config.n_inner or 4 * config.n_embd) if gpt2 else config.intermediate_size)
    if gpt2:
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_key_length(width)
        writer.add_value_length(width)
        writer.add_rope_dimension_count(width)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, spec, split, config.vocab_size)
    writer.add_eos_token_id(tokenizer.eos_token_id if end is None else end)
    names = get_tensor_name_map(MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight  # the config may say otherwise
    for name, tensor in model.state_dict().items():
        target = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if (tied and name == "lm_head.weight") or (target is None and name.endswith((".attn.bias", ".attn.masked_bias"))):
            continue
        if target is None:
            raise CheckpointError(f"{student}: its weight {name} has no place in a GGUF file; {ADVICE}")
        writer.add_tensor(target, _arrange(target, tensor.numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _name_split(student: Path, spec: dict[str, Any]) -> str:
    """Return llama.cpp's name for the way in which the tokenizer splits text before its merges."""
    splitter = spec.get("pre_tokenizer") or {}
    steps = splitter.get("pretokenizers", [splitter])
    name = " ".join(str(step.get("type")) for step in steps)
    expected = ({"Regex": _QWEN2}, "Isolated", {"type": "NFC"}) if name.startswith("Split") else (None, None, None)
    supported = (steps[0].get("pattern"), steps[0].get("behavior"), spec.get("normalizer")) == expected
    usual = {"add_prefix_space": False, "individual_digits": True, "use_regex": not name.startswith("Split")}
    supported = supported and all(step.get(key, value) == value for step in steps for key, value in usual.items())
    if spec["model"].get("type") != "BPE" or name not in _SPLIT_NAMES or not supported:
        raise CheckpointError(
            f"{student}: llama.cpp has no tokenizer like this one ({spec['model'].get('type')}, {name}); {ADVICE}. "
            "A student from scratch cannot be a GGUF file (its tokenizer splits text into whole words): use --format ctranslate2"
        )
    return _SPLIT_NAMES[name]


def _check_options(student: Path, config: Any) -> None:
    values = {**config.to_dict(), **(getattr(config, "rope_parameters", None) or {})}
    if unusual := [f"{name} = {values[name]!r}" for name, usual in _USUAL.items() if values.get(name, usual[0]) not in usual]:
        raise CheckpointError(f"{student}: these options are not written as GGUF ({', '.join(unusual)}); {ADVICE}")


def _add_tokenizer(writer: Any, tokenizer: Any, spec: dict[str, Any], split: str, size: int) -> None:
    from gguf import TokenType

    types = dict.fromkeys(tokenizer.get_vocab().values(), TokenType.NORMAL)
    for token in spec["added_tokens"]:
        types[token["id"]] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(name_tokens(tokenizer, size))
    writer.add_token_types([types.get(i, TokenType.UNUSED) for i in range(size)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in spec["model"]["merges"]])
    writer.add_add_bos_token(False)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def name_tokens(tokenizer: Any, size: int) -> list[str]:
    """List the tokens 0 .. ``size`` - 1; a model may have more embeddings than its tokenizer has tokens."""
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    return [by_id.get(i, f"[unused{i}]") for i in range(size)]


def _arrange(name: str, values: NDArray[np.float32], config: Any) -> NDArray[np.float32]:
    """Return the weight ``name`` as llama.cpp keeps it: GPT-2's matrices transposed, Llama's rotated halves interleaved (not
    Qwen's)."""
    if config.model_type == "gpt2" and name.endswith(_TRANSPOSED):
        return np.ascontiguousarray(values.T)
    for suffix, heads in (("attn_q.weight", "num_attention_heads"), ("attn_k.weight", "num_key_value_heads")):
        if config.model_type == "llama" and name.endswith(suffix):
            count = getattr(config, heads)
            return values.reshape(count, 2, values.shape[0] // count // 2, -1).swapaxes(1, 2).reshape(values.shape)
    return values
