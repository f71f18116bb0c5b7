"""Data set directories: the files of each split.

    DIR/dataset_dict.json, DIR/train/state.json, DIR/train/data-00000-of-00001.arrow    DatasetDict.save_to_disk
    DIR/state.json, DIR/dataset_info.json, DIR/data-00000-of-00001.arrow                Dataset.save_to_disk
    DIR/data/train-00000-of-00001.parquet, DIR/test.jsonl, DIR/train/0000.parquet        a snapshot of a hub repository

The `datasets` library writes these layouts (as in files of its version 5.2).
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from understudy.core.errors import DataError, with_known
from understudy.core.values import grouped

DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
"""Name endings of files with rows."""

ROLES = {"train": ("train", "training"), "dev": ("dev", "validation", "valid", "val"), "test": ("test", "testing")}
"""Our split -> its names in data sets."""

INFO = "dataset_info.json"
_NO_ROWS = (INFO, "dataset_infos.json", "dataset_dict.json", "state.json")
_SHARD = re.compile(r"[-_.]?\d{5}-of-(?P<of>\d{5})(?:-[0-9a-f]{16})?\Z")


def list_files(path: Path) -> list[Path]:
    """Return the files of ``path``: itself, those of a directory with one split, or, for DIR/SPLIT, those of that split.

    Raises DataError if a directory has no data, several splits, or not the named one.
    """
    if path.is_dir():
        splits = find_splits(path)
        if len(splits) > 1:
            raise DataError(f"{path}: has several splits ({', '.join(splits)}); name one, as in {path / next(iter(splits))}")
        return next(iter(splits.values()))
    if path.exists() or not path.parent.is_dir() or path.suffix.lower() in DATA:
        return [path]
    try:
        splits = find_splits(path.parent)
    except DataError:
        if any((path.parent / name).is_file() for name in _NO_ROWS):
            raise
        return [path]
    if path.name not in splits:
        unknown = with_known(path.name, filter(None, splits), "its splits")
        raise DataError(f"{path}: does not exist, and {path.parent} has no split {unknown}")
    return splits[path.name]


def find_splits(directory: Path) -> dict[str, list[Path]]:
    """Return split -> its files in order. A data set that was saved without splits has the one split ``""``.

    Raises DataError if there are no data, or some are missing.
    """
    if (directory / "dataset_dict.json").is_file():
        names = read_json(directory / "dataset_dict.json").get("splits")
        if not isinstance(names, list) or not names:
            raise DataError(f"{directory / 'dataset_dict.json'}: splits are missing; save the data set again")
        return {str(name): _read_saved(directory / str(name)) for name in names}
    if (directory / "state.json").is_file():
        return {"": _read_saved(directory)}
    for folder in (directory / "data", directory):
        if files := _find_data(folder):
            return _group_by_name(files)
    folders = {path: files for path in sorted(directory.iterdir()) if (files := _find_data(path) or _find_data(path / "data"))}
    words = {word for names in ROLES.values() for word in names}
    if splits := {path: files for path, files in folders.items() if path.name in words}:
        return {path.name: _read_saved(path) if (path / "state.json").is_file() else files for path, files in splits.items()}
    examples = [*map(str, folders)][:5] + (["..."] if len(folders) > 5 else [])
    hint = f"; data are in {', '.join(examples)}; name one of them" if folders else ""
    raise DataError(f"{directory}: the directory has no data (files that end with {', '.join(DATA)}){hint}")


def match_splits(splits: Sequence[str]) -> dict[str, str]:
    """Return our split -> theirs, by name, or else by a word in it ("gsm8k-train"). Raises DataError if two fit."""
    exact = {role: [s for s in splits if s.lower() in names] for role, names in ROLES.items()}
    words_by_split = {split: set(re.split(r"[^a-z0-9]+", split.lower())) for split in splits}
    partial = {role: [s for s in splits if words_by_split[s] & set(names)] for role, names in ROLES.items()}
    matches = exact if any(exact.values()) else partial
    for role, fit in matches.items():
        if len(fit) > 1:
            raise DataError(f"{' and '.join(fit)} could both be the split {role}; set train, dev, test to a file or DIR/SPLIT each")
    return {role: fit[0] for role, fit in matches.items() if fit}


def _read_saved(directory: Path) -> list[Path]:
    """Return the Arrow files of one saved data set."""
    state = read_json(directory / "state.json")
    if state.get("_indices_data_files"):
        raise DataError(f"{directory}: a file of indices selects its rows; save it again with a newer `datasets` library")
    listed = state.get("_data_files")
    if not isinstance(listed, list) or not all(isinstance(f, dict) and f.get("filename") for f in listed):
        raise DataError(f"{directory / 'state.json'}: data files are missing; save the data set again")
    files = [directory / Path(str(f["filename"])).name for f in listed]
    if missing := [file for file in files if not file.is_file()]:
        raise DataError(f"{missing[0]}: missing, but {directory / 'state.json'} names it; save or copy the data set again")
    return files


def read_json(path: Path, *list_names: str) -> dict[str, Any]:
    """Read the JSON object that is the file ``path``, with these ``list_names``. Raises DataError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); save or copy it again") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); save or copy it again") from None
    if not isinstance(value, dict) or not all(isinstance(value.get(name), list) for name in list_names):
        requirement = f" with a list {' and '.join(list_names)!r}" if list_names else ""
        raise DataError(f"{path}: must be a JSON object{requirement}, not {str(value)[:60]!r}")
    return value


def _find_data(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix.lower() in DATA and path.name not in _NO_ROWS and not path.name.startswith(".") and path.is_file()
    )


def _group_by_name(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Group files by split: ``train-00000-of-00002.parquet`` is a part of ``train``."""
    splits = grouped((_SHARD.sub("", file.stem) or "data", file) for file in files)
    for name, shards in splits.items():
        if len({part.suffix.lower() for part in shards}) > 1:
            raise DataError(f"{shards[0].parent}: {' and '.join(p.name for p in shards)} would both be {name!r}; name the file")
        shard = _SHARD.search(shards[0].stem)
        if shard and len(shards) != int(shard["of"]):
            raise DataError(f"{shards[0].parent}: only {len(shards)} of {int(shard['of'])} files of {name!r} exist; copy the rest")
    return splits
