"""Data sets on the Hub as folders of labelled images: their image files, or the images in their Parquet files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import yaml
from huggingface_hub import DatasetCard

from lineup.errors import LineupError
from lineup.formatting import enumeration
from lineup.hub import datasets
from lineup.hub.datasets import Listing
from lineup.images import parquet
from lineup.images.formats import SUFFIXES
from lineup.images.labelled_folder import SPLITS, split_in

ADDRESS_FORM = "hf://datasets/OWNER/NAME, with @REVISION, /FOLDER, and ?split=, &image= and &label= if needed"
_ADDRESS = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/\w+/[^/?]+|[^/?]+))?"
    r"(/(?P<folder>[^?]*))?(\?(?P<query>.*))?"
)
_KEYS = ("split", "image", "label")


def download(source: str, folder: Path, timeout_s: float) -> str:
    """Write the images of a data set to a folder, with their labels, and return its name.

    Args:
        source: its address, as ADDRESS_FORM.
        folder: is empty.
        timeout_s: a download fails after this many seconds without a new byte.

    Raises:
        LineupError: when the address is wrong, a file cannot be downloaded or read, or there is no image.
    """
    match = _ADDRESS.fullmatch(source)
    query = dict(parse_qsl(match["query"] or "")) if match else {}
    if not match or query.keys() - set(_KEYS):
        raise LineupError("source", ADDRESS_FORM, f"got {source[:200]!r}", "check the address")
    repo, revision = match["repo"], unquote(match["revision"] or "") or None
    below = f"{unquote(match['folder']).strip('/')}/".lstrip("/") if match["folder"] else ""
    listing = datasets.list_files(repo, revision)
    names = [name for name in listing.names if name.startswith(below) and not name.startswith(".")]
    tables = [name for name in names if name.endswith(".parquet")]
    images = [name for name in names if name.lower().endswith(SUFFIXES)]
    split, chosen = query.get("split", ""), tables or images
    if not chosen:
        got = f"{below or 'the repository'} has {len(names)} files, and none of them" if names else "there are no files"
        raise LineupError(source, "a data set of image files, or of Parquet files", got, "check the address")
    if split:
        splits = {name: _split_of(name.removeprefix(below)) for name in chosen}
        chosen = [name for name in chosen if splits[name] == SPLITS.get(split.lower(), split)]
        if not chosen:
            got = f"it has {enumeration(sorted(filter(None, set(splits.values())))) or 'no splits'}"
            raise LineupError(source, f"a split called {split[:40]!r}", got, "choose another one, or leave it out")
    if tables:
        _write_tables(folder, listing, chosen, below, query, timeout_s)
    else:
        labels = [name for name in names if name.lower().endswith((".csv", ".tsv", "metadata.jsonl"))]
        datasets.fetch_to(folder, listing, [*labels, *chosen], below, timeout_s)
    return str(repo).split("/")[1]


def _write_tables(
    folder: Path, listing: Listing, names: Sequence[str], below: str, query: dict[str, str], timeout_s: float
) -> None:
    """Download Parquet files one by one, and write their images."""
    kinds = {"/".join(part for part in name.split("/")[:-1] if part not in SPLITS) for name in names}
    if len(kinds) > 1:
        got, remedy = f"it has {enumeration(sorted(kinds))}", f"write one: hf://datasets/{listing.repo}/{min(kinds)}"
        raise LineupError(listing.repo, "one folder of Parquet files", got, remedy)
    readme = datasets.fetch(listing, "README.md", timeout_s) if "README.md" in listing.names else None
    columns = parquet.Columns(query.get("image", ""), query.get("label", ""), _names_of_card(readme))
    files = [(_split_of(name.removeprefix(below)), datasets.fetch(listing, name, timeout_s)) for name in names]
    parquet.write_images(files, folder, columns)


def _split_of(name: str) -> str:
    """Return the split that a file's path names, such as ``data/train-00000-of-00002.parquet``; or nothing."""
    return next(filter(None, map(split_in, name.split("/"))), "")


def _names_of_card(readme: Path | None) -> dict[str, list[str]]:
    """Return the names of class labels by column from the metadata of a data set's card."""
    if readme is None:
        return {}
    try:
        data: dict[str, Any] = DatasetCard(
            readme.read_text(encoding="utf-8"), ignore_metadata_errors=True
        ).data.to_dict()
        infos = data.get("dataset_info") or []
        features = [each for info in (infos if isinstance(infos, list) else [infos]) for each in info["features"]]
        named = {
            each["name"]: each["dtype"]["class_label"]["names"]
            for each in features
            if isinstance(each.get("dtype"), dict)
        }
        return {key: [str(names[index]) for index in sorted(names, key=int)] for key, names in named.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError, yaml.YAMLError):
        return {}  # a card in another form: labels keep their numbers
