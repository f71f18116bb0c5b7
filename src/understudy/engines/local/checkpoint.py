"""A checkpoint directory as files: whether it can be one, what decides its replies, what it says of itself.

Nothing is loaded and no model library is imported, so a study can look at its checkpoints before anything is asked or trained.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from understudy.core.errors import CheckpointError

ADAPTER = "adapter_config.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")
DECIDES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    ADAPTER,
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
)
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "*.model")
_TABLES = ("MODEL_FOR_CAUSAL_LM_MAPPING_NAMES", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES")
_HEADER = 100_000_000  # bytes, safetensors' own limit
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_checkpoint(name: str, root: Path) -> Path:
    """The directory that a study calls ``name``: a path relative to ``root``, or a model of the Hugging Face hub.

    A hub model is taken from the local cache; what is not there is fetched, where the hub can be reached: weights as
    safetensors, config and tokenizer, nothing else. Raises CheckpointError where there is neither.
    """
    directory = (root / name).resolve()
    if directory.exists() or not _NAME.fullmatch(name):
        return directory
    from huggingface_hub import snapshot_download

    cached: Path | None = None
    error: Exception | None = None
    for offline in (True, False):
        try:
            cached = Path(snapshot_download(name, allow_patterns=list(DECIDES), local_files_only=offline))
            look_at(cached)
            return cached
        except (OSError, ValueError, RuntimeError) as e:
            error = e
    if isinstance(error, CheckpointError):
        raise error
    raise CheckpointError(
        f"{name!r}: there is no directory {directory}, and the model is not (whole) in the local Hugging Face cache nor can it be "
        f"fetched ({type(error).__name__}); name a directory, or fetch it where there is a network: hf download {name}"
    ) from error


def open_checkpoint(name: str, root: Path, *, chats: bool) -> Path:
    """The directory of the checkpoint that a study calls ``name``, after a look at its files; ``chats``: it is asked with messages.

    Raises CheckpointError where it cannot be used.
    """
    directory = find_checkpoint(name, root)
    look_at(directory)
    if chats and not has_chat_template(directory):
        raise CheckpointError(
            f"{directory} has no chat template (chat_template.jinja, or in tokenizer_config.json), and the format is "
            'style = "messages"; use style = "raw", or take a model that was tuned for chats'
        )
    return directory


def look_at(directory: Path) -> None:
    """Raise CheckpointError, saying what to do, where ``directory`` is plainly no checkpoint that can be loaded."""
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such directory; give the directory that holds config.json and *.safetensors")
    base = base_of(directory)
    if base is not None:
        _look_at_adapter(directory, base)
        return
    if not (directory / "config.json").is_file():
        raise CheckpointError(f"{directory}: no config.json, so this is no model checkpoint (is it one directory further down?)")
    config = read_config(directory)
    if not list(directory.glob("*.safetensors")):
        pickles = [p.name for pattern in PICKLES for p in directory.glob(pattern)]
        if pickles:
            raise CheckpointError(
                f"{directory}: weights only as {pickles[0]}, a format that can run code when loaded; only safetensors are read. "
                "Convert it where you trust it: AutoModelForCausalLM.from_pretrained(old).save_pretrained(new)"
            )
        raise CheckpointError(f"{directory}: no *.safetensors file, so there are no weights")
    _look_at_kind(directory, config)
    tensors(directory)
    _look_at_tokenizer(directory, config)


def base_of(directory: Path) -> Path | None:
    """The directory whose weights the adapter in ``directory`` changes; None where ``directory`` holds a whole model."""
    path = directory / ADAPTER
    if not path.is_file() or (directory / "config.json").is_file():
        return None
    try:
        return find_checkpoint(str(json.loads(path.read_text("utf-8"))["base_model_name_or_path"]), directory)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, CheckpointError):
            raise CheckpointError(f"{path}: the model it belongs to: {error}") from error
        raise CheckpointError(f"{path}: not a JSON object with base_model_name_or_path, so no adapter") from error


def files_of(directory: Path) -> list[Path]:
    """The files that decide what the checkpoint says: config, weights, tokenizer; an adapter's base included."""
    own = sorted({p for pattern in DECIDES for p in directory.glob(pattern) if p.is_file()})
    base = base_of(directory)
    return own if base is None else own + files_of(base)


def identity(directory: Path, dtype: str) -> str:
    """Hash of everything in the directory that decides its replies, and of the precision."""
    digest = hashlib.blake2b(f"transformers\x1f{dtype}\x1f".encode(), digest_size=16)
    for path in files_of(directory):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").hexdigest()
        digest.update(f"{path.name}\x1f{content}\x1f".encode())
    return digest.hexdigest()


