"""Small GGUF files, written of models of `transformers` as llama.cpp's converter writes them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf_model import alphabet
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

HEADS, KV_HEADS, WIDTH, INNER, LAYERS, CONTEXT = 4, 2, 64, 96, 2, 128
MERGES = ["h e", "l l", "Ċ Ċ", "Ġ Ġ", "1 2", "Ġ 1", "Ġ he"]
TOKENS = [*alphabet(), *(merge.replace(" ", "") for merge in MERGES), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


def random_model(kind: str, *, seed: int = 0) -> Any:
    shape: dict[str, Any] = {
        "vocab_size": len(TOKENS),
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0},
        "tie_word_embeddings": kind != "qwen2",
    }
    torch.manual_seed(seed)
    config = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}[kind](**shape)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too: what is left out or mixed up would show
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_attention_layernorm": "ffn_norm",
    "input_layernorm": "attn_norm",
    "model.layers": "blk",
}


def write_gguf(
    path: Path,
    model: Any = None,
    *,
    kind: str = "llama",
    split: str = "gpt-2",
    type: str = "F32",
    template: str | None = TEMPLATE,
    said: dict[str, Any] | None = None,
    left_out: str = "",
    tensors: tuple[str, ...] = (),
    tokens: list[str] = TOKENS,
) -> Path:
    """``model``, a random one without it, in a file. ``said``: other values of the header; ``left_out``: a name in it that is not
    written; ``tensors``: more of them."""
    model = random_model(kind) if model is None else model
    values: dict[str, Any] = {
        f"{kind}.context_length": CONTEXT,
        f"{kind}.embedding_length": WIDTH,
        f"{kind}.block_count": LAYERS,
        f"{kind}.feed_forward_length": INNER,
        f"{kind}.attention.head_count": HEADS,
        f"{kind}.attention.head_count_kv": KV_HEADS,
        f"{kind}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{kind}.rope.freq_base": 5000.0,
        f"{kind}.attention.key_length": model.config.head_dim if kind != "qwen2" else WIDTH // HEADS,
        "general.license": "mit",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": split,
        "tokenizer.ggml.eos_token_id": len(TOKENS) - 1,
        **({"tokenizer.chat_template": template} if template else {}),
        **({"llama.rope.dimension_count": WIDTH // HEADS} if kind == "llama" else {}),
    } | (said or {})
    writer = gguf.GGUFWriter(path, values.pop("general.architecture", kind))
    adders = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    for name, value in values.items():
        if name != left_out:
            adders[value.__class__](name, value)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 2) + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges(MERGES)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        weights = tensor.numpy()
        if kind == "llama" and (".q_proj." in name or ".k_proj." in name):  # llama.cpp pairs the numbers of a rotation otherwise
            heads = HEADS if ".q_proj." in name else KV_HEADS
            weights = weights.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(weights.shape)
        written = name
        for ours, theirs in NAMES.items():
            written = written.replace(ours, theirs)
        as_type = gguf.GGMLQuantizationType[type if weights.ndim == 2 else "F32"]
        writer.add_tensor(written, gguf.quantize(np.ascontiguousarray(weights), as_type), raw_dtype=as_type)
    for name in tensors:
        writer.add_tensor(name, np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
