"""Folders that are listed without reading their images: on this machine, in S3, or wherever pyarrow and fsspec look."""

import os
import posixpath
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lineup.errors import ImageError, LineupError, brief
from lineup.images import labelled_folder
from lineup.images.labelled_folder import IGNORED_FILES, Described
from lineup.images.metadata_files import METADATA_SUFFIXES

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
MAX_METADATA_BYTES = 1 << 30  # of a metadata file, which is downloaded
_STARTS = ("NoSuchBucket", "NO_SUCH_BUCKET", "Path does not exist", "not found", "No such file", "404")


@dataclass(frozen=True)
class ListedFile:
    """A file that may be an image.

    Attributes:
        name: its path in the folder, with slashes.
        size: in bytes; -1 if unknown.
        version: changes with its content: when it was modified; empty if unknown.
        described: its label, split and group.
    """

    name: str
    size: int
    version: str
    described: Described


@dataclass(frozen=True)
class Listing:
    """The files of a folder, in the order of their names.

    Attributes:
        address: of the folder: a path, or a URL.
        name: the folder's, for headings.
        files: those that may be images.
        problems: an error for each file that is left out.
    """

    address: str
    name: str
    files: tuple[ListedFile, ...]
    problems: tuple[ImageError, ...] = ()

    def of_split(self, split: str) -> "Listing":
        """Return the listing with only the files of a split; an empty name means all."""
        files = tuple(file for file in self.files if split in ("", file.described.split))
        return replace(self, files=files)


def list_files(address: str) -> Listing:
    """List a folder, and read its metadata files, but no image.

    Args:
        address: a path, or a URL such as ``s3://bucket/folder``.

    Raises:
        LineupError: when there is no such folder, it cannot be read, or it is empty.
    """
    problems = list[ImageError]()
    if "://" not in address:
        folder = Path(address).expanduser().resolve()
        found = _local(folder, problems)
        described = labelled_folder.describe(folder, found, problems)
        address = str(folder)
    else:
        found = _elsewhere(address)
        with tempfile.TemporaryDirectory(prefix="lineup-") as copied:
            _copy(address, [name for name in found if _is_read(name)], Path(copied), problems)
            described = labelled_folder.describe(Path(copied), found, problems)
    if not found:
        raise LineupError(address, "images", "it has none", "choose a folder of images")
    wrong = [name for name in described if labelled_folder.printable(name) != name]
    problems += [
        ImageError(labelled_folder.printable(name), "a name in UTF-8", "it is not", "rename it") for name in wrong
    ]
    files = tuple(ListedFile(name, *found[name], each) for name, each in described.items() if name not in wrong)
    return Listing(address, address.rstrip("/").rpartition("/")[2] or address, files, tuple(problems))


def open_folder(address: str) -> "tuple[FileSystem, str]":
    """Return the file system of a folder, and the folder's path in it; credentials are those of this machine.

    Raises:
        LineupError: when nothing opens such an address.
    """
    try:
        from pyarrow import fs
    except ImportError:
        raise LineupError(address, "pyarrow", "it is not installed", "pip install pyarrow") from None
    if "://" not in address:
        return fs.LocalFileSystem(), str(Path(address).expanduser().resolve())
    try:
        return _s3(address) if address.startswith("s3://") else _by_scheme(address)
    except (ValueError, ImportError, OSError) as error:  # an unknown scheme is a ValueError
        expected = "the address of a folder, such as s3://bucket/folder"
        raise LineupError(address, expected, brief(error), "check the address, and what is installed") from error


def read_file(address: str) -> bytes:
    """Return the content of a file at an address.

    Raises:
        OSError: when it cannot be read.
    """
    folder, _, name = address.rpartition("/")
    return read_bytes(open_folder(folder), name)


def read_bytes(folder: "tuple[FileSystem, str]", name: str, max_bytes: int | None = None) -> bytes:
    """Return the content of a file, or its first `max_bytes` bytes.

    Raises:
        OSError: when it cannot be read.
    """
    system, path = folder
    with system.open_input_stream(posixpath.join(path, name), compression=None) as stream:
        content: bytes = stream.read(max_bytes)
    return content


def _is_read(name: str) -> bool:
    return name.lower().endswith(METADATA_SUFFIXES) or labelled_folder.is_label_file(name)


