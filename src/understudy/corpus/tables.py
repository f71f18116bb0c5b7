"""Read rows of JSON Lines, JSON, CSV, TSV, Parquet and Arrow files and of data set directories. Errors name file and line."""

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from understudy.core.errors import DataError, RowError
from understudy.corpus.directories import DATA, INFO, list_files

Row = dict[str, Any]
T = TypeVar("T")


def read_objects(path: Path, bad: list[str] | None = None) -> Iterator[tuple[str, Row]]:
    """Yield (place, row) for every row of ``path``. The end of its name says how to read it, and blank lines are skipped.

    ``path`` may be a data set directory with one split, or DIR/SPLIT (see `corpus.directories`). Class labels of the `datasets`
    library become their names, dates ISO texts, decimals texts, and bytes (pictures, sound) None. Raises DataError naming file and
    line (or row) if the file is damaged or a row is not an object. If there is a list ``bad``, the message of a damaged line of
    JSON Lines goes there instead, and the line is skipped.
    """
    number = 0
    for file in list_files(path):
        if file.suffix.lower() in (".xlsx", ".xls", ".ods", ".zip", ".gz", ".zst", ".pdf", ".pkl", ".pickle"):
            raise DataError(f"{file}: {file.suffix} files are not supported; save it as one of {', '.join(DATA)}")
        try:
            for location, row in _READERS.get(file.suffix.lower(), _read_json_lines)(file, bad):
                number += 1
                # The files of all splits of a saved data set have the same names, so the place is the split and a running row
                # number.
                yield f"{path}, row {number}" if file != path and file.suffix == ".arrow" else location, row
        except UnicodeDecodeError as error:
            raise DataError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None


def append_objects(path: Path, rows: Iterable[Row]) -> None:
    """Append ``rows`` to a JSON Lines file, durably; never change what it has. An empty ``at`` becomes the time now, in UTC."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    is_torn = path.is_file() and (text := path.read_bytes()) != b"" and not text.endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if is_torn else "")
        for row in rows:
            file.write(json.dumps(row | {"at": row["at"] or now}, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read_json_lines(path: Path, bad: list[str] | None) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a file with one object per line. A file with such a name may be an array."""
    with path.open(encoding="utf-8-sig") as lines:
        if next((line for line in lines if line.strip()), "").lstrip().startswith("["):
            yield from _read_array(path)
            return
        lines.seek(0)
        for number, line in enumerate(lines, 1):
            if line.strip():
                location = f"{path}, line {number}"
                if (row := collect_bad(bad, _read_line, location, line)) is not None:
                    yield location, row


def _read_line(location: str, line: str) -> Row:
    return _require_object(location, _parse(location, line, "the file must have one JSON object per line"))


def _read_json(path: Path, bad: list[str] | None) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a JSON file. Published ``.json`` files may have one object per line, too."""
    with path.open(encoding="utf-8-sig") as lines:
        first = [line for line in islice(lines, 20) if line.strip()][:2]
    if first and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in first) and not _holds_rows(first):
        yield from _read_json_lines(path, bad)
    else:
        yield from _read_array(path)


def _holds_rows(lines: list[str]) -> bool:
    """Return whether ``lines`` are one object with the list of rows in it."""
    with suppress(ValueError, RecursionError):
        values = json.loads(lines[0]).values() if len(lines) == 1 else ()
        return any(isinstance(value, list) and value and isinstance(value[0], dict) for value in values)
    return True


def _read_array(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of an array of objects, or of an object with one such list in it."""
    rows = _parse(str(path), path.read_text(encoding="utf-8-sig"), "the file must be a JSON array of objects")
    if isinstance(rows, dict):
        lists = {name: value for name, value in rows.items() if isinstance(value, list)}
        if len(lists) != 1:
            names = ", ".join(lists) or "none"
            raise DataError(f"{path}: an object with {len(lists)} lists ({names}); the file must be a JSON array of objects")
        (rows,) = lists.values()
    if not isinstance(rows, list):
        raise DataError(f"{path}: {str(rows)[:60]!r} is not a JSON array of objects")
    for number, row in enumerate(rows, 1):
        location = f"{path}, row {number}"
        yield location, _require_object(location, row)


