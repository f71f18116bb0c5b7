"""A GGUF file as a checkpoint: what its header says, and whether `transformers`, which `load` calls, de-quantises it correctly.

`transformers` reads many kinds of GGUF files, some of them silently wrong: it splits text by GPT-2's rule when it does not know the
file's own (``tokenizer.ggml.pre``), and drops scaled positions. So a file is refused unless tests show, for its kind, that weights
and tokens equal those of the model that it was made from. Imports gguf and numpy, and no model library.
"""

import functools
import importlib.util
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from understudy.core.errors import CheckpointError

_COMMON = r"(token_embd|output_norm|output|blk\.\d+\.(attn_(q|k|v|output|norm)|ffn_(gate|up|down|norm)))\.weight"
ARCHITECTURES = {"llama": "", "qwen2": r"|blk\.\d+\.attn_[qkv]\.bias", "qwen3": r"|blk\.\d+\.attn_[qk]_norm\.weight"}
"""architecture -> the names of its tensors besides the common ones"""
SPLITS = ("gpt-2", "qwen2", "smollm")
"""How text is split before byte-level merges; `load` corrects ``smollm``."""
_ADVICE = "give a directory with the model's safetensors instead"


class Header(NamedTuple):
    """What a file says. ``metadata``: its values by name, without lists. ``config``: as in a config.json, as far as planning needs
    it. ``tensors``: name -> count of numbers. ``type``: the type of most of these."""

    metadata: dict[str, Any]
    config: dict[str, Any]
    tensors: dict[str, int]
    type: str


def is_gguf(checkpoint: Path) -> bool:
    return checkpoint.suffix == ".gguf"


def describe_gguf(path: Path) -> str:
    """Describe the origin of the weights in ``path``."""
    header = read_gguf(path)
    origin = "read from" if header.type in ("F32", "F16", "BF16") else "de-quantised from"
    return f"{origin} {header.type} ({path.name}, licence {header.metadata.get('general.license', 'not stated')})"


def read_gguf(path: Path) -> Header:
    """Read the header of ``path``. Raises CheckpointError if it is no complete GGUF file, or would be read wrongly."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a .gguf file, or a directory that holds config.json and *.safetensors")
    if not all(map(importlib.util.find_spec, ("gguf", "accelerate"))):
        raise CheckpointError(f"{path}: a GGUF file needs gguf and accelerate: pip install 'understudy[gguf]'")
    return _read(path, path.stat().st_mtime_ns)


@functools.cache
def _read(path: Path, _changed: int) -> Header:
    from gguf import GGUFReader, GGUFValueType, dequantize
    from numpy import ndarray

    class Bounded(GGUFReader):  # type: ignore[misc]
        """Beware: the library reads on past the end of a file, and an array of 2**60 numbers there would fill the memory. A plain
        array is sliced three times as fast as a memmap, once for each token of the vocabulary."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            self.data = self.data.view(ndarray)  # type: ignore[has-type]
            values = super()._get(offset, dtype, count, override_order)
            if len(values) != count:
                raise ValueError(f"it is cut off after {len(self.data):,} bytes: copy it again")
            return values

    try:
        reader = Bounded(path)
        metadata = {name: field.contents() for name, field in reader.fields.items() if field.types[0] != GGUFValueType.ARRAY}
        tensors, types = {}, Counter[str]()
        for tensor in reader.tensors:
            tensors[tensor.name] = int(tensor.n_elements)
            types[tensor.tensor_type.name] += int(tensor.n_elements)
        _check_kind(metadata, tensors)
        config = _build_config(metadata, tensors)
        _check_end(metadata, reader.fields["tokenizer.ggml.tokens"].contents(), config["vocab_size"])
        for tensor in {tensor.tensor_type: tensor for tensor in reader.tensors}.values():
            dequantize(tensor.data[:1], tensor.tensor_type)
        return Header(metadata, config, tensors, types.most_common(1)[0][0])
    except (ValueError, LookupError, TypeError, ArithmeticError, RuntimeError) as error:
        reason = f"its header lacks {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{path}: cannot be read as the GGUF file of a model: {reason}") from error


def _check_kind(metadata: dict[str, Any], tensors: dict[str, int]) -> None:
    """Raise ValueError for what `transformers` would read wrongly."""
    kind, model, split = map(metadata.get, ("general.architecture", "tokenizer.ggml.model", "tokenizer.ggml.pre"))
    if kind not in ARCHITECTURES:
        raise ValueError(f"general.architecture is {kind!r}, and only {', '.join(ARCHITECTURES)} can be read; {_ADVICE}")
    if model != "gpt2" or split not in SPLITS:
        raise ValueError(
            f"tokenizer.ggml.model is {model!r} and tokenizer.ggml.pre {split!r}, and only 'gpt2' with {', '.join(SPLITS)} gives "
            f"the tokens that the model was trained with; {_ADVICE}"
        )
    names = re.compile(_COMMON + ARCHITECTURES[kind])
    if extra := [name for name in metadata if ".rope.scaling." in name] + [name for name in tensors if not names.fullmatch(name)]:
        raise ValueError(f"it has {extra[0]}, which transformers leaves out; {_ADVICE}")


def _check_end(metadata: dict[str, Any], tokens: list[str], embeddings: int) -> None:
    """Raise ValueError if no reply could end, or if `transformers` would add a token that the model has no embedding for."""
    end_token = metadata.get("tokenizer.ggml.eos_token_id")
    if end_token is None or end_token >= len(tokens):
        raise ValueError(f"no reply would end: tokenizer.ggml.eos_token_id is {end_token} of {len(tokens):,} tokens; {_ADVICE}")
    if "<|endoftext|>" not in tokens and len(tokens) >= embeddings:
        raise ValueError(
            f"its {len(tokens):,} tokens lack <|endoftext|>, which transformers adds, but it has only {embeddings:,} embeddings; "
            + _ADVICE
        )


def _build_config(metadata: dict[str, Any], tensors: dict[str, int]) -> dict[str, Any]:
    kind = metadata["general.architecture"]
    width = metadata[f"{kind}.embedding_length"]
    return {
        "model_type": kind,
        "hidden_size": width,
        "intermediate_size": metadata[f"{kind}.feed_forward_length"],
        "num_hidden_layers": metadata[f"{kind}.block_count"],
        "num_attention_heads": metadata[f"{kind}.attention.head_count"],
        "num_key_value_heads": metadata.get(f"{kind}.attention.head_count_kv"),
        "max_position_embeddings": metadata[f"{kind}.context_length"],
        "head_dim": metadata.get(f"{kind}.attention.key_length"),
        "vocab_size": tensors["token_embd.weight"] // width,
        "tie_word_embeddings": "output.weight" not in tensors,
        "hidden_act": "silu",
    }
