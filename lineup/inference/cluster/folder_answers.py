"""What was computed of a folder, in Parquet files: one row for each image and backbone.

A file appears whole or not at all, so that a killed process loses at most what it is computing. Rows count as long as
the image has the size and time of its row, and the backbone the fingerprint.
"""

import json
import logging
import posixpath
import secrets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from lineup.errors import ImageError, LineupError, brief
from lineup.hub.cache_folder import cache_folder
from lineup.images import remote_folder
from lineup.images.labelled_folder import folder_name
from lineup.images.remote_folder import ListedFile

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Kind = Literal["logits", "features", "appearance"]
_KEYS = ("image", "size", "version", "fingerprint", "kind")


def schema() -> "pa.Schema":
    """Return the columns: the outputs are of classes or features; `details` has the parts of the problem, as JSON."""
    import pyarrow as pa

    texts = ("image", "sha256", "version", "backbone", "fingerprint", "kind", "problem", "details")
    others = [("size", pa.int64()), ("is_image", pa.bool_()), ("output", pa.list_(pa.float32()))]
    return pa.schema([*((name, pa.string()) for name in texts), *others])


def details(error: ImageError) -> str:
    """Return the parts of an image's problem, for the column of this name."""
    return json.dumps([error.expected, error.got, error.remedy])


def problem(name: str, details: str) -> ImageError:
    """Return the problem of an image from the column `details`."""
    expected, got, remedy = json.loads(details)
    return ImageError(name, expected, got, remedy)


class FolderAnswers:
    """The answers for a folder of images, in a folder of Parquet files. To be used by one thread at a time.

    Args:
        address: of the folder for the files: a path, or a URL such as ``s3://bucket/folder``.
        files: the images, as they are now.

    Raises:
        LineupError: when nothing opens such an address, or it cannot be written: before anything is computed.
    """

    def __init__(self, address: str, files: Sequence[ListedFile]) -> None:
        self.address = address
        self._system, self._path = remote_folder.open_folder(address)
        try:
            self._system.create_dir(self._path, recursive=True)
        except OSError as error:
            raise remote_folder.access_error(address, error) from error
        self._now = {file.name: (file.size, file.version) for file in files}

    def done(self, backbone: str, fingerprint: str, kind: Kind) -> set[str]:
        """Return the names of the images that have a row."""
        found = set[str]()
        for table in self._tables(backbone, fingerprint, kind, []):
            found.update(table["image"].to_pylist())
        return found

    def rows(self, backbone: str, fingerprint: str, kind: Kind, columns: Sequence[str]) -> "Iterator[pa.Table]":
        """Yield the rows of a backbone, file by file: each image once."""
        import pyarrow as pa

        seen = set[str]()
        for table in self._tables(backbone, fingerprint, kind, columns):
            names = table["image"].to_pylist()
            new = [at for at, name in enumerate(names) if name not in seen and not seen.add(name)]  # type: ignore[func-returns-value]
            yield table if len(new) == len(names) else table.take(pa.array(new, pa.int64()))

    def write(self, table: "pa.Table", backbone: str) -> None:
        """Write rows of a backbone as a new file.

        Raises:
            LineupError: when that fails.
        """
        from pyarrow import fs, parquet

        folder = self._folder(backbone)
        name = f"part-{secrets.token_hex(8)}.parquet"
        is_local = isinstance(self._system, fs.LocalFileSystem)  # elsewhere a file appears once it is closed
        draft = posixpath.join(folder, f".{name}.partial" if is_local else name)
        try:
            self._system.create_dir(folder, recursive=True)
            parquet.write_table(table.cast(schema()), draft, filesystem=self._system, compression="zstd")
            if is_local:
                self._system.move(draft, posixpath.join(folder, name))
        except OSError as error:
            expected, remedy = "a folder for answers that can be written", "check it, and the space there"
            raise LineupError(self.address, expected, brief(error), remedy) from error

    def _folder(self, backbone: str) -> str:
        return posixpath.join(self._path, folder_name(backbone or "images"))

    def _tables(self, backbone: str, fingerprint: str, kind: Kind, columns: Sequence[str]) -> "Iterator[pa.Table]":
        """Yield the rows that still count."""
        import pyarrow as pa
        from pyarrow import fs, parquet

        selector = fs.FileSelector(self._folder(backbone), allow_not_found=True)
        try:
            entries = self._system.get_file_info(selector)
        except OSError as error:
            got, remedy = brief(error), "check it, and the credentials"
            raise LineupError(self.address, "a folder for answers that can be read", got, remedy) from error
        for path in sorted(entry.path for entry in entries if _is_part(entry.path)):
            try:
                table = parquet.read_table(path, filesystem=self._system, columns=[*_KEYS, *columns], partitioning=None)
            except (OSError, pa.ArrowException) as error:
                _log.warning("%s cannot be read (%s): its images are computed again", path, brief(error))
                continue
            keys = zip(*(table[key].to_pylist() for key in _KEYS), strict=True)
            counts = [key[3:] == (fingerprint, kind) and self._now.get(key[0]) == key[1:3] for key in keys]
            yield table.filter(pa.array(counts, pa.bool_()))


def _is_part(path: str) -> bool:
    name = posixpath.basename(path)
    return name.startswith("part-") and name.endswith(".parquet")


def default_address(source: str) -> str:
    """Return the folder in which the answers for a source are kept, unless another one is chosen."""
    import hashlib

    return str(cache_folder("cluster") / hashlib.sha256(source.encode()).hexdigest()[:32])
