"""Writes the images in Parquet files to a folder, as the `datasets` library stores them: bytes in a column."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineup.errors import LineupError, brief, did_you_mean
from lineup.formatting import enumeration
from lineup.images.metadata_files import GROUP_COLUMNS, plain

if TYPE_CHECKING:
    import pyarrow.parquet

REQUIREMENTS = "requirements-datasets.txt"
_BATCH = 32  # rows in memory
_IMAGES, _LABELS = ("image", "img", "images", "jpg", "png"), ("label", "labels", "class", "category", "fine_label")


@dataclass(frozen=True)
class Columns:
    """Which columns to read.

    Attributes:
        image: the images' name; empty for the first that holds images.
        label: the labels' name; empty for the first of class labels, or with a usual name.
        names: names of integer labels by column, where the file itself has none.
    """

    image: str = ""
    label: str = ""
    names: Mapping[str, Sequence[str]] | None = None


def write_images(files: Sequence[tuple[str, Path]], folder: Path, columns: Columns) -> int:
    """Write the images of Parquet files to a folder, with a ``metadata.jsonl`` of labels and groups; return how many.

    Args:
        files: split, which may be empty, and path of each.
        folder: exists.
        columns: which to read.

    Raises:
        LineupError: when pyarrow is not installed, a file cannot be read or has no such columns, or the disk is full.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        got, remedy = "it is not installed", f"pip install -r {REQUIREMENTS}"
        raise LineupError("pyarrow", "the package, which reads Parquet files", got, remedy) from error
    count = 0
    try:
        with (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
            for split, path in files:
                (folder / split).mkdir(exist_ok=True)
                with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
                    for image, label, group in _rows(path.name, file, columns):
                        suffix = ".png" if image.startswith(b"\x89PNG") else ".jpg"  # the content decides
                        name = f"{split}/{count:08}{suffix}".lstrip("/")
                        (folder / name).write_bytes(image)
                        metadata.write(json.dumps({"file_name": name, "label": label, "group": group}) + "\n")
                        count += 1
    except pyarrow.ArrowException as error:
        raise LineupError(path.name, "a Parquet file", brief(error, line=0), "check the data set") from error
    except OSError as error:
        got = f"writing failed ({error.strerror or error})"
        raise LineupError(str(folder), "a folder for images", got, "free some space") from error
    return count


def _rows(name: str, file: "pyarrow.parquet.ParquetFile", columns: Columns) -> Iterator[tuple[bytes, Any, str]]:
    """Yield the bytes of each image, which are empty if it has none, its label or labels, and its group."""
    features, found = _features(file), file.schema_arrow.names
    of_type = {kind: [key for key, each in features.items() if each.get("_type") == kind] for kind in _TYPES}
    image = _column(name, "image", columns.image, found, [*of_type["Image"], *_IMAGES])
    label = _column(name, "label", columns.label, found, [*of_type["ClassLabel"], *_LABELS], required=False)
    names = features.get(label, {}).get("names") or (columns.names or {}).get(label)
    group = next((key for key in found if plain(key) in GROUP_COLUMNS and key not in (image, label)), "")
    for batch in file.iter_batches(_BATCH, columns=list(filter(None, [image, label, group]))):
        cells = (batch.column(key).to_pylist() if key else [None] * batch.num_rows for key in (image, label, group))
        for value, each, of_group in zip(*cells, strict=True):
            body = value.get("bytes") if isinstance(value, dict) else value
            if body is not None and not isinstance(body, bytes):
                got, remedy = f"it has {type(body).__name__}s", "choose another one with ?image="
                raise LineupError(f"{name}: {image}", "a column of images", got, remedy)
            labels = [_named(part, names) for part in each] if isinstance(each, list) else _named(each, names)
            yield body or b"", labels, "" if of_group in (None, "") or of_group != of_group else str(of_group)  # NaN


_TYPES = ("Image", "ClassLabel")


def _features(file: "pyarrow.parquet.ParquetFile") -> dict[str, Any]:
    """Return what `datasets` has written of the columns."""
    written = (file.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    features = json.loads(written).get("info", {}).get("features", {})
    return {key: each for key, each in features.items() if isinstance(each, dict)}


def _column(name: str, kind: str, chosen: str, found: list[str], usual: Sequence[str], required: bool = True) -> str:
    known = [column for column in ([chosen] if chosen else usual) if column in found]
    if not known and (required or chosen):
        got = f"it has {enumeration(found)}" if found else "it has no columns"
        remedy = (chosen and did_you_mean(chosen, found)) or f"add ?{kind}=COLUMN to the address"
        raise LineupError(name, f"a column {chosen}" if chosen else f"a column of {kind}s", got, remedy)
    return known[0] if known else ""


def _named(label: Any, names: Sequence[str] | None) -> str | None:
    if label is None or (isinstance(label, int) and label < 0):  # -1: no label, as in test splits
        return None
    if names and isinstance(label, int) and label < len(names):
        return str(names[label])
    return str(label)
