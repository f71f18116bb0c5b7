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


def files_of(path: Path) -> list[Path]:
    """Return the files of ``path``: itself, those of a directory with one split, or, for DIR/SPLIT, those of that split.

    Raises DataError if a directory has no data, several splits, or not the named one.
    """
    if path.is_dir():
        splits = splits_of(path)
        if len(splits) > 1:
            raise DataError(f"{path}: has several splits ({', '.join(splits)}); name one, as in {path / next(iter(splits))}")
        return next(iter(splits.values()))
    if path.exists() or not path.parent.is_dir() or path.suffix.lower() in DATA:
        return [path]
    try:
        splits = splits_of(path.parent)
    except DataError:
        if any((path.parent / name).is_file() for name in _NO_ROWS):
            raise
        return [path]
    if path.name not in splits:
        has_no = with_known(path.name, filter(None, splits), "its splits")
        raise DataError(f"{path}: does not exist, and {path.parent} has no split {has_no}")
    return splits[path.name]


def splits_of(directory: Path) -> dict[str, list[Path]]:
    """Return split -> its files in order. A data set that was saved without splits has the one split ``""``.

    Raises DataError if there are no data, or some are missing.
    """
    if (directory / "dataset_dict.json").is_file():
        names = read_json(directory / "dataset_dict.json").get("splits")
        if not isinstance(names, list) or not names:
            raise DataError(f"{directory / 'dataset_dict.json'}: splits are missing; save the data set again")
        return {str(name): _saved_files(directory / str(name)) for name in names}
    if (directory / "state.json").is_file():
        return {"": _saved_files(directory)}
    for place in (directory / "data", directory):
        if files := _data_files(place):
            return _group_by_name(files)
    below = {path: files for path in sorted(directory.iterdir()) if (files := _data_files(path) or _data_files(path / "data"))}
    words = {word for names in ROLES.values() for word in names}
    if named := {path: files for path, files in below.items() if path.name in words}:
        return {path.name: _saved_files(path) if (path / "state.json").is_file() else files for path, files in named.items()}
    some = [*map(str, below)][:5] + (["..."] if len(below) > 5 else [])
    inside = f"; data are in {', '.join(some)}; name one of them" if below else ""
    raise DataError(f"{directory}: the directory has no data (files that end with {', '.join(DATA)}){inside}")


def roles_of(splits: Sequence[str]) -> dict[str, str]:
    """Return our split -> theirs, by name, or else by a word in it ("gsm8k-train"). Raises DataError if two fit."""
    exact = {ours: [s for s in splits if s.lower() in names] for ours, names in ROLES.items()}
    words = {split: set(re.split(r"[^a-z0-9]+", split.lower())) for split in splits}
    worded = {ours: [s for s in splits if words[s] & set(names)] for ours, names in ROLES.items()}
    matches = exact if any(exact.values()) else worded
    for ours, fit in matches.items():
        if len(fit) > 1:
            raise DataError(f"{' and '.join(fit)} could both be the split {ours}; set train, dev, test to a file or DIR/SPLIT each")
    return {ours: fit[0] for ours, fit in matches.items() if fit}


def _saved_files(directory: Path) -> list[Path]:
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


def read_json(path: Path, *lists: str) -> dict[str, Any]:
    """Read the JSON object that is the file ``path``, with these ``lists``. Raises DataError for anything else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); save or copy it again") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); save or copy it again") from None
    if not isinstance(value, dict) or not all(isinstance(value.get(name), list) for name in lists):
        having = f" with a list {' and '.join(lists)!r}" if lists else ""
        raise DataError(f"{path}: must be a JSON object{having}, not {str(value)[:60]!r}")
    return value


def _data_files(directory: Path) -> list[Path]:
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
    for name, parts in splits.items():
        if len({part.suffix.lower() for part in parts}) > 1:
            raise DataError(f"{parts[0].parent}: {' and '.join(p.name for p in parts)} would both be {name!r}; name the file")
        shard = _SHARD.search(parts[0].stem)
        if shard and len(parts) != int(shard["of"]):
            raise DataError(f"{parts[0].parent}: only {len(parts)} of {int(shard['of'])} files of {name!r} exist; copy the rest")
    return splits
