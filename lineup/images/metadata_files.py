"""Labels of images from metadata files: CSV, TSV and JSON lines, with the columns and paths that they usually have."""

import codecs
import csv
import json
import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from lineup.images.formats import SUFFIXES

METADATA_SUFFIXES = (".csv", ".tsv", ".jsonl")
# by lower-case letters and digits; the first that is there
FILE_COLUMNS = (
    *("filename", "file", "filepath", "image", "imagename", "imagefile", "imagepath", "path", "img"),
    *("imageid", "id", "name"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "classname", "labelname", "category", "categoryname"),
    *("species", "breed", "target"),
)
GROUP_COLUMNS = ("group", "groupid")  # of images that belong together, such as those of one animal
_DELIMITERS = ",;\t|"
_MAX_PATH = 4096  # characters; longer names are those of no file
Find = Callable[[str], str | None]


class Names:
    """Finds the files of a folder that rows name, however they write their paths.

    Args:
        names: of all files, relative to the folder, with slashes.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names, self._whole, self._ends = names, dict[str, str](), dict[str, str]()
        for name in names:
            path = name.casefold()
            if not path.endswith(SUFFIXES):
                continue
            self._whole[path] = name
            parts = path.split("/")
            ends = {"/".join(parts[start:]) for start in range(len(parts))}
            for end in ends | {posixpath.splitext(end)[0] for end in ends}:
                self._ends[end] = "" if end in self._ends else name  # "" for the end of several

    def find(self, written: str, parent: str = "") -> str | None:
        """Return the name of the file that a row names; None if there is none, or if it may be several.

        In this order: the path from the folder of the metadata file; the end of a file's path, with or without its
        suffix and in any case, if it is that of one file only; a path that ends in the whole path of a file.
        """
        target = posixpath.join(parent, written)
        if target in self._names:  # a file may have a million rows, which are mostly written as they are
            return target
        if len(written) > _MAX_PATH:
            return None
        path = posixpath.normpath(written.strip().replace("\\", "/"))
        target = posixpath.normpath(posixpath.join(parent, path))
        if target in self._names:
            return target
        parts = path.casefold().removeprefix("/").split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        whole = (self._whole[end] for end in ends if end in self._whole)
        return self._ends.get("/".join(parts)) or next(whole, None)


def rows(path: Path, find: Find) -> Iterator[tuple[str, Any, Any]]:
    """Yield the file name of each row, its label, or a list of labels, and its group; a row may lack the last two.

    Args:
        path: the metadata file.
        find: returns the file that a cell names, if any.

    Raises:
        ValueError: for a row that has no file name, a table without labels, or a file that cannot be decoded.
    """
    with path.open(encoding=_encoding(path), newline="") as file:
        is_table = not path.name.lower().endswith(".jsonl")
        found = _table(file, find) if is_table else (json.loads(line) for line in file if line.strip())
        columns, name, label, group = None, None, None, None
        for number, row in enumerate(found, start=1):
            if isinstance(row, dict) and row.keys() != columns:  # of each row of a .jsonl file
                columns = row.keys()
                name, label, group = _columns(row, find, is_table)
            file_name = row.get(name) if name is not None and isinstance(row, dict) else None
            if not isinstance(file_name, str):
                raise ValueError(f"row {number} has no file_name{_those(row)}")
            if is_table and label is None and group is None:
                raise ValueError(f"there is no column called label{_those(row)}")
            yield file_name, None if label is None else row.get(label), None if group is None else row.get(group)


def _encoding(path: Path) -> str:
    """Return the encoding of a file: UTF-8 or UTF-16, or else that of Windows in the west."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        try:
            for chunk in iter(lambda: file.read(1 << 20), b""):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _table(file: TextIO, find: Find) -> Iterator[dict[Any, Any]]:
    """Yield the rows of a table by column, whatever separates its cells, and also if it has no header."""
    first = next((line for line in file if line.strip()), "")
    if re.match(r"sep=.\s*$", first, re.IGNORECASE):  # written by Excel
        first = next(file, "")
    reader = csv.reader(chain([first], file), delimiter=max(_DELIMITERS, key=first.count), skipinitialspace=True)
    header = next(reader, [])
    names = header
    if any(_is_file(cell, find) for cell in header):  # a row already
        names = ["file" if _is_file(cell, find) else f"column {number}" for number, cell in enumerate(header, start=1)]
        yield dict(zip(names, header, strict=True))
    yield from (dict(zip(names, row, strict=False)) for row in reader if row)


def plain(column: str) -> str:
    """Return the letters and digits of a column's name, in lower case."""
    return re.sub(r"[\W_]", "", column).lower()


def _columns(row: Mapping[Any, Any], find: Find, is_table: bool) -> tuple[Any, Any, Any]:
    """Return the columns of file name, label and group: by their names, or by what there is; None for none."""
    known = {plain(str(key)): key for key in row}
    usual = [known[name] for name in FILE_COLUMNS if name in known]
    fits = [key for key in usual if isinstance(row[key], str) and find(row[key])]
    fits = fits or [key for key in row if not usual and _is_file(row[key], find)]
    name = next(iter([*fits, *usual]), None)
    labels = [known[key] for key in LABEL_COLUMNS if key in known and known[key] != name]
    group = next((known[key] for key in GROUP_COLUMNS if key in known and known[key] != name), None)
    others = [key for key in row if key not in (name, group)]
    if not labels and is_table and len(others) == 1:  # of a .jsonl file it may be a caption
        labels = others
    return name, next(iter(labels), None), group


def _is_file(cell: object, find: Find) -> bool:
    return isinstance(cell, str) and cell.strip().lower().endswith(SUFFIXES) and find(cell) is not None


def _those(row: object) -> str:
    return f"; its columns are {', '.join(map(str, row))}"[:200] if isinstance(row, dict) else ""