def _read_csv(path: Path, _bad: object) -> Iterator[tuple[str, Row]]:
    csv.field_size_limit(2**31 - 1)  # chains are long
    with path.open(encoding="utf-8-sig", newline="") as lines:
        header = re.sub('"[^"]*"', "", lines.readline())
        lines.seek(0)
        separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header.count)  # ";" where decimals have commas
        reader = csv.DictReader(lines, delimiter=separator, skipinitialspace=f"{separator} " in header, strict=True)
        try:
            names = reader.fieldnames or ()
            if repeated := [name for i, name in enumerate(names) if name and name in names[:i]]:
                raise DataError(f"{path}, line 1: the column {repeated[0]!r} occurs twice; give each column its own name")
            for row in reader:
                location = f"{path}, line {reader.line_num}"
                more = None in row or (row.get("") and names[0])  # pandas' index is the first column, and has no name
                if more or None in row.values():
                    word, hint = ("more", "") if more else ("fewer", "; empty fields need commas, too, or the file was cut")
                    raise DataError(f"{location}: {word} fields than the first line has names ({', '.join(names)}){hint}")
                yield location, {name: value or None for name, value in row.items() if name}
        except csv.Error as error:
            raise DataError(f"{path}, after line {reader.line_num}: not a table ({error})") from None


def _read_parquet(path: Path, _bad: object) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        yield from _read_batches(path, file.schema_arrow.metadata, file.iter_batches())
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a Parquet file ({error})") from None


def _read_arrow(path: Path, _bad: object) -> Iterator[tuple[str, Row]]:
    """Yield the rows of both of Arrow's formats: streams, which the `datasets` library writes, and files."""
    import pyarrow as pa

    try:
        with path.open("rb") as raw:
            if raw.read(6) == b"ARROW1":
                file = pa.ipc.open_file(raw)
                yield from _read_batches(path, file.schema.metadata, (file.get_batch(i) for i in range(file.num_record_batches)))
                return
            # Beware: a stream that was cut between two record batches looks complete. All known writers mark the end.
            raw.seek(max(0, raw.seek(0, 2) - len(_END)))
            if raw.read() != _END:
                raise DataError(f"{path}: the Arrow stream has no end mark: it was cut off or is being written; copy it again")
            raw.seek(0)
            stream = pa.ipc.open_stream(raw)
            yield from _read_batches(path, stream.schema.metadata, stream)
    except (pa.ArrowException, EOFError) as error:
        raise DataError(f"{path}: not an Arrow file ({error})") from None


_READERS = {".json": _read_json, ".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".arrow": _read_arrow}
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def _read_batches(path: Path, metadata: Mapping[bytes, bytes] | None, batches: Any) -> Iterator[tuple[str, Row]]:
    features = _read_features(path, metadata or {})
    rows = (row for batch in batches for row in batch.to_pylist())
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", {name: _convert(value, features.get(name)) for name, value in row.items()}


def _read_features(path: Path, metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """Return the `datasets` library's description of the columns, next to the file or in it. Only this names the class labels."""
    info = path.with_name(INFO)
    try:
        if info.is_file():
            features = json.loads(info.read_text(encoding="utf-8"))["features"]
        else:
            features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{info if info.is_file() else path}: the features are damaged ({error!r}); save it again") from None
    return features if isinstance(features, dict) else {}


def _convert(value: Any, feature: Any) -> Any:
    """Return ``value`` as JSON. ``feature`` is its description by the `datasets` library."""
    items, as_lists = feature, False  # a struct
    if isinstance(feature, list):
        items = feature[0] if feature else None
    elif isinstance(feature, dict) and "_type" in feature:
        if feature["_type"] == "ClassLabel" and isinstance(value, int) and isinstance(feature.get("names"), list):
            return feature["names"][value] if 0 <= value < len(feature["names"]) else None
        items = feature.get("feature")
        as_lists = isinstance(items, dict) and "_type" not in items  # a sequence of structs is kept as a struct of lists
    fields = items if isinstance(items, dict) else {}
    match value:
        case dict():
            return {k: _convert(v, [fields.get(k)] if as_lists else fields.get(k)) for k, v in value.items()}
        case list():
            return [_convert(v, items) for v in value]
        case float():
            return value if math.isfinite(value) else None
        case date() | datetime() | time():
            return value.isoformat()
        case Decimal() | timedelta():
            return str(value)
        case bytes():
            return None
    return value


def _parse(location: str, text: str, requirement: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{location}: not JSON ({error}); {requirement}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON value; write null instead")


def _require_object(location: str, row: Any) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{location}: {str(row)[:60]!r} is not a JSON object")
    return row


def collect_bad(bad: list[str] | None, read: Callable[..., T], *arguments: Any) -> T | None:
    """Return what ``read`` returns. If there is a list ``bad``, the message of a DataError goes there, and the result is None;
    else it is raised as a RowError."""
    try:
        return read(*arguments)
    except DataError as error:
        if bad is None:
            raise RowError(str(error)) from None
        bad.append(str(error))
        return None
