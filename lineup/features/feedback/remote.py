"""A data set of feedback at one commit: its files, and what they hold."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lineup.features.feedback import exchanged_lines, records
from lineup.hub import datasets, uploads
from lineup.images import labelled_folder

READ_TIMEOUT_S = 30.0
MAX_IMAGE_BYTES = 50 * 10**6
_METADATA = f"{records.ACCEPTED}/{records.METADATA}"
_IMAGE = re.compile(rf"({records.UNREVIEWED}|{records.ACCEPTED})/(?!\.)([^/\0]+)/({records.IMAGE_ID.pattern})\.jpg")
_ANSWERS = re.compile(rf"{records.UNREVIEWED}/answers-[\w.-]+\.jsonl")


def image_parts(name: str) -> tuple[str, str, str] | None:
    """Return the kind of an image, its label's folder and its id, by its path; None if it is none."""
    return (match[1], match[2], match[3]) if (match := _IMAGE.fullmatch(name)) else None


def is_answers(name: str) -> bool:
    """Return whether a path is that of a file of answers to unreviewed images."""
    return bool(_ANSWERS.fullmatch(name))


class Remote:
    """The data set, from one commit on.

    Attributes:
        names: its files; `commit` updates them.
        sizes: of its files at the first commit.
    """

    def __init__(self, head: datasets.Head) -> None:
        self._head, self._parent = head, head.commit
        self.repo, self.sizes, self.names = head.repo, head.sizes, set(head.sizes)

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise HubError if that fails."""
        return datasets.read(self._head, name, READ_TIMEOUT_S)

    def lines(self, name: str) -> list[bytes]:
        """Return the lines of a file; a missing one has none."""
        return exchanged_lines.split(self.read(name)) if name in self.sizes else []

    def labels(self, names: Iterable[str]) -> dict[str, str]:
        """Return the labels of the folders of images, as far as a folder's name is too short for its label."""
        folders = {name.rpartition("/")[0] for name in names}
        files = {folder: f"{folder}/{labelled_folder.LABEL_FILE}" for folder in folders}
        return {
            folder: self.read(name).decode(errors="replace")
            for folder, name in files.items()
            if 0 < self.sizes.get(name, 0) <= records.MAX_LINE_BYTES
        }

    def empty_folders(self, deleted: Sequence[str]) -> set[str]:
        """Return the label files of folders of unreviewed images that lose their last image."""
        folders = {name.rpartition("/")[0] for name in deleted if name.startswith(f"{records.UNREVIEWED}/")}
        remaining = {name.rpartition("/")[0] for name in self.names.difference(deleted) if image_parts(name)}
        return {f"{folder}/{labelled_folder.LABEL_FILE}" for folder in folders - remaining} & self.names

    def commit(self, files: Mapping[str, bytes], deleted: Sequence[str], root: Path) -> None:
        """Add and delete files, and keep the metadata of accepted images up to date.

        Args:
            files: contents by path.
            deleted: paths.
            root: the collection's folder, which knows labels, too.

        Raises:
            ConflictError: when there is a newer commit.
        """
        names = (self.names | files.keys()) - set(deleted)
        if any(name.startswith(f"{records.ACCEPTED}/") for name in (*files, *deleted)):
            files = {**files, _METADATA: self._metadata(names, root)}
        message = f"Review {len(files) + len(deleted)} files"
        self._parent = uploads.commit(self.repo, "dataset", message, files, deleted, self._parent, command="try")
        self.names = names

    def _metadata(self, names: Iterable[str], root: Path) -> bytes:
        """Return the metadata of the accepted images of all replicas, while ours may have a part of them."""
        known = dict[str, str]()
        for row in map(exchanged_lines.parsed, self.lines(_METADATA)):
            if row and isinstance(row.get("label"), str):
                known[str(row.get("file_name"))] = row["label"]
        lines = list[bytes]()
        for name in sorted(names):
            if (parts := image_parts(name)) and parts[0] == records.ACCEPTED:
                file_name = name.removeprefix(f"{records.ACCEPTED}/")
                label = known.get(file_name) or labelled_folder.label_of(root / parts[0] / parts[1])
                lines.append(records.to_line({"file_name": file_name, "label": label}))
        return b"".join(lines)