def read_config(directory: Path) -> dict[str, Any]:
    """config.json; an adapter has that of its base. Raises CheckpointError where it describes no model."""
    path = (base_of(directory) or directory) / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a JSON object that describes a model") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: not a JSON object that describes a model")
    return config


def tensors(directory: Path) -> dict[str, int]:
    """The weights by name and how many numbers each is, from the heads of the files.

    Raises CheckpointError for a file that is cut off or no safetensors file, and for one that the index names and is not there.
    """
    found: dict[str, int] = {}
    for index in directory.glob("*.safetensors.index.json"):
        named = set(json.loads(index.read_text("utf-8")).get("weight_map", {}).values())
        for name in sorted(named):
            if not (directory / name).is_file():
                raise CheckpointError(f"{index}: names {name}, which is not there; copy all files of the checkpoint")
    for path in sorted(directory.glob("*.safetensors")):
        found |= _heads(path)
    return found


def has_chat_template(directory: Path) -> bool:
    """Whether a chat template lies with the tokenizer."""
    if (directory / "chat_template.jinja").is_file() or (directory / "chat_template.json").is_file():
        return True
    return bool(_json(directory / "tokenizer_config.json").get("chat_template"))


def _look_at_adapter(directory: Path, base: Path) -> None:
    if not (directory / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"{directory}: an adapter ({ADAPTER}) without adapter_model.safetensors; only safetensors are read")
    if importlib.util.find_spec("peft") is None:
        raise CheckpointError(f"{directory}: an adapter, and peft is not installed: pip install 'understudy[lora]'")
    if base_of(base) is not None:
        raise CheckpointError(f"{directory}: an adapter of an adapter ({base}); merge the first one into its model")
    try:
        look_at(base)
    except CheckpointError as error:
        raise CheckpointError(f"{directory}: an adapter of a model that cannot be used: {error}") from error
    _heads(directory / "adapter_model.safetensors")


def _look_at_kind(directory: Path, config: Mapping[str, Any]) -> None:
    kind, known = config.get("model_type"), _known_kinds()
    if known and kind not in known:
        raise CheckpointError(
            f"{directory / 'config.json'}: model_type {kind!r} is not one that the installed transformers can load as a language "
            "model; code that comes with a checkpoint is never run"
        )


def _look_at_tokenizer(directory: Path, config: Mapping[str, Any]) -> None:
    if not any(list(directory.glob(pattern)) for pattern in TOKENIZERS):
        raise CheckpointError(f"{directory}: no tokenizer is here; save it beside the model (tokenizer.save_pretrained)")
    rows = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    path = directory / "tokenizer.json"
    if not path.is_file() or not isinstance(rows, int):
        return
    try:
        body = json.loads(path.read_text("utf-8"))
        vocabulary = body["model"]["vocab"]
        ids = [vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))]
        size = 1 + max((i for group in [*ids, [t["id"] for t in body.get("added_tokens", [])]] for i in group), default=-1)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer; save it again (tokenizer.save_pretrained)") from error
    if size > rows:
        raise CheckpointError(
            f"{directory}: the tokenizer has {size} tokens and the model only {rows} embeddings; they do not belong "
            "together, or tokens were added without model.resize_token_embeddings"
        )


def _heads(path: Path) -> dict[str, int]:
    """name -> count of numbers, of one safetensors file: 8 bytes of length, JSON with shapes and offsets, the data."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _HEADER:
                raise ValueError("no head")
            head = json.loads(file.read(length))
        head.pop("__metadata__", None)
        end = 8 + length + max((entry["data_offsets"][1] for entry in head.values()), default=0)
        counts = {name: math.prod(entry["shape"]) for name, entry in head.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: not a safetensors file ({path.stat().st_size} bytes); if it came by git, fetch the real one: git lfs pull"
        ) from error
    if path.stat().st_size < end:
        raise CheckpointError(f"{path}: cut off: {path.stat().st_size:,} of {end:,} bytes are there; copy it again")
    return counts


@functools.cache
def _known_kinds() -> frozenset[str]:
    """The model types of language models that the installed transformers has, read from its source: importing the table
    would bring torch (1.3 s). Empty where the table is not found: then loading says what cannot be loaded."""
    spec = importlib.util.find_spec("transformers")
    path = Path(spec.origin).parent / "models" / "auto" / "modeling_auto.py" if spec and spec.origin else None
    if path is None or not path.is_file():
        return frozenset()
    tables = [
        node.value
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in _TABLES
    ]
    rows = [row for table in tables for row in ast.walk(table) if isinstance(row, ast.Tuple) and len(row.elts) == 2]
    return frozenset(str(row.elts[0].value) for row in rows if isinstance(row.elts[0], ast.Constant))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError):
        return {}
    return value if isinstance(value, dict) else {}
