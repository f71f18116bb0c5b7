"""Directories as the `datasets` library saves them, written with pyarrow alone; `test_directories` compares the two."""

import json

import pyarrow as pa


def save(directory, rows, features=None, shards=1):
    """What ``Dataset.save_to_disk`` writes; ``features`` as in its dataset_info.json, plain values where absent."""
    directory.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    size = -(-len(rows) // shards)
    for i, name in enumerate(names):
        with pa.ipc.new_stream(directory / name, table.schema) as stream:
            stream.write_table(table.slice(i * size, size))
    described = {name: {"dtype": "string", "_type": "Value"} for name in table.schema.names} | (features or {})
    info = {"citation": "", "description": "", "features": described, "homepage": "", "license": ""}
    (directory / "dataset_info.json").write_text(json.dumps(info))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_format_columns": None, "_split": None}
    (directory / "state.json").write_text(json.dumps(state))
    return directory


def make_saved(directory, splits, features=None, shards=1):
    """What ``DatasetDict.save_to_disk`` writes of ``splits`` (name -> rows)."""
    for name, rows in splits.items():
        save(directory / name, rows, features, shards)
    (directory / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return directory