def _local(folder: Path, problems: list[ImageError]) -> dict[str, tuple[int, str]]:
    """Return size and version of the files below a folder, by name."""
    statuses = {name: path.stat() for name, path in labelled_folder.files_of(folder, problems).items()}
    return {name: (status.st_size, str(status.st_mtime_ns)) for name, status in statuses.items()}


def _elsewhere(address: str) -> dict[str, tuple[int, str]]:
    """Return size and version of the files below a folder of another file system, by name, in its order on a disk."""
    from pyarrow import fs

    system, path = open_folder(address)
    try:
        # an empty folder is an error of some file systems, and no files of others
        entries = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError) as error:
        raise access_error(address, error) from error
    names = {_below(entry.path, path): entry for entry in entries if entry.type == fs.FileType.File}
    shown = (name for name in names if not _is_hidden(name))
    return {
        name: (-1 if names[name].size is None else names[name].size, str(names[name].mtime_ns or ""))
        for name in sorted(shown, key=lambda name: name.split("/"))
    }


def _below(path: str, folder: str) -> str:
    return path.removeprefix(folder).lstrip("/")


def _is_hidden(name: str) -> bool:
    *folders, last = name.split("/")
    # with an empty part, or ., a name would be another one on a disk
    hidden = any(not part or part.startswith((".", "__")) for part in folders)
    return hidden or last.startswith(".") or last.lower() in IGNORED_FILES


def _copy(address: str, names: Iterable[str], folder: Path, problems: list[ImageError]) -> None:
    """Copy metadata and label files to a folder."""
    opened = open_folder(address)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_bytes(read_bytes(opened, name, MAX_METADATA_BYTES))
        except OSError as error:  # it is reported as one that cannot be read
            problems.append(ImageError(name, "a file that can be read", brief(error), "check it"))
            path.touch()


def access_error(address: str, error: Exception) -> LineupError:
    """Return the error for a folder elsewhere that cannot be listed or written, in words."""
    text = brief(error, 300)
    scheme = urlsplit(address).scheme or "this machine"
    if "ACCESS_DENIED" in text or "403" in text or "InvalidAccessKeyId" in text or "SIGNATURE" in text.upper():
        got, remedy = "access was denied", "check the credentials, such as AWS_ACCESS_KEY_ID, and the permissions"
    elif "NO_SUCH_BUCKET" in text or "NoSuchBucket" in text or re.search(r"Bucket '.*' not found", text):
        got, remedy = "there is no such bucket", "check the address, and AWS_ENDPOINT_URL"
    elif any(start in text for start in _STARTS) or isinstance(error, FileNotFoundError):
        got, remedy = "there is no such folder, or it is empty", "check the address"
    elif "NETWORK_CONNECTION" in text or "curlCode" in text:
        got, remedy = f"the server does not respond ({text})", "check the network, and AWS_ENDPOINT_URL"
    else:
        got, remedy = text, "check the address and the credentials"
    return LineupError(address, f"a folder that {scheme} can list", got, remedy)


def _s3(address: str) -> "tuple[FileSystem, str]":
    """Open a folder in S3, or in what speaks its protocol; the variables are those of AWS's own programs."""
    parts = urlsplit(address)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if not parts.netloc:
        raise ValueError("there is no name of a bucket")
    user, _, bucket = parts.netloc.rpartition("@")  # s3://anonymous@bucket is public
    return _s3_system(bucket, endpoint, user == "anonymous"), f"{bucket}{parts.path}".rstrip("/")


@lru_cache(maxsize=8)
def _s3_system(bucket: str, endpoint: str, is_public: bool) -> "FileSystem":
    from pyarrow import fs

    options: dict[str, Any] = {
        "anonymous": is_public,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "request_timeout": READ_TIMEOUT_S,
    }
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    if endpoint:
        scheme, _, rest = endpoint.rpartition("://")
        options |= {"endpoint_override": rest.rstrip("/"), "scheme": scheme or "https"}
    elif not region:
        region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(region=region or "us-east-1", **options)


def _by_scheme(address: str) -> "tuple[FileSystem, str]":
    """Open a folder with pyarrow, or else with fsspec."""
    from pyarrow import fs

    scheme = urlsplit(address).scheme
    if scheme in ("file", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs"):
        system, path = fs.FileSystem.from_uri(address)
        return system, path
    import fsspec

    system, path = fsspec.core.url_to_fs(address)
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path.rstrip("/")
